package storetest_test

import (
	"context"
	"io/fs"
	"testing"
	"testing/fstest"

	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/schema"
	"hostler.dev/hostler/internal/store/storetest"
)

// schemaUpTo returns the migrations up to the file last.
func schemaUpTo(t *testing.T, last string) fs.FS {
	t.Helper()
	old := fstest.MapFS{}
	err := fs.WalkDir(schema.Migrations, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path > "main/"+last {
			return err
		}
		text, err := schema.Migrations.ReadFile(path)
		old[path] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return old
}

// TestSuspendedTTLConverts checks that the migration moves a ttl that an earlier version
// suspended by a negative sign to its own column.
func TestSuspendedTTLConverts(t *testing.T) {
	storetest.EachEmptyDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		const jobs = `SELECT CAST(id AS TEXT) || ': ' || CAST(expires_at AS TEXT)`
		ds.Schema = schemaUpTo(t, "00007_lane_arrival.sql")
		d := ds.Open(t)
		type old struct {
			ID        int64 `db:"id"`
			ExpiresAt int64 `db:"expires_at"`
		}
		mustTx(t, d, func(ctx context.Context, c sqldb.Conn) error {
			_, err := c.ExecRows(ctx, `INSERT INTO job (id, project, run, queue, action, asset, asset_name, lane, lane_key,
lane_lim, prio, max_attempts, backoff, timeout, on_lost, on_unknown, on_retry, run_at, expires_at, retry_of, created_by, created_at, args)
SELECT v.id, 1, 0, 'default', 'noop', 0, '', 0, '', 0, 5, 1, '', 0, 'retry', 'hold', 'hold', 0, v.expires_at, 0, '', 0, '{}'
FROM @rows`, sqldb.NewBatch([]old{{1, 0}, {2, 700}, {3, -900}}))
			return err
		})
		wantStrings(t, d, []string{"1: 0", "2: 700", "3: -900"}, jobs+` FROM job ORDER BY id`)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		ds.Schema = nil
		d = ds.Open(t)
		wantStrings(t, d, []string{"1: 0, 0", "2: 700, 0", "3: 0, 900"},
			jobs+` || ', ' || CAST(suspended_expires_at AS TEXT) FROM job ORDER BY id`)
	})
}
