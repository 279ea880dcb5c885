package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
)

func TestTraffic(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	tr := newTraffic(func() time.Time { return now })
	for range 98 {
		tr.add(200, 3*time.Millisecond)
	}
	tr.add(503, time.Second)
	tr.add(404, time.Second)
	now = now.Add(10 * time.Second)
	got := tr.report()
	want := TrafficHealth{RequestsPS: 10, P95MS: 4, ErrorRate: 0.01}
	if got != want {
		t.Errorf("report %+v, want %+v", got, want)
	}
	now = now.Add(windowSlots * slotTime)
	if got := tr.report(); got != (TrafficHealth{}) {
		t.Errorf("after the window: %+v, want nothing", got)
	}
	tr.add(500, 2*time.Hour)
	if got := tr.report(); got.ErrorRate != 1 || got.P95MS != 16384 {
		t.Errorf("a slow fault: %+v", got)
	}
}

func TestVitalsAreBoundedAndShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		hang := make(chan struct{})
		c := cached[int64]{fetch: func(context.Context) (int64, error) {
			n := calls.Add(1)
			if n == 1 {
				<-hang // and does not look at its context
			}
			return n, nil
		}}
		began := time.Now()
		if _, err := c.get(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != checkTime {
			t.Errorf("a hanging store: %v after %v, want a deadline after %v", err, time.Since(began), checkTime)
		}
		close(hang)
		time.Sleep(checkEvery) //nolint:forbidigo // the bubble's clock
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if v, err := c.get(t.Context()); v != 2 || err != nil {
					t.Errorf("got %d, %v", v, err)
				}
			})
		}
		all.Wait()
		if n := calls.Load(); n != 2 {
			t.Errorf("%d looks at the store, want 2", n)
		}
	})
}

func TestDiagnosis(t *testing.T) {
	live := hostler.Worker{State: "busy", Slots: 2, Running: 1, LastHeartbeat: time.Now()}
	full := hostler.Worker{State: "busy", Slots: 1, Running: 1}
	late := hostler.Queue{Name: "q", Queued: 1, OldestWait: 301}
	paused := late
	paused.Paused = true
	for name, c := range map[string]struct {
		vitals app.Vitals
		faulty float64
		want   string
	}{
		"ok":                 {app.Vitals{Workers: []hostler.Worker{live}}, 0, ""},
		"no worker":          {app.Vitals{}, 0, "no worker is active"},
		"dead worker":        {app.Vitals{Workers: []hostler.Worker{{State: "dead"}}}, 0, "no worker is active"},
		"long wait":          {app.Vitals{Workers: []hostler.Worker{live}, Queues: []hostler.Queue{late}}, 0, "a job waits"},
		"long wait, no room": {app.Vitals{Workers: []hostler.Worker{full}, Queues: []hostler.Queue{late}}, 0, ""},
		"long wait, paused":  {app.Vitals{Workers: []hostler.Worker{live}, Queues: []hostler.Queue{paused}}, 0, ""},
		"server errors":      {app.Vitals{Workers: []hostler.Worker{live}}, 0.02, "more than 1 %"},
		"full disk":          {app.Vitals{Workers: []hostler.Worker{live}, Store: app.StoreVitals{DiskFree: 0.04}}, 0, "less than 5 %"},
	} {
		if c.vitals.Store.DiskFree == 0 {
			c.vitals.Store.DiskFree = 0.5
		}
		h := diagnose(TrafficHealth{ErrorRate: c.faulty}, c.vitals, nil)
		got := ""
		if len(h.Reasons) > 0 {
			got = h.Reasons[0].EN
		}
		if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") || (h.Status == "ok") != (c.want == "") {
			t.Errorf("%s: %s %q, want %q", name, h.Status, got, c.want)
		}
	}
}

func TestPanicBecomesAProblem(t *testing.T) {
	log := &strings.Builder{}
	s := &server{
		log: slog.New(slog.NewTextHandler(log, nil)), traffic: newTraffic(time.Now),
		metrics: newMetrics("test", "sqlite", nil),
	}
	h := s.outermost(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret-cause") }))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/jobs", nil))
	if rec.Code != 500 || !strings.Contains(rec.Body.String(), `"code":"internal"`) || strings.Contains(rec.Body.String(), "secret-cause") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if !strings.Contains(log.String(), "secret-cause") {
		t.Error("the log does not have the cause")
	}
}

// stuck is the connection of a client that does not read.
type stuck struct {
	*httptest.ResponseRecorder
	deadline time.Time
	writes   int
}

func (s *stuck) SetWriteDeadline(t time.Time) error { s.deadline = t; return nil }

func (s *stuck) Write([]byte) (int, error) {
	s.writes++
	return 0, os.ErrDeadlineExceeded
}

func (s *stuck) WriteString(text string) (int, error) { return s.Write([]byte(text)) }

func TestSlowClientIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuck{ResponseRecorder: httptest.NewRecorder()}
		const wait = 20 * time.Second
		out := (&server{cfg: Config{StreamWait: wait}}).newStream(w)
		out.write("one")
		if want := time.Now().Add(wait); !w.deadline.Equal(want) {
			t.Errorf("deadline %v, want %v", w.deadline, want)
		}
		out.write("two")
		if out.flush() || w.writes != 1 {
			t.Errorf("after a failed write: flush %v, %d writes", out.flush(), w.writes)
		}
	})
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := httptest.NewRecorder()
		f := follow{out: (&server{cfg: Config{StreamWait: time.Second}}).newStream(rec), beat: time.Now()}
		f.keepAlive()
		if rec.Body.Len() != 0 {
			t.Errorf("at once: %q", rec.Body)
		}
		time.Sleep(heartbeat) //nolint:forbidigo // the bubble's clock
		if !f.keepAlive() || !strings.HasPrefix(rec.Body.String(), ": ") || !rec.Flushed {
			t.Errorf("after %v: %q", heartbeat, rec.Body)
		}
	})
}

func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,"x",null,{"b":true}]}`, `[`, `{"a":1,"a":2}`, "\xff", `"\u0000"`, `1e999`, `{"a":{}} x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := checkJSON("application/json", b)
		var v any
		if parsed := unmarshal(b, &v); err == nil && parsed != nil {
			t.Errorf("%q is let through, and then not read: %v", b, parsed)
		}
		if c := hostler.CodeOf(err); err != nil && c != hostler.CodeMalformed && c != hostler.CodeInvalid {
			t.Errorf("%q: %v", b, err)
		}
	})
}

func FuzzClientAddr(f *testing.F) {
	f.Add("10.0.0.1:5", "1.2.3.4", `for="[::1]"`)
	f.Add("", ",,", "for=;=;")
	f.Fuzz(func(t *testing.T, peer, xff, fwd string) {
		r := &http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": {xff}}}
		if fwd != "" {
			r.Header.Set("Forwarded", fwd)
		}
		if got := clientAddr(r, nil); strings.Contains(got, "/") && !strings.Contains(peer, "/") {
			t.Errorf("made up %q", got)
		}
	})
}

func TestErrorsRepeatNoValue(t *testing.T) {
	const canary = "c4nary"
	var into struct {
		Port  int            `json:"port"`
		When  time.Time      `json:"when"`
		Inner map[string]int `json:"inner"`
		ID    hostler.JobID  `json:"id"`
	}
	for _, body := range []string{
		`{"port":"` + canary + `"}`, `{"when":"` + canary + `"}`, `{"inner":{"` + canary + `":"x"}}`,
		`{"id":"` + canary + `"}`, canary, `{"` + canary + `":`,
	} {
		if err := unmarshal([]byte(body), &into); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", body, err)
		}
		if err := checkJSON("application/json", []byte(body)); err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", body, err)
		}
	}
	f := humaField(&huma.ErrorDetail{Message: "invalid URL " + canary, Location: "body.port", Value: canary})
	if f.Path != "port" || strings.Contains(f.Text.EN+f.Text.ZH, canary) {
		t.Errorf("a rule of Huma's that is not known: %+v", f)
	}
	p := newProblem(toError(errors.New(canary)), hostler.LangEN, native)
	if b, err := json.Marshal(p); err != nil || strings.Contains(string(b), canary) {
		t.Errorf("an error of ours: %s, %v", b, err)
	}
}

func TestHarden(t *testing.T) {
	var srv http.Server
	Harden(&srv)
	if srv.ReadHeaderTimeout == 0 || srv.IdleTimeout == 0 || srv.MaxHeaderBytes == 0 {
		t.Errorf("no limits: %+v", &srv)
	}
	if srv.ReadTimeout != 0 || srv.WriteTimeout != 0 {
		t.Error("limits that would end followed output")
	}
}

// A listener that has kept up and falls far behind is told so; one that only
// catches up is left alone.
func TestListenerThatFallsBehind(t *testing.T) {
	s := &server{log: slog.New(slog.DiscardHandler), cfg: Config{StreamWait: time.Second}}
	w := httptest.NewRecorder()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, prefix+"/events", nil)
	l := listener{follow: follow{call: call{server: s, request: req}, out: s.newStream(w)}}
	for _, behind := range []int64{5 * mostBehind, mostBehind, 0, mostBehind} {
		if !l.keepUp(app.EventBatch{Behind: behind}) {
			t.Fatalf("cut off at %d", behind)
		}
	}
	if l.keepUp(app.EventBatch{Behind: mostBehind + 1}) {
		t.Error("it goes on")
	}
	if got := w.Body.String(); !strings.HasPrefix(got, "event: error\ndata: {") || !strings.Contains(got, "reads too slowly") {
		t.Errorf("it was told %q", got)
	}
}
