package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// fixture is a store with the queues default and bulk and one registered worker.
type fixture struct {
	*storetest.Harness
	t      *testing.T
	worker hostler.WorkerID
}

func eachFixture(t *testing.T, fn func(t *testing.T, f *fixture)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		f := &fixture{Harness: h, t: t}
		f.tx(func(tx *store.Tx) error {
			for _, q := range []string{"default", "bulk"} {
				if _, err := tx.SetQueue(q, store.QueueSettings{}); err != nil {
					return err
				}
			}
			return nil
		})
		f.worker = f.register("*")
		fn(t, f)
	})
}

func (f *fixture) tx(fn func(tx *store.Tx) error) {
	f.t.Helper()
	if err := f.Store.InTx(f.t.Context(), fn); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) register(queues ...string) (id hostler.WorkerID) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) (err error) {
		id, err = tx.RegisterWorker(hostler.WorkerInfo{Name: "w", Queues: queues, Slots: 2})
		return err
	})
	return id
}

// job is a spec with every default filled in.
func job(change ...func(*hostler.JobSpec)) hostler.JobSpec {
	s := hostler.JobSpec{
		Project: testProject, Queue: "default", Action: "noop", Priority: hostler.PriorityDefault, MaxAttempts: 1,
		OnLost: hostler.OnLostRetry, OnUnknown: hostler.OnUnknownHold, OnRetry: hostler.OnRetryHold,
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

func inLane(key string) func(*hostler.JobSpec) {
	return func(s *hostler.JobSpec) { s.LaneKey, s.LaneLimit = key, 1 }
}

func inQueue(q string) func(*hostler.JobSpec)   { return func(s *hostler.JobSpec) { s.Queue = q } }
func withPriority(p int) func(*hostler.JobSpec) { return func(s *hostler.JobSpec) { s.Priority = p } }

func onLost(o hostler.OnLost) func(*hostler.JobSpec) {
	return func(s *hostler.JobSpec) { s.OnLost = o }
}

func (f *fixture) enqueue(specs ...hostler.JobSpec) (ids []hostler.JobID) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) (err error) {
		ids, err = tx.Enqueue(specs)
		return err
	})
	return ids
}

func (f *fixture) claim(w hostler.WorkerID, n int) []hostler.Lease {
	f.t.Helper()
	var c store.Claimed
	f.tx(func(tx *store.Tx) (err error) {
		c, err = tx.Claim(w, n)
		return err
	})
	return c.Leases
}

func (f *fixture) finish(w hostler.WorkerID, l hostler.Lease, o hostler.Outcome) error {
	f.t.Helper()
	var acks []error
	f.tx(func(tx *store.Tx) (err error) {
		acks, err = tx.Finish(w, []hostler.Report{{LeaseRef: l.LeaseRef, Outcome: o}})
		return err
	})
	return acks[0]
}

func (f *fixture) pause(queue string, paused bool) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) error {
		_, err := tx.SetQueue(queue, store.QueueSettings{Paused: &paused})
		return err
	})
}

func (f *fixture) table(id hostler.JobID) (table string) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) error {
		all, err := tx.JobTables()
		table = all[int64(id)]
		return err
	})
	return table
}

func (f *fixture) wantTable(id hostler.JobID, want string) {
	f.t.Helper()
	if got := f.table(id); got != want {
		f.t.Errorf("job %v is in %q, want %q", id, got, want)
	}
}

func (f *fixture) wantInvariants() {
	f.t.Helper()
	f.tx(func(tx *store.Tx) error {
		broken, err := tx.CheckInvariants()
		if err == nil && len(broken) > 0 {
			err = fmt.Errorf("broken: %v", broken)
		}
		return err
	})
}

func jobsOf(leases []hostler.Lease) (ids []hostler.JobID) {
	for _, l := range leases {
		ids = append(ids, l.Job)
	}
	return ids
}

// TestPriorityCannotStarve checks that urgent jobs overtake jobs of low priority only for
// a limited time: an hour of waiting outweighs a step of priority.
func TestPriorityCannotStarve(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		low := f.enqueue(job(withPriority(9)))[0]
		for hour := 1; hour <= 10; hour++ {
			f.Advance(time.Hour)
			f.enqueue(job(withPriority(1)), job(withPriority(1)))
			if !slices.Contains(jobsOf(f.claim(f.worker, 2)), low) {
				continue
			}
			if hour < 8 {
				t.Errorf("priority 9 ran before 1 after only %d hours", hour)
			}
			return
		}
		t.Error("the job of priority 9 starved for 10 hours")
	})
}

