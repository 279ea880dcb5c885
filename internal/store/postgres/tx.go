package postgres

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/wait"
)

const (
	firstPause = 5 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// InTx implements sqldb.Driver, with READ COMMITTED: each statement sees what
// was committed before it, which the locking rules of the queue rely on.
func (db *DB) InTx(ctx context.Context, fn func(c sqldb.Conn) error) error {
	return db.run(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, fn)
}

// View implements sqldb.Driver.
func (db *DB) View(ctx context.Context, fn func(c sqldb.Conn) error) error {
	return db.run(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, fn)
}

// run runs a transaction, again when it certainly changed nothing and may do
// better: after a deadlock, a lost connection, a missing partition.
func (db *DB) run(ctx context.Context, opt pgx.TxOptions, fn func(c sqldb.Conn) error) error {
	deadline := time.Now().Add(db.opt.Patience)
	retry := wait.Backoff{First: firstPause, Max: lastPause}
	for {
		err := db.once(ctx, opt, fn)
		if err == nil || !db.again(ctx, err) || time.Now().After(deadline) {
			return mapError(err)
		}
		if retry.Sleep(ctx) != nil {
			return mapError(err)
		}
	}
}

// again reports whether a failed transaction is worth another run, and makes
// what it lacked.
func (db *DB) again(ctx context.Context, err error) bool {
	var ambiguous *sqldb.AmbiguousError
	if errors.As(err, &ambiguous) || ctx.Err() != nil {
		return false
	}
	if day, ok := missingDay(err); ok {
		return db.makePartition(ctx, day) == nil
	}
	return isConflict(err) || isAway(err)
}

// once runs a transaction one time.
func (db *DB) once(ctx context.Context, opt pgx.TxOptions, fn func(c sqldb.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, db.opt.Timeout)
	defer cancel()
	pc, err := db.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer pc.Release()
	tx, err := pc.BeginTx(ctx, opt)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	done := false
	defer func() {
		if !done { // an error, or a goroutine that ends inside fn
			db.rollback(ctx, tx)
		}
	}()
	if err := protect(func() error { return fn(&conn{db, pc.Conn(), ctx}) }); err != nil {
		return err
	}
	done = true
	return db.commit(ctx, pc, tx)
}

// protect turns a panic of fn into an error.
func protect(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			he := hostler.Errorf(hostler.CodeInternal, "an internal fault; the log has its cause", "内部错误，原因见日志")
			he.Cause = fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack())
			err = he
		}
	}()
	return fn()
}

// rollback undoes a transaction; when even that fails, pgx closes the
// connection, which undoes it too.
func (db *DB) rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	if err := tx.Rollback(ctx); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
		db.opt.Log.DebugContext(ctx, "rollback failed; the connection is dropped", "err", err)
	}
}

// commit sends COMMIT under a limit of its own. The caller's context does not
// count: giving up would leave the outcome open. A wait for a synchronous
// standby is not bounded by statement_timeout, hence the limit here.
func (db *DB) commit(ctx context.Context, pc *pgxpool.Conn, tx pgx.Tx) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.opt.Timeout)
	defer cancel()
	notes := pc.Conn().PgConn().CustomData()
	delete(notes, warningKey)
	err := tx.Commit(ctx)
	warning, _ := notes[warningKey].(*pgconn.Notice)
	return commitError(err, warning)
}
