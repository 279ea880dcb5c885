package store

import (
	"cmp"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file moves jobs whose time has come: delayed jobs into the queue, and jobs
// whose ttl has expired out of it.

// DueJobs queues up to limit scheduled jobs whose time has come, but for those that may
// not start. It returns how many were due, and when the next one after them is (zero
// when there is none).
func (tx *Tx) DueJobs(limit int) (n int, next time.Time, err error) {
	c, err := tx.changeQueue()
	if err != nil {
		return 0, next, err
	}
	due, err := query[dueJob](tx, `SELECT @cols FROM sched WHERE run_at <= ? ORDER BY run_at, id LIMIT ?`,
		sqldb.Micros(tx.now), limit)
	if err != nil {
		return 0, next, err
	}
	n = len(due)
	if n > 0 {
		if due, err = c.keepHeld(due); err != nil {
			return 0, next, err
		}
		if err = c.queueDue(due); err != nil {
			return 0, next, err
		}
	}
	var at int64
	_, err = tx.one(`SELECT run_at FROM sched ORDER BY run_at, id LIMIT 1`, nil, &at)
	return n, sqldb.Time(at), err
}

// dueJob is a scheduled job whose time has come.
type dueJob struct {
	ID    hostler.JobID `db:"id"`
	Lane  laneID        `db:"lane"`
	RunAt int64         `db:"run_at"`
}

// queueDue queues due jobs as if each had arrived at its own time: "stop at :10"
// runs before "start at :30" although both are found due together.
func (c *queueChange) queueDue(due []dueJob) error {
	ids := make([]hostler.JobID, len(due))
	lanes := make([]laneID, len(due))
	runAt := make(map[hostler.JobID]int64, len(due))
	for i, d := range due {
		ids[i], lanes[i], runAt[d.ID] = d.ID, d.Lane, d.RunAt
	}
	if err := c.lockLanes(lanes); err != nil {
		return err
	}
	entries, err := c.takeSched(ids)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(runAt[a.ID], runAt[b.ID]), cmp.Compare(a.ID, b.ID))
	})
	for i := range entries {
		e := &entries[i]
		e.QueuedAt = c.arrive(e.Lane, runAt[e.ID])
	}
	c.admitAll(entries)
	if err := c.flush(); err != nil {
		return err
	}
	return c.tx.emitJobs(entryIDs(entries), func(e *hostler.JobEvent) {
		e.State, e.Cause = hostler.StateQueued, hostler.CauseDue
	})
}

// ExpireJobs ends up to limit jobs that were not started within their ttl.
func (tx *Tx) ExpireJobs(limit int) (int, error) {
	c, err := tx.changeQueue()
	if err != nil {
		return 0, err
	}
	// The first condition is that of the index; for the second, see hasTTL.
	ids, err := column[hostler.JobID](tx, `SELECT id FROM job WHERE expires_at <> 0 AND expires_at > 0 AND expires_at <= ?
ORDER BY expires_at LIMIT ?`, sqldb.Micros(tx.now), limit)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	reason := &hostler.JobError{Kind: hostler.ErrKindExpired, Text: hostler.Text{
		EN: "expired: it was not started within its ttl", ZH: "已过期：未在有效等待时间内开始执行",
	}}
	entries, err := c.withdraw(ids)
	if err != nil {
		return 0, err
	}
	return len(entries), c.completeAll(entries, hostler.StateExpired, hostler.CauseExpire, reason)
}