// TestClockSetBackStarvesNoLane sets the clock back after a job arrived. Later jobs of its
// lane run after it, but are not delayed relative to other lanes.
func TestClockSetBackStarvesNoLane(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		f.Advance(time.Hour)
		f.enqueue(job(inLane("device:a")))
		if err := f.finish(f.worker, f.claim(f.worker, 1)[0], hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		f.Advance(-time.Hour)
		want := f.enqueue(job(inLane("device:a")))[0]
		f.Advance(time.Second)
		other := f.enqueue(job(inLane("device:b")), job())
		f.wantOrder(want, other[0], other[1])
	})
}

// TestLostLeaseReplyIsHandedBack covers a lost answer to a claim, after which the job
// would stay running on a healthy worker forever. The heartbeat lists the jobs that the
// worker holds; the missing one is handed back.
func TestLostLeaseReplyIsHandedBack(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		ids := f.enqueue(job(inLane("device:a")), job())
		leases := f.claim(f.worker, 2)
		held := leases[slices.IndexFunc(leases, func(l hostler.Lease) bool { return l.Job == ids[1] })]
		f.tx(func(tx *store.Tx) error {
			_, missing, err := tx.Heartbeat(hostler.Heartbeat{Worker: f.worker, Held: []hostler.LeaseRef{held.LeaseRef}})
			if err != nil {
				return err
			}
			if len(missing) != 1 || missing[0].Job != ids[0] {
				t.Errorf("missing %v, want %v", missing, ids[0])
			}
			stale := hostler.LeaseRef{Job: held.Job, Fence: held.Fence - 1}
			return tx.HandBack(f.worker, append(missing, stale))
		})
		f.wantTable(ids[0], "ready")
		f.wantTable(ids[1], "running")
		f.wantInvariants()
		again := f.claim(f.worker, 2)
		if len(again) != 1 || again[0].Attempt != 1 || again[0].Fence <= leases[0].Fence {
			t.Errorf("got %+v, want the first attempt again under a higher fence", again)
		}
		// A result of the lease that was handed back does not count; a hand-back of it does,
		// again.
		old := leases[slices.IndexFunc(leases, func(l hostler.Lease) bool { return l.Job == ids[0] })]
		if err := f.finish(f.worker, old, hostler.OutcomeSucceeded); hostler.CodeOf(err) != hostler.CodeStale {
			t.Errorf("a late result: %v, want stale", err)
		}
		if err := f.finish(f.worker, old, hostler.OutcomeHandBack); err != nil {
			t.Errorf("a late hand-back: %v", err)
		}
	})
}

func TestHeartbeatDropsAndCancels(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		ids := f.enqueue(job(), job())
		leases := f.claim(f.worker, 2)
		if err := f.finish(f.worker, leases[0], hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		f.tx(func(tx *store.Tx) error {
			_, err := tx.CancelJob(ids[1], "li")
			return err
		})
		var got hostler.HeartbeatReply
		f.tx(func(tx *store.Tx) (err error) {
			held := []hostler.LeaseRef{leases[0].LeaseRef, leases[1].LeaseRef}
			got, _, err = tx.Heartbeat(hostler.Heartbeat{Worker: f.worker, Held: held})
			return err
		})
		want := hostler.HeartbeatReply{
			Drop: []hostler.LeaseRef{leases[0].LeaseRef}, Cancel: []hostler.LeaseRef{leases[1].LeaseRef},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reply (-want +got):\n%s", diff)
		}
	})
}

