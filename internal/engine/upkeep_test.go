package engine_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// TestUpkeepDeletesAllThatIsOld leaves more old rows of every kind than one transaction
// deletes: one round of upkeep deletes them all, and nothing that is still needed.
func TestUpkeepDeletesAllThatIsOld(t *testing.T) {
	const many = 1200 // more than two batches
	eachEnv(t, func(t *testing.T, e *env, h *storetest.Harness) {
		retrying := e.spec()
		retrying.MaxAttempts, retrying.RunAt = 2, h.Now().Add(200*time.Hour)
		live := e.enqueue(retrying)[0]
		e.tx(func(tx *store.Tx) error {
			old := tx.Now().UnixMicro()
			for i := range int64(many) {
				for _, sql := range []string{
					`INSERT INTO idem (project, route, key, request_hash, response, created_at) VALUES (?, 'r', ?, '', '', ?)`,
					`INSERT INTO lane (id, key, lim, used_at) VALUES (?, ?, 1, ?)`,
					`INSERT INTO event (last, n, at, body) VALUES (?, 1, ?, ?)`,
				} {
					args := []any{i + 1, fmt.Sprint("old:", i), old}
					if sql[12:17] == "event" {
						args = []any{i + 1, old, []byte{0}}
					}
					if _, err := tx.Exec(sql, args...); err != nil {
						return err
					}
				}
				if err := insertAttempt(tx, hostler.JobID(i+1), old); err != nil {
					return err
				}
			}
			// Webhooks and statistics have all of the events.
			for _, table := range []string{"delivery_cursor", "stats_cursor"} {
				if _, err := tx.Exec(`UPDATE `+table+` SET pos = ?`, many); err != nil {
					return err
				}
			}
			return insertAttempt(tx, live, old)
		})
		h.Advance(100 * time.Hour)
		if err := e.engine.UpkeepOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		for table, want := range map[string]int64{"idem": 0, "lane": 0, "event": 1, "attempt": 1} {
			if got := e.deleteAll(table); got != want {
				t.Errorf("%d rows left in %s, want %d", got, table, want)
			}
		}
	})
}

func insertAttempt(tx *store.Tx, job hostler.JobID, at int64) error {
	_, err := tx.Exec(`INSERT INTO attempt (job, fence, n, worker, started_at, ended_at, outcome, error)
VALUES (?, 1, 1, 1, ?, ?, 'retry', '')`, job, at, at)
	return err
}

// deleteAll empties a table and returns how many rows it had.
func (e *env) deleteAll(table string) (n int64) {
	e.t.Helper()
	e.tx(func(tx *store.Tx) (err error) {
		n, err = tx.Exec(`DELETE FROM ` + table)
		return err
	})
	return n
}

// TestPauseAndResumeOfManyLanes pauses a queue with more lanes than one transaction
// changes, and resumes it: no job of it starts meanwhile, jobs of another queue pass in
// the lanes that they share, and afterwards every job starts in its order.
func TestPauseAndResumeOfManyLanes(t *testing.T) {
	const lanes = 1500 // more than one step, less than two
	eachEnv(t, func(t *testing.T, e *env, _ *storetest.Harness) {
		ctx := t.Context()
		e.tx(func(tx *store.Tx) error {
			_, err := tx.SetQueue("bulk", store.QueueSettings{})
			return err
		})
		spec := func(queue string, lane int) hostler.JobSpec {
			s := e.spec()
			s.Queue, s.LaneKey, s.LaneLimit = queue, fmt.Sprintf("device:%d", lane), 1
			return s
		}
		var specs []hostler.JobSpec
		for i := range lanes {
			specs = append(specs, spec("bulk", i))
		}
		first := e.enqueue(specs...)
		w := e.register()
		e.pause("bulk", true)
		// Behind a head that is not demoted yet, and in a lane that is free already.
		others := []hostler.JobID{e.enqueue(spec("default", 0))[0], e.enqueue(spec("default", lanes-1))[0]}
		if err := e.engine.FollowOnce(ctx); err != nil {
			t.Fatal(err)
		}
		e.wantInvariants()
		if got := jobsOf(e.lease(w, 10)); !slices.Equal(got, others) {
			t.Errorf("leased %v, want the jobs of the other queue: %v", got, others)
		}

		e.pause("bulk", false)
		behind := e.enqueue(spec("bulk", lanes-2))[0]
		if err := e.engine.FollowOnce(ctx); err != nil {
			t.Fatal(err)
		}
		e.wantInvariants()
		started := e.leaseAll(w)
		if want := lanes - 2; len(started) != want {
			t.Errorf("%d jobs started, want %d: all but those behind the two that run", len(started), want)
		}
		if started[behind] || !started[first[lanes-2]] {
			t.Error("a job that arrived during the resume passed the one that waited before it")
		}
	})
}

// TestTwoServersFollowAResume promotes the lanes of a resumed queue on two servers at
// once. Neither declares the resume complete while the other has lanes left.
func TestTwoServersFollowAResume(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, d *storetest.Drivers) {
		if d.Kind != sqldb.Postgres {
			return // SQLite has one server
		}
		var servers []*env
		for range 2 {
			one := d.Open(t)
			servers = append(servers, newEnv(t, store.New(one, one)))
		}
		e := servers[0]
		e.prepare("default")
		e.pause("default", true)
		specs := make([]hostler.JobSpec, 5000)
		for i := range specs {
			specs[i] = e.spec()
			specs[i].LaneKey, specs[i].LaneLimit = fmt.Sprintf("device:%d", i), 1
		}
		e.enqueue(specs...)
		e.pause("default", false)
		var wg sync.WaitGroup
		for _, s := range servers {
			wg.Go(func() {
				if err := s.engine.FollowOnce(t.Context()); err != nil {
					t.Error(err)
				}
				err := s.store.View(t.Context(), func(tx *store.Tx) error {
					broken, err := tx.CheckInvariants()
					if len(broken) > 0 {
						t.Errorf("%d broken, the first: %s", len(broken), broken[0])
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func jobsOf(leases []hostler.Lease) (ids []hostler.JobID) {
	for _, l := range leases {
		ids = append(ids, l.Job)
	}
	slices.Sort(ids)
	return ids
}

func (e *env) pause(queue string, paused bool) {
	e.t.Helper()
	e.tx(func(tx *store.Tx) error {
		_, err := tx.SetQueue(queue, store.QueueSettings{Paused: &paused})
		return err
	})
}

// leaseAll leases every ready job.
func (e *env) leaseAll(w hostler.WorkerID) map[hostler.JobID]bool {
	e.t.Helper()
	started := map[hostler.JobID]bool{}
	for {
		var got store.Claimed
		e.tx(func(tx *store.Tx) (err error) {
			got, err = tx.Claim(w, 500)
			return err
		})
		for _, l := range got.Leases {
			started[l.Job] = true
		}
		if len(got.Leases) == 0 {
			return started
		}
	}
}
