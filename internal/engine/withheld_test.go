package engine_test

import (
	"fmt"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// TestWithheldInAnyGroup lets a project use all slots of a worker but the one that is kept
// for others, while it has jobs in as many queues as one claim looks at: the claim that
// finds nothing after these does not forget them, so that they start with the next report.
func TestWithheldInAnyGroup(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env, _ *storetest.Harness) {
		e.tx(func(tx *store.Tx) error {
			_, err := tx.InsertProject("other")
			return err
		})
		w := e.register()
		specs := make([]hostler.JobSpec, 10)
		for i := range specs {
			specs[i] = e.spec()
		}
		e.enqueue(specs[:9]...)
		leases := e.lease(w, 10)
		if len(leases) != 9 {
			t.Fatalf("%d jobs run, want 9 of 10 slots", len(leases))
		}
		specs = make([]hostler.JobSpec, 32)
		for i := range specs {
			specs[i] = e.spec()
			specs[i].Queue = fmt.Sprintf("q%02d", i)
			e.tx(func(tx *store.Tx) error {
				_, err := tx.SetQueue(specs[i].Queue, store.QueueSettings{})
				return err
			})
		}
		e.enqueue(specs...)
		req := hostler.LeaseRequest{Worker: w, Slots: 1, Wait: time.Millisecond}
		got, err := e.engine.Lease(t.Context(), req)
		if err != nil || len(got) > 0 {
			t.Fatalf("the kept slot: %d jobs, %v", len(got), err)
		}
		if !e.engine.Withheld() {
			t.Error("the jobs that were withheld are forgotten: they wait for the next poll")
		}
	})
}
