package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/engine"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// env is an engine over a store.
type env struct {
	t       *testing.T
	store   *store.Store
	engine  *engine.Engine
	project hostler.ProjectID
}

func newEnv(t *testing.T, st *store.Store, change ...func(*engine.Config)) *env {
	t.Helper()
	cfg := engine.Config{
		Store: st, Retention: 24 * time.Hour, Log: slog.New(slog.DiscardHandler),
		Resolve: func(context.Context, []*hostler.Lease) error { return nil },
		Pin:     func(context.Context, store.LeasedJob, hostler.HostKeyOffer) error { return nil },
	}
	for _, c := range change {
		c(&cfg)
	}
	return &env{t: t, store: st, engine: engine.New(cfg)}
}

func eachEnv(t *testing.T, fn func(t *testing.T, e *env, h *storetest.Harness)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		e := newEnv(t, h.Store, func(c *engine.Config) { c.Now = h.Now })
		e.prepare("default")
		fn(t, e, h)
	})
}

// prepare creates a project and a queue.
func (e *env) prepare(name string) {
	e.t.Helper()
	e.tx(func(tx *store.Tx) error {
		p, err := tx.InsertProject(hostler.DefaultProject)
		if err != nil {
			return err
		}
		e.project = p.ID
		_, err = tx.SetQueue(name, store.QueueSettings{})
		return err
	})
}

func (e *env) tx(fn func(tx *store.Tx) error) {
	e.t.Helper()
	if err := e.store.InTx(e.t.Context(), fn); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) spec() hostler.JobSpec {
	return hostler.JobSpec{
		Project: e.project, Queue: "default", Action: "noop", Priority: 5, MaxAttempts: 1,
		OnLost: hostler.OnLostRetry, OnUnknown: hostler.OnUnknownHold, OnRetry: hostler.OnRetryHold,
	}
}

func (e *env) enqueue(specs ...hostler.JobSpec) (ids []hostler.JobID) {
	e.t.Helper()
	e.tx(func(tx *store.Tx) (err error) {
		ids, err = tx.Enqueue(specs)
		return err
	})
	return ids
}

func (e *env) register() hostler.WorkerID {
	e.t.Helper()
	w, err := e.engine.Register(e.t.Context(), hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: 10})
	if err != nil {
		e.t.Fatal(err)
	}
	return w
}

func (e *env) lease(w hostler.WorkerID, n int) []hostler.Lease {
	e.t.Helper()
	leases, err := e.engine.Lease(e.t.Context(), hostler.LeaseRequest{Worker: w, Slots: n, Wait: 5 * time.Second})
	if err != nil {
		e.t.Fatal(err)
	}
	return leases
}

// succeed reports that the job of a lease has succeeded.
func (e *env) succeed(w hostler.WorkerID, l hostler.Lease) ([]error, error) {
	report := hostler.Report{LeaseRef: l.LeaseRef, Outcome: hostler.OutcomeSucceeded}
	return e.engine.Report(context.WithoutCancel(e.t.Context()), w, []hostler.Report{report})
}

func (e *env) job(id hostler.JobID) *hostler.Job {
	e.t.Helper()
	var j *hostler.Job
	err := e.store.View(e.t.Context(), func(tx *store.Tx) (err error) {
		j, err = tx.Job(e.project, id)
		return err
	})
	if err != nil || j == nil {
		e.t.Fatalf("job %v: %v", id, err)
	}
	return j
}

func (e *env) wantInvariants() {
	e.t.Helper()
	e.tx(func(tx *store.Tx) error {
		broken, err := tx.CheckInvariants()
		if err == nil && len(broken) > 0 {
			err = fmt.Errorf("broken: %v", broken)
		}
		return err
	})
}

// run runs the loops of the engine for the rest of the test.
func (e *env) run() {
	ctx, cancel := context.WithCancel(e.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.engine.Run(ctx) }()
	e.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			e.t.Errorf("loops: %v", err)
		}
	})
}

