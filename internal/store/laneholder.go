package store

import (
	"slices"
	"time"

	"hostler.dev/hostler"
)

// This file shows which jobs hold a lane, and lets an admin take it from them.

// LaneState is a lane as it is.
type LaneState struct {
	laneRow
	Key     string `db:"key"`
	Waiting int    `db:"(SELECT count(*) FROM (SELECT 1 FROM wait w WHERE w.lane = lane.id LIMIT 1000) x)"`
}

// Shared reports whether several projects have jobs in the lane.
func (l *LaneState) Shared() bool { return l.shared() }

func (l *laneRow) shared() bool { return l.Project == sharedLane }

// LaneHolder is a job that holds a lane.
type LaneHolder struct {
	Job       hostler.JobID     `db:"h.id"`
	Project   hostler.ProjectID `db:"j.project"`
	Name      string            `db:"p.name"`
	Action    string            `db:"j.action"`
	Queue     string            `db:"j.queue"`
	CreatedBy string            `db:"j.created_by"`
	Since     time.Time         `db:"since"`
	State     hostler.State     `db:"state"`
}

// LaneByKey finds a lane by its full key; nil when there is none.
func (tx *Tx) LaneByKey(key string) (*LaneState, error) {
	return queryOne[LaneState](tx, `SELECT @cols FROM lane WHERE key = ?`, key)
}

// LaneHasJobs reports whether a project has jobs in a lane, or was the last to have any.
func (tx *Tx) LaneHasJobs(l *LaneState, p hostler.ProjectID) (bool, error) {
	if !l.Shared() {
		return l.Project == p, nil
	}
	waits, err := tx.exists(`SELECT id FROM wait WHERE lane = ? AND project = ? LIMIT 1`, l.ID, p)
	if err != nil || waits {
		return waits, err
	}
	holders, err := tx.LaneHolders(l)
	return slices.ContainsFunc(holders, func(h LaneHolder) bool { return h.Project == p }), err
}

// heldIn are the tables whose jobs hold a lane, the smallest first, with the time since
// when; ready is read only when the others do not have all holders.
var heldIn = []struct {
	from, since string
	state       hostler.State
}{
	{`running h WHERE h.lane = ?`, `h.started_at`, hostler.StateRunning},
	{`parked h WHERE h.lane_held = 1 AND h.lane = ?`, `h.since`, hostler.StateUnknown},
	{`sched h WHERE h.lane_held = 1 AND h.lane = ?`, `h.run_at`, hostler.StateScheduled},
	{`ready h WHERE h.lane = ?`, `h.queued_at`, hostler.StateQueued},
}

// LaneHolders lists up to countCap jobs that hold a lane, by id.
func (tx *Tx) LaneHolders(l *LaneState) ([]LaneHolder, error) {
	var out []LaneHolder
	for _, t := range heldIn {
		if int64(len(out)) >= min(l.Inflight, countCap) {
			break
		}
		held, err := query[LaneHolder](tx, `SELECT h.id, j.project, p.name, j.action, j.queue, j.created_by, h.since, '`+
			string(t.state)+`' AS state FROM (SELECT h.id, `+t.since+` AS since FROM `+t.from+` LIMIT ?) h
JOIN job j ON j.id = h.id JOIN project p ON p.id = j.project`, l.ID, countCap)
		if err != nil {
			return nil, err
		}
		out = append(out, held...)
	}
	slices.SortFunc(out, func(a, b LaneHolder) int { return int(a.Job - b.Job) })
	return out, nil
}

// ReleaseLane takes a lane from holders: unknown jobs and those that wait for their next
// attempt do not hold it any more, and keep their state. If cancel is set, queued ones are
// cancelled and running ones asked to stop. It returns those that it changed.
func (tx *Tx) ReleaseLane(l *LaneState, holders []LaneHolder, cancel bool, by string) (
	released, cancelled []LaneHolder, err error,
) {
	if err := tx.FreezeLanes(); err != nil {
		return nil, nil, err
	}
	of := map[hostler.State][]hostler.JobID{}
	byID := map[hostler.JobID]LaneHolder{}
	for _, h := range holders {
		of[h.State], byID[h.Job] = append(of[h.State], h.Job), h
	}
	if cancel {
		// Running jobs come before lanes in the order of locks.
		for _, id := range of[hostler.StateRunning] {
			requested, err := tx.requestCancel(id, by)
			if err != nil {
				return nil, nil, err
			}
			if requested {
				cancelled = append(cancelled, byID[id])
			}
		}
	}
	c, err := tx.changeQueue()
	if err != nil {
		return nil, nil, err
	}
	if err := c.lockLanes([]laneID{l.ID}); err != nil || c.lanes[l.ID] == nil {
		return nil, cancelled, err
	}
	for _, sql := range []string{
		`UPDATE parked SET lane_held = 0 WHERE lane = ? AND lane_held = 1 AND id IN ?* RETURNING id`,
		`UPDATE sched SET lane_held = 0 WHERE lane = ? AND lane_held = 1 AND id IN ?* RETURNING id`,
	} {
		ids, err := column[hostler.JobID](tx, sql, l.ID, append(of[hostler.StateUnknown], of[hostler.StateScheduled]...))
		if err != nil {
			return nil, nil, err
		}
		for _, id := range ids {
			c.lanes[l.ID].release()
			released = append(released, byID[id])
		}
	}
	var queued []entry
	if cancel {
		if queued, err = c.takeReady(of[hostler.StateQueued]); err != nil {
			return nil, nil, err
		}
		for _, e := range queued {
			cancelled = append(cancelled, byID[e.ID])
		}
	}
	return released, cancelled, c.cancelAll(queued, by)
}
