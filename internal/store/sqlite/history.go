package sqlite

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// segmentPrefix begins the names of the segments of done.
const segmentPrefix = "done_"

// segmentAge is how old a segment may grow before a new one is begun, so that
// what is older than the retention can be dropped on quiet servers too.
const segmentAge = 24 * time.Hour

func segmentName(n int64) string { return segmentPrefix + strconv.FormatInt(n, 10) }

// roll begins a new segment, in the shape of the current one.
func (db *DB) roll() error {
	last := db.segment.Load()
	n := last + 1
	now := sqldb.Micros(db.Now())
	statements, err := db.segmentDDL(last, n)
	if err != nil {
		return mapError(err)
	}
	err = db.rebuild(append(statements,
		fmt.Sprintf(`UPDATE segment SET sealed_at = %d WHERE n = %d`, now, last),
		fmt.Sprintf(`INSERT INTO segment (n, created_at, sealed_at) VALUES (%d, %d, 0)`, n, now)))
	if err != nil {
		return err
	}
	db.segment.Store(n)
	db.rows = 0
	return nil
}

// rebuild changes the segments and creates the view over them again, in one
// transaction.
func (db *DB) rebuild(statements []string) error {
	ctx := db.writer.ctx
	ns, err := db.writer.numbers(`SELECT n FROM segment`)
	if err != nil {
		return mapError(err)
	}
	err = db.writer.script(ctx, "BEGIN IMMEDIATE; "+dropViewDDL(len(ns))+strings.Join(statements, "; "))
	if err == nil {
		if ns, err = db.writer.numbers(`SELECT n FROM segment ORDER BY n`); err == nil {
			err = db.writer.script(ctx, viewDDL(ns)+"COMMIT")
		}
	}
	if err != nil {
		db.undo()
		return mapError(err)
	}
	return nil
}

// segmentDDL returns what creates segment n, with its indexes, like segment last:
// SQLite keeps the statements that created a table, with every column that was added
// since.
func (db *DB) segmentDDL(last, n int64) ([]string, error) {
	name := regexp.MustCompile(`\b` + segmentName(last) + `(_|\b)`)
	created, err := db.writer.texts(
		`SELECT sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL ORDER BY type DESC, name`, segmentName(last))
	for i := range created {
		created[i] = name.ReplaceAllString(created[i], segmentName(n)+"$1")
	}
	if err == nil && len(created) == 0 {
		err = fmt.Errorf("%s does not exist", segmentName(last))
	}
	return created, err
}

// viewArms is how many segments one view spans: SQLite allows 500 terms in a compound
// SELECT.
const viewArms = 400

// partView names a view over some of the segments.
func partView(i int) string { return "history_" + strconv.Itoa(i) }

// viewDDL creates the view over the segments. All have the same columns in the same
// order. More segments than one view may span get views of their own below it; SQLite
// looks through both levels, so that a query uses the indexes of every segment.
func viewDDL(ns []int64) string {
	var ddl strings.Builder
	var arms []string
	for _, n := range ns {
		arms = append(arms, segmentName(n))
	}
	if len(ns) > viewArms {
		var parts []string
		for part := range slices.Chunk(arms, viewArms) {
			ddl.WriteString(unionDDL(partView(len(parts)), part))
			parts = append(parts, partView(len(parts)))
		}
		arms = parts
	}
	ddl.WriteString(unionDDL("done", arms))
	return ddl.String()
}

func unionDDL(view string, tables []string) string {
	return "CREATE VIEW " + view + " AS SELECT * FROM " + strings.Join(tables, " UNION ALL SELECT * FROM ") + ";\n"
}

// dropViewDDL drops the views over so many segments.
func dropViewDDL(segments int) string {
	views := []string{"done"}
	if segments > viewArms {
		for i := range (segments + viewArms - 1) / viewArms {
			views = append(views, partView(i))
		}
	}
	return "DROP VIEW " + strings.Join(views, ";\nDROP VIEW ") + ";\n"
}

// Maintain implements sqldb.Driver: history older than keep goes, a segment at a
// time; the log file drops its blocks by the time in the job's id.
func (db *DB) Maintain(ctx context.Context, keep time.Duration) error {
	if db.opt.migrations == "log" {
		return db.trimLog(ctx, keep)
	}
	return db.betweenGroups(func() error {
		if err := db.rollOld(); err != nil {
			return err
		}
		return db.dropOld(keep)
	})
}

func (db *DB) rollOld() error {
	created, err := db.writer.number(`SELECT max(created_at) FROM segment`)
	if err != nil || db.rows == 0 || db.Now().Sub(sqldb.Time(created)) < segmentAge {
		return err
	}
	return db.roll()
}

// dropOld drops the segments whose newest row ended before the retention: none
// was added after a segment was sealed.
func (db *DB) dropOld(keep time.Duration) error {
	if keep <= 0 {
		return nil
	}
	old, err := db.writer.numbers(`SELECT n FROM segment WHERE sealed_at <> 0 AND sealed_at < ?`, sqldb.Micros(db.Now().Add(-keep)))
	if err != nil || len(old) == 0 {
		return err
	}
	var statements []string
	for _, n := range old {
		statements = append(statements, "DROP TABLE "+segmentName(n), fmt.Sprintf("DELETE FROM segment WHERE n = %d", n))
	}
	return db.rebuild(statements)
}

// trimBatch bounds one deletion of log blocks, so that writers wait little.
const trimBatch = 2000

// trimLog deletes output written before the retention. A job's id contains when the
// job was created, a block's time when it was written: a job may run for long.
func (db *DB) trimLog(ctx context.Context, keep time.Duration) error {
	if keep <= 0 {
		return nil
	}
	cutoff := db.Now().Add(-keep)
	for {
		var n int64
		err := db.InTx(ctx, func(c sqldb.Conn) (err error) {
			n, err = c.Exec(ctx, `DELETE FROM log_block WHERE (job, fence, seq) IN (
SELECT job, fence, seq FROM log_block WHERE job < ? AND at < ? LIMIT ?)`,
				hostler.MakeID(cutoff.Unix(), 0), sqldb.Micros(cutoff), trimBatch)
			return err
		})
		if err != nil || n < trimBatch {
			return err
		}
	}
}
