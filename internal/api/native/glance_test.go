package native

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hostler.dev/hostler/internal/api/rest"
)

// lookedAt is a job of a test.
type lookedAt struct {
	looks, last atomic.Int64
	ended, gone atomic.Bool
}

func (j *lookedAt) look() (int64, bool, error) {
	j.looks.Add(1)
	if j.gone.Load() {
		return 0, false, errors.New("no right")
	}
	return j.last.Load(), j.ended.Load(), nil
}

// TestFollowersShareTheirLooks: 256 followers of a silent job cost as many reads as one, none
// of them does anything in between, and each notices what is new.
func TestFollowersShareTheirLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const span = 10 * time.Second
		var all glances
		var job lookedAt
		job.last.Store(7)
		var noticed atomic.Int64
		follow := func(g *sync.WaitGroup, atMost time.Duration) {
			g.Go(func() {
				one, leave := all.join(1)
				defer leave()
				if one.await(t.Context(), 7, nil, atMost, job.look) {
					noticed.Add(1)
				}
			})
		}
		first, leave := all.join(1)
		if err := first.update(job.look); err != nil {
			t.Fatal(err)
		}
		var g sync.WaitGroup
		for n := range 256 {
			follow(&g, time.Duration(n)*time.Millisecond) // one after the other is the one that looks, until its heartbeat is due
		}
		for range 256 {
			follow(&g, time.Hour)
		}
		start := time.Now()
		timer := time.AfterFunc(span, func() { job.last.Store(8) })
		defer timer.Stop()
		g.Wait()
		leave()
		if took := time.Since(start); took > span+2*rest.RenewEvery || noticed.Load() != 256 {
			t.Errorf("%d followers noticed a line after %v", noticed.Load(), took)
		}
		if most := int64(span/(rest.RenewEvery/2)) + 256; job.looks.Load() > most {
			t.Errorf("%d looks in %v, want at most %d", job.looks.Load(), span, most)
		}
		if len(all.all) != 0 {
			t.Errorf("%d jobs in memory that nobody follows", len(all.all))
		}
	})
}

// TestAwaitEnds: a follower notices an end, the failure of its own look, and a change of its
// caller, and it does not spin on a line that it cannot read.
func TestAwaitEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		after int64
		event func(j *lookedAt, change chan struct{})
	}{
		"end":     {7, func(j *lookedAt, _ chan struct{}) { j.ended.Store(true) }},
		"failure": {7, func(j *lookedAt, _ chan struct{}) { j.gone.Store(true) }},
		"caller":  {7, func(_ *lookedAt, change chan struct{}) { close(change) }},
		"old":     {6, func(*lookedAt, chan struct{}) {}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var all glances
			var job lookedAt
			job.last.Store(7)
			one, leave := all.join(1)
			defer leave()
			change := make(chan struct{})
			if err := one.update(job.look); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			tt.event(&job, change)
			if !one.await(t.Context(), tt.after, change, time.Hour, job.look) {
				t.Errorf("%s: nothing was noticed", name)
			}
			took := time.Since(start)
			if took > rest.RenewEvery || name == "old" && took != firstLook {
				t.Errorf("%s: noticed after %v", name, took)
			}
		})
	}
}