// TestLeaseIsNotified enqueues a job while a lease waits.
func TestLeaseIsNotified(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env, _ *storetest.Harness) {
		w := e.register()
		got := make(chan []hostler.Lease, 1)
		go func() {
			leases, err := e.engine.Lease(t.Context(), hostler.LeaseRequest{Worker: w, Slots: 1, Wait: time.Minute})
			if err != nil {
				t.Error(err)
			}
			got <- leases
		}()
		id := e.enqueue(e.spec())[0]
		select {
		case leases := <-got:
			if len(leases) != 1 || leases[0].Job != id {
				t.Errorf("got %v", leases)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the waiting lease was not notified")
		}
	})
}

// TestDueAndOverdue leases a scheduled job when it is due, and expires an overdue one
// that is first in its queue.
func TestDueAndOverdue(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env, h *storetest.Harness) {
		w := e.register()
		late, soon := e.spec(), e.spec()
		late.Priority, late.ExpiresAt = 1, h.Now().Add(time.Second)
		soon.RunAt = h.Now().Add(3 * time.Second)
		ids := e.enqueue(late, soon)
		h.Advance(4 * time.Second)
		e.run()
		if got := e.lease(w, 5); len(got) != 1 || got[0].Job != ids[1] {
			t.Fatalf("leased %v, want the scheduled job alone", got)
		}
		if got := e.job(ids[0]).State; got != hostler.StateExpired {
			t.Errorf("the overdue job is %s", got)
		}
	})
}

// leaseNext requests one job in another goroutine, as a worker with a free slot does.
func (e *env) leaseNext(w hostler.WorkerID) <-chan []hostler.Lease {
	got := make(chan []hostler.Lease, 1)
	go func() {
		req := hostler.LeaseRequest{Worker: w, Slots: 1, Wait: 5 * time.Second}
		leases, err := e.engine.Lease(context.WithoutCancel(e.t.Context()), req)
		if err != nil {
			e.t.Error(err)
		}
		got <- leases
	}()
	return got
}

// TestLeasePassesOverdueJobs leases the job behind an overdue one at once.
func TestLeasePassesOverdueJobs(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		e := newEnv(t, h.Store, func(c *engine.Config) { c.Sole = true })
		e.prepare("default")
		w := e.register()
		late := e.spec()
		late.Priority, late.ExpiresAt = 1, h.Now().Add(time.Second)
		ids := e.enqueue(late, e.spec())
		h.Advance(2 * time.Second)
		if got := <-e.leaseNext(w); len(got) != 1 || got[0].Job != ids[1] {
			t.Errorf("leased %v, want %v", got, ids[1])
		}
	})
}

// TestLeaseAfterAffinity leases a job that has an affinity to another worker, which
// does not lease it in time. There is no notification when the affinity ends.
func TestLeaseAfterAffinity(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		claimed := make(chan int, 100) // how many jobs each claim found
		e := newEnv(t, h.Store, func(c *engine.Config) {
			c.Sole = true
			c.Resolve = func(_ context.Context, leases []*hostler.Lease) error {
				claimed <- len(leases)
				return nil
			}
		})
		e.prepare("default")
		gone, other := e.register(), e.register()
		inLane := e.spec()
		inLane.LaneKey, inLane.LaneLimit = "device:a", 1
		ids := e.enqueue(inLane, inLane)
		first := e.lease(gone, 1)
		if _, err := e.succeed(gone, first[0]); err != nil {
			t.Fatal(err)
		}
		<-claimed
		next := e.leaseNext(other)
		if n := <-claimed; n != 0 {
			t.Fatalf("another worker leased %d jobs at once", n)
		}
		h.Advance(time.Second)
		if got := <-next; len(got) != 1 || got[0].Job != ids[1] {
			t.Errorf("leased %v, want %v", got, ids[1])
		}
	})
}

