// Package store keeps everything that Hostler must not lose, in SQLite or in
// PostgreSQL.
//
// Model: a Store runs functions in transactions (InTx, View); the methods of Tx
// are the statements, grouped by file after the objects they touch. Rows of
// ordinary objects and the queue's transitions are written once, in the neutral
// SQL that package sqldb describes.
//
// The queue is split so that its hot part stays small and history stays cold: a
// live job has one row in job and one in exactly one of sched, wait, ready,
// running and parked; an ended one has one row in done. Invariants, checked by
// CheckInvariants after every scenario of the tests:
//
//	I1  a lane has waiting jobs of unpaused queues only if inflight = lim
//	I2  inflight = the lane's ready and running jobs, plus those in sched and
//	    parked that hold it
//	I3  each terminal write of a running job matched (id, worker, fence)
//	I4  every id is in exactly one of ready, wait, sched, running, parked, done
//	I5  job_target has the jobs that brought a host, as long as they live
//
// Locks are always taken in this order: the pause lock, queues by name, running
// jobs by id, lanes by id, then the rows of sched, wait, ready and parked. Only a
// claim takes rows of ready first, and it waits for no lane.
package store

import (
	"context"
	"time"

	"hostler.dev/hostler/internal/sqldb"
)

// Store is the database behind one server, or one of several.
type Store struct {
	db  sqldb.Driver
	log sqldb.Driver
}

// New makes a Store over a driver for the main tables and one for the job
// output; they are the same for PostgreSQL.
func New(db, log sqldb.Driver) *Store { return &Store{db: db, log: log} }

// Tx is one transaction.
type Tx struct {
	ctx context.Context //nolint:containedctx // a Tx lives inside one call of InTx or View
	c   sqldb.Conn
	now time.Time
	// notify holds the topics to notify after the commit.
	notify sqldb.TopicSet
	// events are those of the transaction that are not in the outbox yet.
	events eventBuffer
}

// Now is the time of the transaction by the database's clock.
func (tx *Tx) Now() time.Time { return tx.now }

// Now is the database's clock.
func (s *Store) Now() time.Time { return s.db.Now() }

// Kind is "sqlite" or "postgres".
func (s *Store) Kind() string { return s.db.Name() }

// InTx runs fn in one read-write transaction; nil means that it is durable. See
// [sqldb.Driver] for what fn may do. After the commit it notifies the topics that fn
// named with [Tx.Notify].
func (s *Store) InTx(ctx context.Context, fn func(tx *Tx) error) error {
	return inTx(ctx, s.db, fn)
}

// InGrowingTx is InTx for transactions that create new work: while the disk is full
// they fail with CodeDiskFull, so that the remaining space serves what runs.
func (s *Store) InGrowingTx(ctx context.Context, fn func(tx *Tx) error) error {
	return inTx(sqldb.Growing(ctx), s.db, fn)
}

// IsAmbiguous reports whether err leaves open if the transaction was committed: the
// caller must check before it acts again.
func IsAmbiguous(err error) bool { return sqldb.IsAmbiguous(err) }

// View runs fn on one consistent snapshot.
func (s *Store) View(ctx context.Context, fn func(tx *Tx) error) error {
	return s.db.View(ctx, func(c sqldb.Conn) error {
		return fn(&Tx{ctx: ctx, c: c, now: s.db.Now()})
	})
}

func inTx(ctx context.Context, d sqldb.Driver, fn func(tx *Tx) error) error {
	var topics sqldb.TopicSet
	err := d.InTx(ctx, func(c sqldb.Conn) error {
		tx := &Tx{ctx: ctx, c: c, now: d.Now()}
		if err := fn(tx); err != nil {
			return err
		}
		err := tx.flushEvents()
		topics = tx.notify
		return err
	})
	if err == nil {
		notify(d, topics)
	}
	return err
}

// Maintain keeps the database in shape and drops history older than keep.
func (s *Store) Maintain(ctx context.Context, keep time.Duration) error {
	if err := s.db.Maintain(ctx, keep); err != nil {
		return err
	}
	if s.log == s.db {
		return nil
	}
	return s.log.Maintain(ctx, keep)
}

// Stats describes the database.
func (s *Store) Stats(ctx context.Context) (sqldb.Stats, error) { return s.db.Stats(ctx) }

// Close releases the database.
func (s *Store) Close() error {
	err := s.db.Close()
	if s.log != s.db {
		if lerr := s.log.Close(); err == nil {
			err = lerr
		}
	}
	return err
}

// NewID allocates one id.
func (tx *Tx) NewID() (int64, error) {
	ids, err := tx.c.NewIDs(tx.ctx, 1)
	if err != nil {
		return 0, err
	}
	return ids[0], nil
}
