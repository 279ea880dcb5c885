package store_test

import (
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// TestProjectsTakeTurns checks that claims alternate between two projects, however many
// jobs one of them has queued before.
func TestProjectsTakeTurns(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		other := func(s *hostler.JobSpec) { s.Project = testProject + 1 }
		for range 6 {
			f.enqueue(job())
		}
		for range 3 {
			f.enqueue(job(other))
		}
		var order []hostler.ProjectID
		for range 6 {
			l := f.claim(f.worker, 1)
			order = append(order, l[0].Project)
			if err := f.finish(f.worker, l[0], hostler.OutcomeSucceeded); err != nil {
				t.Fatal(err)
			}
		}
		for i, p := range order {
			if p != testProject+hostler.ProjectID(i%2) {
				t.Fatalf("the projects were served in the order %v", order)
			}
		}
	})
}

// TestLongJobsLeaveSlotsToOthers is a regression test: 64 long jobs of one project took
// every slot, and a job of another project waited until one of them ended.
func TestLongJobsLeaveSlotsToOthers(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		var worker hostler.WorkerID
		project := func(name string) {
			f.tx(func(tx *store.Tx) error { _, err := tx.InsertProject(name); return err })
		}
		project("one")
		f.tx(func(tx *store.Tx) (err error) {
			worker, err = tx.RegisterWorker(hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: 64})
			return err
		})
		specs := make([]hostler.JobSpec, 200)
		for i := range specs {
			specs[i] = job()
		}
		f.enqueue(specs...)
		all := f.claim(worker, 64)
		if len(all) != 64 {
			t.Fatalf("the only project got %d slots, want all 64", len(all))
		}
		for _, l := range all {
			if err := f.finish(worker, l, hostler.OutcomeSucceeded); err != nil {
				t.Fatal(err)
			}
		}

		project("two")
		held := f.claim(worker, 64)
		if len(held) != 60 {
			t.Fatalf("one of two projects got %d slots, want 60", len(held))
		}
		f.tx(func(tx *store.Tx) error {
			c, err := tx.Claim(worker, 4)
			if len(c.Leases) != 0 || !c.Withheld {
				t.Errorf("the kept slots: %d jobs, withheld %v; want none, withheld", len(c.Leases), c.Withheld)
			}
			return err
		})
		check := f.enqueue(job(func(s *hostler.JobSpec) { s.Project = testProject + 1 }))[0]
		if got := f.claim(worker, 4); len(got) != 1 || got[0].Job != check {
			t.Errorf("claimed %v, want the job of the other project, %v", jobsOf(got), check)
		}
		if err := f.finish(worker, held[0], hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		if got := f.claim(worker, 4); len(got) != 0 {
			t.Errorf("claimed %v into the kept slots", jobsOf(got))
		}
		if err := f.finish(worker, held[1], hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		if got := f.claim(worker, 5); len(got) != 1 {
			t.Errorf("claimed %v, want one job into the slot that is not kept", jobsOf(got))
		}
	})
}