// TestDeadWorkerIsFenced checks that every call of a worker that was declared dead fails,
// and that its late report has no effect.
func TestDeadWorkerIsFenced(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		id := f.enqueue(job(onLost(hostler.OnLostAsk), inLane("device:a")))[0]
		lease := f.claim(f.worker, 1)[0]
		silent := f.pulses()
		f.Advance(time.Second)
		f.tx(func(tx *store.Tx) error {
			held := []hostler.LeaseRef{lease.LeaseRef}
			if _, _, err := tx.Heartbeat(hostler.Heartbeat{Worker: f.worker, Held: held}); err != nil {
				return err
			}
			lost, err := tx.LoseWorkers(silent)
			if err == nil && len(lost) > 0 {
				t.Errorf("lost %v, which has sent a heartbeat since", lost)
			}
			return err
		})
		silent = f.pulses()
		f.tx(func(tx *store.Tx) error {
			lost, err := tx.LoseWorkers(silent)
			if err == nil && !slices.Equal(lost, []hostler.WorkerID{f.worker}) {
				t.Errorf("lost %v, want %v", lost, f.worker)
			}
			return err
		})
		f.tx(func(tx *store.Tx) error {
			_, err := tx.RescueJobs(10)
			return err
		})
		f.wantTable(id, "parked+held")
		if err := f.finish(f.worker, lease, hostler.OutcomeSucceeded); hostler.CodeOf(err) != hostler.CodeStale {
			t.Errorf("late report: %v, want stale", err)
		}
		f.wantTable(id, "parked+held")
		for what, fn := range map[string]func(tx *store.Tx) error{
			"claim": func(tx *store.Tx) error { _, err := tx.Claim(f.worker, 1); return err },
			"heartbeat": func(tx *store.Tx) error {
				_, _, err := tx.Heartbeat(hostler.Heartbeat{Worker: f.worker})
				return err
			},
			"progress": func(tx *store.Tx) error { return tx.SetProgress(f.worker, lease.LeaseRef, hostler.Progress{}) },
		} {
			if err := f.Store.InTx(t.Context(), fn); hostler.CodeOf(err) != hostler.CodeStale {
				t.Errorf("%s of a dead worker: %v, want stale", what, err)
			}
		}
	})
}

// TestIdleWorkerThatClaimsIsNotLost checks that a worker that was idle when it was
// observed, and has claimed a job since, is not declared dead: after a stall, its claim
// may be committed before its heartbeat.
func TestIdleWorkerThatClaimsIsNotLost(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		idle := f.pulses()
		id := f.enqueue(job(onLost(hostler.OnLostAsk)))[0]
		f.claim(f.worker, 1)
		f.tx(func(tx *store.Tx) error {
			lost, err := tx.LoseWorkers(idle)
			if err == nil && len(lost) > 0 {
				t.Errorf("lost %v, which has claimed a job since", lost)
			}
			return err
		})
		f.wantTable(id, "running")
	})
}

// TestClaimRacingLoss checks that declaring an idle worker dead waits for its uncommitted
// claim.
func TestClaimRacingLoss(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		idle := f.pulses()
		id := f.enqueue(job(onLost(hostler.OnLostAsk)))[0]
		var ended <-chan error
		f.tx(func(tx *store.Tx) error {
			if _, err := tx.Claim(f.worker, 1); err != nil {
				return err
			}
			ended = f.meanwhile(func(tx *store.Tx) error {
				lost, err := tx.LoseWorkers(idle)
				if err == nil && len(lost) > 0 {
					err = fmt.Errorf("lost %v, which was claiming a job", lost)
				}
				return err
			})
			return nil
		})
		if err := <-ended; err != nil {
			t.Error(err)
		}
		f.wantTable(id, "running")
	})
}

// TestClaimRacingRescue checks that a claim concurrent with a rescue leaves no running job
// on a dead worker: the claim locks the worker's row, so that the rescue runs after it
// and finds the job.
func TestClaimRacingRescue(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		id := f.enqueue(job())[0]
		rescued := make(chan error, 1)
		f.tx(func(tx *store.Tx) error {
			if _, err := tx.Claim(f.worker, 1); err != nil {
				return err
			}
			go func() {
				err := f.Store.InTx(context.WithoutCancel(t.Context()), func(tx *store.Tx) error {
					_, err := tx.RetireWorker(f.worker)
					return err
				})
				rescued <- errors.Join(err, f.Store.InTx(context.WithoutCancel(t.Context()), func(tx *store.Tx) error {
					_, err := tx.RescueJobs(10)
					return err
				}))
			}()
			select {
			case err := <-rescued:
				return fmt.Errorf("the rescue overtook the claim: %w", err)
			case <-time.After(100 * time.Millisecond):
				return nil
			}
		})
		if err := <-rescued; err != nil {
			t.Fatal(err)
		}
		f.wantTable(id, "ready")
		f.wantInvariants()
	})
}

