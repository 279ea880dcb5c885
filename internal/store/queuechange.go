package store

import (
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// queueLock is the advisory lock that every transaction shares which moves jobs
// between the tables of the queue, claims included. A transaction that changes a
// queue, or moves the jobs of an asset to another lane, holds it exclusively:
//
//   - a promotion that read "not paused" must not commit after the pause demoted
//     the queue's lane heads, or it blocks a lane that other queues share;
//   - a claim that read "not paused" must not start a job after the pause was
//     acknowledged;
//   - a job must not enter a lane while the jobs of that lane move to another.
const queueLock = 1

// AgePerStep is how much waiting outweighs one step of priority: a job of
// priority 6 that has waited an hour longer goes before one of priority 5.
// Ranks are fixed when a job is queued, so no job can be overtaken for ever.
const AgePerStep = time.Hour

// affinitySpan is how long a ready job waits for the worker that holds its lane's
// connection before any worker may claim it.
const affinitySpan = 200 * time.Millisecond

// rankOf orders the ready jobs of a queue; the lowest goes first. An arrival that is
// later than now counts as now: it was given by a clock that has been set back since,
// or keeps the order of a lane that had such a clock (see [lane.arrive]), and would
// else rank behind all jobs of other lanes until the clock has caught up.
func rankOf(queuedAt, prio int64, now time.Time) int64 {
	return min(queuedAt, sqldb.Micros(now)) + (prio-1)*AgePerStep.Microseconds()
}

// entry is a live job as it moves from one table of the queue to another. Its
// columns are those of table wait.
type entry struct {
	ID       hostler.JobID     `db:"id"`
	Queue    string            `db:"queue"`
	Project  hostler.ProjectID `db:"project"`
	Lane     laneID            `db:"lane"` // 0: none
	Prio     int64             `db:"prio"`
	Attempt  int64             `db:"attempt"`
	Losses   int64             `db:"losses"`
	Fence    int64             `db:"fence"`
	QueuedAt int64             `db:"queued_at"` // arrival in the queue, in microseconds

	HoldsLane bool // the job counts in its lane's inflight
}

// readyRow is a row of table ready.
type readyRow struct {
	entry
	Rank int64 `db:"rank"`
	// Owner is the worker that holds the lane's connection; 0 when any worker may
	// claim the job. AffinityUntil is until when only the owner may.
	Owner         hostler.WorkerID `db:"owner"`
	AffinityUntil int64            `db:"free_at"`
}

// schedRow is a row of table sched.
type schedRow struct {
	RunAt     int64         `db:"run_at"`
	ID        hostler.JobID `db:"id"`
	Lane      laneID        `db:"lane"`
	HoldsLane bool          `db:"lane_held"`
	Attempt   int64         `db:"attempt"`
	Losses    int64         `db:"losses"`
	Fence     int64         `db:"fence"`
}

// schedule returns the row of a job that is delayed until a time. The caller inserts it.
func (c *queueChange) schedule(runAt int64, e *entry) schedRow {
	c.tx.count(e, 0, 1)
	return schedRow{runAt, e.ID, e.Lane, e.HoldsLane, e.Attempt, e.Losses, e.Fence}
}

func entryIDs(entries []entry) []hostler.JobID {
	ids := make([]hostler.JobID, len(entries))
	for i := range entries {
		ids[i] = entries[i].ID
	}
	return ids
}

// queueChange is a change of the queue within one transaction. It knows the queues
// and the lanes that the transaction has locked, and collects the rows of ready and
// wait that flush then writes: so many jobs cost few statements.
type queueChange struct {
	tx *Tx
	// queues holds those that are paused, limited, or have lanes that must follow a pause
	// or a resume, and those that the change named.
	queues map[string]queueRow
	// resuming: some lanes with capacity may have waiting jobs; see pause.go.
	resuming bool
	lanes    map[laneID]*lane
	live     map[hostler.WorkerID]bool // live workers; read when first needed
	ready    []readyRow
	wait     []entry
	direct   *directLease // for the jobs that become ready; nil for none
}

type queueRow struct {
	Name     string `db:"name"`
	Paused   bool   `db:"paused"`
	Limit    int64  `db:"lim"`
	MaxDepth int64  `db:"max_depth"`
	// LanesPending: its lanes have not all followed its pause or its resume.
	LanesPending bool `db:"lanes_pending"`
}

// changeQueue starts a change of the queue: it shares the queue lock and reads the
// queues that matter.
func (tx *Tx) changeQueue() (*queueChange, error) {
	if err := tx.c.Lock(tx.ctx, queueLock, true); err != nil {
		return nil, err
	}
	return tx.readQueues()
}

// changeQueueAlone is changeQueue with the queue lock held exclusively. The caller names
// the queues whose settings it needs.
func (tx *Tx) changeQueueAlone(names ...string) (*queueChange, error) {
	if err := tx.c.Lock(tx.ctx, queueLock, false); err != nil {
		return nil, err
	}
	return tx.readQueues(names...)
}

func (tx *Tx) readQueues(names ...string) (*queueChange, error) {
	c := &queueChange{tx: tx, queues: map[string]queueRow{}, lanes: map[laneID]*lane{}}
	queues, err := query[queueRow](tx, `SELECT @cols FROM queue
WHERE paused = 1 OR lim > 0 OR lanes_pending = 1 OR name IN ?*`, names)
	for _, q := range queues {
		c.know(q)
	}
	return c, err
}

func (c *queueChange) know(q queueRow) {
	c.resuming = c.resuming || q.LanesPending && !q.Paused
	c.queues[q.Name] = q
}

// admit queues a job: into ready when it holds its lane or the lane has capacity,
// into wait otherwise. One that holds a lane beside more jobs than the lane may have, as
// after a change of a device key, gives it back. The lane must be locked and know when
// the job arrived.
func (c *queueChange) admit(e entry) {
	l := c.lanes[e.Lane]
	switch {
	case e.Lane == 0:
		c.toReady(e, nil)
	case e.HoldsLane && !c.queues[e.Queue].Paused && !l.Closed && l.Inflight <= l.Limit:
		c.toReady(e, l)
	case e.HoldsLane:
		l.release()
		c.toWait(e)
	case c.queues[e.Queue].Paused || l.Inflight >= l.Limit || l.Closed || l.freed || c.resuming:
		// A lane with capacity has no waiting jobs (NoIdleLane), unless its capacity
		// grew in this transaction, or a queue is being resumed: then promoteWaiting
		// chooses by rank.
		l.freed = l.freed || c.resuming
		c.toWait(e)
	default:
		l.take()
		c.toReady(e, l)
	}
}

// admitAll queues jobs that arrive at the same moment, the best ranked first: the
// order in which they were found must not decide which of them gets a lane, or has to
// give one back.
func (c *queueChange) admitAll(entries []entry) {
	slices.SortFunc(entries, laneOrder)
	for _, e := range slices.Backward(entries) {
		if e.HoldsLane {
			c.admit(e)
		}
	}
	for _, e := range entries {
		if !e.HoldsLane {
			c.admit(e)
		}
	}
}

func (c *queueChange) toReady(e entry, l *lane) {
	row := readyRow{entry: e, Rank: rankOf(e.QueuedAt, e.Prio, c.tx.now)}
	if l != nil {
		row.Owner = l.Owner
	}
	c.ready = append(c.ready, row)
}

func (c *queueChange) toWait(e entry) { c.wait = append(c.wait, e) }

// releaseLane gives back the lane that a job held which ended or leaves the lane.
func (c *queueChange) releaseLane(e entry) {
	if l := c.lanes[e.Lane]; l != nil && e.HoldsLane {
		l.release()
	}
}

// flush writes what was admitted, promotes the heads of lanes that have capacity
// again, and writes the lanes. It is the last step of every change.
func (c *queueChange) flush() error {
	if err := c.endHolds(); err != nil {
		return err
	}
	if err := c.flushWait(); err != nil {
		return err
	}
	if err := c.promoteWaiting(); err != nil {
		return err
	}
	if err := c.leaseDirectly(); err != nil {
		return err
	}
	if err := c.flushReady(); err != nil {
		return err
	}
	return c.writeLanes()
}

func (c *queueChange) flushWait() error {
	rows := c.wait
	c.wait = nil
	for i := range rows {
		c.tx.count(&rows[i], 1, 0)
	}
	return insert(c.tx, "wait", rows)
}

func (c *queueChange) flushReady() error {
	rows := c.ready
	c.ready = nil
	for i := range rows {
		c.tx.count(&rows[i].entry, 1, 0)
	}
	if err := c.setAffinity(rows); err != nil {
		return err
	}
	c.tx.notifyWork(len(rows) > 0)
	return insert(c.tx, "ready", rows)
}

// setAffinity reserves ready jobs, for affinitySpan, for the worker that holds their
// lane's connection: only if that worker is live, and not the only one.
func (c *queueChange) setAffinity(rows []readyRow) error {
	for i := range rows {
		row := &rows[i]
		if row.Owner == 0 {
			continue
		}
		if err := c.readLiveWorkers(); err != nil {
			return err
		}
		if len(c.live) > 1 && c.live[row.Owner] {
			row.AffinityUntil = sqldb.Micros(c.tx.now.Add(affinitySpan))
		} else {
			row.Owner = 0
		}
	}
	return nil
}

func (c *queueChange) readLiveWorkers() error {
	if c.live != nil {
		return nil
	}
	ids, err := column[hostler.WorkerID](c.tx, `SELECT id FROM worker WHERE dead = 0 AND draining = 0`)
	c.live = make(map[hostler.WorkerID]bool, len(ids))
	for _, id := range ids {
		c.live[id] = true
	}
	return err
}

// insertSched delays jobs.
func (c *queueChange) insertSched(rows []schedRow) error {
	c.tx.notifyWork(len(rows) > 0)
	return insert(c.tx, "sched", rows)
}

// withdraw takes waiting jobs out of sched, wait and ready, with their lanes
// locked. Jobs that are elsewhere are passed over.
func (c *queueChange) withdraw(ids []hostler.JobID) ([]entry, error) {
	lanes, err := column[laneID](c.tx, `SELECT DISTINCT lane FROM job WHERE id IN ?* AND lane <> 0`, ids)
	if err != nil {
		return nil, err
	}
	if err := c.lockLanes(lanes); err != nil {
		return nil, err
	}
	var all []entry
	for _, take := range []func([]hostler.JobID) ([]entry, error){c.takeSched, c.takeWait, c.takeReady} {
		entries, err := take(ids)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	return all, nil
}

// takeWait deletes jobs from wait and returns them.
func (c *queueChange) takeWait(ids []hostler.JobID) ([]entry, error) {
	return c.unqueued(query[entry](c.tx, `DELETE FROM wait WHERE id IN ?* RETURNING @cols`, ids))
}

// takeReady deletes jobs from ready and returns them.
func (c *queueChange) takeReady(ids []hostler.JobID) ([]entry, error) {
	return c.unqueued(holding(query[entry](c.tx, `DELETE FROM ready WHERE id IN ?* RETURNING @cols`, ids)))
}

// unqueued counts jobs that were taken out of ready or wait.
func (c *queueChange) unqueued(entries []entry, err error) ([]entry, error) {
	for i := range entries {
		c.tx.count(&entries[i], -1, 0)
	}
	return entries, err
}

// holding marks jobs that come from ready or running: they hold their lane.
func holding(entries []entry, err error) ([]entry, error) {
	for i := range entries {
		entries[i].HoldsLane = true
	}
	return entries, err
}

// takeSched deletes jobs from sched and returns them, without a time of arrival.
func (c *queueChange) takeSched(ids []hostler.JobID) ([]entry, error) {
	type scheduled struct {
		schedRow
		Queue   string            `db:"(SELECT j.queue FROM job j WHERE j.id = sched.id)"`
		Project hostler.ProjectID `db:"(SELECT j.project FROM job j WHERE j.id = sched.id)"`
		Prio    int64             `db:"(SELECT j.prio FROM job j WHERE j.id = sched.id)"`
	}
	rows, err := query[scheduled](c.tx, `DELETE FROM sched WHERE id IN ?* RETURNING @cols`, ids)
	entries := make([]entry, len(rows))
	for i, r := range rows {
		entries[i] = entry{
			ID: r.ID, Queue: r.Queue, Project: r.Project, Lane: r.Lane, Prio: r.Prio,
			Attempt: r.Attempt, Losses: r.Losses, Fence: r.Fence, HoldsLane: r.HoldsLane,
		}
		c.tx.count(&entries[i], 0, -1)
	}
	return entries, err
}
