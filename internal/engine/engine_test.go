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

// rig is a store with an engine over it.
type rig struct {
	t       *testing.T
	store   *store.Store
	engine  *engine.Engine
	project hostler.ProjectID
}

func newRig(t *testing.T, st *store.Store, change ...func(*engine.Config)) *rig {
	t.Helper()
	cfg := engine.Config{
		Store: st, Retention: 24 * time.Hour, Log: slog.New(slog.DiscardHandler),
		Resolve: func(context.Context, []*hostler.Lease) error { return nil },
		Pin:     func(context.Context, store.LeasedJob, hostler.HostKeyOffer) error { return nil },
	}
	for _, c := range change {
		c(&cfg)
	}
	return &rig{t: t, store: st, engine: engine.New(cfg)}
}

func eachRig(t *testing.T, fn func(t *testing.T, r *rig, h *storetest.Harness)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		r := newRig(t, h.Store, func(c *engine.Config) { c.Now = h.Now })
		r.prepare("default")
		fn(t, r, h)
	})
}

// prepare makes a project and a queue.
func (r *rig) prepare(name string) {
	r.t.Helper()
	r.tx(func(tx *store.Tx) error {
		p, err := tx.InsertProject(hostler.DefaultProject)
		if err != nil {
			return err
		}
		r.project = p.ID
		_, err = tx.SetQueue(name, store.QueueChange{})
		return err
	})
}

func (r *rig) tx(fn func(tx *store.Tx) error) {
	r.t.Helper()
	if err := r.store.InTx(r.t.Context(), fn); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) spec() hostler.JobSpec {
	return hostler.JobSpec{
		Project: r.project, Queue: "default", Action: "noop", Priority: 5, MaxAttempts: 1,
		OnLost: hostler.OnLostRetry, OnUnknown: hostler.OnUnknownHold, OnRetry: hostler.OnRetryHold,
	}
}

func (r *rig) enqueue(specs ...hostler.JobSpec) (ids []hostler.JobID) {
	r.t.Helper()
	r.tx(func(tx *store.Tx) (err error) {
		ids, err = tx.Enqueue(specs)
		return err
	})
	return ids
}

func (r *rig) register() hostler.WorkerID {
	r.t.Helper()
	w, err := r.engine.Register(r.t.Context(), hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: 10})
	if err != nil {
		r.t.Fatal(err)
	}
	return w
}

func (r *rig) lease(w hostler.WorkerID, n int) []hostler.Lease {
	r.t.Helper()
	leases, err := r.engine.Lease(r.t.Context(), hostler.LeaseRequest{Worker: w, Slots: n, Wait: 5 * time.Second})
	if err != nil {
		r.t.Fatal(err)
	}
	return leases
}

func (r *rig) job(id hostler.JobID) *hostler.Job {
	r.t.Helper()
	var j *hostler.Job
	err := r.store.View(r.t.Context(), func(tx *store.Tx) (err error) {
		j, err = tx.Job(r.project, id)
		return err
	})
	if err != nil || j == nil {
		r.t.Fatalf("job %v: %v", id, err)
	}
	return j
}

func (r *rig) wantInvariants() {
	r.t.Helper()
	r.tx(func(tx *store.Tx) error {
		broken, err := tx.CheckInvariants()
		if err == nil && len(broken) > 0 {
			err = fmt.Errorf("broken: %v", broken)
		}
		return err
	})
}

// run runs the engine's loops for the rest of the test.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.engine.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("loops: %v", err)
		}
	})
}

