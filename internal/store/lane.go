package store

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// laneID is the id of a row of table lane.
type laneID int64

// lane is a locked row of table lane. Changes are written once, by flush.
type lane struct {
	laneRow
	was   laneRow // as read
	freed bool    // capacity was given back in this transaction
	// yields: jobs that back off no longer hold the lane, from the end of the change on.
	yields bool
}

type laneRow struct {
	ID        laneID           `db:"id"`
	Limit     int64            `db:"lim"`
	Inflight  int64            `db:"inflight"`
	Owner     hostler.WorkerID `db:"owner"` // ran the lane's last job
	ArrivedAt int64            `db:"arrived_at"`
	Closed    bool             `db:"closed"` // no job starts in it; see relane.go
	// Project is the only one whose jobs were queued in the lane: 0 none yet, sharedLane
	// several.
	Project hostler.ProjectID `db:"project"`
}

// sharedLane marks a lane that several projects use.
const sharedLane = hostler.ProjectID(-1)

// use notes that a project has jobs in the lane. In a lane that several projects use, a job
// that waits for its next attempt does not hold it: the jobs of the other projects would
// wait for as long as its backoff lasts.
func (l *lane) use(p hostler.ProjectID) {
	switch l.Project {
	case p, sharedLane:
	case 0:
		l.Project = p
	default:
		if p != 0 {
			l.Project, l.yields = sharedLane, true
		}
	}
}

func (l *lane) take()    { l.Inflight++ }
func (l *lane) release() { l.Inflight--; l.freed = true }

// arrive returns the arrival time of a job that queues behind the lane: at, or
// one microsecond after the previous arrival when a clock is behind. The lane is
// locked, so jobs of one lane are ordered as they were committed, whatever the
// clocks of the servers show (a hybrid logical clock; Kulkarni et al., 2014).
func (l *lane) arrive(at int64) int64 {
	l.ArrivedAt = max(at, l.ArrivedAt+1)
	return l.ArrivedAt
}

// adopt lets a job keep the arrival time that another lane gave it.
func (l *lane) adopt(arrivedAt int64) { l.ArrivedAt = max(l.ArrivedAt, arrivedAt) }

// arrive returns when a job arrives in the queue, at the earliest at: the time by
// which jobs of one priority are ordered. Its lane must be locked.
func (c *queueChange) arrive(id laneID, at int64) int64 {
	if l := c.lanes[id]; l != nil {
		return l.arrive(at)
	}
	return at
}

// lockLanes locks the lanes with these ids, in the order of their ids: every
// transaction takes them in that order, so that none waits for another in a circle.
func (c *queueChange) lockLanes(ids []laneID) error {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id laneID) bool { return id == 0 || c.lanes[id] != nil })
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	return queryEach(c.tx, `SELECT @cols FROM lane WHERE id IN ?* ORDER BY id FOR UPDATE`,
		[]any{slices.Compact(ids)}, func(row *laneRow) error {
			c.lanes[row.ID] = &lane{laneRow: *row, was: *row}
			return nil
		})
}

// ensureLanes locks the lanes with these keys, creates those that are missing,
// and returns their ids by key. The newest limit of a key wins.
func (c *queueChange) ensureLanes(want map[string]int64) (map[string]laneID, error) {
	ids := make(map[string]laneID, len(want))
	if len(want) == 0 {
		return ids, nil
	}
	keys := slices.Sorted(maps.Keys(want))
	if err := c.lockKeys(keys, want, ids); err != nil {
		return nil, err
	}
	// A lane that a sweep deletes between our insert and our lock is created again.
	for len(ids) < len(want) {
		missing := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return ids[k] != 0 })
		if err := c.createLanes(missing, want); err != nil {
			return nil, err
		}
		if err := c.lockKeys(missing, want, ids); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func (c *queueChange) lockKeys(keys []string, want map[string]int64, ids map[string]laneID) error {
	type keyed struct {
		laneRow
		Key string `db:"key"`
	}
	return queryEach(c.tx, `SELECT @cols FROM lane WHERE key IN ?* ORDER BY id FOR UPDATE`,
		[]any{keys}, func(row *keyed) error {
			l := &lane{laneRow: row.laneRow, was: row.laneRow}
			l.Limit = want[row.Key]
			l.freed = l.Limit > l.was.Limit
			c.lanes[l.ID] = l
			ids[row.Key] = l.ID
			return nil
		})
}

