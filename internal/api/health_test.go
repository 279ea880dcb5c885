package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api"
	"hostler.dev/hostler/internal/api/monitor"
	"hostler.dev/hostler/internal/store"
)

// health is the data of GET /health.
type health struct {
	Status  string                     `json:"status"`
	Reasons []hostler.Text             `json:"reasons"`
	API     map[string]float64         `json:"api"`
	Store   map[string]json.RawMessage `json:"store"`
	Memory  uint64                     `json:"memory_bytes"`
	Workers map[string]json.RawMessage `json:"workers"`
	Queues  map[string]struct {
		Queued  int     `json:"queued"`
		OldestS float64 `json:"oldest_s"`
	} `json:"queues"`
}

func (w *env) health(t *testing.T) (int, health) {
	t.Helper()
	a := w.do(t, nobody, "GET", "/health", "")
	var got struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    health `json:"data"`
	}
	if err := json.Unmarshal([]byte(a.Body), &got); err != nil {
		t.Fatalf("%v in %s", err, a.Body)
	}
	if (a.Status == http.StatusOK) != (got.Code == 200) || got.Message == "" {
		t.Errorf("status %d, code %d, message %q", a.Status, got.Code, got.Message)
	}
	return a.Status, got.Data
}

func TestHealth(t *testing.T) {
	w := newEnv(t)
	w.makeJob(t, operator)
	status, h := w.health(t)
	if status != http.StatusOK || h.Status != "degraded" || h.Reasons[0].EN != "no worker is active" {
		t.Errorf("without a worker: %d %+v", status, h)
	}
	if string(h.Store["reachable"]) != "true" || string(h.Store["kind"]) != `"sqlite"` || h.Memory == 0 || h.Queues["default"].Queued != 1 {
		t.Errorf("health: %+v", h)
	}
	for _, name := range []string{"uptime_s", "requests_per_s", "p95_ms", "error_rate"} {
		if _, ok := h.API[name]; !ok {
			t.Errorf("api lacks %s", name)
		}
	}
	w.work(t)
	eventually(t, "it is ok with a worker", func() bool {
		_, h := w.health(t)
		var last string
		_ = json.Unmarshal(h.Workers["last_heartbeat"], &last)
		if _, err := time.Parse("2006-01-02T15:04:05.000000-07:00", last); err != nil {
			return false // older Pythons read no Z
		}
		return h.Status == "ok" && string(h.Workers["active"]) == "1" && h.Queues["default"].Queued == 0
	})
}

func TestHealthWithoutStore(t *testing.T) {
	w := newEnv(t)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	status, h := w.health(t)
	if status != http.StatusServiceUnavailable || h.Status != "degraded" || string(h.Store["reachable"]) != "false" {
		t.Errorf("%d %+v, want 503 and unreachable", status, h)
	}
	if a := w.do(t, nobody, "GET", "/readyz", ""); a.Status != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d, want 503", a.Status)
	}
	if a := w.do(t, nobody, "GET", "/livez", ""); a.Status != http.StatusOK {
		t.Errorf("/livez: %d, want 200", a.Status)
	}
	if a := w.do(t, nobody, "GET", "/metrics", ""); a.Status != http.StatusOK || !strings.Contains(a.Body, "hostler_store_up 0") {
		t.Errorf("/metrics: %d, want hostler_store_up 0", a.Status)
	}
	a := w.do(t, viewer, "GET", "/api/v1/jobs", "")
	if a.Status < 500 || strings.Contains(a.Body, "sql") || a.problem(t).Text.ZH == "" {
		t.Errorf("a call without a store: %d %s", a.Status, a.Body)
	}
}

func TestMetrics(t *testing.T) {
	w := newEnv(t)
	w.makeJob(t, operator)
	w.do(t, nobody, "FOO", "/api/v1/jobs", "")
	w.do(t, nobody, "GET", "/no/such/path", "")
	a := w.do(t, nobody, "GET", "/metrics", "")
	for _, line := range []string{
		`hostler_http_requests_total{method="POST",route="/api/v1/jobs",status="201"} 1`,
		`hostler_http_requests_total{method="GET",route="",status="404"} 1`,
		`hostler_http_requests_total{method="other",route="",status="405"} 1`,
		`hostler_queue_jobs{queue="default",state="queued"} 1`, `hostler_store_up 1`,
		`hostler_workers{state="idle"} 0`, `hostler_info{store="sqlite",version="test"} 1`, "go_goroutines", "hostler_store_latency_seconds",
	} {
		if !strings.Contains(a.Body, line) {
			t.Errorf("no %s", line)
		}
	}
	for accept, want := range map[string]string{
		"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2": "application/openmetrics-text",
		"text/plain": "text/plain", "*/*": "application/json", "": "application/json",
		"application/json, text/plain, */*": "application/json", "text/html,application/xhtml+xml": "application/json",
	} {
		req := w.request(t, nobody, "GET", "/health", "")
		req.Header.Set("Accept", accept)
		if got := w.send(t, req).Header.Get("Content-Type"); !strings.HasPrefix(got, want) {
			t.Errorf("Accept %q: %s, want %s", accept, got, want)
		}
	}
}

