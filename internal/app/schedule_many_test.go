package app_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// manySchedules is how many schedules the simulation has; HOSTLER_SCHEDULES=100000 is the
// size that a large installation has.
func manySchedules(t *testing.T, small int) int {
	t.Helper()
	text := os.Getenv("HOSTLER_SCHEDULES")
	if text == "" {
		return small
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// copySchedule stores n copies of a schedule, each with an instant somewhat later than the one
// before.
func (w *env) copySchedule(t *testing.T, of hostler.Schedule, n int, apart time.Duration) {
	t.Helper()
	const chunk = 500
	for from := 0; from < n; from += chunk {
		err := w.h.Store.InTx(t.Context(), func(tx *store.Tx) error {
			row, err := tx.ScheduleByID(of.ID)
			if err != nil {
				return err
			}
			at := row.NextAt
			for i := from; i < min(n, from+chunk); i++ {
				id, err := tx.NewID()
				if err != nil {
					return err
				}
				row.ID, row.Name = hostler.ScheduleID(id), fmt.Sprintf("copy-%d", i)
				row.NextAt = at.Add(time.Duration(i) * apart)
				row.LookAt = row.NextAt
				row.Trigger.Start = &row.NextAt
				if _, err := tx.InsertSchedule(*row); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestManySchedules: three servers fire many schedules in simulated time, while the clock
// steps and the calls of servers are cut off at any point, and after a week without a server:
// no instant is fired twice, and none is missing without a record.
func TestManySchedules(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		w := newEnv(t, h)
		w.asset(t, hostler.AssetInput{Name: "web1"})
		n := manySchedules(t, 60)
		hour := func(coalesce bool) func(in *hostler.ScheduleInput) {
			return func(in *hostler.ScheduleInput) {
				grace := hostler.Duration(10 * time.Minute)
				in.Trigger.Interval, in.MaxInstances, in.Coalesce, in.MisfireGrace = hostler.Duration(time.Hour), 100, &coalesce, &grace
			}
		}
		first := w.put(t, w.operator, "first", everyMinute(hour(true)))
		each := w.put(t, w.operator, "each", everyMinute(hour(false)))
		begin := w.h.Now()
		apart := time.Hour / time.Duration(n+1)
		w.copySchedule(t, first, n, apart)
		servers := []*app.App{w.App, app.New(w.cfg), app.New(w.cfg)}
		look := func(cut bool) {
			var all sync.WaitGroup
			for i, s := range servers {
				all.Go(func() {
					ctx := t.Context()
					if cut && i > 0 { // as if it was killed
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, time.Duration(i)*3*time.Millisecond)
						defer cancel()
					}
					for {
						next, err := s.FireSchedules(ctx)
						if ctx.Err() != nil {
							return
						}
						if err != nil {
							t.Error(err)
							return
						}
						if next.IsZero() || next.After(w.h.Now()) {
							return
						}
					}
				})
			}
			all.Wait()
		}
		steps := []time.Duration{
			time.Hour, 30 * time.Minute, -20 * time.Minute, 50 * time.Minute, time.Hour, 7 * 24 * time.Hour, 30 * time.Minute,
		}
		for i, step := range steps {
			const slice = 5 * time.Minute // within the grace, but for the week
			for left := step; left != 0; {
				d := left
				if step < 24*time.Hour && step > 0 {
					d = min(left, max(slice, apart))
				}
				w.h.Advance(d)
				left -= d
				look(i%2 == 1)
			}
			look(false)
		}
		w.wantNoGaps(t, first.Name, begin)
		w.wantNoGaps(t, each.Name, begin)
		for i := 0; i < n; i += max(1, n/50) {
			w.wantNoGaps(t, fmt.Sprintf("copy-%d", i), time.Time{})
		}
	})
}

// wantNoGaps checks that the instants of an hourly schedule are recorded without a gap and
// without one twice, from its first to the last that was due.
func (w *env) wantNoGaps(t *testing.T, name string, begin time.Time) {
	t.Helper()
	var next time.Time
	if !begin.IsZero() {
		next = begin.Add(time.Hour)
	}
	fires := w.fires(t, name)
	for _, f := range fires {
		if !next.IsZero() && !f.At.Equal(next.Truncate(time.Microsecond)) {
			t.Errorf("%s: an instant at %s, want %s", name, f.At, next)
			return
		}
		last := f.At
		if f.Until != nil {
			last = *f.Until
		}
		if want := int(last.Sub(f.At)/time.Hour) + 1; f.Count != want {
			t.Errorf("%s: %d instants from %s to %s", name, f.Count, f.At, last)
		}
		if f.State != hostler.FireStarted && f.Reason == nil {
			t.Errorf("%s: no reason in %+v", name, f)
		}
		next = last.Add(time.Hour)
	}
	if now := w.h.Now(); len(fires) < 3 || !next.After(now) {
		t.Errorf("%s: %d fires, and %s is due", name, len(fires), next)
	}
}
