package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// counting counts the statements of a driver's transactions.
type counting struct {
	sqldb.Driver
	n *int
}

func (c counting) InTx(ctx context.Context, fn func(sqldb.Conn) error) error {
	return c.Driver.InTx(ctx, func(conn sqldb.Conn) error { return fn(countingConn{conn, c.n}) })
}

type countingConn struct {
	sqldb.Conn
	n *int
}

func (c countingConn) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	*c.n++
	return c.Conn.Exec(ctx, sql, args...)
}

func (c countingConn) Query(ctx context.Context, sql string, args ...any) (sqldb.Rows, error) {
	*c.n++
	return c.Conn.Query(ctx, sql, args...)
}

func (c countingConn) ExecRows(ctx context.Context, sql string, rows sqldb.Batch) (int64, error) {
	*c.n++
	return c.Conn.ExecRows(ctx, sql, rows)
}

// TestStatementsOfAClaim is a regression test: a claim took three statements for each
// queue. Their number depends neither on the queues nor on the projects.
func TestStatementsOfAClaim(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		n := new(int)
		db := counting{ds.Open(t), n}
		st := store.New(db, db)
		tx := func(fn func(tx *store.Tx) error) {
			t.Helper()
			if err := st.InTx(t.Context(), fn); err != nil {
				t.Fatal(err)
			}
		}
		var worker hostler.WorkerID
		tx(func(tx *store.Tx) (err error) {
			worker, err = tx.RegisterWorker(hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: 100})
			return err
		})
		measure := func(queues, projects int) int {
			t.Helper()
			tx(func(tx *store.Tx) error {
				for q := range queues {
					name := fmt.Sprintf("queue-%d", q)
					if _, err := tx.SetQueue(name, store.QueueSettings{}); err != nil {
						return err
					}
					for p := range projects {
						s := job(inQueue(name))
						s.Project = hostler.ProjectID(p + 1)
						if _, err := tx.Enqueue([]hostler.JobSpec{s, s}); err != nil {
							return err
						}
					}
				}
				return nil
			})
			*n = 0
			tx(func(tx *store.Tx) error {
				c, err := tx.Claim(worker, 1)
				if len(c.Leases) != 1 {
					t.Errorf("%d queues: claimed %v", queues, c.Leases)
				}
				return err
			})
			return *n
		}
		measure(1, 1) // the first claim reads the grants of queues, too
		few, many := measure(2, 2), measure(100, 3)
		if many != few {
			t.Errorf("a claim takes %d statements with 2 queues, %d with 100", few, many)
		}
	})
}

// fastest returns the shortest time that fn takes in a transaction, without its commit.
func (f *fixture) fastest(fn func(tx *store.Tx) error) time.Duration {
	best := time.Hour
	for range 12 {
		f.tx(func(tx *store.Tx) error {
			began := time.Now()
			err := fn(tx)
			best = min(best, time.Since(began))
			return err
		})
	}
	return best
}

// TestCostsDoNotGrowWithTheQueue measures what a claim, a finish and an enqueue take in
// an empty queue, and with many jobs around. It is a regression test: each of them read
// all those jobs.
func TestCostsDoNotGrowWithTheQueue(t *testing.T) {
	const many = 15_000
	eachFixture(t, func(t *testing.T, f *fixture) {
		maxDepth, paused := 1_000_000, true
		f.tx(func(tx *store.Tx) error {
			_, err := tx.SetQueue("default", store.QueueSettings{MaxDepth: &maxDepth})
			return err
		})
		lane := inLane("device:a")
		steps := []struct {
			name string
			run  func(tx *store.Tx) error
		}{
			{"enqueue into a queue with a maximum depth", func(tx *store.Tx) error {
				_, err := tx.Enqueue([]hostler.JobSpec{job()})
				return err
			}},
			{"claim", func(tx *store.Tx) error {
				_, err := tx.Claim(f.worker, 1)
				return err
			}},
			{"finish in a lane", func(tx *store.Tx) error {
				ids, err := tx.Enqueue([]hostler.JobSpec{job(lane)})
				if err != nil {
					return err
				}
				_, err = tx.CancelWaiting(ids, "alice")
				return err
			}},
		}
		empty := make([]time.Duration, len(steps))
		for i, s := range steps {
			empty[i] = f.fastest(s.run)
		}

		f.tx(func(tx *store.Tx) error {
			_, err := tx.SetQueue("bulk", store.QueueSettings{Paused: &paused})
			return err
		})
		waiting, specs := make([]hostler.JobSpec, many), make([]hostler.JobSpec, many)
		for i := range specs {
			waiting[i], specs[i] = job(inQueue("bulk"), lane), job(withPriority(9))
		}
		f.enqueue(waiting...)
		f.enqueue(specs...)
		for range 30 { // jobs that the step "claim" takes before the others
			f.enqueue(job())
		}
		for i, s := range steps {
			if full := f.fastest(s.run); full > 3*empty[i]+time.Millisecond {
				t.Errorf("%s: %v in an empty queue, %v with %d jobs in it", s.name, empty[i], full, many)
			}
		}
		f.wantInvariants()
	})
}

// TestCountsAreAddedUp checks that the counts of waiting jobs, which each transaction
// adds to, are right before and after the engine adds them up.
func TestCountsAreAddedUp(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		maxDepth := 3
		f.tx(func(tx *store.Tx) error {
			_, err := tx.SetQueue("default", store.QueueSettings{MaxDepth: &maxDepth})
			return err
		})
		want := func(queued int) {
			t.Helper()
			f.tx(func(tx *store.Tx) error {
				queues, err := tx.Queues()
				for _, q := range queues {
					if q.Name == "default" && q.Queued != queued {
						t.Errorf("%d jobs are queued, want %d", q.Queued, queued)
					}
				}
				return err
			})
			f.wantInvariants()
		}
		add := func(limit int) (n int64) {
			f.tx(func(tx *store.Tx) (err error) {
				n, err = tx.SumCounts(limit)
				return err
			})
			return n
		}
		f.enqueue(job(), job())
		f.enqueue(job())
		want(3)
		err := f.Store.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Enqueue([]hostler.JobSpec{job()})
			return err
		})
		if hostler.CodeOf(err) != hostler.CodeQueueFull {
			t.Errorf("a fourth job: %v, want CodeQueueFull", err)
		}
		if n := add(1); n != 1 {
			t.Errorf("added up %d rows, want 1", n)
		}
		want(3)
		f.claim(f.worker, 1)
		want(2)
		if n := add(100); n != 2 {
			t.Errorf("added up %d rows, want 2", n)
		}
		want(2)
		if n := add(100); n != 0 {
			t.Errorf("added up %d rows, want none", n)
		}
		f.enqueue(job())
	})
}
