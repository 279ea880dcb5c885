package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// project creates a project with limits.
func (f *fixture) project(name string, l hostler.ProjectLimits) hostler.ProjectID {
	f.t.Helper()
	var id hostler.ProjectID
	f.tx(func(tx *store.Tx) error {
		p, err := tx.InsertProject(name)
		if err != nil {
			return err
		}
		id = p.ID
		l.Weight = max(1, l.Weight)
		return tx.SetProjectLimits(id, l)
	})
	return id
}

func of(p hostler.ProjectID) func(*hostler.JobSpec) {
	return func(s *hostler.JobSpec) { s.Project = p }
}

func (f *fixture) refused(s hostler.JobSpec) error {
	f.t.Helper()
	return f.Store.InTx(f.t.Context(), func(tx *store.Tx) error {
		_, err := tx.Enqueue([]hostler.JobSpec{s})
		return err
	})
}

// TestWeightsOfProjects lets a project of weight 3 and one of weight 1 queue many jobs:
// of what runs at once, and of what starts over time, the first has three times as much.
func TestWeightsOfProjects(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		heavy, light := f.project("heavy", hostler.ProjectLimits{Weight: 3}), f.project("light", hostler.ProjectLimits{})
		for range 20 {
			f.enqueue(job(of(light)), job(of(heavy)))
		}
		var worker hostler.WorkerID
		f.tx(func(tx *store.Tx) (err error) {
			worker, err = tx.RegisterWorker(hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: 64})
			return err
		})
		count := func(leases []hostler.Lease) (n int) {
			for _, l := range leases {
				if l.Project == heavy {
					n++
				}
			}
			return n
		}
		held := f.claim(worker, 8)
		if n := count(held); len(held) != 8 || n != 6 {
			t.Errorf("of %d running jobs %d are of the project of weight 3, want 6 of 8", len(held), n)
		}
		for _, l := range held {
			if err := f.finish(worker, l, hostler.OutcomeSucceeded); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		for range 12 {
			l := f.claim(worker, 1)
			n += count(l)
			if err := f.finish(worker, l[0], hostler.OutcomeSucceeded); err != nil {
				t.Fatal(err)
			}
		}
		if n != 9 {
			t.Errorf("of 12 jobs one after the other %d are of the project of weight 3, want 9", n)
		}
	})
}

// TestLimitOnRunningJobs lets a project with a limit queue more jobs than it may run, in
// several queues, alone and beside another project.
func TestLimitOnRunningJobs(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		capped, free := f.project("capped", hostler.ProjectLimits{MaxRunning: 3}), f.project("free", hostler.ProjectLimits{})
		var worker hostler.WorkerID
		f.tx(func(tx *store.Tx) (err error) {
			worker, err = tx.RegisterWorker(hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: 64})
			return err
		})
		var waiting hostler.JobID
		for range 4 {
			waiting = f.enqueue(job(of(capped)), job(of(capped), inQueue("bulk")))[1]
		}
		held := f.claim(worker, 2)
		held = append(held, f.claim(worker, 10)...)
		if len(held) != 3 {
			t.Fatalf("%d jobs run, want the limit of 3", len(held))
		}
		f.tx(func(tx *store.Tx) error {
			c, err := tx.Claim(worker, 10)
			if len(c.Leases) != 0 || !c.Withheld {
				t.Errorf("%d jobs beyond the limit, withheld %v", len(c.Leases), c.Withheld)
			}
			ws, xerr := tx.Explain(waiting, capped)
			if xerr != nil || len(ws) != 1 || ws[0].Reason != hostler.WaitProject || ws[0].Limit != 3 {
				t.Errorf("the reason is %+v, %v", ws, xerr)
			}
			return err
		})
		f.enqueue(job(of(free)), job(of(free)))
		if got := f.claim(worker, 10); len(got) != 2 || got[0].Project != free || got[1].Project != free {
			t.Errorf("claimed %v, want both jobs of the other project", jobsOf(got))
		}
		if err := f.finish(worker, held[0], hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		if got := f.claim(worker, 10); len(got) != 1 || got[0].Project != capped {
			t.Errorf("claimed %v, want one job of the project that may run one more", jobsOf(got))
		}
		f.wantInvariants()
	})
}

// TestLimitsOfAProject creates jobs beyond the limits of their project: too many, those
// that are delayed included, with too long a timeout, with too long a backoff.
func TestLimitsOfAProject(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		p := f.project("small", hostler.ProjectLimits{
			MaxQueued: 3, MaxTimeout: hostler.Duration(time.Minute), MaxBackoff: hostler.Duration(30 * time.Second),
		})
		wantFault := func(path string, change func(*hostler.JobSpec)) {
			t.Helper()
			err := f.refused(job(of(p), change))
			e, ok := errors.AsType[*hostler.Error](err)
			if !ok || e.Code != hostler.CodeInvalid || len(e.Fields) != 1 || e.Fields[0].Path != path {
				t.Errorf("%v, want a fault of %s", err, path)
			}
		}
		wantFault("timeout", func(s *hostler.JobSpec) { s.Timeout = 61 * time.Second })
		wantFault("backoff.max", func(s *hostler.JobSpec) { s.Backoff.Max = hostler.Duration(time.Hour) })
		wantFault("backoff.base", func(s *hostler.JobSpec) { s.Backoff.Base = hostler.Duration(time.Hour) })

		specs := []hostler.JobSpec{job(of(p), func(s *hostler.JobSpec) {
			s.Timeout, s.DefaultTimeout = 5*time.Minute, true
		})}
		id := f.enqueue(specs...)[0]
		if specs[0].Timeout != 5*time.Minute {
			t.Error("the spec of the caller was changed")
		}
		f.tx(func(tx *store.Tx) error {
			j, err := tx.Job(p, id)
			if err == nil && (j.TimeoutS != 60 || j.Backoff.Max.D() != 30*time.Second) {
				t.Errorf("timeout %vs, backoff %v; want those of the limits", j.TimeoutS, j.Backoff)
			}
			return err
		})
		f.enqueue(job(of(p), inQueue("bulk")))
		later := func(s *hostler.JobSpec) { s.RunAt = f.Now().Add(time.Hour) }
		f.enqueue(job(of(p), later))
		if err := f.refused(job(of(p), later)); hostler.CodeOf(err) != hostler.CodeQueueFull {
			t.Errorf("a fourth waiting job: %v, want CodeQueueFull", err)
		}
		f.enqueue(job(), job(), job(), job()) // of another project
		f.claim(f.worker, 1)
		f.tx(func(tx *store.Tx) error { _, err := tx.SumCounts(100); return err })
	})
}

