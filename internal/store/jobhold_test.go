package store_test

import (
	"context"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// hold creates a hold of the project, or of an asset.
func (f *fixture) hold(asset *store.AssetRow, mode hostler.HoldMode, until time.Time) *store.HoldRow {
	f.t.Helper()
	row := store.HoldRow{
		Project: testProject, Selector: store.ProjectSelector, Mode: mode, Reason: "test", CreatedBy: "olga", Until: until,
	}
	if asset != nil {
		row.Selector, row.Asset, row.AssetName = "asset:"+asset.ID.String(), asset.ID, asset.Name
	}
	var out *store.HoldRow
	f.tx(func(tx *store.Tx) (err error) {
		out, err = tx.PutHold(row)
		return err
	})
	return out
}

// claimAll claims and holds until a claim finds nothing, as the engine does.
func (f *fixture) claimAll(n int) (leases []hostler.Lease, rounds int) {
	f.t.Helper()
	for {
		var got store.Claimed
		f.tx(func(tx *store.Tx) (err error) {
			got, err = tx.Claim(f.worker, n)
			return err
		})
		if len(got.Forbidden) > 0 {
			f.tx(func(tx *store.Tx) error { _, err := tx.HoldJobs(got.Forbidden); return err })
		}
		rounds++
		if leases = append(leases, got.Leases...); len(leases) > 0 || len(got.Forbidden) == 0 {
			return leases, rounds
		}
	}
}

// followHolds lets ended holds queue their jobs.
func (f *fixture) followHolds() (steps int) {
	f.t.Helper()
	for more := true; more; steps++ {
		f.tx(func(tx *store.Tx) (err error) {
			more, err = tx.FollowHolds()
			return err
		})
	}
	return steps
}

func (f *fixture) why(id hostler.JobID) []hostler.Waiting {
	f.t.Helper()
	var why []hostler.Waiting
	f.tx(func(tx *store.Tx) (err error) {
		why, err = tx.Explain(id, testProject)
		return err
	})
	return why
}

// TestAssetInMaintenance: jobs on the asset, also of an ad-hoc host at its address, wait
// and give their lanes back; others run. The end lets them run in their order.
func TestAssetInMaintenance(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		f.makeProject()
		held := f.assetAt(testProject, "web1", "192.0.2.1", 22, "web1")
		free := f.assetAt(testProject, "web2", "192.0.2.2", 22, "web2")
		on := func(a store.AssetRow) func(*hostler.JobSpec) {
			return func(s *hostler.JobSpec) {
				s.Asset, s.AssetName = a.ID, a.Name
				s.LaneKey, s.LaneLimit = hostler.AssetLaneKey(a.DeviceKey), 1
			}
		}
		adHoc := func(s *hostler.JobSpec) {
			s.AssetName = held.Address
			s.Target = &hostler.JobTarget{Address: held.Address, Seal: func(hostler.ProjectID, hostler.JobID) ([]byte, error) {
				return []byte("sealed"), nil
			}}
		}
		waits := f.enqueue(job(on(held)), job(on(held)), job(adHoc))
		h := f.hold(&held, hostler.HoldWait, time.Time{})
		runs := f.enqueue(job(on(free)))[0]
		waits = append(waits, f.enqueue(job(on(held)))...)
		if w := f.why(waits[0]); len(w) == 0 || w[0].Reason != hostler.WaitHold {
			t.Errorf("before a claim it waits for %+v", w)
		}
		if got, _ := f.claimAll(10); len(got) != 1 || got[0].Job != runs {
			t.Fatalf("claimed %v, want only %v", jobsOf(got), runs)
		}
		f.claimAll(10)
		for _, id := range waits {
			f.wantTable(id, "sched")
			if w := f.why(id); len(w) != 1 || w[0].Reason != hostler.WaitHold {
				t.Errorf("it waits for %+v", w)
			}
		}
		f.tx(func(tx *store.Tx) error {
			j, err := tx.Job(testProject, waits[0])
			if err == nil && j.RunAt != nil {
				t.Errorf("a held job shows the time %v", j.RunAt)
			}
			if _, _, err := tx.DueJobs(100); err != nil {
				t.Error(err)
			}
			return err
		})
		f.wantTable(waits[0], "sched")
		f.wantInvariants()

		f.tx(func(tx *store.Tx) error { return tx.EndHold(h.ID) })
		f.followHolds()
		f.wantInvariants()
		got, _ := f.claimAll(10)
		if len(got) != 2 || got[0].Job != waits[0] {
			t.Errorf("after the end: %v, want %v and the ad-hoc host", jobsOf(got), waits[0])
		}
	})
}

