package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/engine"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/sqlite"
)

// A worker registers, leases a job, and reports its result.
func Example() {
	ctx := context.Background()
	st, stop := openStore(ctx)
	defer stop()
	e := newEngine(st)
	job := enqueue(ctx, st, hostler.OnLostRetry)

	worker, err := e.Register(ctx, hostler.WorkerInfo{Name: "w1", Queues: []string{"default"}, Slots: 2})
	check(err)
	leases, err := e.Lease(ctx, hostler.LeaseRequest{Worker: worker, Slots: 2, Wait: time.Second})
	check(err)
	for _, l := range leases {
		fmt.Println("leased:", l.Job == job, "attempt", l.Attempt, "of", l.Action)
	}
	fmt.Println("state:", state(ctx, st, job))

	_, err = e.Heartbeat(ctx, hostler.Heartbeat{Worker: worker, Held: []hostler.LeaseRef{leases[0].LeaseRef}})
	check(err)
	report := hostler.Report{
		LeaseRef: leases[0].LeaseRef, Attempt: leases[0].Attempt,
		Outcome: hostler.OutcomeSucceeded, Result: []byte(`{"open":true}`),
	}
	acks, err := e.Report(ctx, worker, []hostler.Report{report})
	check(err)
	fmt.Println("acknowledged:", acks[0] == nil)
	fmt.Println("state:", state(ctx, st, job))
	// Output:
	// leased: true attempt 1 of check_port
	// state: running
	// acknowledged: true
	// state: succeeded
}

// The reply to a heartbeat lists the jobs to cancel.
func ExampleEngine_Heartbeat() {
	ctx := context.Background()
	st, stop := openStore(ctx)
	defer stop()
	e := newEngine(st)
	job := enqueue(ctx, st, hostler.OnLostRetry)
	worker, lease := leaseOne(ctx, e)

	check(st.InTx(ctx, func(tx *store.Tx) error {
		_, err := tx.CancelJob(job, "li")
		return err
	}))
	hb := hostler.Heartbeat{Worker: worker, Held: []hostler.LeaseRef{lease.LeaseRef}, Wait: time.Minute}
	reply, err := e.Heartbeat(ctx, hb)
	check(err)
	fmt.Println("cancel:", len(reply.Cancel) == 1 && reply.Cancel[0] == lease.LeaseRef)

	_, err = e.Report(ctx, worker, []hostler.Report{{LeaseRef: lease.LeaseRef, Outcome: hostler.OutcomeCancelled}})
	check(err)
	fmt.Println("state:", state(ctx, st, job))
	// Output:
	// cancel: true
	// state: cancelled
}

// A server dies while its worker runs two jobs. The next process recovers them: one is
// queued again, and one, whose command may have had its effect, needs a person. The
// dead worker's report is refused.
func ExampleEngine_Recover() {
	ctx := context.Background()
	st, stop := openStore(ctx)
	defer stop()
	dead := newEngine(st)
	retried := enqueue(ctx, st, hostler.OnLostRetry)
	worker, lease := leaseOne(ctx, dead)
	asked := enqueue(ctx, st, hostler.OnLostAsk)
	_, err := dead.Lease(ctx, hostler.LeaseRequest{Worker: worker, Slots: 1})
	check(err)

	next := newEngine(st)
	check(next.Recover(ctx))
	fmt.Println("on_lost retry:", state(ctx, st, retried))
	fmt.Println("on_lost ask:", state(ctx, st, asked))

	acks, err := next.Report(ctx, worker, []hostler.Report{{LeaseRef: lease.LeaseRef, Outcome: hostler.OutcomeSucceeded}})
	check(err)
	fmt.Println("late report:", hostler.CodeOf(acks[0]))
	// Output:
	// on_lost retry: queued
	// on_lost ask: unknown
	// late report: stale
}

// project is a store with a project and a queue.
type project struct {
	*store.Store
	id hostler.ProjectID
}

func openStore(ctx context.Context) (st project, stop func()) {
	dir, err := os.MkdirTemp("", "engine-example-")
	check(err)
	db, err := sqlite.Open(filepath.Join(dir, "hostler.db"), sqlite.Options{})
	check(err)
	st.Store = store.New(db, db)
	check(st.InTx(ctx, func(tx *store.Tx) error {
		p, err := tx.InsertProject(hostler.DefaultProject)
		if err != nil {
			return err
		}
		st.id = p.ID
		_, err = tx.SetQueue("default", store.QueueSettings{})
		return err
	}))
	return st, func() {
		_ = db.Close()
		_ = os.RemoveAll(dir)
	}
}

func newEngine(st project) *engine.Engine {
	return engine.New(engine.Config{
		Store: st.Store, Retention: 24 * time.Hour, Sole: true, Log: slog.New(slog.DiscardHandler),
		Resolve: func(context.Context, []*hostler.Lease) error { return nil },
		Pin:     func(context.Context, store.LeasedJob, hostler.HostKeyOffer) error { return nil },
	})
}

func enqueue(ctx context.Context, st project, onLost hostler.OnLost) (job hostler.JobID) {
	check(st.InTx(ctx, func(tx *store.Tx) error {
		ids, err := tx.Enqueue([]hostler.JobSpec{{
			Project: st.id, Queue: "default", Action: "check_port", Priority: hostler.PriorityDefault, MaxAttempts: 1,
			OnLost: onLost, OnUnknown: hostler.OnUnknownHold, OnRetry: hostler.OnRetryHold,
		}})
		if err == nil {
			job = ids[0]
		}
		return err
	}))
	return job
}

// leaseOne registers a worker and leases the only ready job.
func leaseOne(ctx context.Context, e *engine.Engine) (hostler.WorkerID, hostler.Lease) {
	w, err := e.Register(ctx, hostler.WorkerInfo{Name: "w1", Queues: []string{"default"}, Slots: 2})
	check(err)
	leases, err := e.Lease(ctx, hostler.LeaseRequest{Worker: w, Slots: 1, Wait: time.Second})
	check(err)
	return w, leases[0]
}

func state(ctx context.Context, st project, id hostler.JobID) (s hostler.State) {
	check(st.View(ctx, func(tx *store.Tx) error {
		job, err := tx.Job(st.id, id)
		if err == nil {
			s = job.State
		}
		return err
	}))
	return s
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
