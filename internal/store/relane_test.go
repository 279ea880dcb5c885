package store_test

import (
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// TestRelaneOfADeepLane moves an asset whose lane has more jobs than one step moves to
// another device, and back and on while that is under way. Until the last step nothing
// starts on the devices beside what runs, and then the jobs run in their order.
func TestRelaneOfADeepLane(t *testing.T) {
	const jobs = 1200
	eachFixture(t, func(t *testing.T, f *fixture) {
		a := f.asset("web", "a")
		onAsset := func(device string) hostler.JobSpec {
			return job(inLane("device:"+device), func(s *hostler.JobSpec) { s.Project, s.Asset = a.ProjectID, a.ID })
		}
		var want []hostler.JobID
		for range jobs / 300 {
			specs := make([]hostler.JobSpec, 300)
			for i := range specs {
				specs[i] = onAsset("a")
			}
			want = append(want, f.enqueue(specs...)...)
		}
		running := f.claim(f.worker, 10)
		if len(running) != 1 || running[0].Job != want[0] {
			t.Fatalf("%d jobs run on one device", len(running))
		}
		other := f.enqueue(job(inLane("device:b")))[0] // of another asset with the key b
		beside := f.claim(f.worker, 10)
		if len(beside) != 1 || beside[0].Job != other {
			t.Fatalf("%d jobs of the other device run, want 1", len(beside))
		}
		step := func() (more bool) {
			f.tx(func(tx *store.Tx) (err error) {
				more, err = tx.FollowRelanes()
				return err
			})
			f.wantInvariants()
			if got := f.claim(f.worker, 10); more && len(got) > 0 {
				t.Fatalf("job %v started while jobs move", got[0].Job)
			}
			return more
		}
		for _, device := range []string{"b", "c", "a", "b"} {
			a.DeviceKey = device
			f.tx(func(tx *store.Tx) error { return tx.UpdateAsset(a) })
			f.wantInvariants()
			want = append(want, f.enqueue(onAsset(device))...)
			if device == "c" {
				f.wantClosed(want[len(want)-1], a.ProjectID)
			}
			step()
		}
		for step() {
		}
		// Two jobs hold the device b: what ran on a, and the job of the other asset.
		if got := f.claim(f.worker, 10); len(got) > 0 {
			t.Fatalf("job %v started beside running ones", got[0].Job)
		}
		for _, l := range []hostler.Lease{running[0], beside[0]} {
			if got := f.claim(f.worker, 10); len(got) > 0 {
				t.Fatalf("job %v started beside %v", got[0].Job, l.Job)
			}
			if err := f.finish(f.worker, l, hostler.OutcomeSucceeded); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range want[1:4] {
			got := f.claim(f.worker, 10)
			if len(got) != 1 || got[0].Job != id {
				t.Fatalf("the device runs %v, want %v", got, id)
			}
			if err := f.finish(f.worker, got[0], hostler.OutcomeSucceeded); err != nil {
				t.Fatal(err)
			}
		}
		f.wantInvariants()
	})
}

// wantClosed checks that a job is told to wait for a lane that is closed.
func (f *fixture) wantClosed(id hostler.JobID, project hostler.ProjectID) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) error {
		ws, err := tx.Explain(id, project)
		if err == nil && (len(ws) != 1 || ws[0].Reason != hostler.WaitLane || ws[0].Text.EN == "") {
			f.t.Errorf("job %v waits for %+v, want its lane", id, ws)
		}
		return err
	})
}