// TestEndUnderALimitNotifies ends a job whose queue is at its limit, which frees the
// next one.
func TestEndUnderALimitNotifies(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		e := newEnv(t, h.Store, func(c *engine.Config) { c.Sole = true })
		e.prepare("default")
		one := 1
		e.tx(func(tx *store.Tx) error {
			_, err := tx.SetQueue("default", store.QueueSettings{Limit: &one})
			return err
		})
		w := e.register()
		ids := e.enqueue(e.spec(), e.spec())
		first := e.lease(w, 1)
		notified, stop := h.Store.Subscribe(store.TopicWork)
		defer stop()
		if _, err := e.succeed(w, first[0]); err != nil {
			t.Fatal(err)
		}
		select {
		case <-notified:
		case <-time.After(500 * time.Millisecond): // before PostgreSQL's poll
			t.Error("there was no notification")
		}
		if got := <-e.leaseNext(w); len(got) != 1 || got[0].Job != ids[1] {
			t.Errorf("leased %v, want %v", got, ids[1])
		}
	})
}

// TestLateLeaseIsHandedBack takes too long to resolve a lease. A heartbeat that does
// not list it could hand the job back after the worker had started it.
func TestLateLeaseIsHandedBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		slow := true
		e := newEnv(t, h.Store, func(c *engine.Config) {
			c.Now = h.Now
			c.Resolve = func(context.Context, []*hostler.Lease) error {
				if slow {
					h.Advance(20 * time.Second)
				}
				return nil
			}
		})
		e.prepare("default")
		w, id := e.register(), e.enqueue(e.spec())[0]
		_, err := e.engine.Lease(t.Context(), hostler.LeaseRequest{Worker: w, Slots: 1, Wait: time.Second})
		if hostler.CodeOf(err) != hostler.CodeTimeout {
			t.Errorf("got %v, want timeout", err)
		}
		if got := e.job(id).State; got != hostler.StateQueued {
			t.Errorf("the job is %s", got)
		}
		slow = false
		if got := e.lease(w, 1); len(got) != 1 || got[0].Attempt != 1 {
			t.Errorf("leased %v, want the job's first attempt", got)
		}
		e.wantInvariants()
	})
}

// TestRetireWithoutWorker stops a server that has no worker: the leases of others stay.
func TestRetireWithoutWorker(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env, _ *storetest.Harness) {
		w := e.register()
		id := e.enqueue(e.spec())[0]
		lease := e.lease(w, 1)[0]
		if err := e.engine.Retire(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if got := e.job(id).State; got != hostler.StateRunning {
			t.Errorf("the other worker's job is %s", got)
		}
		if acks, err := e.succeed(w, lease); err != nil || acks[0] != nil {
			t.Errorf("report: %v, %v", acks, err)
		}
	})
}