// TestPauseFreesSharedLanes checks that pausing a queue releases the lanes that its ready
// jobs share with other queues.
func TestPauseFreesSharedLanes(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		ids := f.enqueue(job(inLane("device:a"), inQueue("bulk")), job(inLane("device:a")))
		f.wantTable(ids[0], "ready")
		f.pause("bulk", true)
		f.wantTable(ids[0], "wait")
		f.wantTable(ids[1], "ready")
		if got := f.claim(f.worker, 5); len(got) != 1 || got[0].Job != ids[1] {
			t.Fatalf("claimed %v, want %v alone", jobsOf(got), ids[1])
		}
		f.pause("bulk", false)
		f.wantTable(ids[0], "wait") // the lane is taken
		f.wantInvariants()
	})
}

// TestLanesAreNeverStranded checks that a concurrent enqueue, finish and pause on one lane
// leave no job waiting while the lane is free.
func TestLanesAreNeverStranded(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		const producers, each = 4, 40
		ctx := t.Context()
		var wg sync.WaitGroup
		for p := range producers {
			wg.Go(func() {
				for i := range each {
					lane := fmt.Sprintf("device:%d", (p+i)%3)
					err := f.Store.InTx(ctx, func(tx *store.Tx) error {
						_, err := tx.Enqueue([]hostler.JobSpec{job(inLane(lane)), job(inLane("device:shared"))})
						return err
					})
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		ended := make(chan struct{}, producers*each*2)
		stop := make(chan struct{})
		for range 3 {
			w := f.register("*")
			wg.Go(func() { f.work(ctx, w, ended, stop) })
		}
		for i := range producers * each * 2 {
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				t.Errorf("stranded: %d of %d jobs ended", i, producers*each*2)
				close(stop)
				wg.Wait()
				f.wantInvariants()
				return
			}
		}
		close(stop)
		wg.Wait()
		f.wantInvariants()
	})
}

// work claims and finishes jobs until stop is closed.
func (f *fixture) work(ctx context.Context, w hostler.WorkerID, ended chan<- struct{}, stop <-chan struct{}) {
	notified, done := f.Store.Subscribe(store.TopicWork)
	defer done()
	for {
		var c store.Claimed
		err := f.Store.InTx(ctx, func(tx *store.Tx) (err error) {
			c, err = tx.Claim(w, 3)
			return err
		})
		for _, l := range c.Leases {
			err = errors.Join(err, f.Store.InTx(ctx, func(tx *store.Tx) error {
				_, err := tx.Finish(w, []hostler.Report{{LeaseRef: l.LeaseRef, Outcome: hostler.OutcomeSucceeded}})
				return err
			}))
			ended <- struct{}{}
		}
		if err != nil {
			f.t.Error(err)
			return
		}
		if len(c.Leases) > 0 {
			continue
		}
		select {
		case <-stop:
			return
		case <-notified:
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestQueueLimitHoldsUnderRace checks that concurrent claims do not exceed a queue's limit,
// which is checked under the lock of the queue's row.
func TestQueueLimitHoldsUnderRace(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		limit := 3
		f.tx(func(tx *store.Tx) error {
			_, err := tx.SetQueue("bulk", store.QueueSettings{Limit: &limit})
			return err
		})
		specs := make([]hostler.JobSpec, 40)
		for i := range specs {
			specs[i] = job(inQueue("bulk"))
		}
		f.enqueue(specs...)
		var mu sync.Mutex
		total := 0
		var wg sync.WaitGroup
		for range 6 {
			w := f.register("*")
			wg.Go(func() {
				err := f.Store.InTx(t.Context(), func(tx *store.Tx) error {
					c, err := tx.Claim(w, 2)
					if err == nil {
						mu.Lock()
						total += len(c.Leases)
						mu.Unlock()
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if total != limit {
			t.Errorf("%d jobs run at once, want %d", total, limit)
		}
	})
}

func TestQueueFull(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		depth := 3
		f.tx(func(tx *store.Tx) error {
			_, err := tx.SetQueue("bulk", store.QueueSettings{MaxDepth: &depth})
			return err
		})
		f.enqueue(job(inQueue("bulk")), job(inQueue("bulk"), inLane("device:a")), job(inQueue("bulk"), inLane("device:a")))
		err := f.Store.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Enqueue([]hostler.JobSpec{job(), job(inQueue("bulk"))})
			return err
		})
		var e *hostler.Error
		if !errors.As(err, &e) || e.Code != hostler.CodeQueueFull || e.RetryAfter == 0 {
			t.Fatalf("got %v, want queue_full with a time to retry", err)
		}
		f.tx(func(tx *store.Tx) error {
			all, err := tx.JobTables()
			if err == nil && len(all) != 3 {
				err = fmt.Errorf("%d jobs exist, want 3: a refused call created jobs", len(all))
			}
			return err
		})
	})
}

// TestLossesAreBounded checks that a job that repeatedly crashes its workers fails after
// MaxLosses, although its on_lost is retry.
func TestLossesAreBounded(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		id := f.enqueue(job())[0]
		for i := range hostler.MaxLosses + 1 {
			l := f.claim(f.worker, 1)
			if len(l) != 1 {
				t.Fatalf("round %d: claimed %d jobs", i, len(l))
			}
			f.tx(func(tx *store.Tx) error {
				if _, err := tx.RetireWorker(f.worker); err != nil {
					return err
				}
				_, err := tx.RescueJobs(10)
				return err
			})
			f.worker = f.register("*")
		}
		f.wantTable(id, "done:failed")
	})
}

// TestAffinity checks that the next job of a lane is reserved, for a short time, for the
// worker that ran the last one.
func TestAffinity(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		other := f.register("*")
		ids := f.enqueue(job(inLane("device:a")), job(inLane("device:a")), job(inLane("device:a")))
		if err := f.finish(f.worker, f.claim(f.worker, 1)[0], hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		f.tx(func(tx *store.Tx) error {
			got, err := tx.Claim(other, 1)
			if len(got.Leases) != 0 {
				t.Errorf("another worker got %v at once", jobsOf(got.Leases))
			}
			if kept := got.AffinityUntil.Sub(f.Now()); kept <= 0 || kept > time.Second {
				t.Errorf("the job is kept for %v, want under a second", kept)
			}
			return err
		})
		got := f.claim(f.worker, 1)
		if len(got) != 1 || got[0].Job != ids[1] {
			t.Fatalf("the owner got %v, want %v", jobsOf(got), ids[1])
		}
		if err := f.finish(f.worker, got[0], hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		f.Advance(time.Second)
		if got := f.claim(other, 1); len(got) != 1 {
			t.Errorf("after the reservation another worker got %v, want %v", jobsOf(got), ids[2])
		}
		f.wantInvariants()
	})
}

func TestRelaneAsset(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		onAsset := func(s *hostler.JobSpec) { s.Asset = 42 }
		ids := f.enqueue(job(inLane("device:a"), onAsset), job(inLane("device:a"), onAsset), job(inLane("device:a"), onAsset),
			job(inLane("device:b")), job(inLane("device:a")))
		running := f.claim(f.worker, 1)[0]
		f.tx(func(tx *store.Tx) error { return tx.Relane(42, "device:a", "device:b") })
		f.wantInvariants()
		f.wantTable(ids[1], "wait") // behind device:b's
		if err := f.finish(f.worker, running, hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		f.wantTable(ids[4], "ready") // device:a moves on with what is left of it
		f.wantInvariants()
		for range 5 {
			for _, l := range f.claim(f.worker, 5) {
				if err := f.finish(f.worker, l, hostler.OutcomeSucceeded); err != nil {
					t.Fatal(err)
				}
			}
			f.Advance(time.Second)
		}
		for _, id := range ids {
			f.wantTable(id, "done:succeeded")
		}
		f.wantInvariants()
	})
}

// TestRelaneKeepsTheDevice checks that a job that runs on a device, has an unknown outcome
// there, or holds it between two attempts still blocks later jobs when the device's key
// changes.
func TestRelaneKeepsTheDevice(t *testing.T) {
	for name, hold := range map[string]func(f *fixture, l hostler.Lease){
		"running": func(*fixture, hostler.Lease) {},
		"unknown": func(f *fixture, l hostler.Lease) {
			if err := f.finish(f.worker, l, hostler.OutcomeUnknown); err != nil {
				f.t.Fatal(err)
			}
		},
		"between two attempts": func(f *fixture, l hostler.Lease) {
			if err := f.finish(f.worker, l, hostler.OutcomeFailed); err != nil {
				f.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachFixture(t, func(t *testing.T, f *fixture) {
				asset := f.asset("web", "a")
				spec := job(inLane("device:a"), onLost(hostler.OnLostAsk), func(s *hostler.JobSpec) {
					s.Asset, s.MaxAttempts, s.Backoff = asset.ID, 2, hostler.Backoff{Base: hostler.Duration(time.Hour)}
				})
				f.enqueue(spec)
				hold(f, f.claim(f.worker, 1)[0])
				asset.DeviceKey = "b"
				f.tx(func(tx *store.Tx) error { return tx.UpdateAsset(asset) })
				spec.LaneKey = "device:b"
				later := f.enqueue(spec)[0]
				f.wantTable(later, "wait")
				f.wantInvariants()
			})
		})
	}
}

// TestDueTogetherStartByTime checks that jobs that become due in one call start in the
// order of their run times, not of their ids.
func TestDueTogetherStartByTime(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		at := func(d time.Duration) hostler.JobSpec {
			return job(inLane("device:a"), func(s *hostler.JobSpec) { s.RunAt = f.Now().Add(d) })
		}
		ids := f.enqueue(at(30*time.Second), at(10*time.Second), at(20*time.Second))
		f.Advance(time.Minute)
		f.tx(func(tx *store.Tx) error {
			_, _, err := tx.DueJobs(100)
			return err
		})
		f.wantOrder(ids[1], ids[2], ids[0])
	})
}