// A lease that waits is woken by an enqueue, not by a poll.
func TestLeaseWakes(t *testing.T) {
	eachRig(t, func(t *testing.T, r *rig, _ *storetest.Harness) {
		w := r.register()
		got := make(chan []hostler.Lease, 1)
		go func() {
			leases, err := r.engine.Lease(t.Context(), hostler.LeaseRequest{Worker: w, Slots: 1, Wait: time.Minute})
			if err != nil {
				t.Error(err)
			}
			got <- leases
		}()
		id := r.enqueue(r.spec())[0]
		select {
		case leases := <-got:
			if len(leases) != 1 || leases[0].Job != id {
				t.Errorf("got %v", leases)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the waiting lease was not woken")
		}
	})
}

// A scheduled job starts when its time comes, and an overdue one expires even
// when it stands before everything else.
func TestDueAndOverdue(t *testing.T) {
	eachRig(t, func(t *testing.T, r *rig, h *storetest.Harness) {
		w := r.register()
		late, soon := r.spec(), r.spec()
		late.Priority, late.ExpiresAt = 1, h.Now().Add(time.Second)
		soon.RunAt = h.Now().Add(3 * time.Second)
		ids := r.enqueue(late, soon)
		h.Advance(4 * time.Second)
		r.run()
		if got := r.lease(w, 5); len(got) != 1 || got[0].Job != ids[1] {
			t.Fatalf("leased %v, want the scheduled job alone", got)
		}
		if got := r.job(ids[0]).State; got != hostler.StateExpired {
			t.Errorf("the overdue job is %s", got)
		}
	})
}

// leaseNext leases the next job on its own, as a worker with a free slot does.
func (r *rig) leaseNext(w hostler.WorkerID) <-chan []hostler.Lease {
	got := make(chan []hostler.Lease, 1)
	go func() {
		leases, err := r.engine.Lease(context.WithoutCancel(r.t.Context()), hostler.LeaseRequest{Worker: w, Slots: 1, Wait: 5 * time.Second})
		if err != nil {
			r.t.Error(err)
		}
		got <- leases
	}()
	return got
}

// What stands behind overdue jobs is leased at once.
func TestLeaseLooksBehindOverdueJobs(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		r := newRig(t, h.Store, func(c *engine.Config) { c.Sole = true })
		r.prepare("default")
		w := r.register()
		late := r.spec()
		late.Priority, late.ExpiresAt = 1, h.Now().Add(time.Second)
		ids := r.enqueue(late, r.spec())
		h.Advance(2 * time.Second)
		if got := <-r.leaseNext(w); len(got) != 1 || got[0].Job != ids[1] {
			t.Errorf("leased %v, want %v", got, ids[1])
		}
	})
}

// A job that is kept for the worker that ran its lane's last one goes to another
// when that does not come for it. Nobody wakes the other.
func TestLeaseTakesWhatIsNoLongerKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		looked := make(chan int, 100) // how many were found, look by look
		r := newRig(t, h.Store, func(c *engine.Config) {
			c.Sole = true
			c.Resolve = func(_ context.Context, leases []*hostler.Lease) error {
				looked <- len(leases)
				return nil
			}
		})
		r.prepare("default")
		gone, other := r.register(), r.register()
		inLane := r.spec()
		inLane.LaneKey, inLane.LaneLimit = "device:a", 1
		ids := r.enqueue(inLane, inLane)
		first := r.lease(gone, 1)
		if _, err := r.engine.Report(t.Context(), gone, []hostler.Report{{LeaseRef: first[0].LeaseRef, Outcome: hostler.OutcomeSucceeded}}); err != nil {
			t.Fatal(err)
		}
		<-looked
		next := r.leaseNext(other)
		if n := <-looked; n != 0 {
			t.Fatalf("another worker found %d jobs at once", n)
		}
		h.Advance(time.Second)
		if got := <-next; len(got) != 1 || got[0].Job != ids[1] {
			t.Errorf("leased %v, want %v", got, ids[1])
		}
	})
}

