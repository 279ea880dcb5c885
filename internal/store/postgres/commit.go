package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/wait"
)

// # Commit
//
// Once COMMIT is sent, only the server's own answer decides what became of the
// transaction. A connection that breaks in between allows three outcomes:
// it was committed, it was not, or the server has yet to read the message. A
// transaction that writes therefore inserts a row into commit_mark in the same
// message as its COMMIT. The server reads that message whole or not at all, so the
// row is there exactly if the transaction is.
//
// [DB.resolve] looks for the row by inserting it itself:
//
//   - If the transaction is still running, the insert waits for its end.
//   - If the row is there, the transaction is committed. The lookup writes too, and
//     a commit waits for synchronous standbys in the order of the log: once the
//     lookup's own commit is confirmed, so is the transaction's.
//   - If it is not, the lookup leaves one that is marked undone. The COMMIT that may
//     still be on its way fails on it: the transaction can be run again.
//
// The row moves with the data: after a fail-over to a standby that lost the
// transaction the row is lost too. A transaction id would not do, because ids are
// used again after a crash that lost the log behind them.

const (
	markStatement = "hostler_commit_mark"
	// markSQL writes nothing for a transaction that wrote nothing, whose COMMIT
	// would otherwise have to wait for the disk.
	markSQL = `INSERT INTO commit_mark (at, server, undone) SELECT $1::bigint, $2::bigint, false
WHERE pg_current_xact_id_if_assigned() IS NOT NULL`
	// resolveSQL updates a row that exists, for the write that [DB.resolve] needs.
	resolveSQL = `INSERT INTO commit_mark AS m (at, server, undone) VALUES ($1, $2, true)
ON CONFLICT (at, server) DO UPDATE SET undone = m.undone RETURNING m.undone`
	// markLife is how long a mark is kept: far longer than [DB.resolve] looks for it.
	markLife = 10 * time.Minute
	// markChunk bounds one deletion of old marks.
	markChunk = 10_000
)

// mark identifies a transaction among those of all servers.
type mark struct{ at, server int64 }

// marks makes marks that ascend with the database's clock, so that the old ones
// are at the front of the primary key.
type marks struct {
	server  int64 // random, new with each start
	last    atomic.Int64
	dropped atomic.Int64 // marks before it are deleted
}

func (m *marks) next(now time.Time) mark {
	for {
		last := m.last.Load()
		at := max(now.UnixMicro(), last+1)
		if m.last.CompareAndSwap(last, at) {
			return mark{at, m.server}
		}
	}
}

// commit sends the mark and COMMIT as one message. The caller's context does not
// count: giving up would leave the outcome open. A wait for a synchronous standby is
// not bounded by statement_timeout, hence the limit here.
func (db *DB) commit(ctx context.Context, c *pgx.Conn, m mark) error {
	if c.IsClosed() { // COMMIT is not sent
		return fmt.Errorf("commit: %w", errClosed)
	}
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.opt.Timeout)
	defer cancel()
	notes := c.PgConn().CustomData()
	delete(notes, warningKey)
	sql := fmt.Sprintf("EXECUTE %s(%d, %d); COMMIT", markStatement, m.at, m.server)
	results, err := c.PgConn().Exec(sending, sql).ReadAll()
	warning, _ := notes[warningKey].(*pgconn.Notice)
	err = commitError(lastTag(results), err, warning)
	if err != nil && !sqldb.IsAmbiguous(err) && c.PgConn().TxStatus() != 'I' {
		db.rollback(ctx, c) // the mark failed, and COMMIT was skipped
	}
	return err
}

func lastTag(results []*pgconn.Result) string {
	if len(results) == 0 {
		return ""
	}
	return results[len(results)-1].CommandTag.String()
}

