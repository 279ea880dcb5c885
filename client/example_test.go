package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// server stands for a running Hostler, such as `hostler serve`.
func server() *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/jobs", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"run":"run_00000000001","count":1,"jobs":["job_00000000001"]}`)
	})
	mux.HandleFunc("GET /api/v1/jobs/{id}/log", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "id: 1\nevent: line\ndata: {\"pos\":1,\"stream\":\"stdout\",\"text\":\"port 22 open\\n\"}\n\n")
		io.WriteString(w, "event: end\ndata: {\"id\":\"job_00000000001\",\"state\":\"succeeded\"}\n\n")
	})
	mux.HandleFunc("GET /api/v1/assets", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"items":[{"name":"web1","address":"192.0.2.1"},{"name":"web2","address":"192.0.2.2"}]}`)
	})
	return httptest.NewServer(mux)
}

// Make a job and follow its output to the end.
func Example() {
	srv := server()
	defer srv.Close()
	ctx := context.Background()

	c, err := client.New(srv.URL, "hst_…")
	if err != nil {
		fmt.Println(err)
		return
	}
	made, err := c.CreateJobs(ctx, hostler.JobRequest{
		Action: "check_port",
		Args:   []byte(`{"port": 22}`),
		Assets: []string{"web1"},
	}, client.CreateOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for step, err := range c.Follow(ctx, made.Jobs[0], 0) {
		switch {
		case err != nil:
			fmt.Println(err)
		case step.Job != nil:
			fmt.Println(step.Job.ID, step.Job.State)
		default:
			fmt.Print(step.Entry.Text)
		}
	}
	// Output:
	// port 22 open
	// job_00000000001 succeeded
}

// Walk a listing of any length.
func ExampleAll() {
	srv := server()
	defer srv.Close()

	c, err := client.New(srv.URL, "hst_…")
	if err != nil {
		fmt.Println(err)
		return
	}
	for a, err := range client.All(context.Background(), c.Assets) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(a.Name, a.Address)
	}
	// Output:
	// web1 192.0.2.1
	// web2 192.0.2.2
}
