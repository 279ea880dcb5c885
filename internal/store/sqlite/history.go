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

// segmentPrefix is the prefix of the names of the segments of done.
const segmentPrefix = "done_"

// segmentAge is the least age at which a new segment is started even if the current one is
// not full, so that old rows are dropped on servers with few jobs too. It is a part of the
// retention, so that a long one does not make hundreds of small segments, which every start
// opens.
const (
	segmentAge  = 24 * time.Hour
	segmentPart = 30
)

// segmentRowBytes is how much of one row counts as one of the rows that a segment may have:
// to drop a segment takes longer the more pages it has, whatever its rows, and no write
// passes meanwhile. A start counts the rows only: it would read them all for their size.
const segmentRowBytes = 1 << 10

func segmentName(n int64) string { return segmentPrefix + strconv.FormatInt(n, 10) }

// roll starts a new segment with the columns and indexes of the current one.
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

// rebuild runs statements that change the segments and recreates the view over them, in
// one transaction.
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

// segmentDDL returns the statements that create segment n and its indexes like segment
// last. sqlite_master has the current statements, including columns added later.
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

// viewArms is the maximum number of segments in one view. SQLite allows 500 terms in a
// compound SELECT.
const viewArms = 400

// partView returns the name of the ith view over a part of the segments.
func partView(i int) string { return "history_" + strconv.Itoa(i) }

// viewDDL returns the statements that create the view over the segments, which all have
// the same columns in the same order. More than viewArms segments are split into part
// views below the view done. SQLite flattens both levels, so that a query uses the
// indexes of every segment.
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

// dropViewDDL returns the statements that drop the views over a number of segments.
func dropViewDDL(segments int) string {
	views := []string{"done"}
	if segments > viewArms {
		for i := range (segments + viewArms - 1) / viewArms {
			views = append(views, partView(i))
		}
	}
	return "DROP VIEW " + strings.Join(views, ";\nDROP VIEW ") + ";\n"
}

// Maintain implements sqldb.Driver. The main database drops whole segments older than
// keep; the log database deletes blocks, which it finds by the time in the job's id.
func (db *DB) Maintain(ctx context.Context, keep time.Duration) error {
	if db.opt.migrations == "log" {
		return db.trimLog(ctx, keep)
	}
	if keep <= 0 {
		return nil
	}
	if err := db.betweenGroups(func() error { return db.rollOld(max(segmentAge, keep/segmentPart)) }); err != nil {
		return err
	}
	for more := true; more; {
		// One at a time: heartbeats and claims go in between.
		err := db.betweenGroups(func() (err error) {
			more, err = db.dropOld(keep)
			return err
		})
		if err != nil || db.isClosing() {
			return err
		}
	}
	return nil
}

func (db *DB) isClosing() bool {
	select {
	case <-db.closing:
		return true
	default:
		return false
	}
}

func (db *DB) rollOld(age time.Duration) error {
	created, err := db.writer.number(`SELECT max(created_at) FROM segment`)
	if err != nil || db.rows == 0 || db.Now().Sub(sqldb.Time(created)) < age {
		return err
	}
	return db.roll()
}

// dropOld drops the oldest segment that was sealed before the retention, and reports
// whether there was one. A sealed segment gets no new rows, so that all of its jobs ended
// before that.
func (db *DB) dropOld(keep time.Duration) (bool, error) {
	old, err := db.writer.numbers(`SELECT n FROM segment WHERE sealed_at <> 0 AND sealed_at < ? ORDER BY n LIMIT 1`,
		sqldb.Micros(db.Now().Add(-keep)))
	if err != nil || len(old) == 0 {
		return false, err
	}
	return true, db.rebuild([]string{
		"DROP TABLE " + segmentName(old[0]), fmt.Sprintf("DELETE FROM segment WHERE n = %d", old[0]),
		fmt.Sprintf("DELETE FROM history_span WHERE part = '%s'", segmentName(old[0])),
	})
}

// trimBatch bounds one deletion of log blocks, so that it does not block the writer for
// long.
const trimBatch = 2000

// trimLog deletes output written before the retention. It compares both the time in the
// job's id, which is its creation, and the time of the block, because an old job may
// still be running.
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
