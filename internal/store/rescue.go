package store

import "hostler.dev/hostler"

// This file ends workers, and takes their jobs from them.

// RetireWorker marks one worker, which was asked to stop, as dead.
func (tx *Tx) RetireWorker(w hostler.WorkerID) ([]hostler.WorkerID, error) {
	return tx.endWorkers(hostler.EventWorkerStopped, `id = ?`, w)
}

// RetireAllWorkers marks every worker as dead. A server on SQLite does so when it
// starts: it holds the lock of the data folder, so no other process runs a worker.
func (tx *Tx) RetireAllWorkers() ([]hostler.WorkerID, error) {
	return tx.endWorkers(hostler.EventWorkerLost, `1 = 1`)
}

// endWorkers marks the live workers that a condition selects as dead. Those that
// were asked to stop are also marked as stopped, which hides them from lists.
func (tx *Tx) endWorkers(t hostler.EventType, where string, args ...any) ([]hostler.WorkerID, error) {
	type ended struct {
		ID   hostler.WorkerID `db:"id"`
		Name string           `db:"name"`
	}
	args = append([]any{t == hostler.EventWorkerStopped}, args...)
	workers, err := query[ended](tx, `UPDATE worker SET dead = 1, stopped = ? WHERE dead = 0 AND `+where+`
RETURNING @cols`, args...)
	var ids []hostler.WorkerID
	for _, w := range workers {
		ids = append(ids, w.ID)
		tx.emitWorker(t, w.Name)
	}
	return ids, err
}

// StopWorkers fences workers at once and hides them from lists, as a person asked.
// Those that are stopped already are passed over. It returns the workers that it
// stopped, and how many jobs they ran: [Tx.RescueJobs] takes these.
func (tx *Tx) StopWorkers(ids []hostler.WorkerID) (stopped []hostler.WorkerID, running int, err error) {
	stopped, err = tx.endWorkers(hostler.EventWorkerStopped, `id IN ?*`, ids)
	if err != nil {
		return nil, 0, err
	}
	dead, err := column[hostler.WorkerID](tx, `UPDATE worker SET stopped = 1 WHERE dead = 1 AND stopped = 0 AND id IN ?*
RETURNING id`, ids)
	if err != nil {
		return nil, 0, err
	}
	stopped = append(stopped, dead...)
	if len(stopped) == 0 {
		return nil, 0, nil
	}
	_, err = tx.one(`SELECT count(*) FROM running WHERE worker IN ?*`, []any{stopped}, &running)
	return stopped, running, err
}

// RescueJobs takes up to limit running jobs from dead workers; their on_lost decides
// what follows. It returns how many there were.
func (tx *Tx) RescueJobs(limit int) (int, error) {
	ids, err := column[hostler.JobID](tx, `SELECT r.id FROM running r JOIN worker w ON w.id = r.worker WHERE w.dead = 1
ORDER BY r.id LIMIT ?`, limit)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return tx.takeBack(ids, tx.onDeadWorker(), func(j *runningJob) transition {
		return decideLost(j, transition{report: hostler.Report{Error: &hostler.JobError{
			Kind: hostler.ErrKindWorkerLost, Text: lostText(j),
		}}}, "lost")
	})
}

// onDeadWorker returns a function that reports whether a running job's worker is
// dead. Call it under the job's lock: another server may have rescued the job, and a
// live worker may run it by now. A dead worker stays dead, so each is read once.
func (tx *Tx) onDeadWorker() func(*runningJob) (bool, error) {
	known := map[hostler.WorkerID]bool{}
	return func(j *runningJob) (bool, error) {
		if is, seen := known[j.Worker]; seen {
			return is, nil
		}
		live, err := tx.exists(`SELECT id FROM worker WHERE id = ? AND dead = 0`, j.Worker)
		known[j.Worker] = !live
		return !live, err
	}
}

func lostText(j *runningJob) hostler.Text {
	if j.Losses >= hostler.MaxLosses {
		return hostler.Textf("its worker was lost %d times; the job may be crashing its workers",
			"执行它的工作节点已丢失 %d 次；该作业可能会使工作节点崩溃", j.Losses+1)
	}
	return hostler.Text{
		EN: "the worker was lost while the job ran", ZH: "作业运行期间工作节点丢失",
	}
}

// takeBack locks running jobs, selects those that still qualify, and applies a
// transition to each.
func (tx *Tx) takeBack(ids []hostler.JobID, still func(*runningJob) (bool, error),
	decide func(*runningJob) transition,
) (int, error) {
	c, err := tx.changeQueue()
	if err != nil {
		return 0, err
	}
	jobs, err := c.lockRunning(ids)
	if err != nil {
		return 0, err
	}
	lost := jobs[:0]
	for i := range jobs {
		is, err := still(&jobs[i])
		if err != nil {
			return 0, err
		}
		if is {
			lost = append(lost, jobs[i])
		}
	}
	if err := tx.readPolicies(lost); err != nil {
		return 0, err
	}
	transitions := make([]transition, len(lost))
	for i := range lost {
		transitions[i] = decide(&lost[i])
	}
	return len(lost), c.apply(lost, transitions)
}
