package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// hook is a receiver of webhooks. What it answers can be changed.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	answer http.HandlerFunc
	seen   []request
}

type request struct {
	header http.Header
	body   string
}

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

// ServeHTTP notes the request and answers it.
func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	h.mu.Lock()
	h.seen = append(h.seen, request{r.Header.Clone(), string(body)})
	answer := h.answer
	h.mu.Unlock()
	if answer != nil {
		answer(w, r)
	}
}

func (h *hook) answers(f http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = f
}

func (h *hook) requests() []request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]request(nil), h.seen...)
}

// task creates a task on the sample asset by the simple API and returns its id.
func (s *server) task(asset hostler.AssetID, action string) int64 {
	s.t.Helper()
	body := fmt.Sprintf(`{"asset_id":%d,"action":%q}`, int64(asset), action)
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/tasks", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-API-KEY", s.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var task struct {
		ID int64 `json:"id"`
	}
	if err := json.NewDecoder(res.Body).Decode(&task); err != nil || res.StatusCode != http.StatusOK || task.ID == 0 {
		s.t.Fatalf("POST /tasks: %d %v", res.StatusCode, err)
	}
	return task.ID
}

// TestTaskCompleted is the journey of a script that does not poll: it creates a task
// and gets a request when the task has ended, also after its receiver failed.
func TestTaskCompleted(t *testing.T) {
	h := newHook(t)
	t.Setenv("HOSTLER_WEBHOOK_URL", h.URL+"/done?key=canary-url")
	t.Setenv("HOSTLER_WEBHOOK_TOKEN", "canary-token")
	t.Setenv("HOSTLER_WEBHOOK_RETRY", "200ms,200ms")
	t.Setenv("HOSTLER_EGRESS_ALLOW", "127.0.0.0/8")
	eachStore(t, func(t *testing.T, s *server) { taskCompleted(t, h, s) })
}

func taskCompleted(t *testing.T, h *hook, s *server) {
	h.answers(nil)
	before := len(h.requests())
	c, err := client.New(s.url, s.key)
	if err != nil {
		t.Fatal(err)
	}
	s.must("asset", "add", "me", "--address", "127.0.0.1", "--port", s.url[strings.LastIndex(s.url, ":")+1:])
	asset, err := c.Asset(t.Context(), "me")
	if err != nil {
		t.Fatal(err)
	}

	// Delivered once, with the token, in the format of the simple API.
	id := s.task(asset.ID, "check_port")
	s.await("the request", func() bool { return len(h.requests()) == before+1 })
	got := h.requests()[before]
	var message struct {
		Event       string `json:"event"`
		ID          int64  `json:"task_id"`
		Action      string `json:"action"`
		Status      string `json:"status"`
		Result      string `json:"result"`
		CompletedAt string `json:"completed_at"`
	}
	if err := json.Unmarshal([]byte(got.body), &message); err != nil {
		t.Fatalf("%v in %s", err, got.body)
	}
	if message.Event != "task_completed" || message.ID != id || message.Action != "check_port" || message.Status != "done" ||
		!strings.HasSuffix(message.Result, " open") || message.CompletedAt == "" {
		t.Errorf("the message is %s", got.body)
	}
	if auth := got.header.Get("Authorization"); auth != "Bearer canary-token" {
		t.Errorf("Authorization: %q", auth)
	}

	// A receiver that fails does not change the task, and is tried again.
	h.answers(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "unavailable", http.StatusBadGateway) })
	id = s.task(asset.ID, "check_port")
	var failed hostler.Delivery
	s.await("the delivery to be given up", func() bool {
		l, err := c.Deliveries(t.Context(), hostler.DeliveryFilter{Webhook: "configured", State: hostler.DeliveryFailed}, hostler.Page{})
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Items) == 1 {
			failed = l.Items[0]
		}
		return len(l.Items) == 1
	})
	job, err := c.Job(t.Context(), hostler.JobID(id))
	if err != nil || job.State != hostler.StateSucceeded || failed.Job != job.ID {
		t.Errorf("job %v is %s, the delivery is of %v; %v", job.ID, job.State, failed.Job, err)
	}
	if failed, err = c.Delivery(t.Context(), failed.ID); err != nil {
		t.Fatal(err)
	}
	if len(failed.Attempts) != 3 || !strings.Contains(failed.Body, "task_completed") {
		t.Errorf("the delivery has %d attempts and the body %q", len(failed.Attempts), failed.Body)
	}
	for _, at := range failed.Attempts {
		if at.Status != http.StatusBadGateway || !strings.Contains(at.Response, "unavailable") ||
			at.Millis <= 0 || at.Error == nil || at.At.IsZero() {
			t.Errorf("attempt %+v", at)
		}
		for name, value := range at.Request {
			if strings.Contains(value, "canary") {
				t.Errorf("the attempt shows %s: %s", name, value)
			}
		}
	}

	// Sent again, it arrives, under the same id.
	h.answers(nil)
	last := len(h.requests())
	s.must("delivery", "resend", failed.ID.String())
	s.await("the request", func() bool { return len(h.requests()) > last })
	all := h.requests()
	if a, b := all[last].header.Get("Webhook-Id"), all[last-1].header.Get("Webhook-Id"); a != b || a == "" {
		t.Errorf("the ids are %q and %q", a, b)
	}

	if out := s.must("webhook", "get", "configured", "-o", "json"); strings.Contains(out, "canary") || !strings.Contains(out, "/done?***") {
		t.Errorf("the configured webhook is shown as %s", out)
	}
	if _, stderr, code := s.run("", "webhook", "delete", "configured"); code == 0 || !strings.Contains(stderr, "HOSTLER_WEBHOOK_URL") {
		t.Errorf("deleting the configured webhook: %d %s", code, stderr)
	}
	for name, text := range s.files() {
		if strings.Contains(string(text), "canary-token") || strings.Contains(string(text), "canary-url") {
			t.Errorf("%s holds a secret", name)
		}
	}
}

// TestServerDiesWhileItDelivers: a request that was in flight when the server was
// killed is sent again under the same id.
func TestServerDiesWhileItDelivers(t *testing.T) {
	h := newHook(t)
	free := make(chan struct{})
	h.answers(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-free:
		case <-r.Context().Done():
		}
	})
	defer close(free)
	t.Setenv("HOSTLER_EGRESS_ALLOW", "127.0.0.0/8")
	s := start(t, t.TempDir(), "")
	s.must("asset", "add", "me", "--address", "127.0.0.1")
	port := s.url[strings.LastIndex(s.url, ":")+1:]
	s.must("job", "run", "check_port", "--asset", "me", "--arg", "port="+port, "--webhook", h.URL+"/done", "--wait")
	s.await("the request", func() bool { return len(h.requests()) == 1 })
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait() // killed
	h.answers(nil)
	s.start()
	s.await("the second request", func() bool { return len(h.requests()) == 2 })
	all := h.requests()
	if a, b := all[0].header.Get("Webhook-Id"), all[1].header.Get("Webhook-Id"); a == "" || a != b || all[0].body != all[1].body {
		t.Errorf("first %q %s, then %q %s", a, all[0].body, b, all[1].body)
	}
	s.await("the delivery", func() bool { return strings.Contains(s.must("delivery", "list", "-o", "json"), `"delivered"`) })
}
