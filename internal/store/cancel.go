package store

import (
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// cancelTries bounds how often CancelJob looks for a job that moves from one table
// of the queue to another while it looks.
const cancelTries = 5

// CancelJob cancels a waiting job at once, or asks the worker of a running one to
// stop it. It returns the job's new state: cancelled, or running. CodeConflict: it
// has ended, or its outcome is unknown.
func (tx *Tx) CancelJob(id hostler.JobID, by string) (hostler.State, error) {
	// The queue lock comes first in the order of locks: a transaction that cancels a
	// running job and then withdraws another must not take it in between.
	if err := tx.FreezeLanes(); err != nil {
		return "", err
	}
	for range cancelTries {
		// Running jobs first, and without a lane's lock: running rows come before
		// lanes in the order of locks.
		if requested, err := tx.requestCancel(id, by); err != nil || requested {
			return hostler.StateRunning, err
		}
		c, err := tx.changeQueue()
		if err != nil {
			return "", err
		}
		entries, err := c.withdraw([]hostler.JobID{id})
		if err != nil {
			return "", err
		}
		if len(entries) == 1 {
			return hostler.StateCancelled, c.cancelAll(entries, by)
		}
		if err := tx.refuseCancel(id); err != nil {
			return "", err
		}
	}
	return "", hostler.Errorf(hostler.CodeConflict,
		"the state of the job is changing; try again", "作业状态正在变化，请重试")
}

// CancelWaiting cancels those of the jobs that have not started, and returns them:
// one that starts meanwhile is passed over. The caller has checked that they belong
// to its project.
func (tx *Tx) CancelWaiting(ids []hostler.JobID, by string) ([]hostler.JobID, error) {
	c, err := tx.changeQueue()
	if err != nil {
		return nil, err
	}
	entries, err := c.withdraw(ids)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	cancelled := entryIDs(entries)
	slices.Sort(cancelled)
	return cancelled, c.cancelAll(entries, by)
}

func (c *queueChange) cancelAll(entries []entry, by string) error {
	reason := &hostler.JobError{Kind: hostler.ErrKindCancelled, Text: cancelledText(by)}
	return c.completeAll(entries, hostler.StateCancelled, hostler.CauseCancel, reason)
}

func cancelledText(by string) hostler.Text {
	return hostler.Textf("cancelled by %s", "已被 %s 取消", by)
}

// requestCancel asks the worker of a running job to stop it, and reports whether the
// job runs. A second request changes nothing.
func (tx *Tx) requestCancel(id hostler.JobID, by string) (bool, error) {
	n, err := tx.Exec(`UPDATE running SET cancel_at = ?, cancel_by = ? WHERE id = ? AND cancel_at = 0`,
		sqldb.Micros(tx.now), by, id)
	if err != nil || n > 0 {
		return n > 0, err
	}
	return tx.exists(`SELECT id FROM running WHERE id = ?`, id)
}

// refuseCancel returns the error for a job that cannot be cancelled; nil when it
// moves between two tables.
func (tx *Tx) refuseCancel(id hostler.JobID) error {
	unresolved, err := tx.exists(`SELECT id FROM parked WHERE id = ?`, id)
	if err != nil {
		return err
	}
	if unresolved {
		return hostler.Errorf(hostler.CodeConflict,
			"the outcome of the job is unknown, it cannot be cancelled; set its outcome: "+
				"hostler job resolve %s --as succeeded|failed",
			"作业结果未知，无法取消；请确认结果：hostler job resolve %s --as succeeded|failed", id)
	}
	live, err := tx.exists(`SELECT id FROM job WHERE id = ?`, id)
	if err != nil || live {
		return err
	}
	type endedRow struct {
		ID hostler.JobID `db:"id"`
	}
	ended, err := endedJob[endedRow](tx, id, ``)
	if err != nil {
		return err
	}
	if ended != nil {
		return hostler.Errorf(hostler.CodeConflict, "the job has already ended", "作业已经结束")
	}
	return hostler.NotFound(jobWord, id.String())
}

var jobWord = hostler.Text{EN: "job", ZH: "作业"}

// CancelRequested returns which of the jobs run and were asked to stop.
func (tx *Tx) CancelRequested(ids []hostler.JobID) (map[hostler.JobID]bool, error) {
	running, err := column[hostler.JobID](tx, `SELECT id FROM running WHERE id IN ?* AND cancel_at <> 0`, ids)
	requested := make(map[hostler.JobID]bool, len(running))
	for _, id := range running {
		requested[id] = true
	}
	return requested, err
}
