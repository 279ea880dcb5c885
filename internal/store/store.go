// Package store holds all data of Hostler that must survive, in SQLite or in
// PostgreSQL.
//
// # Model
//
// A [Store] runs functions in transactions: [Store.InTx] writes, [Store.View] reads
// one snapshot. The methods of [Tx] are the statements, in files that are named after
// the objects and steps they serve. SQL is written once, in the neutral form that
// package sqldb describes; the columns of a table are declared once, by the tags of a
// row struct (rows.go).
//
// # Tables
//
// The queue is split, so that its hot part stays small and history stays cold. A live
// job has one row in job, what it was created from, and one in exactly one of
//
//	sched    (run_at, id)                         delayed, or backing off before a retry
//	wait     (lane, queue, prio, queued_at, id)   behind other jobs of its lane
//	ready    (queue, project, owner, rank, id)    a worker may claim it
//	running  (id)                                 leased to a worker, under a fence
//	parked   (id)                                 its outcome is unknown
//
// by their keys. An ended job has one row in done, the history. An attempt that did not
// end its job is in attempt; a host that a job brought along in job_target; a lane, with
// the number of its jobs in flight, in lane; how many jobs wait, by queue and project, in
// queue_count and queue_delta (count.go). Every state change adds events to outbox,
// from where they are published to event (event.go).
//
// # How a job moves
//
//	Enqueue ─▶ sched ─ DueJobs ─▶ wait ─ flush ─▶ ready ─ Claim ─▶ running ─ Finish ─▶ done
//
// Only the heads of a lane are in ready, at most as many as the lane's limit. A change
// that frees a lane promotes the next waiting job in the same transaction
// (queuechange.go, lane.go); so a claim never looks at lanes. Where the worker that
// finished a job waits for jobs, it is leased the next ones in that transaction, which never
// enter ready (directlease.go).
//
// # Invariants
//
// They hold after every transaction; [Tx.CheckInvariants] checks them after every
// scenario of the tests:
//
//	I1 NoIdleLane     a lane has waiting jobs of unpaused queues only if it is full, or
//	                  while lanes follow a resume (pause.go) or jobs another
//	                  device key (relane.go)
//	I2 InflightExact  lane.inflight counts the lane's ready and running jobs, and those
//	                  in sched and parked that hold it
//	I3 FencedWrite    a write that ends a running job matched (id, worker, fence)
//	I4 OnePlace       every job is in exactly one of ready, wait, sched, running, parked
//	                  and done
//	I5 TargetLives    job_target has the jobs that brought a host, as long as they live
//	I6 ArgsLive       run_args has the args that the jobs of a run share, live or ended
//	I7 CountsExact    queue_count and queue_delta count the jobs that wait, and those that
//	                  are scheduled, by queue and project
//	I8 LaneShared     a lane knows if several projects have jobs in it; then no job that
//	                  waits for its next attempt holds it
//	I9 RunsExact      the counters of a step of a run count the states of its hosts
//	I10 DeviceKnown    a job with an ad-hoc host is in the lane of the device at its address,
//	                  unless it has yet to move there (adhoclane.go)
//
// # Locks
//
// All transactions lock in the same order, so that none of them wait for each other in
// a circle:
//
//  0. the row of a run, when the run advances or a person changes it; names of assets, then
//     devices (deviceLock), at the end of a transaction that wrote assets; then the lock on
//     ad-hoc hosts (hostLock), shared by those that enqueue their jobs, exclusive at the
//     end of a transaction that changed assets;
//  1. the queue lock (queueLock), shared by all that move jobs, exclusive to pause a
//     queue or to move jobs of assets to another lane, which is the last thing that a
//     transaction does;
//  2. queues by name, then limits by project, when running jobs are counted for them;
//  3. running jobs by id;
//  4. lanes by id;
//  5. rows of sched, wait, ready and parked;
//  6. steps of runs by id, in the last statements of the transaction (runcount.go).
//
// A claim locks rows of ready without their lanes: it takes only rows that no other
// transaction holds (SKIP LOCKED), so it waits for none. One that a report makes comes
// after the lanes, and waits for nothing (directlease.go).
package store

