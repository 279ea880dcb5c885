package postgres_test

import (
	"errors"
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

// TestReadingAJobProbesFewPartitions checks that reading an ended job, however old, probes
// the partition that has it and those that may still get jobs.
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
	if n := read(last); n > days+2 {
		t.Errorf("%d partitions were probed for a job of today", n)
	}
	st := store.New(db, db)
	err := st.InTx(t.Context(), func(tx *store.Tx) error {
		names, err := tx.UnspannedParts(2 * days)
		if err == nil && len(names) < days-3 {
			err = fmt.Errorf("%d partitions get no more rows", len(names))
		}
		for _, name := range names {
			spans, rerr := tx.SpansOf(name)
			if err = errors.Join(err, rerr); err == nil {
				err = tx.InsertSpans(spans)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// The days that may still get jobs, and that of the job.
	for what, id := range map[string]int64{
		"of today": last, "of a month ago": hostler.MakeID(clock.Now().Add(-30*24*time.Hour).Unix(), 1),
		"that ended before its creation": odd,
	} {
		if n := read(id); n > 6 {
			t.Errorf("%d partitions were probed for a job %s, of %d", n, what, days+daysAhead+1)
		}
	}
}