// TestArrivalOrderSurvivesClockSteps checks that the jobs of a lane start in the order in
// which they were acknowledged, even if the clock was set back in between.
func TestArrivalOrderSurvivesClockSteps(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		var ids []hostler.JobID
		for i := range 10 {
			if i == 5 {
				f.Advance(-time.Hour)
			}
			ids = append(ids, f.enqueue(job(inLane("device:a")))[0])
		}
		f.wantOrder(ids...)
	})
}

// pulses returns the pulses of the live workers.
func (f *fixture) pulses() (all []store.Pulse) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) (err error) {
		all, err = tx.Pulses()
		return err
	})
	return all
}

// wantOrder runs the jobs of a lane and checks the order in which they start.
func (f *fixture) wantOrder(want ...hostler.JobID) {
	f.t.Helper()
	var got []hostler.JobID
	for range want {
		for _, l := range f.claim(f.worker, 1) {
			got = append(got, l.Job)
			if err := f.finish(f.worker, l, hostler.OutcomeSucceeded); err != nil {
				f.t.Fatal(err)
			}
		}
		f.Advance(time.Second)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("started in the order (-want +got):\n%s", diff)
	}
}

// asset creates an asset with a device key.
func (f *fixture) asset(name, device string) (a store.AssetRow) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) error {
		p, err := tx.InsertProject("p")
		if err != nil {
			return err
		}
		a = store.AssetRow{ProjectID: p.ID, Asset: hostler.Asset{
			Name: name, Address: "192.0.2.1", Kind: "host", DeviceKey: device, HostKey: hostler.HostKeyStrict,
		}}
		a.ID, err = tx.InsertAsset(a)
		return err
	})
	return a
}

