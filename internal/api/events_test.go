package api_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/api"
	"hostler.dev/hostler/internal/store"
)

// sdk is the Go client of a person.
func (w *env) sdk(t *testing.T, as string) *client.Client {
	t.Helper()
	c, err := client.New(w.URL, w.keys[as], client.WithRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// receive returns the first n events of a stream, and the position of the last one.
func (w *env) receive(t *testing.T, as string, q hostler.EventFilter, after int64, n int) (received []string, last int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for s, err := range w.sdk(t, as).Events(ctx, q, after) {
		if err != nil {
			t.Fatalf("%q received %v, then %v", as, received, err)
		}
		received, last = append(received, string(s.Event.Type)), s.Event.Pos
		if len(received) == n {
			break
		}
	}
	return received, last
}

func TestEvents(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.makeAsset(t, operator, "web1")
		w.makeAsset(t, stranger, "theirs")
		w.mustDo(t, admin, "POST", "/api/v1/credentials", `{"name":"pw","kind":"password","username":"u","password":"canary-9c1"}`, nil)
		w.mustDo(t, admin, "POST", "/api/v1/queues/default/pause", "", nil)
		w.mustDo(t, operator, "POST", "/api/v1/jobs", `{"action":"noop","assets":["web1"]}`, nil)
		job := w.makeJob(t, operator)
		w.makeJob(t, stranger)
		w.mustDo(t, operator, "POST", "/api/v1/jobs/"+job.ID.String()+"/cancel", "", nil)

		all := []string{"asset.created", "credential.created", "queue.paused", "job.queued", "job.queued", "job.cancelled"}
		got, last := w.receive(t, viewer, hostler.EventFilter{}, 0, len(all))
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("a viewer receives (-want +got):\n%s", diff)
		}
		got, _ = w.receive(t, stranger, hostler.EventFilter{}, 0, 3)
		if diff := cmp.Diff([]string{"asset.created", "queue.paused", "job.queued"}, got); diff != "" {
			t.Errorf("a stranger receives (-want +got):\n%s", diff)
		}
		for name, c := range map[string]struct {
			q    hostler.EventFilter
			want []string
		}{
			"pattern": {hostler.EventFilter{Types: []string{"asset.*", "queue.paused"}}, []string{"asset.created", "queue.paused"}},
			"job":     {hostler.EventFilter{Job: job.ID}, []string{"job.queued", "job.cancelled"}},
			"run":     {hostler.EventFilter{Run: job.Run, Types: []string{"job.cancelled"}}, []string{"job.cancelled"}},
			"asset":   {hostler.EventFilter{Asset: "web1"}, []string{"job.queued"}},
			"action":  {hostler.EventFilter{Action: "noop"}, []string{"job.queued", "job.queued", "job.cancelled"}},
		} {
			got, _ := w.receive(t, viewer, c.q, 0, len(c.want))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: (-want +got):\n%s", name, diff)
			}
			var stored []string
			for s, err := range w.sdk(t, viewer).StoredEvents(t.Context(), c.q, 0) {
				if err != nil {
					t.Fatal(err)
				}
				stored = append(stored, string(s.Event.Type))
			}
			if diff := cmp.Diff(c.want, stored); diff != "" {
				t.Errorf("%s, as pages: (-want +got):\n%s", name, diff)
			}
		}
		// Resuming goes on behind the last one.
		w.mustDo(t, admin, "POST", "/api/v1/queues/default/resume", "", nil)
		got, _ = w.receive(t, viewer, hostler.EventFilter{}, last, 1)
		if diff := cmp.Diff([]string{"queue.resumed"}, got); diff != "" {
			t.Errorf("resumed (-want +got):\n%s", diff)
		}
	})
}

