package store_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
)

// argsOf returns args of a size, which begin with a text.
func argsOf(text string, size int) json.RawMessage {
	head := `{"text":"` + text
	return json.RawMessage(head + strings.Repeat("x", size-len(head)-2) + `"}`)
}

func withArgs(run hostler.RunID, args json.RawMessage) func(*hostler.JobSpec) {
	return func(s *hostler.JobSpec) { s.Run, s.Args = run, args }
}

// storedArgs returns how many bytes of args the database has.
func (f *fixture) storedArgs() (n int64) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) error {
		n = 0
		for _, table := range []string{"job", "done", "run_args"} {
			err := tx.Each(`SELECT COALESCE(sum(length(args)), 0) FROM `+table, nil, func(r sqldb.Rows) error {
				var size int64
				err := r.Scan(&size)
				n += size
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return n
}

// makeProject creates the project of the test's jobs, which reads of jobs need.
func (f *fixture) makeProject() {
	f.t.Helper()
	f.tx(func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO project (id, name, created_at) VALUES (?, 'p', 0)`, testProject)
		return err
	})
}

// wantArgs checks the args of jobs as people read them.
func (f *fixture) wantArgs(ids []hostler.JobID, want json.RawMessage) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) error {
		jobs, err := tx.Jobs(testProject, ids)
		if err == nil && len(jobs) != len(ids) {
			err = fmt.Errorf("%d jobs, want %d", len(jobs), len(ids))
		}
		for i := range jobs {
			if string(jobs[i].Args) != string(want) {
				f.t.Fatalf("job %v has args of %d bytes, want %d", jobs[i].ID, len(jobs[i].Args), len(want))
			}
		}
		return err
	})
}

// TestCommonArgsAreStoredOnce follows jobs of one run with the same large args, which are
// enqueued in several calls as a fan-out is, from the queue to the history.
func TestCommonArgsAreStoredOnce(t *testing.T) {
	const size, jobs = 100_000, 60
	eachFixture(t, func(t *testing.T, f *fixture) {
		f.makeProject()
		args := argsOf("common", size)
		var ids []hostler.JobID
		f.tx(func(tx *store.Tx) error {
			ids = nil
			for range 3 {
				specs := make([]hostler.JobSpec, jobs/3)
				for i := range specs {
					// Every other job has a copy, as requests of a batch have.
					specs[i] = job(withArgs(9, args))
					if i%2 == 0 {
						specs[i].Args = append(json.RawMessage{}, args...)
					}
				}
				made, err := tx.Enqueue(specs)
				if err != nil {
					return err
				}
				ids = append(ids, made...)
			}
			return nil
		})
		if got := f.storedArgs(); got != size {
			t.Fatalf("%d jobs store %d bytes of args, want %d", jobs, got, size)
		}
		f.wantArgs(ids, args)
		for _, l := range f.claim(f.worker, jobs) {
			if string(l.Args) != string(args) {
				t.Fatalf("the lease of %v has args of %d bytes", l.Job, len(l.Args))
			}
			if err := f.finish(f.worker, l, hostler.OutcomeFailed); err != nil {
				t.Fatal(err)
			}
		}
		if got := f.storedArgs(); got != size {
			t.Fatalf("%d ended jobs store %d bytes of args, want %d", jobs, got, size)
		}
		f.wantArgs(ids, args)
		f.tx(func(tx *store.Tx) error {
			specs, err := tx.JobSpecs(testProject, ids)
			if err != nil || len(specs) != jobs {
				t.Fatalf("%d specs to retry, %v", len(specs), err)
			}
			var again []hostler.JobSpec
			for _, s := range specs {
				s.Run = 10
				again = append(again, s)
			}
			ids, err = tx.Enqueue(again)
			return err
		})
		if got := f.storedArgs(); got != 2*size {
			t.Errorf("after a retry of all there are %d bytes of args, want %d", got, 2*size)
		}
		f.wantArgs(ids, args)
		f.wantInvariants()
	})
}

// TestOtherArgsStayWithTheirJob: small args, and large ones of one job only, cost no row
// of their own; jobs of a run may have different args.
func TestOtherArgsStayWithTheirJob(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		f.makeProject()
		small, one, two := argsOf("small", 200), argsOf("one", 5000), argsOf("two", 5000)
		ids := f.enqueue(
			job(withArgs(9, small)), job(withArgs(9, small)), job(withArgs(9, one)), job(withArgs(9, two)),
			job(withArgs(9, two)), job(withArgs(10, two)), job(withArgs(0, two)), job(withArgs(0, two)),
		)
		f.wantArgs(ids[:2], small)
		f.wantArgs(ids[2:3], one)
		f.wantArgs(ids[3:], two)
		f.tx(func(tx *store.Tx) error {
			n, err := tx.Exec(`UPDATE run_args SET checked_at = checked_at`)
			if n != 1 {
				t.Errorf("%d rows in run_args, want 1: that of the two jobs of one run", n)
			}
			return err
		})
		f.wantInvariants()
	})
}

// TestArgsGoWithTheLastJobOfTheRun lets the history of a run end: its args stay while one
// of its jobs is live, or in the history, and go then.
func TestArgsGoWithTheLastJobOfTheRun(t *testing.T) {
	const keep = 48 * time.Hour
	eachFixture(t, func(t *testing.T, f *fixture) {
		f.makeProject()
		args := argsOf("common", 5000)
		late := job(withArgs(9, args))
		late.RunAt = f.Now().Add(10 * keep)
		ids := f.enqueue(job(withArgs(9, args)), late)
		if err := f.finish(f.worker, f.claim(f.worker, 1)[0], hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		upkeep := func() {
			t.Helper()
			if err := f.Store.Maintain(t.Context(), keep); err != nil {
				t.Fatal(err)
			}
			f.tx(func(tx *store.Tx) error {
				_, err := tx.DeleteRunArgs(f.Now().Add(-keep), 10)
				return err
			})
		}
		for range 11 {
			f.Advance(keep)
			upkeep()
			if got := f.storedArgs(); got != int64(len(args)) {
				t.Fatalf("%d bytes of args, want %d: a job of the run lives", got, len(args))
			}
		}
		f.tx(func(tx *store.Tx) error {
			_, _, err := tx.DueJobs(10)
			return err
		})
		if err := f.finish(f.worker, f.claim(f.worker, 1)[0], hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		upkeep()
		f.wantArgs(ids[1:], args)
		// Segments of SQLite end a day after they began, partitions with the day.
		for range 4 {
			f.Advance(keep)
			upkeep()
		}
		if got := f.storedArgs(); got != 0 {
			t.Errorf("%d bytes of args are left after the retention", got)
		}
		f.wantInvariants()
	})
}
