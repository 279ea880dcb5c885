package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// member is one transaction of a group.
type member struct {
	ctx    context.Context //nolint:containedctx // checked for cancellation before the member starts
	fn     func(c sqldb.Conn) error
	urgent bool // of a higher class than requests
	err    error
	done   chan error // buffers one result
}

// answer returns the result to the caller of InTx. Only the first call has an effect.
func (m *member) answer(err error) {
	select {
	case m.done <- err:
	default:
	}
}

// InTx implements sqldb.Driver.
func (db *DB) InTx(ctx context.Context, fn func(c sqldb.Conn) error) error {
	m := &member{ctx: ctx, fn: fn, urgent: sqldb.ClassOf(ctx) > sqldb.Requests, done: make(chan error, 1)}
	queue := db.queue
	if m.urgent {
		queue = db.urgent
	}
	select {
	case <-db.closing:
		return errClosed()
	default:
	}
	select {
	case queue <- m:
	case <-ctx.Done():
		return mapError(ctx.Err())
	case <-db.closing:
		return errClosed()
	}
	// From here on the member may be committed, so that ctx no longer ends the wait.
	select {
	case err := <-m.done:
		return err
	case <-db.stopped:
	}
	select {
	case err := <-m.done:
		return err
	default: // queued after the writer drained the queue for the last time
		return errClosed()
	}
}

// write is the loop of the writer, the only goroutine that changes the database.
func (db *DB) write() {
	defer db.writerEnded()
	group := make([]*member, 0, groupLimit)
	for {
		if group = db.drain(group); len(group) > 0 {
			group = slices.Delete(group, 0, db.commit(group))
			select {
			case t := <-db.tasks:
				t.done <- t.fn()
			default:
			}
			continue
		}
		select {
		case m := <-db.urgent:
			group = append(group, m)
		case m := <-db.queue:
			group = append(group, m)
		case t := <-db.tasks:
			t.done <- t.fn()
		case <-db.closing:
			if group = db.drain(group); len(group) == 0 {
				return
			}
		}
	}
}

// writerEnded reports the writer as stopped after Close. If a member ended the goroutine
// (runtime.Goexit, as a failing test does) it fails the group and restarts the writer.
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

// task is a function that the writer runs between two groups, outside of a transaction.
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

// drain adds the members that are queued now, up to groupLimit, the urgent ones before all
// requests.
func (db *DB) drain(group []*member) []*member {
	urgent := slices.IndexFunc(group, func(m *member) bool { return !m.urgent })
	if urgent < 0 {
		urgent = len(group)
	}
	for more := true; more && len(group) < groupLimit; {
		select {
		case m := <-db.urgent:
			group = slices.Insert(group, urgent, m)
			urgent++
		default:
			more = false
		}
	}
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

// commit commits the first members of a group, acknowledges them, and returns how many
// they are. If the disk is full it releases the reserve and commits them one by one: a
// small one may fit where the group did not.
func (db *DB) commit(group []*member) (n int) {
	db.inCommit = group
	n, err := db.attempt(group)
	group = group[:n]
	db.noteWrite(err)
	switch {
	case isFull(err) && (db.releaseReserve() || n > 1):
		for i := range group {
			_, err := db.attempt(group[i : i+1])
			acknowledge(group[i:i+1], err)
		}
	default:
		acknowledge(group, err)
	}
	db.inCommit = nil
	db.written.Add(1)
	if db.rows >= db.opt.SegmentRows {
		if err := db.roll(); err != nil {
			db.opt.Log.Error("create a history segment failed; retrying after the next commit", "err", err)
		}
	}
	return n
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

// attempt runs the first members of a group in one transaction, and returns how many they
// are.
func (db *DB) attempt(group []*member) (n int, err error) {
	rows := db.rows
	if n, err = db.runGroup(group); err != nil {
		db.rows = rows
		db.undo()
	}
	return n, err
}

// undo rolls the transaction back. It ignores the error that SQLite returns if it has
// rolled back already.
func (db *DB) undo() {
	db.writer.closeRows()
	_ = db.writer.control("ROLLBACK")
}

// runGroup runs members until they took longer than groupTime: the other requests are left
// for the next group, where what has become urgent meanwhile goes before them.
func (db *DB) runGroup(group []*member) (n int, err error) {
	if err := db.writer.control("BEGIN IMMEDIATE"); err != nil {
		return len(group), err
	}
	began, first := time.Now(), true
	for _, m := range group {
		if !m.urgent && !first && time.Since(began) > db.opt.groupTime {
			break
		}
		first = first && m.urgent
		n++
		if m.err = db.admit(m); m.err != nil {
			continue
		}
		if err := db.runMember(m, len(group) == 1); err != nil {
			return n, err
		}
	}
	if err := db.writer.control("COMMIT"); err != nil {
		return n, commitError(err)
	}
	return n, nil
}

// admit returns an error if a member must not run: its context has ended, or it creates
// jobs while the disk is full.
func (db *DB) admit(m *member) error {
	if err := m.ctx.Err(); err != nil {
		return mapError(err)
	}
	if sqldb.IsGrowing(m.ctx) {
		return db.Accepts()
	}
	return nil
}

// runMember runs one member in a savepoint. A member that is alone needs none, because it
// can roll back the whole transaction. runMember returns an error that fails the group;
// it stores the member's own error in m.err.
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

// protect runs a member and turns a panic into an error, so that it does not end the
// writer.
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
	// walRestart is the size of the WAL, in pages, from which the writer itself runs
	// a checkpoint between two groups, so that the file restarts from its beginning.
	// Under steady load a concurrent checkpoint never reaches the end of the WAL.
	walRestart = 64 << 20 / 4096
)

// maintainFiles checkpoints the WAL concurrently with the writer, and restores the
// reserve when the disk has space again.
func (db *DB) maintainFiles() {
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
			db.restoreReserve()
		}
		if db.failed.Load() != nil {
			ctx, cancel := context.WithTimeout(db.checkpoints.ctx, checkpointEvery)
			_ = db.Probe(ctx) // accepts new work again if it succeeds
			cancel()
		}
		n := db.written.Load()
		if n == seen {
			continue
		}
		seen = n
		if err := db.checkpoint(); err != nil {
			db.opt.Log.Error("checkpoint failed; retrying", "err", err)
		}
	}
}

// checkpoint runs a passive checkpoint, which waits neither for readers nor for the
// writer. Pages that readers still need are copied by a later one.
func (db *DB) checkpoint() error {
	if pages, err := db.checkpoints.checkpoint(); err != nil || pages < walRestart {
		return err
	}
	return db.betweenGroups(func() error {
		_, err := db.writer.checkpoint()
		return err
	})
}

// checkpoint runs a passive checkpoint and returns the number of pages in the WAL.
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
	e := hostler.Errorf(hostler.CodeInternal, "internal error; see the server's log for the cause",
		"内部错误，原因见服务日志")
	e.Cause = cause
	return e
}