// A job that ends lets the next one of its queue go, when the queue's limit held
// that one back.
func TestEndUnderALimitWakes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		r := newRig(t, h.Store, func(c *engine.Config) { c.Sole = true })
		r.prepare("default")
		one := 1
		r.tx(func(tx *store.Tx) error {
			_, err := tx.SetQueue("default", store.QueueChange{Limit: &one})
			return err
		})
		w := r.register()
		ids := r.enqueue(r.spec(), r.spec())
		first := r.lease(w, 1)
		woken, stop := h.Store.Subscribe(store.TopicWork)
		defer stop()
		if _, err := r.engine.Report(t.Context(), w, []hostler.Report{{LeaseRef: first[0].LeaseRef, Outcome: hostler.OutcomeSucceeded}}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-woken:
		case <-time.After(500 * time.Millisecond): // before PostgreSQL's poll
			t.Error("nobody was woken")
		}
		if got := <-r.leaseNext(w); len(got) != 1 || got[0].Job != ids[1] {
			t.Errorf("leased %v, want %v", got, ids[1])
		}
	})
}

// A lease that comes too late is handed back: a heartbeat that did not know of it
// may be on its way, and would have the job run twice.
func TestLateLeaseIsHandedBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		slow := true
		r := newRig(t, h.Store, func(c *engine.Config) {
			c.Now = h.Now
			c.Resolve = func(context.Context, []*hostler.Lease) error {
				if slow {
					h.Advance(20 * time.Second)
				}
				return nil
			}
		})
		r.prepare("default")
		w, id := r.register(), r.enqueue(r.spec())[0]
		_, err := r.engine.Lease(t.Context(), hostler.LeaseRequest{Worker: w, Slots: 1, Wait: time.Second})
		if hostler.CodeOf(err) != hostler.CodeTimeout {
			t.Errorf("got %v, want timeout", err)
		}
		if got := r.job(id).State; got != hostler.StateQueued {
			t.Errorf("the job is %s", got)
		}
		slow = false
		if got := r.lease(w, 1); len(got) != 1 || got[0].Attempt != 1 {
			t.Errorf("leased %v, want the job's first attempt", got)
		}
		r.wantInvariants()
	})
}

