package monitor

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
		"ok":                      {app.Vitals{Workers: []hostler.Worker{live}}, 0, ""},
		"no worker":               {app.Vitals{}, 0, "no worker is active"},
		"dead worker":             {app.Vitals{Workers: []hostler.Worker{{State: "dead"}}}, 0, "no worker is active"},
		"long wait":               {app.Vitals{Workers: []hostler.Worker{live}, Queues: []hostler.Queue{late}}, 0, "a job has waited"},
		"long wait, no free slot": {app.Vitals{Workers: []hostler.Worker{full}, Queues: []hostler.Queue{late}}, 0, ""},
		"long wait, paused":       {app.Vitals{Workers: []hostler.Worker{live}, Queues: []hostler.Queue{paused}}, 0, ""},
		"server errors":           {app.Vitals{Workers: []hostler.Worker{live}}, 0.02, "more than 1 %"},
		"full disk":               {app.Vitals{Workers: []hostler.Worker{live}, Store: app.StoreVitals{DiskFree: 0.04}}, 0, "less than 5 %"},
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
