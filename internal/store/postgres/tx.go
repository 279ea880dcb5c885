package postgres

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"

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
	return db.run(ctx, transaction{
		begin: "BEGIN ISOLATION LEVEL READ COMMITTED", fn: fn,
		class: sqldb.ClassOf(ctx), writes: true, timeout: db.opt.Timeout,
	})
}

// View implements sqldb.Driver. The reads of requests have a shorter timeout than
// those of the queue.
func (db *DB) View(ctx context.Context, fn func(c sqldb.Conn) error) error {
	t := transaction{
		begin: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", fn: fn,
		class: sqldb.ClassOf(ctx), timeout: db.opt.Timeout,
	}
	if t.class <= sqldb.Requests {
		t.timeout = db.opt.ReadTimeout
	}
	return db.run(ctx, t)
}

// transaction is one call of InTx or View.
type transaction struct {
	begin   string
	fn      func(c sqldb.Conn) error
	class   sqldb.Class
	writes  bool
	timeout time.Duration // of each attempt, excluding the commit
}

// run runs a transaction and retries it when it certainly changed nothing and may
// succeed: after a deadlock, a lost connection or a missing partition.
func (db *DB) run(ctx context.Context, t transaction) error {
	deadline := time.Now().Add(db.opt.Patience)
	retry := wait.Backoff{First: firstPause, Max: lastPause}
	for {
		err := db.runOnce(ctx, t)
		if err == nil || !db.retryable(ctx, err) || time.Now().After(deadline) {
			return mapError(err)
		}
		if retry.Sleep(ctx) != nil {
			return mapError(err)
		}
	}
}

// retryable reports whether a failed transaction may succeed when it is retried. It
// creates the partition if that was missing.
func (db *DB) retryable(ctx context.Context, err error) bool {
	var ambiguous *sqldb.AmbiguousError
	if errors.As(err, &ambiguous) || ctx.Err() != nil {
		return false
	}
	if day, ok := missingDay(err); ok {
		return db.createPartition(ctx, day) == nil
	}
	return isConflict(err) || isAway(err)
}

// runOnce runs a transaction without retries and determines its outcome. attempt
// releases its connection before resolve acquires one: when all connections break
// together, the lookup needs a free slot in the pool.
func (db *DB) runOnce(ctx context.Context, t transaction) error {
	m := db.marks.next(db.Now())
	err := db.attempt(ctx, t, m)
	if lost, ok := errors.AsType[*sqldb.AmbiguousError](err); ok {
		return db.resolve(ctx, m, lost)
	}
	return err
}

func (db *DB) attempt(ctx context.Context, t transaction, m mark) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	pc, release, err := db.acquire(ctx, t.class, !t.writes)
	if err != nil {
		return err
	}
	defer release()
	if err := db.begin(ctx, pc.Conn(), t); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	open := true
	defer func() {
		if open { // an error, or runtime.Goexit inside fn
			db.rollback(ctx, pc.Conn())
		}
	}()
	if err := protect(func() error { return t.fn(&conn{db, pc.Conn(), ctx}) }); err != nil {
		return err
	}
	if !t.writes {
		return nil // the reads are valid even if the rollback fails
	}
	open = false
	return db.commit(ctx, pc.Conn(), m)
}

func (db *DB) begin(ctx context.Context, c *pgx.Conn, t transaction) error {
	if t.writes {
		if _, err := c.Prepare(ctx, markStatement, markSQL); err != nil { // once per connection
			return err
		}
	}
	_, err := c.Exec(ctx, t.begin)
	return err
}

// protect turns a panic of fn into an error.
func protect(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			he := hostler.Errorf(hostler.CodeInternal, "internal error; see the server's log for the cause",
				"内部错误，原因见服务日志")
			he.Cause = fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack())
			err = he
		}
	}()
	return fn()
}

// rollback rolls a transaction back. If that fails it closes the connection, upon
// which the server rolls back.
func (db *DB) rollback(ctx context.Context, c *pgx.Conn) {
	if c.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	if _, err := c.Exec(ctx, "ROLLBACK"); err != nil {
		db.opt.Log.DebugContext(ctx, "rollback failed; closing the connection", "err", err)
		_ = c.Close(ctx)
	}
}
