package store

import (
	"slices"
)

// This file lets lanes follow the pause and the resume of a queue. A queue may have
// a hundred thousand lanes, and a transaction that changed them all would hold up
// every claim and report for seconds. So the transaction of the pause itself, which
// no other may overlap, changes pauseStep of them; [Tx.FollowPauses] and
// [Tx.FollowResumes] change the others in steps that run beside ordinary work. In
// between:
//
//   - a paused queue may have lane heads in ready, which no claim takes;
//   - a resumed one may have lanes with capacity and waiting jobs. Until they are
//     promoted, a new job of such a lane queues behind them: see admit.

// pauseStep is how many lane heads, or waiting jobs, one step looks at.
const pauseStep = 1000

// followPause moves up to pauseStep lane heads of a paused queue from ready to wait,
// so that they do not block lanes that other queues share. It reports whether there
// may be more.
func (c *queueChange) followPause(queue string) (more bool, err error) {
	heads, err := query[entry](c.tx, `SELECT @cols FROM ready WHERE queue = ? AND lane <> 0 LIMIT ?`, queue, pauseStep)
	if err != nil || len(heads) == 0 {
		return false, err
	}
	lanes := make([]laneID, len(heads))
	for i := range heads {
		lanes[i] = heads[i].Lane
	}
	if err := c.lockLanes(lanes); err != nil {
		return false, err
	}
	// Under the locks: a head that was cancelled meanwhile is no longer there.
	taken, err := c.takeReady(entryIDs(heads))
	if err != nil {
		return false, err
	}
	c.admitAll(taken)
	return len(heads) == pauseStep, c.flush()
}

// followResume promotes the jobs of a resumed queue in up to pauseStep lanes that have
// waiting jobs, where these have capacity. It reports whether there may be more.
func (c *queueChange) followResume(queue string) (more bool, err error) {
	type waitingLane struct {
		ID  laneID `db:"s.lane"`
		Has bool   `db:"CASE WHEN EXISTS (SELECT 1 FROM wait w WHERE w.lane = s.lane AND w.queue = ?) THEN 1 ELSE 0 END"`
	}
	// One step of the index for each lane, however many jobs wait in it.
	found, err := query[waitingLane](c.tx, `WITH RECURSIVE s (lane, n) AS (
SELECT (SELECT min(w.lane) FROM wait w), 1
UNION ALL SELECT (SELECT min(w.lane) FROM wait w WHERE w.lane > s.lane), s.n + 1 FROM s
WHERE s.lane IS NOT NULL AND s.n < ?) SELECT @cols FROM s WHERE s.lane IS NOT NULL`, pauseStep, queue)
	if err != nil {
		return false, err
	}
	var lanes []laneID
	for _, l := range found {
		if l.Has {
			lanes = append(lanes, l.ID)
		}
	}
	more = len(found) == pauseStep
	slices.Sort(lanes)
	if err := c.lockLanes(slices.Compact(lanes)); err != nil {
		return false, err
	}
	for _, l := range c.lanes {
		l.freed = true
	}
	return more, c.flush()
}

// pendingQueue is a queue whose lanes have not all followed its pause or its resume.
type pendingQueue struct {
	Name      string `db:"name"`
	Paused    bool   `db:"paused"`
	UpdatedAt int64  `db:"updated_at"`
}

// followed notes that all lanes have followed, unless the queue was changed since.
func (tx *Tx) followed(q pendingQueue) error {
	_, err := tx.Exec(`UPDATE queue SET lanes_pending = 0 WHERE name = ? AND paused = ? AND updated_at = ?`,
		q.Name, q.Paused, q.UpdatedAt)
	return err
}

// FollowPauses takes one step for one paused queue whose lane heads are not all demoted,
// and reports whether there may be more to do. One queue only: its step locks lanes in
// the order of their ids, and those of a second queue could come before.
func (tx *Tx) FollowPauses() (more bool, err error) {
	c, err := tx.changeQueue()
	if err != nil {
		return false, err
	}
	q, err := queryOne[pendingQueue](tx, `SELECT @cols FROM queue WHERE lanes_pending = 1 AND paused = 1
ORDER BY name LIMIT 1`)
	if err != nil || q == nil {
		return false, err
	}
	if left, err := c.followPause(q.Name); err != nil || left {
		return left, err
	}
	return true, tx.followed(*q)
}

// ResumedQueues are queues whose lanes have not all followed their resume.
type ResumedQueues []pendingQueue

// PendingQueues returns the queues whose lanes have not all followed a resume, and
// whether [Tx.FollowPauses] has anything to do. For the former, promote what
// [Tx.StrandedLanes] finds until nothing is left, and then call [Tx.FollowedResumes].
func (tx *Tx) PendingQueues() (resumed ResumedQueues, paused bool, err error) {
	pending, err := query[pendingQueue](tx, `SELECT @cols FROM queue WHERE lanes_pending = 1`)
	for _, q := range pending {
		if q.Paused {
			paused = true
		} else {
			resumed = append(resumed, q)
		}
	}
	return resumed, paused, err
}

// FollowedResumes notes that all lanes of queues have followed their resume. A queue
// that was changed since is passed over.
func (tx *Tx) FollowedResumes(queues ResumedQueues) error {
	if err := tx.c.Lock(tx.ctx, queueLock, true); err != nil {
		return err
	}
	for _, q := range queues {
		if err := tx.followed(q); err != nil {
			return err
		}
	}
	return nil
}