// A server that stops before it has a worker takes nobody's lease away.
func TestRetiringNobodyTouchesNobody(t *testing.T) {
	eachRig(t, func(t *testing.T, r *rig, _ *storetest.Harness) {
		w := r.register()
		id := r.enqueue(r.spec())[0]
		lease := r.lease(w, 1)[0]
		if err := r.engine.Retire(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if got := r.job(id).State; got != hostler.StateRunning {
			t.Errorf("the other worker's job is %s", got)
		}
		if acks, err := r.engine.Report(t.Context(), w, []hostler.Report{{LeaseRef: lease.LeaseRef, Outcome: hostler.OutcomeSucceeded}}); err != nil || acks[0] != nil {
			t.Errorf("report: %v, %v", acks, err)
		}
	})
}

// What was left waiting in a free lane, which should never be, is found.
func TestStrandedLanesAreSwept(t *testing.T) {
	eachRig(t, func(t *testing.T, r *rig, _ *storetest.Harness) {
		spec := r.spec()
		spec.LaneKey, spec.LaneLimit = "device:a", 1
		ids := r.enqueue(spec, spec)
		w := r.register()
		r.lease(w, 1)
		r.tx(func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE lane SET lim = 2 WHERE key = ?`, "device:a")
			return err
		})
		r.run()
		if got := <-r.leaseNext(w); len(got) != 1 || got[0].Job != ids[1] {
			t.Errorf("leased %v, want %v", got, ids[1])
		}
		r.wantInvariants()
	})
}

// When the assets of a claim cannot be read, its jobs go back unstarted.
func TestFailedResolveHandsBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		broken := errors.New("no assets today")
		r := newRig(t, h.Store, func(c *engine.Config) {
			c.Resolve = func(context.Context, []*hostler.Lease) error { return broken }
		})
		r.prepare("default")
		w, id := r.register(), r.enqueue(r.spec())[0]
		_, err := r.engine.Lease(t.Context(), hostler.LeaseRequest{Worker: w, Slots: 1, Wait: time.Second})
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		if j := r.job(id); j.State != hostler.StateQueued || j.Attempt != 0 {
			t.Errorf("the job is %s at attempt %d, want queued and unstarted", j.State, j.Attempt)
		}
	})
}

// A heartbeat that is held back answers as soon as a person cancels, once.
func TestHeartbeatTellsOfCancelsOnce(t *testing.T) {
	eachRig(t, func(t *testing.T, r *rig, _ *storetest.Harness) {
		w := r.register()
		id := r.enqueue(r.spec())[0]
		l := r.lease(w, 1)[0]
		hb := hostler.Heartbeat{Worker: w, Held: []hostler.LeaseRef{l.LeaseRef}, Wait: time.Minute}
		got := make(chan hostler.HeartbeatReply, 1)
		go func() {
			reply, err := r.engine.Heartbeat(t.Context(), hb)
			if err != nil {
				t.Error(err)
			}
			got <- reply
		}()
		r.tx(func(tx *store.Tx) error {
			_, err := tx.CancelJob(id, "li")
			return err
		})
		select {
		case reply := <-got:
			if !slices.Contains(reply.Cancel, l.LeaseRef) {
				t.Errorf("got %+v", reply)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the heartbeat did not tell of the cancel")
		}
		hb.Wait = 300 * time.Millisecond
		start := time.Now()
		if _, err := r.engine.Heartbeat(t.Context(), hb); err != nil {
			t.Fatal(err)
		}
		if time.Since(start) < hb.Wait {
			t.Error("a cancel that the worker knows of made the heartbeat return at once: a busy loop")
		}
	})
}

// A heartbeat that is held back answers as soon as a person wants connections
// closed, and refuses to go on as soon as one stops the worker.
func TestHeldBackHeartbeatHearsOfOrders(t *testing.T) {
	eachRig(t, func(t *testing.T, r *rig, _ *storetest.Harness) {
		w := r.register()
		type answer struct {
			reply hostler.HeartbeatReply
			err   error
		}
		beat := func() <-chan answer {
			got := make(chan answer, 1)
			go func() {
				reply, err := r.engine.Heartbeat(t.Context(), hostler.Heartbeat{Worker: w, Wait: time.Minute})
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
				t.Fatal("the heartbeat is held back")
				return answer{}
			}
		}
		got := beat()
		r.tx(func(tx *store.Tx) error {
			_, _, err := tx.OrderClose(w, []string{"192.0.2.1"})
			return err
		})
		if a := wait(got); a.err != nil || !slices.Equal(a.reply.CloseHosts, []string{"192.0.2.1"}) {
			t.Errorf("got %+v", a)
		}
		got = beat()
		r.tx(func(tx *store.Tx) error {
			_, _, err := tx.StopWorkers([]hostler.WorkerID{w})
			return err
		})
		if a := wait(got); hostler.CodeOf(a.err) != hostler.CodeStale {
			t.Errorf("a stopped worker is told %+v", a)
		}
	})
}

// Output of an attempt that is not the last survives, in order, with the final
// one behind it.
func TestOutputOfEveryAttemptIsKept(t *testing.T) {
	eachRig(t, func(t *testing.T, r *rig, h *storetest.Harness) {
		s := r.spec()
		s.MaxAttempts, s.Backoff = 2, hostler.Backoff{Kind: "fixed", Base: hostler.Duration(time.Second)}
		id := r.enqueue(s)[0]
		w := r.register()
		for i, o := range []hostler.Outcome{hostler.OutcomeFailed, hostler.OutcomeSucceeded} {
			l := r.lease(w, 1)[0]
			acks, err := r.engine.Report(t.Context(), w, []hostler.Report{{
				LeaseRef: l.LeaseRef, Attempt: l.Attempt, Outcome: o,
				Output: []hostler.LogLine{{At: h.Now(), Stream: hostler.StreamStdout, Text: fmt.Sprintf("try %d\n", i+1)}},
			}})
			if err != nil || acks[0] != nil {
				t.Fatal(err, acks)
			}
			h.Advance(2 * time.Second)
			if i == 0 {
				r.run()
			}
		}
		entries, _, err := r.store.ReadLog(t.Context(), id, 0, 10)
		if err != nil || len(entries) != 2 || entries[0].Text != "try 1\n" || entries[1].Text != "try 2\n" {
			t.Errorf("got %+v, %v", entries, err)
		}
	})
}

// Two servers on one database share its jobs, and one takes over what the other
// left when it died.
func TestTwoServersShare(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, d *storetest.Drivers) {
		if d.Kind != sqldb.Postgres {
			return // SQLite has one server; storetest shows that a second is refused
		}
		one, two := d.Open(t), d.Open(t)
		clock := func(c *engine.Config) { c.Now = d.Clock.Now }
		a, b := newRig(t, store.New(one, one), clock), newRig(t, store.New(two, two), clock)
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
				acks, err := b.engine.Report(t.Context(), wb, []hostler.Report{{LeaseRef: l.LeaseRef, Outcome: hostler.OutcomeSucceeded}})
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
		acks, err := a.engine.Report(t.Context(), wa, []hostler.Report{{LeaseRef: la[0].LeaseRef, Outcome: hostler.OutcomeSucceeded}})
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

// With one transaction in fifty failing, and one in fifty committing without
// saying so, every job still ends, once.
func TestFaultyStore(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, d *storetest.Drivers) {
		faulty := storetest.NewFaulty(d.Open(t), 1)
		st := store.New(faulty, faulty)
		r := newRig(t, st, func(c *engine.Config) { c.Now = d.Clock.Now })
		r.prepare("default")
		const jobs = 150
		var ids []hostler.JobID
		for i := range jobs {
			s := r.spec()
			s.LaneKey, s.LaneLimit = fmt.Sprintf("device:%d", i%7), 1
			ids = append(ids, r.enqueue(s)...)
		}
		faulty.Set(0.02, 0.02)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range 3 {
			wg.Go(func() { r.unreliableWorker(stop) })
		}
		done := false
		for deadline := time.Now().Add(30 * time.Second); !done && time.Now().Before(deadline); {
			d.Clock.Advance(time.Second) // lost answers are found by the heartbeat's list
			done = r.allEnded(ids)
		}
		close(stop)
		wg.Wait()
		faulty.Set(0, 0)
		if !done {
			t.Error("jobs were lost")
		}
		r.wantInvariants()
	})
}

func (r *rig) allEnded(ids []hostler.JobID) bool {
	r.t.Helper()
	for _, id := range ids {
		if !r.job(id).State.Terminal() {
			return false
		}
	}
	return true
}

// unreliableWorker leases and reports through a store that fails: it repeats
// every report until it is acknowledged or stale, as a worker does.
func (r *rig) unreliableWorker(stop <-chan struct{}) {
	ctx := context.WithoutCancel(r.t.Context())
	var w hostler.WorkerID
	for {
		select {
		case <-stop:
			return
		default:
		}
		if w == 0 {
			id, err := r.engine.Register(ctx, hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: 4})
			if err != nil {
				continue
			}
			w = id
		}
		leases, err := r.engine.Lease(ctx, hostler.LeaseRequest{Worker: w, Slots: 4, Wait: 5 * time.Millisecond})
		if hostler.CodeOf(err) == hostler.CodeStale {
			w = 0
			continue
		}
		for _, l := range leases {
			r.reportUntilKnown(ctx, w, l, stop)
		}
		if _, err := r.engine.Heartbeat(ctx, hostler.Heartbeat{Worker: w}); hostler.CodeOf(err) == hostler.CodeStale {
			w = 0
		}
	}
}

func (r *rig) reportUntilKnown(ctx context.Context, w hostler.WorkerID, l hostler.Lease, stop <-chan struct{}) {
	for {
		_, err := r.engine.Report(ctx, w, []hostler.Report{{LeaseRef: l.LeaseRef, Outcome: hostler.OutcomeSucceeded}})
		if err == nil {
			return
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}