// TestGrantedQueues puts jobs into a queue that is granted to another project.
func TestGrantedQueues(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		mine, other := f.project("mine", hostler.ProjectLimits{}), f.project("other", hostler.ProjectLimits{})
		grant := func(projects ...hostler.ProjectID) {
			f.tx(func(tx *store.Tx) error { return tx.SetGrants("bulk", projects) })
		}
		grant(mine)
		f.enqueue(job(of(mine), inQueue("bulk")), job(of(mine)))
		f.enqueue(job(of(other)))
		closed, missing := f.refused(job(of(other), inQueue("bulk"))), f.refused(job(of(other), inQueue("absent")))
		if hostler.CodeOf(closed) != hostler.CodeInvalid || hostler.CodeOf(missing) != hostler.CodeInvalid {
			t.Errorf("a queue of another project: %v; one that does not exist: %v", closed, missing)
		}
		if err := f.refused(job(of(testProject), inQueue("bulk"))); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("a third project: %v", err)
		}
		grant(mine, other)
		f.enqueue(job(of(other), inQueue("bulk")))
		f.tx(func(tx *store.Tx) error {
			queues, err := tx.Queues()
			i := slices.IndexFunc(queues, func(q hostler.Queue) bool { return q.Name == "bulk" })
			if !slices.Equal(queues[i].Projects, []string{"mine", "other"}) {
				t.Errorf("granted to %v", queues[i].Projects)
			}
			return err
		})
		grant()
		f.enqueue(job(of(testProject), inQueue("bulk")))
	})
}

// TestBackoffDoesNotHoldASharedLane is an attack: a job of one project fails and backs off
// for a day with on_retry hold, in the lane of a device that another project uses too.
func TestBackoffDoesNotHoldASharedLane(t *testing.T) {
	long := func(s *hostler.JobSpec) {
		s.MaxAttempts, s.Backoff = 3, hostler.Backoff{Kind: "fixed", Base: hostler.Duration(24 * time.Hour), Max: hostler.Duration(24 * time.Hour)}
	}
	other := of(testProject + 1)
	lane := inLane("device:a")
	fails := func(f *fixture) hostler.JobID {
		id := f.enqueue(job(lane, long))[0]
		l := f.claim(f.worker, 1)
		if err := f.finish(f.worker, l[0], hostler.OutcomeFailed); err != nil {
			f.t.Fatal(err)
		}
		return id
	}
	eachFixture(t, func(t *testing.T, f *fixture) {
		t.Run("waiting before", func(t *testing.T) {
			bad := f.enqueue(job(lane, long))[0]
			held := f.claim(f.worker, 1)
			foreign := f.enqueue(job(lane, other))[0]
			f.wantTable(foreign, "wait")
			if err := f.finish(f.worker, held[0], hostler.OutcomeFailed); err != nil {
				t.Fatal(err)
			}
			f.wantTable(bad, "sched")
			f.wantTable(foreign, "ready")
		})
		f.wantInvariants()
	})
	eachFixture(t, func(t *testing.T, f *fixture) {
		bad := fails(f)
		own := f.enqueue(job(lane))[0]
		f.wantTable(bad, "sched+held")
		f.wantTable(own, "wait") // in order, within the project
		foreign := f.enqueue(job(lane, other, withPriority(1)))[0]
		f.wantTable(bad, "sched")
		f.wantTable(foreign, "ready")
		f.wantInvariants()
	})
	eachFixture(t, func(t *testing.T, f *fixture) {
		bad := fails(f)
		f.enqueue(job(lane, other, func(s *hostler.JobSpec) { s.RunAt = f.Now().Add(time.Minute) }))
		f.wantTable(bad, "sched") // also by one that is delayed
		f.wantInvariants()
	})
	eachFixture(t, func(t *testing.T, f *fixture) {
		t.Run("moved there", func(t *testing.T) {
			asset := func(s *hostler.JobSpec) { s.Asset, s.LaneKey, s.LaneLimit = 5, "device:b", 1 }
			moved := f.enqueue(job(asset, long))[0]
			l := f.claim(f.worker, 1)
			if err := f.finish(f.worker, l[0], hostler.OutcomeFailed); err != nil {
				t.Fatal(err)
			}
			foreign := f.enqueue(job(lane, other))[0]
			f.tx(func(tx *store.Tx) error { return tx.Relane(5, "device:b", "device:a") })
			f.wantTable(moved, "sched")
			f.wantTable(foreign, "ready")
		})
		f.wantInvariants()
	})
}
