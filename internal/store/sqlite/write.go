package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// member is one transaction of a group.
type member struct {
	ctx  context.Context //nolint:containedctx // asked for cancellation before the member starts
	fn   func(c sqldb.Conn) error
	err  error
	done chan error // holds one answer
}

// answer acknowledges a member, once.
func (m *member) answer(err error) {
	select {
	case m.done <- err:
	default:
	}
}

// InTx implements sqldb.Driver.
func (db *DB) InTx(ctx context.Context, fn func(c sqldb.Conn) error) error {
	m := &member{ctx: ctx, fn: fn, done: make(chan error, 1)}
	select {
	case <-db.closing:
		return errClosed()
	default:
	}
	select {
	case db.queue <- m:
	case <-ctx.Done():
		return mapError(ctx.Err())
	case <-db.closing:
		return errClosed()
	}
	// From here on the member may be committed: only the writer knows.
	select {
	case err := <-m.done:
		return err
	case <-db.stopped:
	}
	select {
	case err := <-m.done:
		return err
	default: // queued after the writer had looked for the last time
		return errClosed()
	}
}

// write is the writer: the only goroutine that changes the database.
func (db *DB) write() {
	defer db.writerEnded()
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

// writerEnded closes the writer, or starts another when a member ended the
// goroutine under it (runtime.Goexit, as a failing test does).
func (db *DB) writerEnded() {
	if db.inCommit == nil {
		close(db.stopped)
		return
	}
	db.undo()
	for _, m := range db.inCommit {
		m.answer(errFault(errors.New("a transaction of the group ended its goroutine")))
	}
	db.inCommit = nil
	db.wg.Go(db.write)
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

// commit commits a group and acknowledges it. When the disk is full the reserve
// is given up and the members go one by one: a small one may fit where the group
// did not.
func (db *DB) commit(group []*member) {
	db.inCommit = group
	err := db.attempt(group)
	switch {
	case isFull(err) && (db.giveUpReserve() || len(group) > 1):
		for i := range group {
			acknowledge(group[i:i+1], db.attempt(group[i:i+1]))
		}
	default:
		acknowledge(group, err)
	}
	db.inCommit = nil
	db.written.Add(1)
	if db.rows >= db.opt.SegmentRows {
		if err := db.roll(); err != nil {
			db.opt.Log.Error("a new segment of the history could not be made; the next group tries again", "err", err)
		}
	}
}

func acknowledge(group []*member, err error) {
	err = mapError(err)
	for _, m := range group {
		if m.err == nil {
			m.err = err
		}
		m.answer(m.err)
	}
}

// attempt runs a group in one transaction.
func (db *DB) attempt(group []*member) error {
	rows := db.rows
	if err := db.runGroup(group); err != nil {
		db.rows = rows
		db.undo()
		return err
	}
	return nil
}

// undo rolls the transaction back. ROLLBACK fails when SQLite has done so already,
// which changes nothing.
func (db *DB) undo() {
	db.writer.closeRows()
	_ = db.writer.control("ROLLBACK")
}

func (db *DB) runGroup(group []*member) error {
	if err := db.writer.control("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, m := range group {
		if m.err = db.refuse(m); m.err != nil {
			continue
		}
		if err := db.runMember(m, len(group) == 1); err != nil {
			return err
		}
	}
	if err := db.writer.control("COMMIT"); err != nil {
		return commitError(err)
	}
	return nil
}

// refuse returns why a member is not run.
func (db *DB) refuse(m *member) error {
	if err := m.ctx.Err(); err != nil {
		return mapError(err)
	}
	if db.full.Load() && sqldb.IsGrowing(m.ctx) {
		return errFull(nil)
	}
	return nil
}

// runMember runs one member: in a savepoint, unless it is alone and can undo the
// whole transaction. The error it returns is the group's; the member's own is in
// m.err.
func (db *DB) runMember(m *member, alone bool) error {
	if alone {
		return db.protect(m.fn)
	}
	if err := db.writer.control("SAVEPOINT m"); err != nil {
		return err
	}
	rows := db.rows
	err := db.protect(m.fn)
	if err == nil {
		return db.writer.control("RELEASE m")
	}
	if fatal(err) {
		return err
	}
	db.rows = rows
	m.err = mapError(err)
	if err := db.writer.control("ROLLBACK TO m"); err != nil {
		return err
	}
	return db.writer.control("RELEASE m")
}

// protect runs a member. A panic becomes an error: one member's fault must not
// end the writer.
func (db *DB) protect(fn func(c sqldb.Conn) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errFault(fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack()))
		}
	}()
	defer db.writer.closeRows()
	return fn(db.writer)
}

const (
	checkpointEvery = time.Second
	// walRestart is how many pages the WAL may have before the writer itself
	// copies the last of them, so that the file starts over; under steady load a
	// copy beside the writer never reaches the end.
	walRestart = 64 << 20 / 4096
)

// tend moves the WAL into the database beside the writer, and gets the reserve
// back when the disk has space again.
func (db *DB) tend() {
	t := time.NewTicker(checkpointEvery)
	defer t.Stop()
	seen := int64(0)
	for {
		select {
		case <-db.closing:
			return
		case <-t.C:
		}
		if db.full.Load() {
			db.regainReserve()
		}
		n := db.written.Load()
		if n == seen {
			continue
		}
		seen = n
		if err := db.checkpoint(); err != nil {
			db.opt.Log.Error("checkpoint failed; the next one tries again", "err", err)
		}
	}
}

// checkpoint never waits for readers, nor makes the writer wait: what they still
// need is copied the next time.
func (db *DB) checkpoint() error {
	if pages, err := db.checkpoints.checkpoint(); err != nil || pages < walRestart {
		return err
	}
	return db.betweenGroups(func() error {
		_, err := db.writer.checkpoint()
		return err
	})
}

// checkpoint copies what it can and returns how many pages the WAL has.
func (c *conn) checkpoint() (pages int64, err error) {
	r, err := c.Query(c.ctx, `PRAGMA wal_checkpoint(PASSIVE)`)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	var busy, copied int64
	for r.Next() {
		if err := r.Scan(&busy, &pages, &copied); err != nil {
			return 0, err
		}
	}
	return pages, r.Err()
}

func errClosed() error {
	return hostler.Errorf(hostler.CodeUnavailable, "the store is closing", "存储正在关闭")
}

func errFault(cause error) error {
	e := hostler.Errorf(hostler.CodeInternal, "an internal fault; the log has its cause",
		"内部错误，原因见日志")
	e.Cause = cause
	return e
}