import (
	"context"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// Store is the database behind one server, or one of several.
type Store struct {
	db     sqldb.Driver
	log    sqldb.Driver
	rights *rightsCache
	fair   *fairness

	specs *specs
}

// New makes a Store over a driver for the main tables and one for the job
// output; they are the same for PostgreSQL.
func New(db, log sqldb.Driver) *Store {
	return &Store{db: db, log: log, rights: &rightsCache{}, fair: &fairness{}, specs: &specs{}}
}

// ForLists returns the store with a part of the database connections of requests, for
// reads of many rows.
func (s *Store) ForLists() *Store { return s.classed(sqldb.Lists) }

// ForWork returns the store with the database connections that move jobs: claim,
// report, resolve, publish. Requests, however many and slow, do not use them up.
func (s *Store) ForWork() *Store { return s.classed(sqldb.Work) }

// ForLeases returns the store with the database connections that renew leases, which
// neither requests nor the moving of jobs use up.
func (s *Store) ForLeases() *Store { return s.classed(sqldb.Leases) }

func (s *Store) classed(c sqldb.Class) *Store {
	return &Store{
		db: sqldb.Classed(s.db, c), log: sqldb.Classed(s.log, c), rights: s.rights, fair: s.fair,
		specs: s.specs,
	}
}

// Tx is one transaction. It is used by one goroutine, inside the function that InTx or
// View runs.
type Tx struct {
	ctx context.Context //nolint:containedctx // a Tx lives inside one call of InTx or View
	c   sqldb.Conn
	now time.Time
	// notify holds the topics to notify after the commit.
	notify sqldb.TopicSet
	// rights are the cached rights of the users who created jobs.
	rights *rightsCache
	// sight limits what is read for people; see sight.go.
	sight map[string][]string
	// events are those of the transaction that are not in the outbox yet.
	events eventBuffer
	// keyChanges are those of the transaction's assets; see relane.go.
	keyChanges []keyChange
	// placeChanges are the addresses at which assets have changed; see adhoclane.go.
	placeChanges []placeChange
	// deleted are the assets that the transaction deleted; see jobhold.go.
	deleted []hostler.AssetID
	// args are the large args of the jobs that the transaction created; see runargs.go.
	args map[argsKey]*commonArgs
	// counts are the changes of the transaction that are not in queue_delta yet.
	counts map[countKey]counts
	fair   *fairness
	// specs are those of waiting and running jobs; see spec.go.
	specs *specs
	// onCommit runs once the transaction is durable.
	onCommit []func()
	// ended are the jobs of runs with a row that ended in the transaction, or became
	// unknown; see runcount.go.
	ended map[hostler.JobID]hostState
	begun map[hostler.JobID]bool // of these, whether they had begun
	// planned are the assets that [Tx.PlanAsset] makes known, by id and by name.
	planned      map[hostler.AssetID]*AssetRow
	plannedNames map[string]*AssetRow
}

// Now returns the time of the transaction by the database's clock.
func (tx *Tx) Now() time.Time { return tx.now }

// Now returns the time by the database's clock.
func (s *Store) Now() time.Time { return s.db.Now() }

// Kind returns "sqlite" or "postgres".
func (s *Store) Kind() string { return s.db.Name() }

// InTx runs fn in one read-write transaction; nil means that it is durable. See
// [sqldb.Driver] for what fn may do. After the commit it notifies the topics that fn
// named with [Tx.Notify].
func (s *Store) InTx(ctx context.Context, fn func(tx *Tx) error) error {
	return s.inTx(ctx, s.db, fn)
}

// InGrowingTx is InTx for transactions that create new work: while the disk is full
// they fail with CodeDiskFull, so that the remaining space serves what runs.
func (s *Store) InGrowingTx(ctx context.Context, fn func(tx *Tx) error) error {
	// One state for both files: jobs whose output cannot be stored are not accepted.
	if s.log != s.db {
		if err := s.log.Accepts(); err != nil {
			return err
		}
	}
	return s.inTx(sqldb.Growing(ctx), s.db, fn)
}

// IsAmbiguous reports whether err leaves it unknown if the transaction was committed:
// the caller must check before it acts again.
func IsAmbiguous(err error) bool { return sqldb.IsAmbiguous(err) }

// View runs fn on one consistent snapshot.
func (s *Store) View(ctx context.Context, fn func(tx *Tx) error) error {
	return s.db.View(ctx, func(c sqldb.Conn) error {
		return fn(&Tx{ctx: ctx, c: c, now: s.db.Now(), rights: s.rights})
	})
}

// AfterCommit calls fn once the transaction is durable.
func (tx *Tx) AfterCommit(fn func(ctx context.Context)) {
	tx.onCommit = append(tx.onCommit, func() { fn(tx.ctx) })
}

func (s *Store) inTx(ctx context.Context, d sqldb.Driver, fn func(tx *Tx) error) error {
	var topics sqldb.TopicSet
	var onCommit []func()
	err := d.InTx(ctx, func(c sqldb.Conn) error {
		tx := &Tx{ctx: ctx, c: c, now: d.Now(), rights: s.rights, fair: s.fair, specs: s.specs}
		if err := fn(tx); err != nil {
			return err
		}
		if err := tx.moveJobs(); err != nil {
			return err
		}
		if err := tx.flushRuns(); err != nil {
			return err
		}
		if err := tx.flushEvents(); err != nil {
			return err
		}
		topics, onCommit = tx.notify, tx.onCommit
		return tx.flushCounts()
	})
	if err == nil {
		for _, fn := range onCommit {
			fn()
		}
		notify(d, topics)
	}
	return err
}

// Maintain runs the periodic work of the database and drops history older than keep.
func (s *Store) Maintain(ctx context.Context, keep time.Duration) error {
	if err := s.db.Maintain(ctx, keep); err != nil {
		return err
	}
	if s.log == s.db {
		return nil
	}
	return s.log.Maintain(ctx, keep)
}

// Probe returns an error if the store takes no new work; it writes to every file.
func (s *Store) Probe(ctx context.Context) error {
	err := s.db.Probe(ctx)
	if err == nil && s.log != s.db {
		err = s.log.Probe(ctx)
	}
	return err
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
