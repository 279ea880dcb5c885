package sqlite

import (
	"context"
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// member is one transaction of a group.
type member struct {
	ctx  context.Context //nolint:containedctx // asked for cancellation before the member starts
	fn   func(c store.Conn) error
	err  error
	done chan error
}

// InTx implements store.Driver.
func (db *DB) InTx(ctx context.Context, fn func(c store.Conn) error) error {
	m := &member{ctx: ctx, fn: fn, done: make(chan error, 1)}
	select {
	case <-db.closing:
		return errClosed()
	default:
	}
	select {
	case db.queue <- m:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.closing:
		return errClosed()
	}
	// From here on the member may be committed: only the writer knows.
	return <-m.done
}

// write is the writer: the only goroutine that changes the database.
func (db *DB) write() {
	group := make([]*member, 0, groupLimit)
	for {
		select {
		case m := <-db.queue:
			group = db.drain(append(group[:0], m))
			db.commit(group)
		case t := <-db.tasks:
			t.done <- t.fn()
		case <-db.closing:
			if group = db.drain(group[:0]); len(group) == 0 {
				return
			}
			db.commit(group)
		}
	}
}

// task is what the writer does between two groups, outside of a transaction.
type task struct {
	fn   func() error
	done chan error
}

func (db *DB) betweenGroups(fn func() error) error {
	t := task{fn: fn, done: make(chan error, 1)}
	select {
	case db.tasks <- t:
		return <-t.done
	case <-db.closing:
		return nil
	}
}

// drain adds what is queued right now.
func (db *DB) drain(group []*member) []*member {
	for len(group) < groupLimit {
		select {
		case m := <-db.queue:
			group = append(group, m)
		default:
			return group
		}
	}
	return group
}

// commit runs a group in one transaction and acknowledges it.
func (db *DB) commit(group []*member) {
	ctx := context.Background()
	rows := db.rows
	err := db.runGroup(ctx, group)
	if err != nil {
		db.rows = rows
		err = mapError(err)
		// The transaction may be gone already; then this says so, and no more.
		_ = db.writer.exec(ctx, "ROLLBACK")
	}
	for _, m := range group {
		if err != nil {
			m.err = err
		}
		m.done <- m.err
	}
	db.written.Add(1)
	if db.rows >= db.opt.SegmentRows {
		if err := db.roll(ctx); err != nil {
			db.opt.Log.ErrorContext(ctx, "a new segment of the history could not be made", "err", err)
		}
	}
}

func (db *DB) runGroup(ctx context.Context, group []*member) error {
	if err := db.writer.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, m := range group {
		if m.err = m.ctx.Err(); m.err != nil {
			continue
		}
		if err := db.runMember(ctx, m, len(group) == 1); err != nil {
			return err
		}
	}
	return db.writer.exec(ctx, "COMMIT")
}

// runMember runs one member: in a savepoint, unless it is alone and can undo the
// whole transaction. The error it returns is the group's; the member's own is in
// m.err.
func (db *DB) runMember(ctx context.Context, m *member, alone bool) error {
	if alone {
		m.err = protect(func() error { return m.fn(db.writer) })
		return m.err
	}
	if err := db.writer.exec(ctx, "SAVEPOINT m"); err != nil {
		return err
	}
	rows := db.rows
	m.err = protect(func() error { return m.fn(db.writer) })
	if m.err == nil {
		return db.writer.exec(ctx, "RELEASE m")
	}
	if fatal(m.err) {
		return m.err
	}
	db.rows = rows
	m.err = mapError(m.err)
	if err := db.writer.exec(ctx, "ROLLBACK TO m"); err != nil {
		return err
	}
	return db.writer.exec(ctx, "RELEASE m")
}

// protect turns a panic into an error: one member's fault must not end the
// writer.
func protect(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			e := hostler.Errorf(hostler.CodeInternal, "an internal fault; the log has the cause", "内部错误，原因见日志")
			e.Cause = fmt.Errorf("panic in a transaction: %v", p)
			err = e
		}
	}()
	return fn()
}

const (
	checkpointEvery = time.Second
	// walRestart is the size of the WAL from which the writer itself finishes a
	// checkpoint, so that the file starts over; under steady load a passive one
	// never sees the end.
	walRestart = 64 << 20
)

// checkpoint moves the WAL into the database beside the writer.
func (db *DB) checkpoint() {
	ctx := context.Background()
	t := time.NewTicker(checkpointEvery)
	defer t.Stop()
	seen := int64(0)
	for {
		select {
		case <-db.closing:
			return
		case <-t.C:
		}
		if n := db.written.Load(); n == seen {
			continue
		} else {
			seen = n
		}
		if err := db.checkpointOnce(ctx); err != nil {
			db.opt.Log.ErrorContext(ctx, "checkpoint failed; the next one tries again", "err", err)
		}
	}
}

func (db *DB) checkpointOnce(ctx context.Context) error {
	select {
	case c := <-db.readers:
		_, err := c.c.ExecContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`)
		db.readers <- c
		if err != nil {
			return err
		}
	case <-db.closing:
		return nil
	}
	if fileSize(db.path+"-wal") < walRestart {
		return nil
	}
	return db.betweenGroups(func() error {
		_, err := db.writer.c.ExecContext(ctx, `PRAGMA wal_checkpoint(RESTART)`)
		return err
	})
}
