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
// After COMMIT is sent, only the server's response determines the outcome of the
// transaction. If the connection breaks before the response arrives, there are three
// possibilities: it was committed, it was rolled back, or the server has not read the
// message yet. A transaction that writes therefore inserts a row into commit_mark in
// the same message as its COMMIT. The server reads that message completely or not at
// all, so the row exists if and only if the transaction was committed.
//
// [DB.resolve] looks the row up by inserting it itself:
//
//   - If the transaction is still running, the insert waits for it to finish.
//   - If the row exists, the transaction is committed. The lookup writes too, and
//     commits wait for synchronous standbys in the order of the log: when the
//     lookup's own commit is confirmed, the transaction's is as well.
//   - If the row does not exist, the lookup inserts one with undone = true. A COMMIT
//     that is still in transit fails on it, so the transaction can be retried.
//
// The row is replicated with the data: a failover to a standby that lost the
// transaction also loses the row. A transaction id is not sufficient, because ids are
// reused after a crash that lost the end of the log.

const (
	markStatement = "hostler_commit_mark"
	// markSQL inserts no row for a transaction that wrote nothing, whose COMMIT
	// would otherwise wait for the disk.
	markSQL = `INSERT INTO commit_mark (at, server, undone) SELECT $1::bigint, $2::bigint, false
WHERE pg_current_xact_id_if_assigned() IS NOT NULL`
	// resolveSQL updates a row that exists, for the write that [DB.resolve] needs.
	resolveSQL = `INSERT INTO commit_mark AS m (at, server, undone) VALUES ($1, $2, true)
ON CONFLICT (at, server) DO UPDATE SET undone = m.undone RETURNING m.undone`
	// markLife is how long a mark is retained: far longer than resolve runs.
	markLife = 10 * time.Minute
	// markChunk bounds one deletion of old marks.
	markChunk = 10_000
)

// mark identifies a transaction among those of all servers.
type mark struct{ at, server int64 }

// marks generates marks that ascend with the database's clock, so that the oldest
// are first in the primary key.
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

// commit sends the mark and COMMIT as one message. It ignores cancellation by the
// caller, which would leave the outcome unknown. The timeout is necessary because
// statement_timeout does not bound the wait for a synchronous standby.
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

// resolve determines the outcome of a transaction whose COMMIT got no clear answer.
// It returns nil if the transaction is committed and durable, an error that [isAway]
// recognises if it was rolled back, and open if the database does not answer within
// Options.Patience.
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

// lookUp makes one attempt to look a mark up. Its own commit needs a clear answer as
// well. It runs in the highest class, which may use every connection: a caller is
// blocked until the outcome is known.
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

// dropMarks deletes the marks older than markLife, in chunks. Each call starts where
// the last one ended, so that it does not read deleted rows that a long snapshot
// prevents from being vacuumed.
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

// undoneError reports that a transaction whose COMMIT got no clear answer was
// certainly rolled back.
type undoneError struct{ err error }

func (e *undoneError) Error() string { return "the transaction was rolled back: " + e.err.Error() }
func (e *undoneError) Unwrap() error { return e.err }

// errClosed reports a connection that was closed before COMMIT was sent.
var errClosed = errors.New("conn closed")

// warningKey is the key in CustomData of the last WARNING that a connection received.
const warningKey = "hostler.warning"

func noteWarning(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" || n.Severity == "WARNING" {
		c.CustomData()[warningKey] = n
	}
}

// commitError classifies the response to COMMIT: the last command tag, and the error.
// The tag COMMIT is a success, the tag ROLLBACK or an ERROR a failure, and everything
// else an AmbiguousError. pgx's SafeToRetry is not sufficient: it is true for a lost
// response, because MultiResultReader.NextResult drops the error of the read. A
// WARNING is ambiguous too: a cancelled wait for a standby reports success with one.
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

// undone reports whether an ERROR in response to COMMIT means that the transaction
// was certainly rolled back.
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
