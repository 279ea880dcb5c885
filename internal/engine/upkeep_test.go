package engine_test

import (
	"fmt"
	"testing"
	"time"

	"hostler.dev/hostler"
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
