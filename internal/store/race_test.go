package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
)

// meanwhile starts a transaction from inside another one, gives it time to block on the
// locks of the first, and returns a channel with its result.
func (f *fixture) meanwhile(fn func(tx *store.Tx) error) (ended <-chan error) {
	c := make(chan error, 1)
	go func() { c <- f.Store.InTx(context.WithoutCancel(f.t.Context()), fn) }()
	select {
	case err := <-c:
		c <- errors.Join(errors.New("it overtook the transaction that it should wait for"), err)
	case <-time.After(100 * time.Millisecond):
	}
	return c
}

// TestCancelRacingRelane checks that a cancel concurrent with a move to another lane
// releases the new lane, not the previous one.
func TestCancelRacingRelane(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		onAsset := func(s *hostler.JobSpec) { s.Asset = 42 }
		id := f.enqueue(job(inLane("device:a"), onAsset))[0]
		var cancelled <-chan error
		f.tx(func(tx *store.Tx) error {
			if err := tx.Relane(42, "device:a", "device:b"); err != nil {
				return err
			}
			cancelled = f.meanwhile(func(tx *store.Tx) error {
				_, err := tx.CancelJob(id, "alice")
				return err
			})
			return nil
		})
		if err := <-cancelled; err != nil {
			t.Fatal(err)
		}
		f.wantTable(id, "done:cancelled")
		f.wantInvariants()
	})
}

// TestDueRacingRelane checks that a scheduled job that becomes due while it moves to
// another lane is queued there.
func TestDueRacingRelane(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		onAsset := func(s *hostler.JobSpec) { s.Asset, s.RunAt = 42, f.Now().Add(time.Second) }
		id := f.enqueue(job(inLane("device:a"), onAsset))[0]
		f.Advance(2 * time.Second)
		var due <-chan error
		f.tx(func(tx *store.Tx) error {
			if err := tx.Relane(42, "device:a", "device:b"); err != nil {
				return err
			}
			due = f.meanwhile(func(tx *store.Tx) error {
				_, _, err := tx.DueJobs(10)
				return err
			})
			return nil
		})
		if err := <-due; err != nil {
			t.Fatal(err)
		}
		f.wantTable(id, "ready")
		f.wantInvariants()
	})
}

// TestTTLAndHandBack checks that a ttl limits the wait for the first start only: it is in
// effect again if the job is handed back before it started, and not afterwards.
func TestTTLAndHandBack(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		id := f.enqueue(job(func(s *hostler.JobSpec) { s.ExpiresAt, s.MaxAttempts = f.Now().Add(time.Minute), 2 }))[0]
		other := f.enqueue(job(func(s *hostler.JobSpec) { s.ExpiresAt, s.MaxAttempts = f.Now().Add(time.Minute), 2 }))[0]
		for _, l := range f.claim(f.worker, 2) {
			outcome := hostler.OutcomeHandBack
			if l.Job == other {
				outcome = hostler.OutcomeFailed // its second attempt is scheduled
			}
			if err := f.finish(f.worker, l, outcome); err != nil {
				t.Fatal(err)
			}
		}
		f.Advance(2 * time.Minute)
		var n int
		f.tx(func(tx *store.Tx) (err error) {
			if n, err = tx.ExpireJobs(10); err != nil {
				return err
			}
			_, _, err = tx.DueJobs(10)
			return err
		})
		if n != 1 {
			t.Errorf("%d jobs expired, want 1", n)
		}
		f.wantTable(id, "done:expired")
		f.wantTable(other, "ready")
		again := f.claim(f.worker, 1)
		if len(again) != 1 {
			t.Fatalf("leased %v", again)
		}
		if err := f.finish(f.worker, again[0], hostler.OutcomeHandBack); err != nil {
			t.Fatal(err)
		}
		f.tx(func(tx *store.Tx) (err error) {
			n, err = tx.ExpireJobs(10)
			return err
		})
		if n != 0 {
			t.Error("a job expired whose first attempt ran")
		}
		f.wantInvariants()
	})
}

// TestResultThatIsNoText checks that a result that is not valid UTF-8 does not fail the
// other jobs of the same call.
func TestResultThatIsNoText(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		ids := f.enqueue(job(), job(onLost(hostler.OnLostAsk)))
		var reports []hostler.Report
		for _, l := range f.claim(f.worker, 2) {
			r := hostler.Report{LeaseRef: l.LeaseRef, Outcome: hostler.OutcomeSucceeded, Result: []byte("\"a\xff\x00b\"")}
			if l.Job == ids[1] {
				r.Outcome = hostler.OutcomeUnknown
			}
			reports = append(reports, r)
		}
		f.tx(func(tx *store.Tx) error {
			acks, err := tx.Finish(f.worker, reports)
			return errors.Join(append(acks, err)...)
		})
		for _, id := range ids {
			var j *hostler.Job
			f.tx(func(tx *store.Tx) (err error) {
				_, err = tx.Exec(`INSERT INTO project (id, name, created_at) VALUES (?, ?, 1) ON CONFLICT DO NOTHING`,
					testProject, "p")
				if err != nil {
					return err
				}
				j, err = tx.Job(testProject, id)
				return err
			})
			if j == nil {
				t.Fatalf("job %v is gone", id)
			}
			if diff := cmp.Diff("\"a\uFFFD\uFFFDb\"", string(j.Result)); diff != "" {
				t.Error(fmt.Sprint(id), diff)
			}
		}
	})
}

