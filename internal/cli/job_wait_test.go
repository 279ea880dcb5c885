package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
)

// fakeServer is a server whose jobs end as a test needs, for outcomes that are hard
// to get from a real one.
type fakeServer struct {
	states map[hostler.State]int // of the run
	job    hostler.Job           // the single job
	output []hostler.LogLine
	never  bool // the job, or the run, does not end
	// requests has the bodies of the requests for jobs.
	requests chan hostler.JobRequest
}

func (s *fakeServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/actions/{name}", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, hostler.ActionInfo{Name: r.PathValue("name"), Schema: []byte(testSchema)})
	})
	mux.HandleFunc("POST /api/v1/jobs", s.create)
	mux.HandleFunc("GET /api/v1/jobs/{id}/log", s.log)
	mux.HandleFunc("GET /api/v1/runs/{id}", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, hostler.RunSummary{Run: 9, Total: s.total(), States: s.states, Done: !s.never})
	})
	mux.HandleFunc("GET /api/v1/jobs", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, hostler.List[hostler.Job]{Items: []hostler.Job{s.job}})
	})
	return mux
}

func (s *fakeServer) total() int {
	n := 0
	for _, c := range s.states {
		n += c
	}
	return n
}

func (s *fakeServer) create(w http.ResponseWriter, r *http.Request) {
	var req hostler.JobRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.requests <- req
	made := hostler.JobsCreated{Run: 9, Count: 1, Jobs: []hostler.JobID{7}}
	if s.states != nil {
		made.Count = s.total()
	}
	writeJSON(w, made)
}

func (s *fakeServer) log(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i, line := range s.output {
		data, _ := json.Marshal(hostler.LogEntry{Pos: int64(i + 1), LogLine: line})
		fmt.Fprintf(w, "id: %d\nevent: line\ndata: %s\n\n", i+1, data)
	}
	http.NewResponseController(w).Flush()
	if s.never {
		<-r.Context().Done()
		return
	}
	data, _ := json.Marshal(s.job)
	fmt.Fprintf(w, "event: end\ndata: %s\n\n", data)
}

func writeJSON(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// runAgainst runs the command against s and returns the exit code.
func runAgainst(ctx context.Context, t *testing.T, s *fakeServer, a *app, args ...string) int {
	t.Helper()
	s.requests = make(chan hostler.JobRequest, 1)
	srv := httptest.NewServer(s.handler())
	t.Cleanup(srv.CloseClientConnections)
	t.Cleanup(srv.Close)
	t.Setenv("HOSTLER_CONTEXT_FILE", os.DevNull)
	t.Setenv("HOSTLER_URL", srv.URL)
	t.Setenv("HOSTLER_KEY", "hst_test")
	return a.run(ctx, args)
}

func ended(state hostler.State) hostler.Job {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	end := start.Add(1500 * time.Millisecond)
	return hostler.Job{ID: 7, AssetName: "web1", State: state, StartedAt: &start, EndedAt: &end}
}

func TestWaitForOneJob(t *testing.T) {
	failed := ended(hostler.StateFailed)
	failed.Error = &hostler.JobError{Kind: "command_failed", Text: txt("exit status 1", "退出状态 1")}
	tests := map[string]struct {
		job  hostler.Job
		code int
		want string
	}{
		"succeeded": {ended(hostler.StateSucceeded), 0, "job_00000000007 succeeded 1.5s"},
		"failed":    {failed, 1, "job_00000000007 failed 1.5s · command_failed: exit status 1"},
		"cancelled": {ended(hostler.StateCancelled), 1, "cancelled"},
		"unknown":   {ended(hostler.StateUnknown), 3, "hostler job resolve job_00000000007"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &fakeServer{job: tt.job, output: []hostler.LogLine{
				{Stream: hostler.StreamStdout, Text: "one\n"},
				{Stream: hostler.StreamStderr, Text: "warned\n"},
				{Stream: hostler.StreamStdout, Text: "two \x1b[31mred"},
			}}
			a, out, errs := newApp(hostler.LangEN)
			code := runAgainst(t.Context(), t, s, a,
				"job", "run", "ssh_command", "--asset", "web1", "--arg", "command=ls", "--wait")
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if diff := cmp.Diff("one\ntwo \\x1b[31mred\n", out.String()); diff != "" {
				t.Errorf("stdout (-want +got):\n%s", diff)
			}
			if !strings.Contains(errs.String(), "warned\n") || !strings.Contains(errs.String(), tt.want) {
				t.Errorf("stderr %q does not contain %q", errs, tt.want)
			}
		})
	}
}

