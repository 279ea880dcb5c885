package postgres_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/postgres"
	"hostler.dev/hostler/internal/store/storetest"
)

// TestReadingAJobProbesFewPartitions checks that reading an ended job probes only the
// partitions from the day of its creation on.
func TestReadingAJobProbesFewPartitions(t *testing.T) {
	dsn := storetest.Postgres(t)
	clock := storetest.NewClock()
	const days = 40
	db := mustOpen(t, dsn, postgres.Options{Now: clock.Now})
	end := func(id int64, at time.Time) {
		t.Helper()
		err := db.InTx(t.Context(), func(c sqldb.Conn) error {
			_, err := c.Exec(t.Context(), `INSERT INTO done (id, project, run, queue, action, asset, asset_name,
lane_key, lane_lim, prio, state, attempt, max_attempts, backoff, timeout, on_lost, on_unknown, on_retry,
run_at, expires_at, retry_of, created_by, created_at, queued_at, started_at, ended_at, worker, fence, args, result, error, output)
VALUES (?, 1, 0, 'default', 'noop', 0, '',
'', 0, 5, 'succeeded', 1, 1, '', 0, '', '', '', 0, 0, 0, '', 0, 0, 0, ?, 0, 1, '{}', '', '', '')`,
				id, at.UnixMicro())
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range days {
		at := clock.Now().Add(time.Duration(i-days) * 24 * time.Hour)
		end(hostler.MakeID(at.Unix(), 1), at)
	}
	last := hostler.MakeID(clock.Now().Unix(), 1)
	end(last, clock.Now())
	// A clock that was set back by a month: the job ended before it was created.
	odd := hostler.MakeID(clock.Now().Unix(), 2)
	end(odd, clock.Now().Add(-30*24*time.Hour))
	exec(t, dsn, `INSERT INTO project (id, name, created_at) VALUES (1, 'p', 0)`)
	read := func(id int64) int {
		t.Helper()
		reader := mustOpen(t, dsn, postgres.Options{Now: clock.Now})
		exec(t, dsn, `SELECT pg_stat_reset()`)
		err := store.New(reader, reader).View(t.Context(), func(tx *store.Tx) error {
			jobs, err := tx.Jobs(1, []hostler.JobID{hostler.JobID(id)})
			if err == nil && len(jobs) != 1 {
				err = fmt.Errorf("%d jobs", len(jobs))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := reader.Close(); err != nil { // flushes its statistics
			t.Fatal(err)
		}
		got := texts(t, dsn, `SELECT count(*)::text FROM pg_stat_user_tables WHERE relname LIKE 'done\_%' AND idx_scan > 0`)
		n, err := strconv.Atoi(got[0])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	// Today's partition, those made ahead, and yesterday's shortly after midnight.
	if n := read(last); n < 1 || n > daysAhead+2 {
		t.Errorf("%d partitions were probed for a job of today, of %d", n, days+daysAhead+1)
	}
	if n := read(odd); n < days {
		t.Errorf("%d partitions were probed for a job that ended before its creation, want at least %d", n, days)
	}
}
