package app_test

import (
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// TestSchedulesSlowDown: while the workers are loaded, a schedule fires less often, also one of
// cron; it returns to its pace only when the load is well below the threshold.
func TestSchedulesSlowDown(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		slow := func(in *hostler.ScheduleInput) {
			in.SlowDown = &hostler.SlowDown{When: "cpu > 80 or slots > 90", Every: hostler.Duration(5 * time.Minute)}
		}
		w.put(t, w.operator, "every", everyMinute(slow))
		w.put(t, w.operator, "cron", everyMinute(slow, func(in *hostler.ScheduleInput) {
			in.Trigger = hostler.Trigger{Cron: "* * * * *"}
		}))
		k := w.worker(t)
		pass := func(minutes int, cpu float64) {
			for range minutes {
				w.tx(t, func(tx *store.Tx) error {
					_, _, err := tx.Heartbeat(hostler.Heartbeat{Worker: k.id, LoadPercent: cpu})
					return err
				})
				w.h.Advance(time.Minute)
				w.fire(t)
				k.finish(t, k.lease(t, 100), hostler.OutcomeSucceeded)
			}
		}
		want := "started started"
		pass(2, 50)
		pass(7, 90) // the fifth after the last that ran runs
		want += " skipped*4 started skipped*2"
		pass(1, 77) // 1.1 times that is above the threshold
		want = want[:len(want)-1] + "3"
		pass(2, 20)
		want += " started started"
		for _, name := range []string{"every", "cron"} {
			w.wantStates(t, name, want)
		}
		for _, when := range []string{"", "cpu >", "memory > 3", "cpu"} {
			in := everyMinute(slow)
			in.SlowDown.When = when
			_, err := w.PutSchedule(t.Context(), w.operator, "x", in)
			wantPath(t, err, "slow_down.when")
		}
	})
}