// TestDeletedAssetEndsItsHold deletes an asset while a job is on its way behind the hold of it:
// the job does not stay behind a hold that has ended.
func TestDeletedAssetEndsItsHold(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		f.makeProject()
		held := f.assetAt(testProject, "web1", "192.0.2.1", 22, "web1")
		id := f.enqueue(job(func(s *hostler.JobSpec) {
			s.Asset, s.AssetName = held.ID, held.Name
			s.LaneKey, s.LaneLimit = hostler.AssetLaneKey(held.DeviceKey), 1
		}))[0]
		f.hold(&held, hostler.HoldWait, time.Time{})
		var got store.Claimed
		f.tx(func(tx *store.Tx) (err error) {
			got, err = tx.Claim(f.worker, 1)
			return err
		})
		if len(got.Forbidden) != 1 {
			t.Fatalf("the claim held %v", got.Forbidden)
		}
		f.tx(func(tx *store.Tx) error {
			if _, err := tx.HoldJobs(got.Forbidden); err != nil {
				return err
			}
			if f.Kind == "sqlite" {
				return nil // has one writer
			}
			// Before that commits.
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			err := f.Store.InTx(ctx, func(tx *store.Tx) error { return tx.DeleteAsset(testProject, held.ID) })
			if err == nil {
				err = f.Store.InTx(ctx, func(tx *store.Tx) error { _, err := tx.FollowHolds(); return err })
				if err != nil {
					t.Error(err)
				}
			}
			return nil
		})
		f.tx(func(tx *store.Tx) error { return tx.DeleteAsset(testProject, held.ID) })
		f.followHolds()
		f.wantTable(id, "ready")
		f.wantInvariants()
	})
}

// TestHoldEndsByItself ends a hold by the clock of the database, with a row of the audit.
func TestHoldEndsByItself(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		f.makeProject()
		id := f.enqueue(job())[0]
		f.hold(nil, hostler.HoldWait, f.Now().Add(time.Hour))
		if got, _ := f.claimAll(1); len(got) != 0 {
			t.Fatalf("claimed %v of a held project", jobsOf(got))
		}
		f.wantTable(id, "sched")
		f.followHolds()
		f.wantTable(id, "sched")
		f.Advance(2 * time.Hour)
		f.followHolds()
		if got, _ := f.claimAll(1); len(got) != 1 {
			t.Error("the job did not start after the end of the hold")
		}
		var ending bool
		f.tx(func(tx *store.Tx) (err error) { ending, err = tx.HoldsEnding(); return err })
		if ending {
			t.Error("the hold is still there")
		}
	})
}

// TestManyJobsBehindAHold: a claim moves many held jobs at a time, also those of one lane,
// and jobs of other projects start meanwhile.
func TestManyJobsBehindAHold(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		f.makeProject()
		const many = 3000
		specs := make([]hostler.JobSpec, many)
		for i := range specs {
			specs[i] = job(func(s *hostler.JobSpec) {
				if i%2 == 0 {
					s.LaneKey, s.LaneLimit = "own:deep", 1
				}
			})
		}
		f.enqueue(specs...)
		h := f.hold(nil, hostler.HoldWait, time.Time{})
		other := f.enqueue(job(func(s *hostler.JobSpec) { s.Project = testProject + 1 }))[0]
		if got, _ := f.claimAll(10); len(got) != 1 || got[0].Job != other {
			t.Errorf("claimed %v, want the job of the other project", jobsOf(got))
		}
		if _, rounds := f.claimAll(10); rounds > 2*many/500 {
			t.Errorf("%d claims until all are held", rounds)
		}
		f.tx(func(tx *store.Tx) error { return tx.EndHold(h.ID) })
		if steps := f.followHolds(); steps > many/500+3 {
			t.Errorf("%d steps to queue all", steps)
		}
		f.wantInvariants()
	})
}

// TestRefusedJobs: a hold that refuses lets no job be created, but those of runs that were
// accepted before wait.
func TestRefusedJobs(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		f.makeProject()
		a := f.assetAt(testProject, "web1", "192.0.2.1", 22, "web1")
		on := func(s *hostler.JobSpec) { s.Asset, s.AssetName = a.ID, a.Name }
		f.hold(&a, hostler.HoldRefuse, f.Now().Add(time.Hour))
		if err := f.refused(job(on)); hostler.CodeOf(err) != hostler.CodeConflict {
			t.Errorf("a new job: %v", err)
		}
		f.enqueue(job(), job(on, func(s *hostler.JobSpec) { s.Accepted = true }))
		f.Advance(2 * time.Hour)
		f.enqueue(job(on))
	})
}