func TestWaitShowsTheResultOfAQuietJob(t *testing.T) {
	for result, want := range map[string]string{
		`{"open":[22]}`: "{\"open\":[22]}\n",
		`{"open":[22],"text":"port 22 \u001b open"}`: "port 22 \\x1b open\n",
		`null`: "",
	} {
		job := ended(hostler.StateSucceeded)
		job.Result = []byte(result)
		a, out, _ := newApp(hostler.LangEN)
		s := &fakeServer{job: job}
		if code := runAgainst(t.Context(), t, s, a, "job", "run", "check_port", "--wait"); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if got := out.String(); got != want {
			t.Errorf("stdout %q, want %q", got, want)
		}
	}
}

func TestWaitForARun(t *testing.T) {
	s := &fakeServer{
		job:    ended(hostler.StateFailed),
		states: map[hostler.State]int{hostler.StateSucceeded: 2, hostler.StateFailed: 1},
	}
	a, out, errs := newApp(hostler.LangZH)
	code := runAgainst(t.Context(), t, s, a, "job", "run", "ssh_command", "--label", "role=web", "--wait")
	if code != exitNotSucceeded {
		t.Errorf("exit code %d, want %d", code, exitNotSucceeded)
	}
	want := "资产  状态  耗时  作业             结果\nweb1  失败  1.5s  job_00000000007  -\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if !strings.HasSuffix(errs.String(), "3/3 · 成功 2 · 失败 1\n") {
		t.Errorf("stderr %q does not count the jobs", errs)
	}
}

// cancelOn cancels the command when text was written, as a user does who has read it.
type cancelOn struct {
	bytes.Buffer
	text   string
	cancel context.CancelFunc
}

func (w *cancelOn) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.text) {
		w.cancel()
	}
	return n, err
}

func TestInterruptedWaitNotesHowToCancel(t *testing.T) {
	for name, tt := range map[string]struct {
		s          *fakeServer
		when, want string
	}{
		"one job": {
			&fakeServer{never: true, output: []hostler.LogLine{{Stream: hostler.StreamStderr, Text: "working\n"}}},
			"working", "hostler job cancel job_00000000007\n",
		},
		"a run": {
			&fakeServer{never: true, states: map[hostler.State]int{hostler.StateRunning: 2}},
			"2 jobs", "hostler job cancel --run run_00000000009\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			errs := &cancelOn{text: tt.when, cancel: cancel}
			a, _, _ := newApp(hostler.LangEN)
			a.err = errs
			if code := runAgainst(ctx, t, tt.s, a, "job", "run", "ssh_command", "--wait"); code != exitInterrupted {
				t.Errorf("exit code %d, want %d", code, exitInterrupted)
			}
			if !strings.HasSuffix(errs.String(), tt.want) {
				t.Errorf("stderr %q does not end with %q", errs, tt.want)
			}
		})
	}
}

func TestRequestOfJobRun(t *testing.T) {
	a, out, _ := newApp(hostler.LangEN)
	s := &fakeServer{}
	code := runAgainst(t.Context(), t, s, a, "job", "run", "ssh_command", "--asset", "a,b", "--label", "role=web",
		"--arg", "port=22", "--queue", "bulk", "--lane", "none", "--priority", "2", "--timeout", "10m", "--retries", "2",
		"--delay", "5s", "--ttl", "1h", "--on-lost", "fail")
	if code != 0 || out.String() != "job_00000000007\n" {
		t.Fatalf("exit code %d, stdout %q", code, out)
	}
	want := hostler.JobRequest{
		Action: "ssh_command", Args: []byte(`{"port":22}`),
		Assets: []string{"a", "b"}, Selector: "role=web",
		Queue: "bulk", Lane: "none", Priority: 2, Timeout: hostler.Duration(10 * time.Minute), MaxAttempts: 3,
		Delay: hostler.Duration(5 * time.Second), TTL: hostler.Duration(time.Hour), OnLost: hostler.OnLostFail,
	}
	if diff := cmp.Diff(want, <-s.requests); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestArgsFile(t *testing.T) {
	a, _, _ := newApp(hostler.LangEN)
	a.in.Reader = strings.NewReader("port: 80\ncommand: ls\n")
	s := &fakeServer{}
	code := runAgainst(t.Context(), t, s, a, "job", "run", "ssh_command", "--args-file", "-", "--arg", "port=22")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if got := string((<-s.requests).Args); got != `{"command":"ls","port":22}` {
		t.Errorf("args %s", got)
	}
}
