package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/engine"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// leased is the answer to a lease request.
type leased struct {
	leases []hostler.Lease
	err    error
}

// leaseLater sends a lease request, and returns when it waits.
func (e *env) leaseLater(ctx context.Context, w hostler.WorkerID, n int) <-chan leased {
	e.t.Helper()
	out := make(chan leased, 1)
	go func() {
		l, err := e.engine.Lease(ctx, hostler.LeaseRequest{Worker: w, Slots: n, Wait: time.Minute})
		out <- leased{l, err}
	}()
	for tick := time.Tick(time.Millisecond); !e.engine.Waits(w); {
		<-tick
	}
	return out
}

// inLane returns the specs of n jobs in one lane.
func (e *env) inLane(n int) []hostler.JobSpec {
	specs := make([]hostler.JobSpec, n)
	for i := range specs {
		specs[i] = e.spec()
		specs[i].LaneKey, specs[i].LaneLimit = "device:a", 1
	}
	return specs
}

// TestReportLeasesTheNextJob shows that the transaction of a report leases the job that
// follows in the lane: it runs when the report is acknowledged, unless the request was
// just claiming itself.
func TestReportLeasesTheNextJob(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env, _ *storetest.Harness) {
		const jobs = 9
		ids := e.enqueue(e.inLane(jobs)...)
		w := e.register()
		next, direct := e.lease(w, 10), 0
		for _, id := range ids[1:] {
			waiting := e.leaseLater(t.Context(), w, 10)
			if acks, err := e.succeed(w, next[0]); err != nil || acks[0] != nil {
				t.Fatal(acks, err)
			}
			if j := e.job(id); j.State == hostler.StateRunning && j.Worker == w {
				direct++
			}
			e.wantInvariants()
			got := <-waiting
			if next = got.leases; got.err != nil || len(next) != 1 || next[0].Job != id {
				t.Fatalf("got %+v, want a lease of %v", got, id)
			}
		}
		if acks, err := e.succeed(w, next[0]); err != nil || acks[0] != nil {
			t.Fatal(acks, err)
		}
		if direct == 0 {
			t.Errorf("none of %d reports leased the next job", jobs-1)
		}
		e.wantInvariants()
	})
}

// TestReportKeepsToTheSlots shows that a report leases no more jobs than the worker asked
// for, none without a request, and none of a queue with a limit, which claims lock.
func TestReportKeepsToTheSlots(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env, _ *storetest.Harness) {
		state := func(id hostler.JobID, want hostler.State) {
			t.Helper()
			if got := e.job(id).State; got != want {
				t.Errorf("job %v is %s, want %s", id, got, want)
			}
		}
		specs := e.inLane(2)
		for i := range specs {
			specs[i].LaneLimit = 2
		}
		e.enqueue(specs...)
		w := e.register()
		held := e.lease(w, 10)
		ids := e.enqueue(e.inLane(3)...)
		waiting := e.leaseLater(t.Context(), w, 1)
		for _, l := range held {
			if _, err := e.succeed(w, l); err != nil {
				t.Fatal(err)
			}
		}
		got := <-waiting
		if len(got.leases) != 1 || got.leases[0].Job != ids[0] {
			t.Fatalf("got %+v, want one lease", got)
		}
		limit := 5
		e.tx(func(tx *store.Tx) error {
			_, err := tx.SetQueue("default", store.QueueSettings{Limit: &limit})
			return err
		})
		if _, err := e.succeed(w, got.leases[0]); err != nil {
			t.Fatal(err)
		}
		state(ids[1], hostler.StateQueued) // nobody waits
		second := e.lease(w, 10)
		waiting = e.leaseLater(t.Context(), w, 10)
		if _, err := e.succeed(w, second[0]); err != nil {
			t.Fatal(err)
		}
		if got := <-waiting; len(got.leases) != 1 || got.leases[0].Job != ids[2] {
			t.Fatalf("got %+v, want the last job, by a claim of its own", got)
		}
		e.wantInvariants()
	})
}

// TestEndedRequestReturnsWhatAReportLeased shows that no lease is lost when the request
// ends while a report has its turn: the worker would have to hand the job back without
// knowing of it.
func TestEndedRequestReturnsWhatAReportLeased(t *testing.T) {
	for _, fail := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		turn := engine.OpenTurn()
		if !turn.Take() || turn.Take() {
			t.Fatal("one transaction has the turn")
		}
		cancel()
		ended := make(chan []hostler.Lease, 1)
		go func() { ended <- turn.End() }()
		var err error
		if fail {
			err = errors.New("rolled back")
		}
		turn.Deliver(ctx, []hostler.Lease{{LeaseRef: hostler.LeaseRef{Job: 7}}}, err)
		if got := <-ended; len(got) == 1 == fail {
			t.Errorf("the transaction failed: %v, leases %+v", fail, got)
		}
	}
}