func TestExplain(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		why := func(id hostler.JobID) hostler.Waiting {
			t.Helper()
			var ws []hostler.Waiting
			err := f.Store.View(t.Context(), func(tx *store.Tx) (err error) {
				ws, err = tx.Explain(id, testProject)
				return err
			})
			if err != nil || len(ws) == 0 {
				t.Fatalf("explain %v: %v, %v", id, ws, err)
			}
			if ws[0].Text.EN == "" || ws[0].Text.ZH == "" {
				t.Errorf("%q has no text in both languages", ws[0].Reason)
			}
			return ws[0]
		}
		want := func(id hostler.JobID, reason string) hostler.Waiting {
			t.Helper()
			w := why(id)
			if w.Reason != reason {
				t.Errorf("got %q (%s), want %q", w.Reason, w.Text.EN, reason)
			}
			return w
		}
		foreign := func(s *hostler.JobSpec) { s.Project = 8 }

		soon := f.enqueue(job())[0]
		want(soon, hostler.WaitSoon)

		later := f.enqueue(job(func(s *hostler.JobSpec) { s.RunAt = f.Now().Add(time.Hour) }))[0]
		if w := want(later, hostler.WaitScheduled); w.Until == nil {
			t.Error("scheduled, but until when?")
		}

		f.pause("bulk", true)
		want(f.enqueue(job(inQueue("bulk")))[0], hostler.WaitPaused)
		want(f.enqueue(job(inQueue("bulk"), inLane("device:p")))[0], hostler.WaitPaused)

		lane := f.enqueue(job(inLane("device:a"), foreign), job(inLane("device:a")), job(inLane("device:a")))
		w := want(lane[2], hostler.WaitLane)
		if w.Foreign != 1 || len(w.Holders) != 0 || w.Ahead != 1 || w.Lane != "a" {
			t.Errorf("got %+v, want a foreign holder that is not named, and one job ahead", w)
		}

		leases := f.claim(f.worker, 2) // every slot taken
		want(f.enqueue(job())[0], hostler.WaitBusy)

		f.tx(func(tx *store.Tx) error {
			_, err := tx.SetQueue("unserved", store.QueueSettings{})
			return err
		})
		if _, err := f.retire(f.worker); err != nil {
			t.Fatal(err)
		}
		want(f.enqueue(job(inQueue("unserved")))[0], hostler.WaitNoWorker)
		_ = leases

		f.worker = f.register("*")
		one := 1
		f.tx(func(tx *store.Tx) error {
			_, err := tx.SetQueue("unserved", store.QueueSettings{Limit: &one})
			return err
		})
		full := f.enqueue(job(inQueue("unserved"), withPriority(1)), job(inQueue("unserved")))
		f.claim(f.worker, 20)
		if w := want(full[1], hostler.WaitLimit); w.Limit != 1 {
			t.Errorf("limit is %d, want 1", w.Limit)
		}
	})
}

