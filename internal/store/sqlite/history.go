package sqlite

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// segmentPrefix begins the names of the segments of done.
const segmentPrefix = "done_"

// segmentAge is how old a segment may grow before a new one is begun, so that
// what is older than the retention can be dropped on quiet servers too.
const segmentAge = 24 * time.Hour

// roll begins a new segment.
func (db *DB) roll(ctx context.Context) error {
	n := db.segment.Load() + 1
	statements := []string{"BEGIN IMMEDIATE"}
	statements = append(statements, segmentDDL(n)...)
	statements = append(statements,
		fmt.Sprintf(`UPDATE segment SET sealed_at = %d WHERE n = %d`, store.Micros(db.Now()), n-1),
		fmt.Sprintf(`INSERT INTO segment (n, created_at, sealed_at) VALUES (%d, %d, 0)`, n, store.Micros(db.Now())))
	if err := db.run(ctx, statements); err != nil {
		return err
	}
	if err := db.rebuildView(ctx); err != nil {
		return err
	}
	db.segment.Store(n)
	db.rows = 0
	return nil
}

// run executes statements, the first of which begins a transaction that
// rebuildView ends.
func (db *DB) run(ctx context.Context, statements []string) error {
	for _, s := range statements {
		if _, err := db.writer.c.ExecContext(ctx, s); err != nil {
			_, _ = db.writer.c.ExecContext(ctx, "ROLLBACK")
			return mapError(err)
		}
	}
	return nil
}

// rebuildView makes the view over the segments anew, and commits.
func (db *DB) rebuildView(ctx context.Context) error {
	ns, err := db.segments(ctx, `SELECT n FROM segment ORDER BY n`)
	if err != nil {
		_, _ = db.writer.c.ExecContext(ctx, "ROLLBACK")
		return err
	}
	return db.run(ctx, []string{"DROP VIEW done", viewDDL(ns), "COMMIT"})
}

func (db *DB) segments(ctx context.Context, query string, args ...any) ([]int64, error) {
	r, err := db.writer.c.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	var ns []int64
	for r.Next() {
		var n int64
		if err := r.Scan(&n); err != nil {
			return nil, err
		}
		ns = append(ns, n)
	}
	return ns, r.Err()
}

func segmentDDL(n int64) []string {
	name := fmt.Sprintf("%s%d", segmentPrefix, n)
	body := strings.Replace(store.DoneColumns, "id ${INT} NOT NULL", "id INTEGER PRIMARY KEY", 1)
	ddl := []string{"CREATE TABLE " + name + " (" + body + ")"}
	for _, index := range strings.Split(strings.TrimSpace(store.DoneIndexes), "\n") {
		ddl = append(ddl, strings.ReplaceAll(strings.TrimSuffix(index, ";"), "${T}", name))
	}
	for i := range ddl {
		ddl[i] = fill(ddl[i])
	}
	return ddl
}

func viewDDL(ns []int64) string {
	arms := make([]string, len(ns))
	for i, n := range ns {
		arms[i] = fmt.Sprintf("SELECT * FROM %s%d", segmentPrefix, n)
	}
	return "CREATE VIEW done AS " + strings.Join(arms, " UNION ALL ")
}

// Maintain implements store.Driver: history older than keep goes, a segment at a
// time; the log file drops its blocks by the time in the job's id.
func (db *DB) Maintain(ctx context.Context, keep time.Duration) error {
	if db.opt.migrations == "log" {
		return db.trimLog(ctx, keep)
	}
	return db.betweenGroups(func() error {
		if err := db.rollOld(ctx); err != nil {
			return err
		}
		return db.dropOld(ctx, keep)
	})
}

func (db *DB) rollOld(ctx context.Context) error {
	var created int64
	if err := db.pool0(ctx, `SELECT max(created_at) FROM segment`, &created); err != nil {
		return err
	}
	if db.rows == 0 || db.Now().Sub(store.Time(created)) < segmentAge {
		return nil
	}
	return db.roll(ctx)
}

func (db *DB) dropOld(ctx context.Context, keep time.Duration) error {
	old, err := db.segments(ctx, `SELECT n FROM segment WHERE sealed_at <> 0 AND sealed_at < ?`, store.Micros(db.Now().Add(-keep)))
	if err != nil || len(old) == 0 {
		return err
	}
	statements := []string{"BEGIN IMMEDIATE", "DROP VIEW done"}
	for _, n := range old {
		statements = append(statements,
			fmt.Sprintf("DROP TABLE %s%d", segmentPrefix, n), fmt.Sprintf("DELETE FROM segment WHERE n = %d", n))
	}
	statements = append(statements, "CREATE VIEW done AS SELECT 1") // rebuildView drops it
	if err := db.run(ctx, statements); err != nil {
		return err
	}
	return db.rebuildView(ctx)
}

// trimBatch bounds one deletion of log blocks, so that writers wait little.
const trimBatch = 2000

func (db *DB) trimLog(ctx context.Context, keep time.Duration) error {
	oldest := hostler.MakeID(db.Now().Add(-keep).Unix(), 0)
	for {
		var n int64
		err := db.InTx(ctx, func(c store.Conn) (err error) {
			n, err = c.Exec(ctx, `DELETE FROM log_block WHERE (job, fence, seq) IN (SELECT job, fence, seq FROM log_block WHERE job < ? LIMIT ?)`, oldest, trimBatch)
			return err
		})
		if err != nil || n < trimBatch {
			return err
		}
	}
}

func fileSize(path string) int64 {
	fi, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return fi.Size()
}

// diskFree is the share of a folder's disk that is free; 1 when it cannot be
// known.
func diskFree(dir string) float64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Blocks == 0 {
		return 1
	}
	return float64(fs.Bavail) / float64(fs.Blocks)
}