// resolve finds out what became of a transaction whose COMMIT has no clear
// answer: nil if it is committed and durable, an error that [isAway] recognises
// if it is undone for good. When the database cannot be asked in time, the
// outcome stays open.
func (db *DB) resolve(ctx context.Context, m mark, open *sqldb.AmbiguousError) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.opt.Patience)
	defer cancel()
	retry := wait.Backoff{First: firstPause, Max: lastPause}
	for {
		undone, err := db.lookUp(ctx, m)
		switch {
		case err == nil && undone:
			return &undoneError{open.Err}
		case err == nil:
			return nil
		}
		db.opt.Log.DebugContext(ctx, "the outcome of a commit is not known yet", "err", err)
		if retry.Sleep(ctx) != nil {
			return open
		}
	}
}

// lookUp looks for a mark once. Its own commit needs a clear answer as well. It may
// use every connection: callers wait for the outcome.
func (db *DB) lookUp(ctx context.Context, m mark) (undone bool, err error) {
	err = db.with(ctx, sqldb.Leases, func(c *pgxpool.Conn) error {
		notes := c.Conn().PgConn().CustomData()
		delete(notes, warningKey)
		if err := c.QueryRow(ctx, resolveSQL, m.at, m.server).Scan(&undone); err != nil {
			return err
		}
		if warning, ok := notes[warningKey].(*pgconn.Notice); ok {
			return errors.New(warning.Message)
		}
		return nil
	})
	return undone, err
}

// dropMarks deletes the marks that are older than markLife, in small batches. Each
// call begins where the last one ended, so that rows which a long snapshot keeps
// from being vacuumed are not read again.
func (db *DB) dropMarks(ctx context.Context, c *pgx.Conn) error {
	cutoff := db.Now().Add(-markLife).UnixMicro()
	for {
		tag, err := c.Exec(ctx, `DELETE FROM commit_mark WHERE ctid = ANY(ARRAY(
SELECT ctid FROM commit_mark WHERE at >= $1 AND at < $2 ORDER BY at, server LIMIT $3))`,
			db.marks.dropped.Load(), cutoff, markChunk)
		if err != nil {
			return fmt.Errorf("drop old commit marks: %w", err)
		}
		if tag.RowsAffected() < markChunk {
			db.marks.dropped.Store(cutoff)
			return nil
		}
	}
}

// undoneError states that a transaction was undone for certain although its COMMIT
// had no clear answer.
type undoneError struct{ err error }

func (e *undoneError) Error() string { return "the commit was undone: " + e.err.Error() }
func (e *undoneError) Unwrap() error { return e.err }

// errClosed is a connection that ended before COMMIT was sent.
var errClosed = errors.New("conn closed")

// warningKey is where a connection keeps the last WARNING it received.
const warningKey = "hostler.warning"

func noteWarning(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" || n.Severity == "WARNING" {
		c.CustomData()[warningKey] = n
	}
}

// commitError classifies the answer to COMMIT: the tag of the last command that
// was answered, and the error. Only the server decides: the tag COMMIT is a
// success, the tag ROLLBACK or an ERROR is not, and everything else is an
// AmbiguousError, whatever pgx may think of it. (Its SafeToRetry is true for an
// answer that was lost, because MultiResultReader.NextResult drops the error of
// the read.) A WARNING leaves it open too: a wait for a standby that was cancelled
// reports success with one.
func commitError(tag string, err error, warning *pgconn.Notice) error {
	switch {
	case warning != nil:
		return &sqldb.AmbiguousError{Err: errors.New(warning.Message)}
	case tag == "COMMIT":
		return nil
	case tag == "ROLLBACK" && err == nil:
		return pgx.ErrTxCommitRollback
	case err == nil:
		return &sqldb.AmbiguousError{Err: fmt.Errorf("COMMIT was answered by %q", tag)}
	}
	if pe := pgError(err); pe != nil && undone(pe) {
		return err
	}
	return &sqldb.AmbiguousError{Err: err}
}

// undone reports whether an answer to COMMIT means that the transaction is undone
// for certain.
func undone(pe *pgconn.PgError) bool {
	if pe.SeverityUnlocalized != "ERROR" || pe.Code == stateUnknown {
		return false
	}
	for _, class := range [...]string{"22", "23", "25", "40", "53", "55"} {
		if strings.HasPrefix(pe.Code, class) {
			return true
		}
	}
	return false
}