func (f *fixture) retire(w hostler.WorkerID) (n int, err error) {
	err = f.Store.InTx(f.t.Context(), func(tx *store.Tx) error {
		if _, err := tx.RetireWorker(w); err != nil {
			return err
		}
		n, err = tx.RescueJobs(100)
		return err
	})
	return n, err
}

func TestExplainUnknownAndBackoff(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		ids := f.enqueue(job(inLane("device:a"), onLost(hostler.OnLostAsk)), job(inLane("device:a")),
			job(func(s *hostler.JobSpec) { s.MaxAttempts = 2 }))
		for _, l := range f.claim(f.worker, 2) {
			o := hostler.OutcomeFailed
			if l.Job == ids[0] {
				o = hostler.OutcomeUnknown
			}
			if err := f.finish(f.worker, l, o); err != nil {
				t.Fatal(err)
			}
		}
		for id, reason := range map[hostler.JobID]string{ids[1]: hostler.WaitLaneUnknown, ids[2]: hostler.WaitBackoff} {
			err := f.Store.View(t.Context(), func(tx *store.Tx) error {
				ws, err := tx.Explain(id, testProject)
				if err == nil && (len(ws) != 1 || ws[0].Reason != reason) {
					err = fmt.Errorf("got %+v, want %s", ws, reason)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
		f.tx(func(tx *store.Tx) error {
			return tx.ResolveJob(ids[0], hostler.StateSucceeded, "li", "checked by hand")
		})
		f.wantTable(ids[1], "ready")
		err := f.Store.InTx(t.Context(), func(tx *store.Tx) error {
			return tx.ResolveJob(ids[0], hostler.StateFailed, "wang", "")
		})
		if hostler.CodeOf(err) != hostler.CodeConflict {
			t.Errorf("a second decision: %v, want a conflict", err)
		}
	})
}

func TestIdleLanesAreDeleted(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		inThreeDays := func(s *hostler.JobSpec) { s.RunAt = f.Now().Add(72 * time.Hour) }
		ids := f.enqueue(job(inLane("own:x:once")), job(inLane("device:a"), inThreeDays))
		if err := f.finish(f.worker, f.claim(f.worker, 1)[0], hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		f.Advance(25 * time.Hour)
		f.tx(func(tx *store.Tx) error {
			deleted, err := tx.DeleteIdleLanes(100)
			if err == nil && deleted != 1 {
				err = fmt.Errorf("%d lanes deleted, want the one that no live job uses", deleted)
			}
			return err
		})
		f.wantTable(ids[1], "sched")
	})
}
