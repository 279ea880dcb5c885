package sqlite

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"hostler.dev/hostler/internal/sqldb"
)

// addSegments creates empty segments up to the nth, as n days of operation do.
func addSegments(t *testing.T, db *DB, n int64) {
	t.Helper()
	err := db.betweenGroups(func() error {
		var ddl []string
		for i := db.segment.Load() + 1; i <= n; i++ {
			one, err := db.segmentDDL(1, i)
			if err != nil {
				return err
			}
			ddl = append(append(ddl, one...),
				fmt.Sprintf(`INSERT INTO segment (n, created_at, sealed_at) VALUES (%d, %d, 0)`, i, i))
		}
		db.segment.Store(n)
		return db.rebuild(ddl)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// plan returns the steps of a query.
func plan(t *testing.T, db *DB, query string) (steps []string) {
	t.Helper()
	err := db.View(t.Context(), func(c sqldb.Conn) error {
		// A cached EXPLAIN does not detect a changed schema; a query does.
		if _, err := c.(*conn).number(`SELECT count(*) FROM done`); err != nil {
			return err
		}
		r, err := c.Query(t.Context(), `EXPLAIN QUERY PLAN `+query)
		if err != nil {
			return err
		}
		defer r.Close()
		for r.Next() {
			var id, parent, unused int64
			var step string
			if err := r.Scan(&id, &parent, &unused, &step); err != nil {
				return err
			}
			steps = append(steps, step)
		}
		return r.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

// TestManySegments is a regression test: from 500 segments on, the view over them had
// too many terms, and no further segment could be created.
func TestManySegments(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hostler.db")
	db := mustOpen(t, path, Options{})
	addSegments(t, db, 600)
	if err := db.betweenGroups(db.roll); err != nil {
		t.Fatal(err)
	}
	if got := count(t, db, "done"); got != 0 {
		t.Errorf("%d rows", got)
	}
	for _, query := range []string{
		`SELECT * FROM done WHERE id IN (5, 6)`,
		`SELECT id FROM done WHERE id < 100 ORDER BY done.id DESC LIMIT 5`,
		`SELECT id FROM done WHERE id < 100 AND state = 'failed' ORDER BY done.id DESC LIMIT 5`,
	} {
		searches := 0
		for _, step := range plan(t, db, query) {
			if strings.HasPrefix(step, "SCAN "+segmentPrefix) {
				t.Errorf("%s: %s", query, step)
			}
			if strings.HasPrefix(step, "SEARCH ") {
				searches++
			}
		}
		if searches != 601 {
			t.Errorf("%s: %d searches, want one per segment", query, searches)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, path, Options{})
	if got := db.segment.Load(); got != 601 {
		t.Errorf("segment %d after a restart", got)
	}
	// Up to viewArms segments need one view only.
	err := db.betweenGroups(func() error {
		var ddl []string
		for i := int64(1); i <= 500; i++ {
			ddl = append(ddl, "DROP TABLE "+segmentName(i), fmt.Sprintf("DELETE FROM segment WHERE n = %d", i))
		}
		return db.rebuild(ddl)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := count(t, db, "sqlite_master WHERE type = 'view' AND name <> 'history_part'"); got != 1 {
		t.Errorf("%d views, want only done", got)
	}
}

// TestIDsAfterARestartAreAboveAllTables checks that after a restart new ids are larger
// than those of every table. It is a regression test: webhooks and deliveries were
// ignored (a conflict after a restart within a second), and the history was scanned for
// its largest id.
func TestIDsAfterARestartAreAboveAllTables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hostler.db")
	db := mustOpen(t, path, Options{})
	var tables []string
	err := db.View(t.Context(), func(c sqldb.Conn) (err error) {
		tables, err = c.(*conn).texts(`SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
WHERE m.type = 'table' AND c.name = 'id'`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"job", "done_1", "webhook", "delivery"} {
		found := false
		for _, table := range tables {
			found = found || table == want
		}
		if !found {
			t.Errorf("table %s is missing in %v", want, tables)
		}
	}
	for _, table := range tables {
		for _, step := range plan(t, db, `SELECT max(id) FROM `+table) {
			if strings.HasPrefix(step, "SCAN ") {
				t.Errorf("the largest id of %s: %s", table, step)
			}
		}
	}
	const newest = 1 << 52
	err = db.InTx(t.Context(), func(c sqldb.Conn) error {
		_, err := c.Exec(t.Context(), `INSERT INTO webhook (id, project, name, enabled, spec, sealed, created_at, updated_at)
VALUES (?, 1, 'w', 1, '{}', '', 0, 0)`, int64(newest))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, path, Options{})
	if ids := db.ids.next(db.Now(), 1); ids[0] <= newest {
		t.Errorf("id %d, want one above %d", ids[0], newest)
	}
}

// TestLargeResultsFillASegment inserts few ended jobs with large results: they fill a
// segment like many small ones.
func TestLargeResultsFillASegment(t *testing.T) {
	type ended struct {
		ID     int64  `db:"id"`
		Result string `db:"result"`
	}
	for name, c := range map[string]struct {
		rows, size, segments int
	}{
		"small": {90, 10, 1}, "many small": {210, 10, 3}, "large": {50, 8 << 10, 3},
	} {
		t.Run(name, func(t *testing.T) {
			db := mustOpen(t, filepath.Join(t.TempDir(), "hostler.db"), Options{SegmentRows: 100})
			for from := 0; from < c.rows; from += 10 {
				rows := make([]ended, 10)
				for i := range rows {
					rows[i] = ended{int64(from + i + 1), strings.Repeat("x", c.size)}
				}
				err := db.InTx(t.Context(), func(conn sqldb.Conn) error {
					_, err := conn.ExecRows(t.Context(), `INSERT INTO `+conn.InsertTable("done")+` (id, project, run, queue,
action, asset, asset_name, lane_key, lane_lim, prio, state, attempt, max_attempts, backoff, timeout, on_lost, on_unknown,
on_retry, run_at, expires_at, retry_of, created_by, created_at, queued_at, started_at, ended_at, worker, fence, args, result,
error, output) SELECT v.id, 1, 1, 'q', 'a', 0, '', '', 0, 5, 'succeeded', 1, 1, '', 0, '', '', '', 0, 0, 0, '', 0, 0, 0, 0,
0, 1, '{}', v.result, '', '' FROM @rows`, sqldb.NewBatch(rows))
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if n := int(db.segment.Load()); n != c.segments {
				t.Errorf("the history has %d segments, want %d", n, c.segments)
			}
		})
	}
}
