package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

func mustOpen(tb testing.TB, path string, opt Options) *DB {
	tb.Helper()
	db, err := Open(path, opt)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return db
}

func open1(tb testing.TB) *DB {
	tb.Helper()
	return mustOpen(tb, filepath.Join(tb.TempDir(), "hostler.db"), Options{})
}

func put(ctx context.Context, db *DB, key, value string) error {
	return db.InTx(ctx, func(c sqldb.Conn) error {
		_, err := c.Exec(ctx, `INSERT INTO meta (key, value) VALUES (?, ?)`, key, value)
		return err
	})
}

func count(tb testing.TB, db *DB, from string) (n int64) {
	tb.Helper()
	err := db.View(tb.Context(), func(c sqldb.Conn) (err error) {
		n, err = c.(*conn).number(`SELECT count(*) FROM ` + from)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func TestVersionLess(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"3.51.2", "3.51.3", true},
		{"3.51.3", "3.51.3", false},
		{"3.9.9", "3.51.3", true},
		{"3.54.1", "3.51.3", false},
		{"4.0.0", "3.51.3", false},
	} {
		if got := versionLess(tt.a, tt.b); got != tt.want {
			t.Errorf("versionLess(%s, %s) = %v", tt.a, tt.b, got)
		}
	}
	if err := checkVersion("3.51.2"); err == nil || !strings.Contains(err.Error(), "3.51.3 or newer") {
		t.Errorf("got %v", err)
	}
}

// TestAcknowledgedIsDurable checks that acknowledged transactions are in a copy of the
// files taken while the database is open, as after a crash.
func TestAcknowledgedIsDurable(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, filepath.Join(dir, "hostler.db"), Options{})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if err := put(t.Context(), db, strconv.Itoa(i), ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	crashed := t.TempDir()
	for _, name := range []string{"hostler.db", "hostler.db-wal"} {
		if err := copyFile(filepath.Join(dir, name), filepath.Join(crashed, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(t, mustOpen(t, filepath.Join(crashed, "hostler.db"), Options{}), "meta"); got != 50 {
		t.Errorf("%d rows after the crash, want 50", got)
	}
}

func TestWriterPragmas(t *testing.T) {
	db := open1(t)
	for pragma, want := range map[string]int64{
		"synchronous": 2, "foreign_keys": 1, "wal_autocheckpoint": 0, "busy_timeout": 10000,
	} {
		var got int64
		err := db.betweenGroups(func() (err error) {
			got, err = db.writer.number("PRAGMA " + pragma)
			return err
		})
		if err != nil || got != want {
			t.Errorf("%s = %d, %v; want %d", pragma, got, err, want)
		}
	}
}

// limitPages makes the database full at its current size plus some pages.
func limitPages(t *testing.T, db *DB, more int64) {
	t.Helper()
	err := db.betweenGroups(func() error {
		n, err := db.writer.number(`PRAGMA page_count`)
		if err != nil {
			return err
		}
		_, err = db.writer.number(fmt.Sprintf(`PRAGMA max_page_count(%d)`, n+more))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFullDisk checks that on a full disk the reserve is released, small transactions
// still commit and new work is rejected, until there is space again.
func TestFullDisk(t *testing.T) {
	db := open1(t)
	if !db.reserve.held {
		t.Fatal("no reserve is held")
	}
	limitPages(t, db, 2)
	big := strings.Repeat("x", 1<<20)
	var wg sync.WaitGroup
	started, release := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		_ = db.InTx(t.Context(), func(sqldb.Conn) error { close(started); <-release; return nil })
	})
	<-started
	wg.Go(func() {
		if err := put(t.Context(), db, "big", big); hostler.CodeOf(err) != hostler.CodeDiskFull {
			t.Errorf("big: %v", err)
		}
	})
	wg.Go(func() {
		if err := put(t.Context(), db, "small", ""); err != nil {
			t.Errorf("the other member of the group: %v", err)
		}
	})
	close(release)
	wg.Wait()
	if _, err := os.Stat(db.path + ".reserve"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the reserve was not released: %v", err)
	}
	if err := put(sqldb.Growing(t.Context()), db, "new", ""); hostler.CodeOf(err) != hostler.CodeDiskFull {
		t.Errorf("new work on a full disk: %v", err)
	}
	if err := put(t.Context(), db, "finish", ""); err != nil {
		t.Errorf("a finish on a full disk: %v", err)
	}
	limitPages(t, db, 1<<20)
	db.restoreReserve()
	if err := put(sqldb.Growing(t.Context()), db, "new", big); err != nil {
		t.Errorf("new work after there is space: %v", err)
	}
	if got := count(t, db, "meta"); got != 3 {
		t.Errorf("%d rows, want small, finish and new", got)
	}
}

func TestReserveNeedsSpace(t *testing.T) {
	r := reserve{path: filepath.Join(t.TempDir(), "r"), size: 1 << 60}
	if err := r.hold(); err == nil || r.release() {
		t.Errorf("an exbibyte was reserved: %v", err)
	}
}

func TestLockFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	release, err := LockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockFolder(dir)
	var he *hostler.Error
	if !errors.As(err, &he) || he.Code != hostler.CodeConflict ||
		!strings.Contains(he.Text.EN, strconv.Itoa(os.Getpid())) ||
		!strings.Contains(he.Text.ZH, strconv.Itoa(os.Getpid())) {
		t.Errorf("the second lock: %v", err)
	}
	release()
	release, err = LockFolder(dir)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	release()
}

func TestBackupWhileWritingAndRestore(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, filepath.Join(dir, "hostler.db"), Options{SegmentRows: 50})
	log, err := OpenLog(filepath.Join(dir, "log.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	written := make(chan int, 1)
	wg.Go(func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				written <- n
				return
			default:
			}
			// Two rows in one transaction: a backup has both or none.
			err := db.InTx(t.Context(), func(c sqldb.Conn) error {
				for _, k := range []string{"a", "b"} {
					_, err := c.Exec(t.Context(), `INSERT INTO meta (key, value) VALUES (?, ?)`,
						k+strconv.Itoa(n), strings.Repeat("v", 500))
					if err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	if err := put(t.Context(), db, "before", ""); err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "backup")
	if err := Backup(t.Context(), dest, db, log); err != nil {
		t.Fatal(err)
	}
	close(stop)
	wg.Wait()
	t.Logf("%d transactions beside the backup", <-written)
	if err := Backup(t.Context(), dest, db, log); hostler.CodeOf(err) != hostler.CodeConflict {
		t.Errorf("a second backup into the folder: %v", err)
	}

	if err := os.WriteFile(filepath.Join(dest, "key"), []byte("k"), 0o600); err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(t.TempDir(), "data")
	if err := Restore(t.Context(), dest, restored); err != nil {
		t.Fatal(err)
	}
	if err := Restore(t.Context(), dest, restored); hostler.CodeOf(err) != hostler.CodeConflict {
		t.Errorf("restore into a folder that is not empty: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(restored, "key")); err != nil || string(b) != "k" {
		t.Errorf("the other files of the backup: %q, %v", b, err)
	}
	again := mustOpen(t, filepath.Join(restored, "hostler.db"), Options{})
	if n := count(t, again, `meta WHERE key = 'before'`); n != 1 {
		t.Error("a transaction committed before the backup is not in it")
	}
	a := count(t, again, `meta WHERE key LIKE 'a%'`)
	b := count(t, again, `meta WHERE key LIKE 'b%' AND key <> 'before'`)
	if a != b {
		t.Errorf("%d and %d rows: the backup has part of a transaction", a, b)
	}
	if err := put(t.Context(), again, "after", ""); err != nil {
		t.Errorf("write to the restored database: %v", err)
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	src := t.TempDir()
	if err := Restore(t.Context(), src, filepath.Join(t.TempDir(), "d")); hostler.CodeOf(err) != hostler.CodeNotFound {
		t.Errorf("an empty folder: %v", err)
	}
	text := []byte(strings.Repeat("not a database", 1000))
	if err := os.WriteFile(filepath.Join(src, "hostler.db"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "d")
	if err := Restore(t.Context(), src, dst); hostler.CodeOf(err) != hostler.CodeInvalid {
		t.Errorf("a damaged backup: %v", err)
	}
	if _, err := os.Stat(dst); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a damaged backup left files: %v", err)
	}
}

func tables(t *testing.T, db *DB) []string {
	t.Helper()
	var out []string
	err := db.View(t.Context(), func(c sqldb.Conn) error {
		r, err := c.Query(t.Context(), `SELECT name || ': ' || sql FROM sqlite_master WHERE sql <> '' ORDER BY name`)
		if err != nil {
			return err
		}
		defer r.Close()
		for r.Next() {
			var s string
			if err := r.Scan(&s); err != nil {
				return err
			}
			out = append(out, s)
		}
		return r.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMigrateDownAndUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hostler.db")
	db := mustOpen(t, path, Options{})
	want := tables(t, db)
	if err := db.betweenGroups(db.roll); err != nil { // a second segment
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := MigrateDown(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, path, Options{})
	if diff := cmp.Diff(want, tables(t, db)); diff != "" {
		t.Errorf("after down and up (-want +got):\n%s", diff)
	}
}

func TestLogRetention(t *testing.T) {
	now := time.Now()
	log, err := OpenLog(filepath.Join(t.TempDir(), "log.db"), Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	block := func(made, at time.Duration, seqs int64) {
		type block struct {
			Job int64 `db:"job"`
			Seq int64 `db:"seq"`
			At  int64 `db:"at"`
		}
		var rows []block
		for i := range seqs {
			rows = append(rows, block{hostler.MakeID(now.Add(made).Unix(), 1), i, now.Add(at).UnixMicro()})
		}
		err := log.InTx(t.Context(), func(c sqldb.Conn) error {
			_, err := c.ExecRows(t.Context(), `INSERT INTO log_block (job, fence, seq, attempt, at, size, data)
SELECT v.job, 1, v.seq, 1, v.at, 0, '' FROM @rows`,
				sqldb.NewBatch(rows))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	block(-72*time.Hour, -72*time.Hour, 2*trimBatch+1) // old
	block(-73*time.Hour, -time.Hour, 3)                // an old job that still runs
	block(-time.Hour, -time.Hour, 2)                   // new
	if err := log.Maintain(t.Context(), 48*time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := count(t, log, "log_block"); got != 5 {
		t.Errorf("%d blocks remain, want 5", got)
	}
}

// TestCheckpointsKeepTheWALSmall checks that the WAL restarts under continuous writes.
func TestCheckpointsKeepTheWALSmall(t *testing.T) {
	db := open1(t)
	value := strings.Repeat("v", 100_000)
	for i := range 200 {
		if err := put(t.Context(), db, strconv.Itoa(i), value); err != nil {
			t.Fatal(err)
		}
		if i%20 != 19 {
			continue
		}
		if err := db.betweenGroups(func() error { _, err := db.writer.checkpoint(); return err }); err != nil {
			t.Fatal(err)
		}
	}
	fi, err := os.Stat(db.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if written := int64(200 * len(value)); fi.Size() > written/4 {
		t.Errorf("the WAL has %d bytes after %d were written", fi.Size(), written)
	}
}

// TestCheckpointBesideTheWriter checks that a query-only connection can checkpoint.
func TestCheckpointBesideTheWriter(t *testing.T) {
	db := open1(t)
	if err := put(t.Context(), db, "k", strings.Repeat("v", 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := db.checkpoint(); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(db.path); err != nil || fi.Size() < 1<<20 {
		t.Errorf("the database file has %d bytes after a checkpoint, %v", fi.Size(), err)
	}
}

func TestRowsMustBeClosed(t *testing.T) {
	db := open1(t)
	err := db.InTx(t.Context(), func(c sqldb.Conn) error {
		if _, err := c.Query(t.Context(), `SELECT 1`); err != nil {
			return err
		}
		_, err := c.Exec(t.Context(), `DELETE FROM meta`)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "still open") {
		t.Errorf("got %v", err)
	}
	err = db.InTx(t.Context(), func(c sqldb.Conn) error {
		_, err := c.Query(t.Context(), `SELECT 1`) // the same statement, left open again
		return err
	})
	if err != nil {
		t.Errorf("the next transaction: %v", err)
	}
}

func TestReadLimitReachesQueries(t *testing.T) {
	db := open1(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := db.View(ctx, func(c sqldb.Conn) error {
		r, err := c.Query(context.Background(),
			`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n`)
		if err != nil {
			return err
		}
		defer r.Close()
		for i := 0; r.Next(); i++ {
			if i == 10 {
				cancel()
			}
		}
		return r.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("an endless query ended with %v", err)
	}
	if n := count(t, db, "meta"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestManyStatements(t *testing.T) {
	db := open1(t)
	err := db.InTx(t.Context(), func(c sqldb.Conn) error {
		for i := range 2 * maxStatements {
			if _, err := c.Exec(t.Context(), fmt.Sprintf(`DELETE FROM meta WHERE key = '%d'`, i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if n := len(db.writer.stmts); n > maxStatements {
		t.Errorf("%d statements are cached", n)
	}
}