func (c *queueChange) createLanes(keys []string, want map[string]int64) error {
	type newLane struct {
		ID     laneID    `db:"id"`
		Key    string    `db:"key"`
		Limit  int64     `db:"lim"`
		UsedAt time.Time `db:"used_at"`
	}
	ids, err := c.tx.c.NewIDs(c.tx.ctx, len(keys))
	if err != nil {
		return err
	}
	rows := make([]newLane, len(keys))
	for i, k := range keys {
		rows[i] = newLane{laneID(ids[i]), k, want[k], c.tx.now}
	}
	_, err = insertNew(c.tx, "lane", "key", rows)
	return err
}

// endHolds ends the holds of backing-off jobs in the lanes that yield.
func (c *queueChange) endHolds() error {
	var lanes []laneID
	for id, l := range c.lanes {
		if l.yields {
			lanes = append(lanes, id)
			l.yields = false
		}
	}
	if len(lanes) == 0 {
		return nil
	}
	held, err := column[laneID](c.tx, `UPDATE sched SET lane_held = 0 WHERE lane IN ?* AND lane_held = 1 RETURNING lane`,
		lanes)
	for _, id := range held {
		c.lanes[id].release()
	}
	return err
}

// promoteWaiting promotes waiting jobs of the lanes whose capacity grew. The lanes
// were locked by an earlier statement, so this one sees every job that was committed
// behind them: a job that one combined statement missed would wait behind a free lane.
func (c *queueChange) promoteWaiting() error {
	var single []laneID
	for _, id := range slices.Sorted(maps.Keys(c.lanes)) {
		l := c.lanes[id]
		free := l.Limit - l.Inflight
		switch {
		case !l.freed || free <= 0 || l.Closed:
		case free == 1:
			single = append(single, id)
		default:
			if err := c.promoteFrom(id, free); err != nil {
				return err
			}
		}
	}
	if len(single) == 0 {
		return nil
	}
	return c.promoteHeads(single)
}

// firstWaiting selects the first waiting job of the first queue in each of some lanes.
const firstWaiting = `(SELECT (SELECT x.id FROM wait x WHERE x.lane = l.id
ORDER BY x.queue, x.prio, x.queued_at, x.id LIMIT 1) AS head FROM lane l WHERE l.id IN ?*)`

// promoteHeads promotes the first waiting job of each lane. The jobs of a lane are
// ordered by queue first, so that those of a paused one are passed in one step; in most
// lanes all jobs are of one queue.
func (c *queueChange) promoteHeads(lanes []laneID) error {
	type head struct {
		entry
		LastQueue string `db:"(SELECT max(y.queue) FROM wait y WHERE y.lane = wait.lane)"`
	}
	heads, err := query[head](c.tx, `SELECT @cols FROM `+firstWaiting+` h JOIN wait ON wait.id = h.head`, lanes)
	if err != nil {
		return err
	}
	first := make([]entry, 0, len(heads))
	var mixed []laneID
	for _, h := range heads {
		switch {
		case h.LastQueue != h.Queue:
			mixed = append(mixed, h.Lane)
		case !c.queues[h.Queue].Paused:
			first = append(first, h.entry)
		}
	}
	if len(mixed) > 0 {
		if first, err = c.firstOfQueues(first, mixed); err != nil {
			return err
		}
	}
	return c.promote(first)
}

// firstOfQueues adds the first waiting job of each lane, over all queues that are not
// paused.
func (c *queueChange) firstOfQueues(first []entry, lanes []laneID) ([]entry, error) {
	heads, err := c.tx.queueHeads(lanes)
	best := map[laneID]entry{}
	for _, e := range heads {
		if was, found := best[e.Lane]; !c.queues[e.Queue].Paused && (!found || laneOrder(e, was) < 0) {
			best[e.Lane] = e
		}
	}
	return slices.AppendSeq(first, maps.Values(best)), err
}

// queueHeads returns the first waiting job of each queue in each of some lanes: one
// step of the index for each, however many jobs wait.
func (tx *Tx) queueHeads(lanes []laneID) ([]entry, error) {
	return query[entry](tx, `WITH RECURSIVE g (of_lane, of_queue, head) AS (
SELECT w.lane, w.queue, w.id FROM `+firstWaiting+` h JOIN wait w ON w.id = h.head
UNION ALL SELECT w.lane, w.queue, w.id FROM g JOIN wait w ON w.id =
(SELECT x.id FROM wait x WHERE x.lane = g.of_lane AND x.queue > g.of_queue
ORDER BY x.queue, x.prio, x.queued_at, x.id LIMIT 1))
SELECT @cols FROM g JOIN wait ON wait.id = g.head`, lanes)
}

// laneOrder compares two jobs of one lane: priority, then arrival.
func laneOrder(a, b entry) int {
	return cmp.Or(cmp.Compare(a.Prio, b.Prio), cmp.Compare(a.QueuedAt, b.QueuedAt), cmp.Compare(a.ID, b.ID))
}