// TestStrandedLanesAreSwept gives a lane capacity behind the store's back, and expects
// the upkeep to promote the job that waits in it.
func TestStrandedLanesAreSwept(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env, _ *storetest.Harness) {
		spec := e.spec()
		spec.LaneKey, spec.LaneLimit = "device:a", 1
		ids := e.enqueue(spec, spec)
		w := e.register()
		e.lease(w, 1)
		e.tx(func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE lane SET lim = 2 WHERE key = ?`, "device:a")
			return err
		})
		e.run()
		if got := <-e.leaseNext(w); len(got) != 1 || got[0].Job != ids[1] {
			t.Errorf("leased %v, want %v", got, ids[1])
		}
		e.wantInvariants()
	})
}

// TestFailedResolveHandsBack fails to resolve a lease: the job is queued again, and
// the attempt does not count.
func TestFailedResolveHandsBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		broken := errors.New("assets cannot be read")
		e := newEnv(t, h.Store, func(c *engine.Config) {
			c.Resolve = func(context.Context, []*hostler.Lease) error { return broken }
		})
		e.prepare("default")
		w, id := e.register(), e.enqueue(e.spec())[0]
		_, err := e.engine.Lease(t.Context(), hostler.LeaseRequest{Worker: w, Slots: 1, Wait: time.Second})
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		if j := e.job(id); j.State != hostler.StateQueued || j.Attempt != 0 {
			t.Errorf("the job is %s at attempt %d, want queued and unstarted", j.State, j.Attempt)
		}
	})
}

// TestHeartbeatAnnouncesCancelsOnce cancels a job during a long poll, which must return.
// The next one must not return for the same cancel.
func TestHeartbeatAnnouncesCancelsOnce(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env, _ *storetest.Harness) {
		w := e.register()
		id := e.enqueue(e.spec())[0]
		l := e.lease(w, 1)[0]
		hb := hostler.Heartbeat{Worker: w, Held: []hostler.LeaseRef{l.LeaseRef}, Wait: time.Minute}
		got := make(chan hostler.HeartbeatReply, 1)
		go func() {
			reply, err := e.engine.Heartbeat(t.Context(), hb)
			if err != nil {
				t.Error(err)
			}
			got <- reply
		}()
		e.tx(func(tx *store.Tx) error {
			_, err := tx.CancelJob(id, "li")
			return err
		})
		select {
		case reply := <-got:
			if !slices.Contains(reply.Cancel, l.LeaseRef) {
				t.Errorf("got %+v", reply)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the heartbeat did not return the cancel")
		}
		hb.Wait = 300 * time.Millisecond
		start := time.Now()
		if _, err := e.engine.Heartbeat(t.Context(), hb); err != nil {
			t.Fatal(err)
		}
		if time.Since(start) < hb.Wait {
			t.Error("a cancel that was announced before made the heartbeat return at once: a busy loop")
		}
	})
}

// TestLongPollReturnsCommands closes connections during a long poll, and then stops the
// worker.
func TestLongPollReturnsCommands(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env, _ *storetest.Harness) {
		w := e.register()
		type answer struct {
			reply hostler.HeartbeatReply
			err   error
		}
		heartbeat := func() <-chan answer {
			got := make(chan answer, 1)
			go func() {
				reply, err := e.engine.Heartbeat(t.Context(), hostler.Heartbeat{Worker: w, Wait: time.Minute})
				got <- answer{reply, err}
			}()
			return got
		}
		wait := func(got <-chan answer) answer {
			t.Helper()
			select {
			case a := <-got:
				return a
			case <-time.After(10 * time.Second):
				t.Fatal("the heartbeat did not return")
				return answer{}
			}
		}
		got := heartbeat()
		e.tx(func(tx *store.Tx) error {
			_, _, err := tx.CloseConnections(w, []string{"192.0.2.1"})
			return err
		})
		if a := wait(got); a.err != nil || !slices.Equal(a.reply.CloseHosts, []string{"192.0.2.1"}) {
			t.Errorf("got %+v", a)
		}
		got = heartbeat()
		e.tx(func(tx *store.Tx) error {
			_, _, err := tx.StopWorkers([]hostler.WorkerID{w})
			return err
		})
		if a := wait(got); hostler.CodeOf(a.err) != hostler.CodeStale {
			t.Errorf("a stopped worker got %+v, want stale", a)
		}
	})
}

// TestOutputOfEveryAttempt reads the output of a failed attempt and of the one after
// it, in order.
func TestOutputOfEveryAttempt(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env, h *storetest.Harness) {
		s := e.spec()
		s.MaxAttempts, s.Backoff = 2, hostler.Backoff{Kind: "fixed", Base: hostler.Duration(time.Second)}
		id := e.enqueue(s)[0]
		w := e.register()
		for i, o := range []hostler.Outcome{hostler.OutcomeFailed, hostler.OutcomeSucceeded} {
			l := e.lease(w, 1)[0]
			acks, err := e.engine.Report(t.Context(), w, []hostler.Report{{
				LeaseRef: l.LeaseRef, Attempt: l.Attempt, Outcome: o,
				Output: []hostler.LogLine{{At: h.Now(), Stream: hostler.StreamStdout, Text: fmt.Sprintf("try %d\n", i+1)}},
			}})
			if err != nil || acks[0] != nil {
				t.Fatal(err, acks)
			}
			h.Advance(2 * time.Second)
			if i == 0 {
				e.run()
			}
		}
		entries, _, err := e.store.ReadLog(t.Context(), id, 0, 10)
		if err != nil || len(entries) != 2 || entries[0].Text != "try 1\n" || entries[1].Text != "try 2\n" {
			t.Errorf("got %+v, %v", entries, err)
		}
	})
}

// TestTwoServers shares jobs between two servers on one database. One dies, and the
// other finishes its jobs.
func TestTwoServers(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, d *storetest.Drivers) {
		if d.Kind != sqldb.Postgres {
			return // SQLite has one server; storetest shows that a second is refused
		}
		one, two := d.Open(t), d.Open(t)
		clock := func(c *engine.Config) { c.Now = d.Clock.Now }
		a, b := newEnv(t, store.New(one, one), clock), newEnv(t, store.New(two, two), clock)
		a.prepare("default")
		wa, wb := a.register(), b.register()
		const jobs = 40
		specs := make([]hostler.JobSpec, jobs)
		for i := range specs {
			specs[i] = a.spec()
			specs[i].LaneKey, specs[i].LaneLimit = fmt.Sprintf("device:%d", i%20), 1
		}
		a.enqueue(specs...)
		la, lb := a.lease(wa, 5), b.lease(wb, 5)
		if len(la) != 5 || len(lb) != 5 {
			t.Fatalf("leased %d and %d, want 5 each", len(la), len(lb))
		}
		for _, l := range la {
			if slices.ContainsFunc(lb, func(o hostler.Lease) bool { return o.Job == l.Job }) {
				t.Errorf("job %v was leased twice", l.Job)
			}
		}
		// Server a dies: its worker is silent, b's is not.
		for range 9 {
			if _, err := b.engine.Heartbeat(t.Context(), hostler.Heartbeat{Worker: wb, Held: refs(lb)}); err != nil {
				t.Fatal(err)
			}
			if err := b.engine.RescueOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
			d.Clock.Advance(4 * time.Second)
		}
		b.run()
		ended := 0
		for deadline := time.Now().Add(20 * time.Second); ended < jobs && time.Now().Before(deadline); {
			for _, l := range append(lb, b.lease(wb, 5)...) {
				acks, err := b.succeed(wb, l)
				if err != nil || acks[0] != nil {
					t.Fatal(err, acks)
				}
				ended++
			}
			lb = nil
		}
		if ended != jobs {
			t.Errorf("%d of %d jobs ended", ended, jobs)
		}
		acks, err := a.succeed(wa, la[0])
		if err != nil || hostler.CodeOf(acks[0]) != hostler.CodeStale {
			t.Errorf("the dead server's report: %v, %v, want stale", acks, err)
		}
		b.wantInvariants()
	})
}

func refs(leases []hostler.Lease) (out []hostler.LeaseRef) {
	for _, l := range leases {
		out = append(out, l.LeaseRef)
	}
	return out
}

// TestFaultyStore lets one transaction in fifty fail, and one in fifty commit and then
// report a failure. Every job still ends, once.
func TestFaultyStore(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, d *storetest.Drivers) {
		faulty := storetest.NewFaulty(d.Open(t), 1)
		st := store.New(faulty, faulty)
		e := newEnv(t, st, func(c *engine.Config) { c.Now = d.Clock.Now })
		e.prepare("default")
		const jobs = 150
		var ids []hostler.JobID
		for i := range jobs {
			s := e.spec()
			s.LaneKey, s.LaneLimit = fmt.Sprintf("device:%d", i%7), 1
			ids = append(ids, e.enqueue(s)...)
		}
		faulty.Set(0.02, 0.02)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range 3 {
			wg.Go(func() { e.unreliableWorker(stop) })
		}
		done := false
		for deadline := time.Now().Add(30 * time.Second); !done && time.Now().Before(deadline); {
			d.Clock.Advance(time.Second) // lost answers show in the list of the heartbeat
			done = e.allEnded(ids)
		}
		close(stop)
		wg.Wait()
		faulty.Set(0, 0)
		if !done {
			t.Error("jobs were lost")
		}
		e.wantInvariants()
	})
}

func (e *env) allEnded(ids []hostler.JobID) bool {
	e.t.Helper()
	for _, id := range ids {
		if !e.job(id).State.Terminal() {
			return false
		}
	}
	return true
}

// unreliableWorker leases and reports through a store that fails: it repeats
// every report until it is acknowledged or stale, as a worker does.
func (e *env) unreliableWorker(stop <-chan struct{}) {
	ctx := context.WithoutCancel(e.t.Context())
	var w hostler.WorkerID
	for {
		select {
		case <-stop:
			return
		default:
		}
		if w == 0 {
			id, err := e.engine.Register(ctx, hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: 4})
			if err != nil {
				continue
			}
			w = id
		}
		leases, err := e.engine.Lease(ctx, hostler.LeaseRequest{Worker: w, Slots: 4, Wait: 5 * time.Millisecond})
		if hostler.CodeOf(err) == hostler.CodeStale {
			w = 0
			continue
		}
		for _, l := range leases {
			e.reportUntilKnown(w, l, stop)
		}
		if _, err := e.engine.Heartbeat(ctx, hostler.Heartbeat{Worker: w}); hostler.CodeOf(err) == hostler.CodeStale {
			w = 0
		}
	}
}

func (e *env) reportUntilKnown(w hostler.WorkerID, l hostler.Lease, stop <-chan struct{}) {
	for {
		if _, err := e.succeed(w, l); err == nil {
			return
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// TestForbiddenJobsAreHeld disables a user on one server: the other, which has cached the
// user's rights, starts none of the user's jobs any more, and the job behind them at once.
func TestForbiddenJobsAreHeld(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, d *storetest.Drivers) {
		clock := func(c *engine.Config) { c.Now = d.Clock.Now }
		one := d.Open(t)
		a := newEnv(t, store.New(one, one), clock)
		b := a
		if d.Kind == sqldb.Postgres { // SQLite has one server
			two := d.Open(t)
			b = newEnv(t, store.New(two, two), clock)
		}
		a.prepare("default")
		b.project = a.project
		var user hostler.UserID
		a.tx(func(tx *store.Tx) (err error) {
			if user, err = tx.InsertUser("li"); err != nil {
				return err
			}
			return tx.SetRole(user, a.project, hostler.RoleOperator, 0)
		})
		mine := a.spec()
		mine.CreatedBy, mine.CreatedByID, mine.Priority = "li", user, 1
		w := b.register()
		a.enqueue(mine)
		if got := b.lease(w, 1); len(got) != 1 {
			t.Fatalf("leased %v of an enabled user", got)
		}
		a.tx(func(tx *store.Tx) error { return tx.SetUserDisabled(user, true) })
		held := a.enqueue(mine, mine, mine)
		other := a.enqueue(a.spec())
		if got := b.lease(w, 1); len(got) != 1 || got[0].Job != other[0] {
			t.Fatalf("leased %v, want the job of nobody", got)
		}
		for _, id := range held {
			if j := b.job(id); j.State != hostler.StateScheduled {
				t.Errorf("a job of the disabled user is %s", j.State)
			}
		}
		a.wantInvariants()
	})
}

// TestSlotsThatBecomeFreeAreUsed checks that a worker that waits with its kept slots only
// gets jobs of the busy project as soon as others of them end.
func TestSlotsThatBecomeFreeAreUsed(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env, _ *storetest.Harness) {
		e.tx(func(tx *store.Tx) error { _, err := tx.InsertProject("other"); return err })
		w := e.register() // of its 10 slots, one is kept
		specs := make([]hostler.JobSpec, 20)
		for i := range specs {
			specs[i] = e.spec()
		}
		e.enqueue(specs...)
		running := e.lease(w, 10)
		if len(running) != 9 {
			t.Fatalf("leased %d jobs, want 9", len(running))
		}
		next := make(chan int)
		go func() {
			leases, _ := e.engine.Lease(t.Context(), hostler.LeaseRequest{Worker: w, Slots: 1, Wait: 5 * time.Second})
			next <- len(leases)
		}()
		if _, err := e.succeed(w, running[0]); err != nil {
			t.Fatal(err)
		}
		if n := <-next; n != 1 {
			t.Errorf("leased %d jobs after one has ended, want 1", n)
		}
	})
}
