package store_test

import (
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

func onDevice(a store.AssetRow, device string) hostler.JobSpec {
	return job(inLane("device:"+device), func(s *hostler.JobSpec) { s.Project, s.Asset = a.ProjectID, a.ID })
}

// TestRelaneOntoAReadyJob moves a running job to a device for which another job is
// ready: that one does not start beside it.
func TestRelaneOntoAReadyJob(t *testing.T) {
	for name, step := range map[string]int{"at once": 500, "in steps": 1} {
		t.Run(name, func(t *testing.T) {
			defer store.SetRelaneStep(step)()
			eachFixture(t, func(t *testing.T, f *fixture) {
				a := f.asset("web", "a")
				running := f.enqueue(onDevice(a, "a"), onDevice(a, "a"))
				lease := f.claim(f.worker, 1)[0]
				ready := f.enqueue(job(inLane("device:b")))[0]
				a.DeviceKey = "b"
				f.tx(func(tx *store.Tx) error { return tx.UpdateAsset(a) })
				f.wantInvariants()
				for more := true; more; {
					if got := f.claim(f.worker, 10); len(got) > 0 {
						t.Fatalf("job %v started beside %v", got[0].Job, lease.Job)
					}
					f.tx(func(tx *store.Tx) (err error) {
						more, err = tx.FollowRelanes()
						return err
					})
				}
				f.wantInvariants()
				if got := f.claim(f.worker, 10); len(got) > 0 {
					t.Fatalf("job %v started beside %v", got[0].Job, lease.Job)
				}
				for _, want := range []hostler.JobID{ready, running[1]} {
					if err := f.finish(f.worker, lease, hostler.OutcomeSucceeded); err != nil {
						t.Fatal(err)
					}
					got := f.claim(f.worker, 10)
					if len(got) != 1 {
						t.Fatalf("%d jobs run, want %v", len(got), want)
					}
					lease = got[0]
				}
				f.wantInvariants()
			})
		})
	}
}

// TestHolderOfAFullLaneWaits queues a job again that holds a lane beside another: it
// waits until that one has ended.
func TestHolderOfAFullLaneWaits(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		a := f.asset("web", "a")
		again := onDevice(a, "a")
		again.MaxAttempts, again.OnRetry, again.Backoff.Base = 2, hostler.OnRetryHold, hostler.Duration(time.Second)
		f.enqueue(again, job(inLane("device:b")))
		leases := f.claim(f.worker, 2)
		if len(leases) != 2 {
			t.Fatalf("%d jobs run on two devices", len(leases))
		}
		a.DeviceKey = "b"
		f.tx(func(tx *store.Tx) error { return tx.UpdateAsset(a) })
		for _, l := range leases {
			if l.Asset != nil {
				if err := f.finish(f.worker, l, hostler.OutcomeFailed); err != nil {
					t.Fatal(err)
				}
			}
		}
		f.Advance(time.Minute)
		f.tx(func(tx *store.Tx) error {
			_, _, err := tx.DueJobs(10)
			return err
		})
		f.wantInvariants()
		if got := f.claim(f.worker, 10); len(got) > 0 {
			t.Fatalf("job %v started beside another on its device", got[0].Job)
		}
		for _, l := range leases {
			if l.Asset == nil {
				if err := f.finish(f.worker, l, hostler.OutcomeSucceeded); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := f.claim(f.worker, 10); len(got) != 1 {
			t.Fatalf("%d jobs run after the device is free", len(got))
		}
		f.wantInvariants()
	})
}
