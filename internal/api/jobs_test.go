package api_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

func (w *env) client(t *testing.T, as string) *client.Client {
	t.Helper()
	c, err := client.New(w.URL, w.keys[as])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIdempotencyKey(t *testing.T) {
	w := newEnv(t)
	post := func(key, body string) answer {
		req := w.request(t, operator, "POST", "/api/v1/jobs", body)
		req.Header.Set("Idempotency-Key", key)
		return w.send(t, req)
	}
	first, again := post("k1", `{"action":"noop"}`), post("k1", `{"action":"noop"}`)
	if first.Status != http.StatusCreated || again.Status != http.StatusCreated {
		t.Fatalf("%d %s, %d %s", first.Status, first.Body, again.Status, again.Body)
	}
	if first.Body != again.Body {
		t.Errorf("the second answer differs:\n%s\n%s", first.Body, again.Body)
	}
	if other := post("k1", `{"action":"noop","priority":1}`); other.Status/100 != 4 {
		t.Errorf("another request with the same key: %d", other.Status)
	}
	var l hostler.List[hostler.Job]
	w.mustDo(t, viewer, "GET", "/api/v1/jobs", "", &l)
	if len(l.Items) != 1 {
		t.Errorf("%d jobs, want 1", len(l.Items))
	}
}

func TestWait(t *testing.T) {
	w := newEnv(t)
	w.work(t)
	var made hostler.JobsCreated
	w.mustDo(t, operator, "POST", "/api/v1/jobs?wait=30s", `{"action":"noop"}`, &made)
	if made.Job == nil || made.Job.State != hostler.StateSucceeded {
		t.Errorf("after waiting: %+v", made.Job)
	}
	w.makeAsset(t, operator, "a1")
	w.makeAsset(t, operator, "a2")
	w.mustDo(t, operator, "POST", "/api/v1/jobs?wait=30s", `{"action":"noop","assets":["a1","a2"]}`, &made)
	var sum hostler.RunSummary
	w.mustDo(t, viewer, "GET", "/api/v1/runs/"+made.Run.String(), "", &sum)
	if !sum.Done || sum.Total != 2 {
		t.Errorf("after waiting for two: %+v", sum)
	}
	began := time.Now()
	a := w.mustDo(t, operator, "POST", "/api/v1/jobs?wait=200ms", `{"action":"noop","delay":"1h"}`, &made)
	if a.Status != http.StatusCreated || made.Job.State != hostler.StateScheduled || time.Since(began) < 200*time.Millisecond {
		t.Errorf("a wait that is over: %d %s after %v", a.Status, made.Job.State, time.Since(began))
	}
	if a := w.do(t, operator, "POST", "/api/v1/jobs?wait=61s", `{"action":"noop"}`); a.Status != 422 || a.problem(t).paths()[0] != "wait" {
		t.Errorf("a wait over the limit: %d %s", a.Status, a.Body)
	}
}

func TestWaitEndsWhenTheServerDrains(t *testing.T) {
	w := newEnv(t)
	close(w.draining)
	began := time.Now()
	w.mustDo(t, operator, "POST", "/api/v1/jobs?wait=60s", `{"action":"noop"}`, nil)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("held back for %v", took)
	}
	if a := w.do(t, nobody, "GET", "/readyz", ""); a.Status != http.StatusServiceUnavailable {
		t.Errorf("/readyz while draining: %d, want 503", a.Status)
	}
}

func TestFollow(t *testing.T) {
	w := newEnv(t)
	job := w.makeJob(t, operator)
	d := w.manualWorker(t)
	l := d.lease(t)
	d.appendLog(t, l, 1, "one\n", "two\n")

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []string
	var last int64
	for step, err := range w.client(t, viewer).Follow(ctx, job.ID, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if step.Job != nil {
			got = append(got, "end "+string(step.Job.State))
			break
		}
		got = append(got, step.Entry.Text)
		switch step.Entry.Text {
		case "two\n":
			last = step.Entry.Pos
			d.appendLog(t, l, 2, "three\n")
		case "three\n":
			d.report(t, l, hostler.OutcomeSucceeded)
		}
	}
	if diff := cmp.Diff([]string{"one\n", "two\n", "three\n", "end succeeded"}, got); diff != "" {
		t.Errorf("followed (-want +got):\n%s", diff)
	}

	t.Run("resumed", func(t *testing.T) {
		req := w.request(t, viewer, "GET", "/api/v1/jobs/"+job.ID.String()+"/log?follow=1", "")
		req.Header.Set("Last-Event-ID", positionText(last))
		a := w.send(t, req)
		if a.Header.Get("Content-Type") != "text/event-stream" || strings.Contains(a.Body, "two") ||
			!strings.Contains(a.Body, "event: line\nid: ") || !strings.Contains(a.Body, "three") || !strings.Contains(a.Body, "event: end\ndata: {") {
			t.Errorf("resumed: %s", a.Body)
		}
	})

	t.Run("as pages", func(t *testing.T) {
		var page hostler.List[hostler.LogEntry]
		w.mustDo(t, viewer, "GET", "/api/v1/jobs/"+job.ID.String()+"/log?limit=2", "", &page)
		if len(page.Items) != 2 || page.Next != positionText(last) {
			t.Errorf("first page: %+v", page)
		}
		w.mustDo(t, viewer, "GET", "/api/v1/jobs/"+job.ID.String()+"/log?after="+page.Next, "", &page)
		if len(page.Items) != 1 || page.Items[0].Text != "three\n" {
			t.Errorf("second page: %+v", page)
		}
		var tail hostler.List[hostler.LogEntry]
		w.mustDo(t, viewer, "GET", "/api/v1/jobs/"+job.ID.String()+"/log?tail=1", "", &tail)
		if len(tail.Items) != 1 || tail.Items[0].Text != "three\n" || tail.Next != "" {
			t.Errorf("tail: %+v", tail)
		}
	})

	t.Run("as text", func(t *testing.T) {
		a := w.mustDo(t, viewer, "GET", "/api/v1/jobs/"+job.ID.String()+"/log?format=text", "", nil)
		if a.Body != "one\ntwo\nthree\n" || a.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("text: %s %q", a.Header.Get("Content-Type"), a.Body)
		}
		if a := w.mustDo(t, viewer, "GET", "/api/v1/jobs/"+job.ID.String()+"/log?format=text&tail=2", "", nil); a.Body != "two\nthree\n" {
			t.Errorf("tail as text: %q", a.Body)
		}
	})
}