func TestBadEventQueries(t *testing.T) {
	w := newEnv(t)
	for query, field := range map[string]string{
		"type=job.exploded": "type", "run=job_00000000001": "run", "after=-2": "after", "format=xml": "format",
		"limit=0&format=json": "limit", "unknown=1": "unknown",
	} {
		a := w.do(t, viewer, "GET", "/api/v1/events?"+query, "")
		if a.Status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", query, a.Status, a.Body)
			continue
		}
		if paths := a.problem(t).paths(); len(paths) != 1 || paths[0] != field {
			t.Errorf("%s: the problem names %v, want %s", query, paths, field)
		}
	}
	req := w.request(t, viewer, "GET", "/api/v1/events", "")
	req.Header.Set("Last-Event-ID", "yesterday")
	if a := w.send(t, req); a.Status != http.StatusUnprocessableEntity {
		t.Errorf("a position that is none: %d %s", a.Status, a.Body)
	}
}

// A position that the database never reached, as after a restore, is reported as a
// gap.
func TestEventsAfterARestore(t *testing.T) {
	w := newEnv(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, pos := range []int64{4711, math.MaxInt64} {
		for s, err := range w.sdk(t, viewer).Events(ctx, hostler.EventFilter{}, pos) {
			if err != nil {
				t.Fatal(err)
			}
			if s.Missed != -1 {
				t.Errorf("behind %d: first step %+v, want a gap of unknown size", pos, s)
			}
			break
		}
	}
}

// A stream begins with its position, so that a client which is cut off before
// the first event resumes where it was.
func TestStreamBeginsWithItsPosition(t *testing.T) {
	w := newEnv(t)
	w.makeAsset(t, operator, "web1")
	_, last := w.receive(t, viewer, hostler.EventFilter{}, 0, 1)
	for query, want := range map[string]int64{"": last, "?after=0": 0, "?after=4711": last} {
		res, err := w.Client().Do(w.request(t, viewer, "GET", "/api/v1/events"+query, ""))
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("retry: 1000\nid: %d\n\n", want)
		got := make([]byte, len(want))
		_, err = io.ReadFull(res.Body, got)
		res.Body.Close()
		if err != nil || string(got) != want {
			t.Errorf("%q begins with %q, %v; want %q", query, got, err, want)
		}
	}
}

func TestEventTypes(t *testing.T) {
	w := newEnv(t)
	types, err := w.sdk(t, viewer).EventTypes(t.Context())
	if err != nil || len(types) != len(hostler.EventTypes()) {
		t.Errorf("%d types, %v; want %d", len(types), err, len(hostler.EventTypes()))
	}
	for _, e := range types {
		if e.Text.EN == "" || e.Text.ZH == "" {
			t.Errorf("%s has no text: %s", e.Type, fmt.Sprint(e.Text))
		}
	}
}

// A client that does not read is disconnected; others receive everything meanwhile.
func TestDeafListenerIsCutOff(t *testing.T) {
	w := newEnv(t, func(c *api.Config) { c.Listeners, c.StreamWait = 4, 300*time.Millisecond })
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", w.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /api/v1/events HTTP/1.1\r\nHost: %s\r\nX-API-Key: %s\r\n\r\n", w.Listener.Addr(), w.keys[viewer])
	first := make([]byte, 15)
	if _, err := io.ReadFull(conn, first); err != nil || string(first) != "HTTP/1.1 200 OK" {
		t.Fatalf("the stream begins with %q, %v", first, err)
	}
	const events = 40_000 // more than the buffers between take
	received := make(chan int, 1)
	go func() {
		got, _ := w.receive(t, viewer, hostler.EventFilter{}, 0, events)
		received <- len(got)
	}()
	for range events / 2000 {
		err := w.store.InTx(t.Context(), func(tx *store.Tx) error {
			for range 2000 {
				tx.Emit(0, hostler.EventQueueUpdated, hostler.ObjectEvent{Object: strings.Repeat("q", 200)})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := <-received; n != events {
		t.Errorf("the other one received %d events", n)
	}
	eventually(t, "the stream of the client that does not read is released", func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		one, err := w.Client().Do(w.request(t, viewer, "GET", "/api/v1/events", "").WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		defer one.Body.Close()
		two, err := w.Client().Do(w.request(t, viewer, "GET", "/api/v1/events", "").WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		defer two.Body.Close()
		return one.StatusCode == http.StatusOK && two.StatusCode == http.StatusOK
	})
}
