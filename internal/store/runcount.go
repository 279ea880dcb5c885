package store

import (
	"slices"

	"hostler.dev/hostler"
)

// This file counts the jobs of runs that end, in the transaction that ends them. Each
// transaction changes a step once, however many jobs of it end. When the step must go on,
// the transaction leaves a row in run_wake, and the engine's loop takes it.
//
// Locks: the rows of steps come last, in the order of their ids.

// hostState is the state of a host of a step.
type hostState string

const (
	hostQueued    hostState = "queued" // its job has not ended
	hostUnknown   hostState = "unknown"
	hostSucceeded hostState = "succeeded"
	hostFailed    hostState = "failed"
	hostCancelled hostState = "cancelled"
	hostMissing   hostState = "missing" // its asset was deleted before it had a job
)

// recorded reports whether a run has a row, or a schedule made it: their ids are odd; see
// NewRunID.
func recorded(run hostler.RunID) bool { return run&1 == 1 }

// NewRunID allocates the id of a run: odd for one with a row in run or schedule_fire, even
// for the common number of jobs that have none. The transaction that ends jobs and the
// statistics tell them apart by it, without a look into these tables.
func (tx *Tx) NewRunID(withRow bool) (hostler.RunID, error) {
	for {
		ids, err := tx.c.NewIDs(tx.ctx, 2)
		if err != nil {
			return 0, err
		}
		for _, id := range ids {
			if recorded(hostler.RunID(id)) == withRow {
				return hostler.RunID(id), nil
			}
		}
	}
}

// jobOfRunEnded notes that a job has ended, or that its outcome is unknown; ran tells
// whether it had begun.
func (tx *Tx) jobOfRunEnded(run hostler.RunID, job hostler.JobID, state hostler.State, ran bool) {
	if !recorded(run) {
		return
	}
	if tx.ended == nil {
		tx.ended, tx.begun = map[hostler.JobID]hostState{}, map[hostler.JobID]bool{}
	}
	tx.begun[job] = ran
	switch state {
	case hostler.StateSucceeded:
		tx.ended[job] = hostSucceeded
	case hostler.StateCancelled:
		tx.ended[job] = hostCancelled
	case hostler.StateUnknown:
		tx.ended[job] = hostUnknown
	case hostler.StateFailed, hostler.StateExpired, hostler.StateScheduled, hostler.StateQueued, hostler.StateRunning:
		tx.ended[job] = hostFailed
	}
}

// hostRow is a row of run_host.
type hostRow struct {
	Step  hostler.RunStepID `db:"step"`
	Seq   int64             `db:"seq"`
	Job   hostler.JobID     `db:"job"`
	Round int64             `db:"round"`
	State hostState         `db:"state"`
	Bind  string            `db:"bind"`
	Ran   bool              `db:"ran"`
	About hostler.JobID     `db:"about"`
	Note  string            `db:"note"`
}

// stepCount is how the counters of a step change.
type stepCount struct {
	ID        hostler.RunStepID `db:"id"`
	Succeeded int64             `db:"succeeded"`
	Failed    int64             `db:"failed"`
	Cancelled int64             `db:"cancelled"`
	Unknown   int64             `db:"unknown"`
}

// add counts a host that enters or leaves a state.
func (c *stepCount) add(s hostState, n int64) {
	switch s {
	case hostSucceeded:
		c.Succeeded += n
	case hostFailed, hostMissing:
		c.Failed += n
	case hostCancelled:
		c.Cancelled += n
	case hostUnknown:
		c.Unknown += n
	case hostQueued:
	}
}

// flushRuns counts the jobs of runs that ended in the transaction.
func (tx *Tx) flushRuns() error {
	if len(tx.ended) == 0 {
		return nil
	}
	jobs := make([]hostler.JobID, 0, len(tx.ended))
	for id := range tx.ended {
		jobs = append(jobs, id)
	}
	slices.Sort(jobs)
	hosts, err := query[hostRow](tx, `SELECT @cols FROM run_host WHERE job IN ?*`, jobs)
	if err != nil || len(hosts) == 0 {
		return err
	}
	changes := map[hostler.RunStepID]*stepCount{}
	for i := range hosts {
		h := &hosts[i]
		c := changes[h.Step]
		if c == nil {
			c = &stepCount{ID: h.Step}
			changes[h.Step] = c
		}
		c.add(h.State, -1)
		h.State = tx.ended[h.Job]
		c.add(h.State, 1)
		h.Ran = h.Ran || tx.begun[h.Job]
	}
	tx.ended, tx.begun = nil, nil
	_, err = execRows(tx, `UPDATE run_host SET state = v.state, ran = v.ran FROM @rows
WHERE run_host.step = v.step AND run_host.seq = v.seq`, hosts)
	if err != nil {
		return err
	}
	return tx.countSteps(changes)
}

// countSteps changes the counters of steps, and wakes the runs that go on.
func (tx *Tx) countSteps(changes map[hostler.RunStepID]*stepCount) error {
	type counted struct {
		stepCount
		Run     hostler.RunID `db:"run"`
		Started int64         `db:"started"`
		Hosts   int64         `db:"hosts"`
		// Parallel is how many hosts run at once; 0: no limit.
		Parallel int64 `db:"parallel"`
	}
	ids := make([]hostler.RunStepID, 0, len(changes))
	for id := range changes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	steps, err := query[counted](tx, `SELECT @cols FROM run_step WHERE id IN ?* ORDER BY id FOR UPDATE`, ids)
	if err != nil {
		return err
	}
	rows := make([]stepCount, len(steps))
	var wake []hostler.RunID
	for i := range steps {
		s, c := &steps[i], changes[steps[i].ID]
		rows[i] = stepCount{
			ID: s.ID, Succeeded: s.Succeeded + c.Succeeded, Failed: s.Failed + c.Failed,
			Cancelled: s.Cancelled + c.Cancelled, Unknown: s.Unknown + c.Unknown,
		}
		n := &rows[i]
		open := s.Started - n.Succeeded - n.Failed - n.Cancelled
		// Between these boundaries the engine has nothing to decide.
		next := s.Parallel > 0 && s.Started < s.Hosts
		if next || open <= n.Unknown || c.Failed != 0 || c.Cancelled != 0 || c.Unknown != 0 {
			wake = append(wake, s.Run)
		}
	}
	_, err = execRows(tx, `UPDATE run_step SET succeeded = v.succeeded, failed = v.failed, cancelled = v.cancelled,
unknown = v.unknown FROM @rows WHERE run_step.id = v.id`, rows)
	if err != nil {
		return err
	}
	return tx.WakeRuns(wake...)
}

// WakeRuns lets the engine look at runs.
func (tx *Tx) WakeRuns(runs ...hostler.RunID) error {
	if len(runs) == 0 {
		return nil
	}
	type wakeRow struct {
		Run hostler.RunID `db:"run"`
	}
	rows := make([]wakeRow, len(runs))
	for i, id := range runs {
		rows[i].Run = id
	}
	tx.Notify(TopicRuns)
	return insert(tx, "run_wake", rows)
}
