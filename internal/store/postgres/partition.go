package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

const (
	// daysAhead is how many daily partitions exist beyond today's.
	daysAhead = 7
	day       = 24 * time.Hour
	// Advisory locks of the driver. They do not overlap with those of the store.
	partitionLock = 0x686f7374_00000001
	maintainLock  = 0x686f7374_00000002
	migrateLock   = 0x686f7374_00000003
	// logChunk bounds one deletion of old output.
	logChunk = 1000
	// sealDelay is how long after its day a partition may still get rows, from a server
	// whose clock is behind.
	sealDelay = 48 * time.Hour
	// hideTime is how long a partition that is no longer listed exists, because reads
	// that began before may need it. They end within Options.Timeout.
	hideTime = 2 * time.Minute
	// maintainTimeout bounds one statement of Maintain.
	maintainTimeout = 10 * time.Minute
)

// Maintain implements sqldb.Driver. It runs on one server at a time; on the others it
// returns immediately.
func (db *DB) Maintain(ctx context.Context, keep time.Duration) error {
	return mapError(errors.Join(db.measureClock(ctx), db.maintain(ctx, keep)))
}

func (db *DB) maintain(ctx context.Context, keep time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, 2*maintainTimeout)
	defer cancel()
	return db.with(ctx, sqldb.Work, func(c *pgxpool.Conn) error {
		mine, err := lockMaintenance(ctx, c)
		if err != nil || !mine {
			return err
		}
		// Closing the connection releases the lock and discards the settings.
		defer c.Conn().Close(context.WithoutCancel(ctx))
		if err := errors.Join(db.createPartitions(ctx), db.dropMarks(ctx, c.Conn())); err != nil {
			return err
		}
		if keep <= 0 {
			return nil
		}
		cutoff := db.Now().Add(-keep)
		return errors.Join(db.dropPartitions(ctx, c.Conn(), cutoff), dropLog(ctx, c.Conn(), cutoff))
	})
}

func lockMaintenance(ctx context.Context, c *pgxpool.Conn) (mine bool, err error) {
	if err := c.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(maintainLock)).Scan(&mine); err != nil {
		return false, fmt.Errorf("lock maintenance: %w", err)
	}
	if !mine {
		return false, nil
	}
	_, err = c.Exec(ctx, fmt.Sprintf(`SET statement_timeout = %d`, maintainTimeout.Milliseconds()))
	return true, err
}

// createPartitions creates the partitions of today and the days ahead.
func (db *DB) createPartitions(ctx context.Context) error {
	today := db.Now().Truncate(day)
	for i := range daysAhead + 1 {
		if err := db.createPartition(ctx, today.Add(time.Duration(i)*day)); err != nil {
			return err
		}
	}
	return db.listPartitions(ctx)
}

// listPartitions adds partitions that are missing in done_part to it: those that were
// created before there was such a table.
func (db *DB) listPartitions(ctx context.Context) error {
	return db.with(ctx, sqldb.Work, func(c *pgxpool.Conn) error {
		r, err := c.Query(ctx, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'done'::regclass AND NOT EXISTS (SELECT 1 FROM done_part p WHERE p.name = c.relname)`)
		if err != nil {
			return fmt.Errorf("list partitions: %w", err)
		}
		names, err := pgx.CollectRows(r, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("list partitions: %w", err)
		}
		for _, name := range names {
			d, err := partitionDay(name)
			if err != nil {
				return err
			}
			if _, err := c.Exec(ctx, listPartition, name, d.UnixMicro(), d.Add(day+sealDelay).UnixMicro()); err != nil {
				return fmt.Errorf("list partition %s: %w", name, err)
			}
		}
		return nil
	})
}

const listPartition = `INSERT INTO done_part (name, since, sealed_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING`

func partitionDay(name string) (time.Time, error) { return time.Parse("done_"+partitionDate, name) }

// createPartition creates the history's partition of one day, unless it exists. It
// creates a separate table and attaches it, which does not block reads or writes of
// the history.
func (db *DB) createPartition(ctx context.Context, d time.Time) error {
	name := partitionName(d)
	err := db.with(ctx, sqldb.Work, func(c *pgxpool.Conn) error {
		var exists bool
		err := c.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'done'::regclass AND c.relname = $1)`, name).Scan(&exists)
		if err != nil || exists {
			return err
		}
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return attachPartition(ctx, tx, name, d) })
	})
	if err != nil {
		return fmt.Errorf("create partition %s: %w", name, err)
	}
	return nil
}

func attachPartition(ctx context.Context, tx pgx.Tx, name string, d time.Time) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(partitionLock)); err != nil {
		return err
	}
	// Another server may have created the table while this one waited for the lock.
	// Query the catalog: to_regclass reads a cache that may be stale.
	var exists bool
	if err := tx.QueryRow(ctx, tableExists, name).Scan(&exists); err != nil || exists {
		return err
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf(`CREATE TABLE %s (LIKE done INCLUDING ALL)`, name)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(`ALTER TABLE done ATTACH PARTITION %s FOR VALUES FROM (%d) TO (%d)`,
		name, d.UnixMicro(), d.Add(day).UnixMicro()))
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, listPartition, name, d.UnixMicro(), d.Add(day+sealDelay).UnixMicro())
	return err
}

