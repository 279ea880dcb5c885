package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// server answers like a running Hostler.
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
	mux.HandleFunc("GET /api/v1/assets/web1", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"name":"web1","address":"192.0.2.1","labels":{"env":"test"}}`)
	})
	mux.HandleFunc("PUT /api/v1/assets/web1", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	})
	mux.HandleFunc("POST /api/v1/assets/import", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"dry_run":true,"created":1,"failed":1,"rows":[{"line":2,"name":"db1","fate":"create"},
			{"line":3,"name":"db1","fate":"fail","errors":[{"path":"name","text":{"en":"duplicate name, first on line 2"}}]}]}`)
	})
	mux.HandleFunc("GET /api/v1/events", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "id: 7\nevent: job.failed\ndata: "+
			`{"pos":7,"type":"job.failed","data":{"job":"job_00000000001","action":"check_port","state":"failed"}}`+"\n\n")
	})
	return httptest.NewServer(mux)
}

// Create a job and follow its output until it has ended.
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

// Change one field of an asset: PutAsset replaces the asset as a whole, so that the
// change starts from its current input.
func ExampleClient_PutAsset() {
	srv := server()
	defer srv.Close()
	ctx := context.Background()

	c, err := client.New(srv.URL, "hst_…")
	if err != nil {
		fmt.Println(err)
		return
	}
	asset, err := c.Asset(ctx, "web1")
	if err != nil {
		fmt.Println(err)
		return
	}
	in := asset.Input()
	in.Address = "192.0.2.9"
	if asset, err = c.PutAsset(ctx, "web1", in); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(asset.Name, asset.Address, asset.Labels)
	// Output:
	// web1 192.0.2.9 map[env:test]
}

// Check a CSV file of assets before it is imported.
func ExampleClient_ImportAssets() {
	srv := server()
	defer srv.Close()

	c, err := client.New(srv.URL, "hst_…")
	if err != nil {
		fmt.Println(err)
		return
	}
	file := []byte("name,address\ndb1,192.0.2.3\ndb1,192.0.2.4\n")
	done, err := c.ImportAssets(context.Background(), file, hostler.ImportOptions{DryRun: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, row := range done.Rows {
		fmt.Println("line", row.Line, row.Result)
		for _, e := range row.Errors {
			fmt.Println("  "+e.Path+":", e.Text.EN)
		}
	}
	// Output:
	// line 2 create
	// line 3 fail
	//   name: duplicate name, first on line 2
}

// React to failed jobs as they happen.
func ExampleClient_Events() {
	srv := server()
	defer srv.Close()

	c, err := client.New(srv.URL, "hst_…")
	if err != nil {
		fmt.Println(err)
		return
	}
	filter := hostler.EventFilter{Types: []string{"job.failed"}}
	for step, err := range c.Events(context.Background(), filter, client.EventsFromNow) {
		if err != nil {
			fmt.Println(err)
			return
		}
		var job hostler.JobEvent
		if err := json.Unmarshal(step.Event.Data, &job); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(job.Job, job.Action, job.State)
		break // a program would go on
	}
	// Output:
	// job_00000000001 check_port failed
}