// promoteFrom promotes the first n waiting jobs of one lane.
func (c *queueChange) promoteFrom(id laneID, n int64) error {
	heads, err := c.tx.queueHeads([]laneID{id})
	if err != nil {
		return err
	}
	var found []entry
	for _, h := range heads {
		if c.queues[h.Queue].Paused {
			continue
		}
		of, err := query[entry](c.tx, `SELECT @cols FROM wait WHERE lane = ? AND queue = ?
ORDER BY prio, queued_at, id LIMIT ?`, id, h.Queue, n)
		if err != nil {
			return err
		}
		found = append(found, of...)
	}
	slices.SortFunc(found, laneOrder)
	return c.promote(found[:min(n, int64(len(found)))])
}

// promote moves jobs from wait to ready.
func (c *queueChange) promote(heads []entry) error {
	if len(heads) == 0 {
		return nil
	}
	for i := range heads {
		e := &heads[i]
		e.HoldsLane = true
		l := c.lanes[e.Lane]
		l.take()
		c.toReady(*e, l)
		c.tx.count(e, -1, 0)
	}
	_, err := c.tx.Exec(`DELETE FROM wait WHERE id IN ?*`, entryIDs(heads))
	return err
}

// writeLanes writes the lanes whose row differs from before; a lane that went
// from one job to the next costs no write.
func (c *queueChange) writeLanes() error {
	type changed struct {
		laneRow
		UsedAt time.Time `db:"used_at"`
	}
	var rows []changed
	for _, id := range slices.Sorted(maps.Keys(c.lanes)) {
		if l := c.lanes[id]; l.laneRow != l.was {
			rows = append(rows, changed{l.laneRow, c.tx.now})
			l.was = l.laneRow
		}
	}
	_, err := execRows(c.tx, `UPDATE lane SET lim = v.lim, inflight = v.inflight, owner = v.owner,
arrived_at = v.arrived_at, project = v.project, used_at = v.used_at FROM @rows WHERE lane.id = v.id`, rows)
	return err
}

// StrandedLanes lists up to limit lanes that have capacity and waiting jobs.
// There should be none (NoIdleLane). It reads every lane: use a View, so that no
// writer waits for it.
func (tx *Tx) StrandedLanes(limit int) ([]int64, error) {
	return column[int64](tx, `SELECT l.id FROM lane l WHERE l.inflight < l.lim AND l.closed = 0
AND EXISTS (SELECT 1 FROM wait w WHERE w.lane = l.id) AND EXISTS (SELECT 1 FROM queue q WHERE q.paused = 0
AND EXISTS (SELECT 1 FROM wait w WHERE w.lane = l.id AND w.queue = q.name)) ORDER BY l.id LIMIT ?`, limit)
}

// PromoteStranded promotes the waiting jobs of stranded lanes, if these still have
// capacity, and returns how many.
func (tx *Tx) PromoteStranded(lanes []int64) (int, error) {
	c, err := tx.changeQueue()
	if err != nil {
		return 0, err
	}
	ids := make([]laneID, len(lanes))
	for i, id := range lanes {
		ids[i] = laneID(id)
	}
	if err := c.lockLanes(ids); err != nil {
		return 0, err
	}
	for _, l := range c.lanes {
		l.freed = true
	}
	if err := c.promoteWaiting(); err != nil {
		return 0, err
	}
	promoted := len(c.ready)
	return promoted, c.flush()
}

// DeleteIdleLanes deletes up to limit lanes that were not used for a day and that no
// live job needs, and returns how many.
func (tx *Tx) DeleteIdleLanes(limit int) (int64, error) {
	// A lane without jobs in flight has none in ready and running.
	const unused = `inflight = 0 AND NOT EXISTS (SELECT 1 FROM wait w WHERE w.lane = lane.id)
AND NOT EXISTS (SELECT 1 FROM sched s WHERE s.lane = lane.id AND s.lane <> 0)
AND NOT EXISTS (SELECT 1 FROM parked k WHERE k.lane = lane.id AND k.lane <> 0)`
	idle, err := column[laneID](tx, `SELECT id FROM lane WHERE closed = 0 AND used_at < ? AND `+unused+`
ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED`, sqldb.Micros(tx.now.Add(-24*time.Hour)), limit)
	if err != nil || len(idle) == 0 {
		return 0, err
	}
	// A later statement, under the lock: it sees the job of an enqueue that locked the
	// lane before. A later enqueue creates the lane again.
	return tx.Exec(`DELETE FROM lane WHERE id IN ?* AND `+unused, idle)
}