// tableExists looks for a table in the schema of table done.
const tableExists = `SELECT EXISTS (SELECT 1 FROM pg_class WHERE relname = $1
AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'done'::regclass))`

const partitionDate = "20060102"

func partitionName(d time.Time) string { return "done_" + d.UTC().Format(partitionDate) }

// partitionKey matches the key at the end of the detail of the error "no partition
// found", whose text depends on the server's language.
var partitionKey = regexp.MustCompile(`\((\d+)\)\.?$`)

// missingDay returns the day of the partition that an insert did not find.
func missingDay(err error) (time.Time, bool) {
	pe := pgError(err)
	if pe == nil || pe.Code != stateCheck || pe.TableName != "done" || pe.ConstraintName != "" {
		return time.Time{}, false
	}
	m := partitionKey.FindStringSubmatch(pe.Detail)
	if m == nil {
		return time.Time{}, false
	}
	us, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	return time.UnixMicro(us).UTC().Truncate(day), true
}

// partition is a partition of the history, attached or already detached.
type partition struct {
	name     string
	attached bool
	pending  bool  // its detach was interrupted
	hidden   int64 // since when nothing reads it, in microseconds; 0: not yet
}

// dropPartitions drops the partitions of days that ended before cutoff. Each step is
// repeatable: partitions are listed by name, so that one that was detached but not
// dropped is found again.
func (db *DB) dropPartitions(ctx context.Context, c *pgx.Conn, cutoff time.Time) error {
	r, err := c.Query(ctx, `SELECT t.relname, i.inhrelid IS NOT NULL, coalesce(i.inhdetachpending, false),
coalesce(p.dropped_at, 0) FROM pg_class t
LEFT JOIN pg_inherits i ON i.inhrelid = t.oid AND i.inhparent = 'done'::regclass
LEFT JOIN done_part p ON p.name = t.relname
WHERE t.relkind = 'r' AND t.relname ~ '^done_[0-9]{8}$'
AND t.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'done'::regclass)
ORDER BY t.relname`)
	if err != nil {
		return fmt.Errorf("list partitions: %w", err)
	}
	all, err := pgx.CollectRows(r, func(row pgx.CollectableRow) (p partition, err error) {
		return p, row.Scan(&p.name, &p.attached, &p.pending, &p.hidden)
	})
	if err != nil {
		return fmt.Errorf("list partitions: %w", err)
	}
	for _, p := range all {
		d, err := partitionDay(p.name)
		if err != nil || d.Add(day).After(cutoff) {
			continue
		}
		if err := db.dropPartition(ctx, c, p, d); err != nil {
			return fmt.Errorf("drop partition %s: %w", p.name, err)
		}
	}
	return nil
}

// dropPartition takes a partition out of the history. It drops the table hideTime later,
// because reads name the partitions that they have listed.
func (db *DB) dropPartition(ctx context.Context, c *pgx.Conn, p partition, d time.Time) error {
	if p.hidden == 0 {
		p.hidden = db.Now().UnixMicro()
		if err := hidePartition(ctx, c, p, d); err != nil {
			return err
		}
	}
	how := "CONCURRENTLY"
	if p.pending {
		how = "FINALIZE"
	}
	if p.attached {
		if _, err := c.Exec(ctx, fmt.Sprintf(`ALTER TABLE done DETACH PARTITION %s %s`, p.name, how)); err != nil {
			return err
		}
	}
	if db.Now().Sub(time.UnixMicro(p.hidden)) < hideTime {
		return nil
	}
	if _, err := c.Exec(ctx, `DROP TABLE `+p.name); err != nil {
		return err
	}
	_, err := c.Exec(ctx, `DELETE FROM done_part WHERE name = $1`, p.name)
	return err
}

// hidePartition takes a partition from the list that reads use.
func hidePartition(ctx context.Context, c *pgx.Conn, p partition, d time.Time) error {
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO done_part (name, since, sealed_at, dropped_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE SET dropped_at = excluded.dropped_at`,
			p.name, d.UnixMicro(), d.Add(day+sealDelay).UnixMicro(), p.hidden)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM history_span WHERE part = $1`, p.name)
		return err
	})
}

// dropLog deletes output written before cutoff, in chunks. Job ids ascend with time, so
// the oldest are first in the primary key.
func dropLog(ctx context.Context, c *pgx.Conn, cutoff time.Time) error {
	for {
		tag, err := c.Exec(ctx, `DELETE FROM log_block WHERE ctid = ANY(ARRAY(
SELECT ctid FROM log_block WHERE job < $1 AND at < $2 ORDER BY job, fence, seq LIMIT $3))`,
			hostler.MakeID(cutoff.Unix(), 0), cutoff.UnixMicro(), logChunk)
		if err != nil {
			return fmt.Errorf("drop old output: %w", err)
		}
		if tag.RowsAffected() < logChunk {
			return nil
		}
	}
}