func positionText(pos int64) string { return strconv.FormatInt(pos, 10) }

func TestFollowEndsAtAnUnknownOutcome(t *testing.T) {
	w := newEnv(t)
	var made hostler.JobsCreated
	w.mustDo(t, operator, "POST", "/api/v1/jobs", `{"action":"noop","on_lost":"ask"}`, &made)
	d := w.manualWorker(t)
	d.report(t, d.lease(t), hostler.OutcomeUnknown)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for step, err := range w.client(t, viewer).Follow(ctx, made.Job.ID, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if step.Job == nil || step.Job.State != hostler.StateUnknown {
			t.Errorf("followed to %+v", step)
		}
	}
}

// Output that is followed ends with the key also while there is always more to send;
// so it does with the server.
func TestFollowOfMuchOutputEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(t *testing.T, w *env, key hostler.KeyID)
		want hostler.Code
	}{
		"with the key": {func(t *testing.T, w *env, key hostler.KeyID) {
			w.mustDo(t, admin, "DELETE", "/api/v1/keys/"+key.String(), "", nil)
		}, hostler.CodeUnauthenticated},
		"with the server": {func(_ *testing.T, w *env, _ hostler.KeyID) { close(w.draining) }, hostler.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			w := newEnv(t)
			job := w.makeJob(t, operator)
			d := w.manualWorker(t)
			d.appendMuch(t, d.lease(t))
			me, err := w.client(t, viewer).Me(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			noRetry, err := client.New(w.URL, w.keys[viewer], client.WithRetries(0))
			if err != nil {
				t.Fatal(err)
			}
			var end error
			got := 0
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			for _, err := range noRetry.Follow(ctx, job.ID, 0) {
				if end = err; err != nil {
					break
				}
				if got++; got == 1 {
					c.end(t, w, me.Key)
					<-time.After(600 * time.Millisecond) // a slow reader
				}
			}
			if hostler.CodeOf(end) != c.want || got == muchLines {
				t.Errorf("after %d of %d lines: %v, want %s", got, muchLines, end, c.want)
			}
		})
	}
}

// So does a download.
func TestDownloadEndsWithTheKey(t *testing.T) {
	w := newEnv(t)
	job := w.makeJob(t, operator)
	d := w.manualWorker(t)
	d.appendMuch(t, d.lease(t))
	me, err := w.client(t, viewer).Me(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	res, err := w.Client().Do(w.request(t, viewer, "GET", "/api/v1/jobs/"+job.ID.String()+"/log?format=text", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	w.mustDo(t, admin, "DELETE", "/api/v1/keys/"+me.Key.String(), "", nil)
	if n, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Errorf("all %d bytes came", n)
	}
}

// muchLines of 200 bytes are more than the buffers between two processes take.
const muchLines = 80_000

func (d *manualWorker) appendMuch(t *testing.T, l hostler.Lease) {
	t.Helper()
	lines := slices.Repeat([]string{strings.Repeat("x", 200) + "\n"}, 2000)
	for seq := range muchLines / len(lines) {
		d.appendLog(t, l, seq+1, lines...)
	}
}

func TestJobFilters(t *testing.T) {
	w := newEnv(t)
	w.makeAsset(t, operator, "a1")
	w.mustDo(t, admin, "PUT", "/api/v1/queues/q1", `{}`, nil)
	w.mustDo(t, operator, "POST", "/api/v1/jobs", `{"action":"noop","assets":["a1"],"queue":"q1"}`, nil)
	w.mustDo(t, operator, "POST", "/api/v1/jobs", `{"action":"noop","delay":"1h"}`, nil)
	count := func(query string) int {
		t.Helper()
		var l hostler.List[hostler.Job]
		w.mustDo(t, viewer, "GET", "/api/v1/jobs?"+query, "", &l)
		return len(l.Items)
	}
	for query, want := range map[string]int{
		"": 2, "states=queued": 1, "states=queued,scheduled": 2, "states=failed": 0, "queue=q1": 1, "asset=a1": 1,
		"action=noop": 2, "action=check_port": 0, "since=2020-01-01T00:00:00Z": 2, "until=2020-01-01T00:00:00Z": 0, "limit=1": 1,
	} {
		if got := count(query); got != want {
			t.Errorf("%q: %d jobs, want %d", query, got, want)
		}
	}
	w.mustDo(t, operator, "PUT", "/api/v1/assets/a1", `{"name":"a1","address":"192.0.2.1","labels":{"role":"web"}}`, nil)
	for query, want := range map[string]int{"label=role%3Dweb": 1, "label=role%3Ddb": 0, "label=role%3Dweb&label=x%3Dy": 0} {
		var l hostler.List[hostler.Asset]
		w.mustDo(t, viewer, "GET", "/api/v1/assets?"+query, "", &l)
		if len(l.Items) != want {
			t.Errorf("%q: %d assets, want %d", query, len(l.Items), want)
		}
	}
}