// TestWhoSeesHealth: only a request that began on this machine, or a key, opens
// /health and /metrics.
func TestWhoSeesHealth(t *testing.T) {
	forwarded := []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via", "True-Client-IP", "CF-Connecting-IP"}
	for _, open := range []string{monitor.OpenNone, monitor.OpenLoopback, monitor.OpenAll} {
		w := newEnv(t, func(c *api.Config) { c.OpenHealth = open })
		for _, path := range []string{"/health", "/metrics", "/netpulse/0.3/health"} {
			ask := func(peer string, edit func(http.Header)) int {
				req := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
				req.RemoteAddr, req.Host = peer, "localhost:9000"
				edit(req.Header)
				if host := req.Header.Get("Host"); host != "" {
					req.Host = host
				}
				rec := httptest.NewRecorder()
				w.Config.Handler.ServeHTTP(rec, req)
				return rec.Code
			}
			want := func(name string, got, code int) {
				if got != code {
					t.Errorf("%s %s, %s: %d, want %d", open, path, name, got, code)
				}
			}
			shut := map[bool]int{true: 403, false: 200}
			want("loopback", ask("127.0.0.1:5", func(http.Header) {}), shut[open == monitor.OpenNone])
			want("loopback v6", ask("[::1]:5", func(http.Header) {}), shut[open == monitor.OpenNone])
			want("mapped loopback", ask("[::ffff:127.0.0.1]:5", func(http.Header) {}), shut[open == monitor.OpenNone])
			for _, host := range []string{"evil.example:9000", "192.0.2.1"} { // DNS rebinding
				want("loopback as "+host, ask("127.0.0.1:5", func(h http.Header) { h.Set("Host", host) }), shut[open != monitor.OpenAll])
			}
			want("another host", ask("192.0.2.1:5", func(http.Header) {}), shut[open != monitor.OpenAll])
			want("another host that claims to be loopback", ask("192.0.2.1:5", func(h http.Header) { h.Set("X-Forwarded-For", "127.0.0.1") }), shut[open != monitor.OpenAll])
			want("a trusted proxy that forwards for loopback", ask("10.1.1.1:5", func(h http.Header) { h.Set("X-Forwarded-For", "127.0.0.1") }), shut[open != monitor.OpenAll])
			want("a socket", ask("@", func(http.Header) {}), shut[open != monitor.OpenAll])
			for _, name := range forwarded {
				want("loopback with "+name, ask("127.0.0.1:5", func(h http.Header) { h.Set(name, "127.0.0.1") }), shut[open != monitor.OpenAll])
			}
			want("a key", ask("192.0.2.1:5", func(h http.Header) { h.Set("X-API-KEY", w.keys[viewer]) }), 200)
			want("a wrong key", ask("192.0.2.1:5", func(h http.Header) { h.Set("X-API-KEY", "hst_x") }), shut[open != monitor.OpenAll])
		}
	}
}

// TestAuditKnowsTheClient: a client cannot forge the address that the audit record
// shows for it.
func TestAuditKnowsTheClient(t *testing.T) {
	w := newEnv(t)
	for i, c := range []struct{ peer, header, value, want string }{
		{"192.0.2.9:1", "X-Forwarded-For", "203.0.113.1", "192.0.2.9"},
		{"10.0.0.1:1", "X-Forwarded-For", "203.0.113.1", "203.0.113.1"},
		{"10.0.0.1:1", "X-Forwarded-For", "1.1.1.1, 203.0.113.1, 10.2.2.2", "203.0.113.1"},
		{"10.0.0.1:1", "X-Forwarded-For", "203.0.113.1, junk", "10.0.0.1"},
		// Another header than the configured one comes from the client.
		{"10.0.0.1:1", "Forwarded", `for="[2001:db8::7]:4711";proto=https, for=10.9.9.9`, "10.0.0.1"},
		{"[::ffff:10.0.0.1]:1", "X-Forwarded-For", "203.0.113.5:80", "203.0.113.5"},
	} {
		req := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/jobs", strings.NewReader(`{"action":"noop"}`))
		req.RemoteAddr = c.peer
		req.Header.Set(c.header, c.value)
		req.Header.Set("X-API-KEY", w.keys[operator])
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		w.Config.Handler.ServeHTTP(rec, req)
		if rec.Code != http.StatusCreated {
			t.Fatalf("%d: %d %s", i, rec.Code, rec.Body)
		}
		var l hostler.List[hostler.Audit]
		w.mustDo(t, admin, "GET", "/api/v1/audit", "", &l)
		at := slices.IndexFunc(l.Items, func(a hostler.Audit) bool { return a.Verb == "job.run" })
		if got := l.Items[at].Remote; got != c.want {
			t.Errorf("%s with %s: %s: %q, want %q", c.peer, c.header, c.value, got, c.want)
		}
	}
}

// TestHealthDuringBlockedReads: slow requests, more of them than there are
// connections, do not make a server look as if its store were down.
func TestHealthDuringBlockedReads(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		reads, end := context.WithCancel(t.Context())
		holding := make(chan struct{}, 60)
		var wg sync.WaitGroup
		for range 60 {
			wg.Go(func() {
				_ = w.store.View(reads, func(*store.Tx) error {
					holding <- struct{}{}
					<-reads.Done()
					return nil
				})
			})
		}
		defer wg.Wait()
		defer end()
		for range 3 { // they fill what reads may have
			<-holding
		}
		for _, path := range []string{"/readyz", "/health"} {
			if a := w.do(t, nobody, "GET", path, ""); a.Status != http.StatusOK {
				t.Errorf("%s: %d %s", path, a.Status, a.Body)
			}
		}
	})
}
