package storetest_test

import (
	"context"
	"testing"

	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// TestSharedLanesAreFreeAfterAnUpgrade opens data of a version that did not know which
// lanes several projects use: a job that backs off holds such a lane, and one of the other
// project waits. It must not wait for the backoff; in a lane of one project it does.
func TestSharedLanesAreFreeAfterAnUpgrade(t *testing.T) {
	storetest.EachEmptyDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		ds.Schema = schemaUpTo(t, "00020_audit_chain.sql")
		d := ds.Open(t)
		mustTx(t, d, func(ctx context.Context, c sqldb.Conn) error {
			for _, sql := range []string{
				`INSERT INTO queue (name, updated_at) VALUES ('q', 0), ('r', 0)`,
				`INSERT INTO lane (id, key, lim, inflight, used_at) VALUES (1, 'device:a', 1, 1, 0), (2, 'device:b', 1, 1, 0)`,
				`INSERT INTO job (id, project, run, queue, action, asset, asset_name, lane, lane_key, lane_lim, prio,
max_attempts, backoff, timeout, on_lost, on_unknown, on_retry, run_at, expires_at, retry_of, created_by, created_at, args)
SELECT v.id, v.project, 0, 'q', 'noop', 0, '', v.lane, v.key, 1, 5, 3, '', 0, 'retry', 'hold', 'hold', 0, 0, 0, '', 0, '{}'
FROM (SELECT 11 AS id, 1 AS project, 1 AS lane, 'device:a' AS key UNION ALL SELECT 12, 2, 1, 'device:a'
UNION ALL SELECT 21, 1, 2, 'device:b' UNION ALL SELECT 22, 1, 2, 'device:b') v`,
				`INSERT INTO sched (run_at, id, lane, lane_held, attempt, losses, fence)
VALUES (9000000000000000, 11, 1, 1, 1, 0, 1), (9000000000000000, 21, 2, 1, 1, 0, 1)`,
				`INSERT INTO wait (lane, queue, prio, queued_at, id, project, attempt, losses, fence)
VALUES (1, 'q', 5, 1, 12, 2, 0, 0, 0), (2, 'q', 5, 1, 22, 1, 0, 0, 0)`,
				`INSERT INTO queue_count (queue, project, queued, scheduled) VALUES ('q', 1, 1, 2), ('q', 2, 1, 0)`,
			} {
				if _, err := c.Exec(ctx, sql); err != nil {
					return err
				}
			}
			return nil
		})
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}

		ds.Schema = nil
		d = ds.Open(t)
		s := store.New(d, d)
		wantSound := func() {
			t.Helper()
			err := s.View(t.Context(), func(tx *store.Tx) error {
				broken, err := tx.CheckInvariants()
				if len(broken) > 0 {
					t.Errorf("broken invariants: %v", broken)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
		wantSound()
		err := s.InTx(t.Context(), func(tx *store.Tx) error {
			lanes, err := tx.StrandedLanes(10)
			if err != nil {
				return err
			}
			_, err = tx.PromoteStranded(lanes)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		wantSound()
		wantStrings(t, d, []string{"12"}, `SELECT CAST(id AS TEXT) FROM ready`)
		wantStrings(t, d, []string{"22"}, `SELECT CAST(id AS TEXT) FROM wait`)
	})
}