// TestEnqueueInStepsLocksInOrder checks that a transaction that locks lanes and then
// enqueues in several steps does not deadlock with one that enqueues in a single step.
func TestEnqueueInStepsLocksInOrder(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		f.enqueue(job(inLane("a")))
		f.enqueue(job(inLane("b")))
		steps := []hostler.JobSpec{job(inLane("b")), job(inLane("a"))}
		var runs atomic.Int32
		var other <-chan error
		f.tx(func(tx *store.Tx) error {
			runs.Add(1)
			if err := tx.LockLanes(steps); err != nil {
				return err
			}
			if _, err := tx.Enqueue(steps[:1]); err != nil {
				return err
			}
			if other == nil {
				other = f.meanwhile(func(tx *store.Tx) error {
					runs.Add(1)
					_, err := tx.Enqueue([]hostler.JobSpec{job(inLane("a")), job(inLane("b"))})
					return err
				})
			}
			_, err := tx.Enqueue(steps[1:])
			return err
		})
		if err := <-other; err != nil {
			t.Fatal(err)
		}
		if n := runs.Load(); n != 2 {
			t.Errorf("%d runs of two transactions: they deadlocked", n)
		}
		f.wantInvariants()
	})
}

// TestFollowPausesLocksInOrder checks that following the pauses of two queues does not
// deadlock with a transaction that locks the same lanes.
func TestFollowPausesLocksInOrder(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		low, high := job(inLane("low"), inQueue("bulk")), job(inLane("high"), inQueue("default"))
		ids := []hostler.JobID{f.enqueue(low)[0], f.enqueue(high)[0]}
		f.tx(func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE queue SET paused = 1, lanes_pending = 1`)
			return err
		})
		var runs atomic.Int32
		var following <-chan error
		f.tx(func(tx *store.Tx) error {
			runs.Add(1)
			if err := tx.LockLanes([]hostler.JobSpec{low}); err != nil {
				return err
			}
			if following == nil {
				following = f.meanwhile(func(tx *store.Tx) error {
					runs.Add(1)
					_, err := tx.FollowPauses()
					return err
				})
			}
			return tx.LockLanes([]hostler.JobSpec{high})
		})
		if err := <-following; err != nil {
			t.Fatal(err)
		}
		if n := runs.Load(); n != 2 {
			t.Errorf("%d runs of two transactions: they deadlocked", n)
		}
		for more := true; more; {
			f.tx(func(tx *store.Tx) (err error) {
				more, err = tx.FollowPauses()
				return err
			})
		}
		for _, id := range ids {
			f.wantTable(id, "wait")
		}
		f.wantInvariants()
	})
}

// TestDueJobsThatMayNotStartLockInOrder lets jobs of a disabled user become due while
// another transaction cancels one of them: the lane is locked before the job is delayed,
// or each would wait for the other.
func TestDueJobsThatMayNotStartLockInOrder(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		var user hostler.UserID
		f.tx(func(tx *store.Tx) (err error) {
			if user, err = tx.InsertUser("leaver"); err != nil {
				return err
			}
			return tx.SetUserDisabled(user, true)
		})
		later := func(s *hostler.JobSpec) { s.RunAt = f.Now().Add(time.Second) }
		ids := f.enqueue(
			job(inLane("x"), later, func(s *hostler.JobSpec) { s.CreatedBy, s.CreatedByID = "leaver", user }),
			job(inLane("x"), later))
		f.Advance(2 * time.Second)
		var runs atomic.Int32
		var due <-chan error
		f.tx(func(tx *store.Tx) error {
			runs.Add(1)
			if err := tx.LockLanes([]hostler.JobSpec{job(inLane("x"))}); err != nil {
				return err
			}
			if due == nil {
				due = f.meanwhile(func(tx *store.Tx) error {
					runs.Add(1)
					_, _, err := tx.DueJobs(10)
					return err
				})
			}
			_, err := tx.CancelJob(ids[0], "alice")
			return err
		})
		if err := <-due; err != nil {
			t.Fatal(err)
		}
		if n := runs.Load(); n != 2 {
			t.Errorf("%d runs of two transactions: they deadlocked", n)
		}
		f.wantTable(ids[0], "done:cancelled")
		f.wantTable(ids[1], "ready")
		f.wantInvariants()
	})
}

// TestFreezeLanesExcludesRelane checks that an asset's lane does not change during a
// transaction that reads it to enqueue.
func TestFreezeLanesExcludesRelane(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		f.enqueue(job(inLane("device:a"), func(s *hostler.JobSpec) { s.Asset = 42 }))
		var moved <-chan error
		f.tx(func(tx *store.Tx) error {
			if err := tx.FreezeLanes(); err != nil {
				return err
			}
			moved = f.meanwhile(func(tx *store.Tx) error { return tx.Relane(42, "device:a", "device:b") })
			_, err := tx.Enqueue([]hostler.JobSpec{job(inLane("device:a"), func(s *hostler.JobSpec) { s.Asset = 42 })})
			return err
		})
		if err := <-moved; err != nil {
			t.Fatal(err)
		}
		f.tx(func(tx *store.Tx) error {
			return tx.Each(`SELECT lane_key FROM job`, nil, func(r sqldb.Rows) error {
				var key string
				err := r.Scan(&key)
				if key != "device:b" {
					t.Errorf("a job is in %s", key)
				}
				return err
			})
		})
		f.wantInvariants()
	})
}

// TestClaimRacingPause checks that a claim that started before a pause was acknowledged
// leases no job of the queue afterwards.
func TestClaimRacingPause(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		f.enqueue(job(inQueue("bulk")))
		paused := true
		var claimed []hostler.Lease
		var claim <-chan error
		f.tx(func(tx *store.Tx) error {
			if _, err := tx.SetQueue("bulk", store.QueueSettings{Paused: &paused}); err != nil {
				return err
			}
			claim = f.meanwhile(func(tx *store.Tx) error {
				c, err := tx.Claim(f.worker, 1)
				claimed = c.Leases
				return err
			})
			return nil
		})
		if err := <-claim; err != nil {
			t.Fatal(err)
		}
		if len(claimed) > 0 {
			t.Errorf("leased %v of a paused queue", jobsOf(claimed))
		}
	})
}

// TestUpdateAssetRacingUpdateAsset checks that after two concurrent updates of an asset's
// device key its jobs are in the lane of the key that was written last.
func TestUpdateAssetRacingUpdateAsset(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		asset := f.asset("web", "a")
		onAsset := func(s *hostler.JobSpec) { s.Asset = asset.ID }
		f.enqueue(job(inLane("device:a"), onAsset), job(inLane("device:a"), onAsset))
		running := f.claim(f.worker, 1)[0]
		var second <-chan error
		f.tx(func(tx *store.Tx) error {
			asset.DeviceKey = "b"
			if err := tx.UpdateAsset(asset); err != nil {
				return err
			}
			second = f.meanwhile(func(tx *store.Tx) error {
				last := asset
				last.DeviceKey = "c"
				return tx.UpdateAsset(last)
			})
			return nil
		})
		if err := <-second; err != nil {
			t.Fatal(err)
		}
		f.tx(func(tx *store.Tx) error {
			return tx.Each(`SELECT j.lane_key, l.key FROM job j JOIN lane l ON l.id = j.lane`, nil, func(r sqldb.Rows) error {
				var key, lane string
				err := r.Scan(&key, &lane)
				if key != "device:c" || lane != "device:c" {
					t.Errorf("a job is in %s (lane %s)", key, lane)
				}
				return err
			})
		})
		f.wantInvariants()
		if got := f.claim(f.worker, 2); len(got) > 0 {
			t.Errorf("leased %v beside the job that runs on the device", jobsOf(got))
		}
		if err := f.finish(f.worker, running, hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		if got := f.claim(f.worker, 2); len(got) != 1 {
			t.Errorf("leased %v after it ended, want the next one", jobsOf(got))
		}
	})
}

// TestClaimsRacingForALimit lets two claims compete for the last job that a project may
// run.
func TestClaimsRacingForALimit(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		capped := f.project("capped", hostler.ProjectLimits{MaxRunning: 1})
		f.enqueue(job(of(capped)), job(of(capped), inQueue("bulk")))
		other := f.register("*")
		var first, second []hostler.Lease
		var claim <-chan error
		f.tx(func(tx *store.Tx) error {
			c, err := tx.Claim(f.worker, 1)
			first = c.Leases
			claim = f.meanwhile(func(tx *store.Tx) error {
				c, err := tx.Claim(other, 1)
				second = c.Leases
				return err
			})
			return err
		})
		if err := <-claim; err != nil {
			t.Fatal(err)
		}
		if len(first) != 1 || len(second) != 0 {
			t.Errorf("%d and %d jobs run, want one in all", len(first), len(second))
		}
	})
}
