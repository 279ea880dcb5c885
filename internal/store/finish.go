package store

import (
	"fmt"
	"time"

	"hostler.dev/hostler"
)

// Finish ends leases as the worker reports. It returns one error per report, in
// order: nil, or CodeStale when the lease was no longer the worker's. A report
// that is repeated after its answer was lost is acknowledged again.
func (tx *Tx) Finish(w hostler.WorkerID, reports []hostler.Report) ([]error, error) {
	return tx.finish(w, reports, nil)
}

func (tx *Tx) finish(w hostler.WorkerID, reports []hostler.Report, next *directLease) ([]error, error) {
	c, err := tx.changeQueue()
	if err != nil {
		return nil, err
	}
	c.direct = next
	byJob := make(map[hostler.JobID]*hostler.Report, len(reports))
	ids := make([]hostler.JobID, 0, len(reports))
	needPolicy := false
	for i := range reports {
		id := reports[i].Job
		if byJob[id] == nil {
			ids = append(ids, id)
		}
		byJob[id] = &reports[i]
		needPolicy = needPolicy || reports[i].Outcome != hostler.OutcomeSucceeded
	}
	jobs, err := c.lockRunning(ids)
	if err != nil {
		return nil, err
	}
	mine := jobs[:0]
	for _, j := range jobs {
		if r := byJob[j.ID]; j.Worker == w && j.Fence == r.Fence {
			mine = append(mine, j)
		}
	}
	if needPolicy {
		if err := tx.readPolicies(mine); err != nil {
			return nil, err
		}
	}
	ended := make(map[hostler.JobID]bool, len(mine))
	transitions := make([]transition, len(mine))
	for i := range mine {
		transitions[i] = decide(&mine[i], *byJob[mine[i].ID])
		ended[mine[i].ID] = true
	}
	if err := c.apply(mine, transitions); err != nil {
		return nil, err
	}
	return tx.acks(w, reports, byJob, ended)
}

// acks returns for each report whether it counted, now or when it was first sent.
func (tx *Tx) acks(w hostler.WorkerID, reports []hostler.Report, byJob map[hostler.JobID]*hostler.Report,
	ended map[hostler.JobID]bool,
) ([]error, error) {
	acks := make([]error, len(reports))
	var doubt []hostler.JobID
	for i := range reports {
		id := reports[i].Job
		if !ended[id] || byJob[id].Fence != reports[i].Fence {
			acks[i] = errFenceLost()
			doubt = append(doubt, id)
		}
	}
	if len(doubt) == 0 {
		return acks, nil
	}
	counted, err := tx.countedLeases(w, doubt)
	for i := range reports {
		if outcome, found := counted[reports[i].LeaseRef]; found && confirms(outcome, reports[i].Outcome) {
			acks[i] = nil
		}
	}
	return acks, err
}

// confirms reports whether a repeated report is the one that ended its lease, as far as
// the attempt shows it. A job that was handed back is queued again, or runs under another
// lease: a result of the old lease did not count.
func confirms(attempt string, o hostler.Outcome) bool {
	return attempt != "handback" || o == hostler.OutcomeHandBack
}

// countedLeases returns the leases of the jobs that an earlier report of the worker ended,
// with the outcome of the attempt; "" for those whose job has ended.
func (tx *Tx) countedLeases(w hostler.WorkerID, jobs []hostler.JobID) (map[hostler.LeaseRef]string, error) {
	type done struct {
		Job   hostler.JobID `db:"id"`
		Fence int64         `db:"fence"`
	}
	type attempt struct {
		Job     hostler.JobID `db:"job"`
		Fence   int64         `db:"fence"`
		Outcome string        `db:"outcome"`
	}
	var ended []done
	err := tx.eachEnded(anyProject, jobs, func() bool { return len(ended) == len(jobs) }, func(part string) error {
		some, err := query[done](tx, `SELECT @cols FROM `+part+` WHERE id IN ?* AND worker = ?`, jobs, w)
		ended = append(ended, some...)
		return err
	})
	if err != nil {
		return nil, err
	}
	tried, err := query[attempt](tx, `SELECT @cols FROM attempt
WHERE job IN ?* AND worker = ? AND outcome <> 'lost'`, jobs, w)
	out := make(map[hostler.LeaseRef]string, len(ended)+len(tried))
	for _, e := range ended {
		out[hostler.LeaseRef(e)] = ""
	}
	for _, a := range tried {
		out[hostler.LeaseRef{Job: a.Job, Fence: a.Fence}] = a.Outcome
	}
	return out, err
}

func errFenceLost() error {
	return hostler.Errorf(hostler.CodeStale,
		"the lease of this job has expired or moved: stop the job and do not report it",
		"该作业的租约已不属于此节点：请停止执行且不要上报")
}

// lockRunning locks running jobs in the order of their ids, and then their lanes.
func (c *queueChange) lockRunning(ids []hostler.JobID) ([]runningJob, error) {
	jobs, err := query[runningJob](c.tx, `SELECT @cols FROM running WHERE id IN ?* ORDER BY id FOR UPDATE`, ids)
	if err != nil {
		return nil, err
	}
	lanes := make([]laneID, len(jobs))
	for i := range jobs {
		jobs[i].HoldsLane = jobs[i].Lane != 0
		lanes[i] = jobs[i].Lane
	}
	return jobs, c.lockLanes(lanes)
}

// readPolicies reads the policies of running jobs.
func (tx *Tx) readPolicies(jobs []runningJob) error {
	type policyRow struct {
		ID          hostler.JobID     `db:"id"`
		MaxAttempts int64             `db:"max_attempts"`
		Backoff     string            `db:"backoff"`
		OnLost      hostler.OnLost    `db:"on_lost"`
		OnUnknown   hostler.OnUnknown `db:"on_unknown"`
		OnRetry     hostler.OnRetry   `db:"on_retry"`
	}
	ids := make([]hostler.JobID, len(jobs))
	at := make(map[hostler.JobID]*runningJob, len(jobs))
	for i := range jobs {
		ids[i] = jobs[i].ID
		at[jobs[i].ID] = &jobs[i]
	}
	return queryEach(tx, `SELECT @cols FROM job WHERE id IN ?*`, []any{ids}, func(r *policyRow) error {
		backoff, err := decodeBackoff(r.Backoff)
		at[r.ID].policy = policy{r.MaxAttempts, backoff, r.OnLost, r.OnUnknown, r.OnRetry}
		return err
	})
}

// unresolvedRow is a row of table parked: a job whose outcome is unknown.
type unresolvedRow struct {
	ID        hostler.JobID    `db:"id"`
	Lane      laneID           `db:"lane"`
	HoldsLane bool             `db:"lane_held"`
	Worker    hostler.WorkerID `db:"worker"`
	Attempt   int64            `db:"attempt"`
	Losses    int64            `db:"losses"`
	Fence     int64            `db:"fence"`
	QueuedAt  int64            `db:"queued_at"`
	StartedAt time.Time        `db:"started_at"`
	Since     time.Time        `db:"since"`
	Error     string           `db:"error"`
	Result    string           `db:"result"`
}

// attemptRow is a row of table attempt: an attempt that did not end its job.
type attemptRow struct {
	Job       hostler.JobID    `db:"job"`
	Fence     int64            `db:"fence"`
	N         int64            `db:"n"`
	Worker    hostler.WorkerID `db:"worker"`
	StartedAt time.Time        `db:"started_at"`
	EndedAt   time.Time        `db:"ended_at"`
	Outcome   string           `db:"outcome"`
	Error     string           `db:"error"`
}

// outcomes are the transitions of one transaction, by where they lead.
type outcomes struct {
	ids          []hostler.JobID // of all jobs
	queued       []entry
	neverStarted []hostler.JobID // of the queued ones; their ttl counts again
	delayed      []schedRow
	unresolved   []unresolvedRow
	completions  []completion
	attempts     []attemptRow
}

// apply carries out the transitions of locked running jobs.
func (c *queueChange) apply(jobs []runningJob, transitions []transition) error {
	if len(jobs) == 0 {
		return nil
	}
	var o outcomes
	for i := range jobs {
		j, t := &jobs[i], &transitions[i]
		if !hostler.CanChange(hostler.StateRunning, t.cause, t.to) {
			return fmt.Errorf("job %v: no transition running → %s by %s", j.ID, t.to, t.cause)
		}
		if l := c.lanes[j.Lane]; l != nil {
			l.Owner = j.Worker
		}
		// Under a queue's limit, the next job is in ready already.
		c.tx.notifyWork(c.queues[j.Queue].Limit > 0)
		c.classify(&o, j, t)
	}
	return c.write(&o, jobs, transitions)
}

// classify adds a transition to the outcomes. A job that gives its lane back does so
// here.
func (c *queueChange) classify(o *outcomes, j *runningJob, t *transition) {
	o.ids = append(o.ids, j.ID)
	if !t.to.Terminal() {
		o.attempts = append(o.attempts, attemptRow{
			Job: j.ID, Fence: j.Fence, N: j.Attempt, Worker: j.Worker,
			StartedAt: j.StartedAt, EndedAt: c.tx.now, Outcome: t.outcome, Error: encodeError(t.report.Error),
		})
	}
	e := j.entry
	l := c.lanes[j.Lane]
	if t.release || t.to == hostler.StateScheduled && l != nil && l.shared() {
		c.releaseLane(e)
		e.HoldsLane = false
	}
	switch t.to {
	case hostler.StateScheduled:
		o.delayed = append(o.delayed, c.schedule(c.tx.now.Add(t.delay).UnixMicro(), &e))
	case hostler.StateQueued:
		e.Attempt-- // an attempt that was lost or never made does not count
		if t.cause == hostler.CauseLost {
			e.Losses++
		}
		if e.Attempt == 0 && e.Losses == 0 {
			o.neverStarted = append(o.neverStarted, e.ID)
		}
		o.queued = append(o.queued, e)
	case hostler.StateUnknown:
		o.unresolved = append(o.unresolved, unresolvedRow{
			ID: j.ID, Lane: j.Lane, HoldsLane: e.HoldsLane, Worker: j.Worker,
			Attempt: j.Attempt, Losses: j.Losses, Fence: j.Fence,
			QueuedAt: j.QueuedAt, StartedAt: j.StartedAt, Since: c.tx.now,
			Error: encodeError(t.report.Error), Result: validText(t.report.Result),
		})
	default:
		o.completions = append(o.completions, completion{
			entry: e, state: t.to, cause: t.cause, startedAt: j.StartedAt, worker: j.Worker,
			result: t.report.Result, err: t.report.Error, output: EncodeBlock(t.report.Output),
		})
	}
}

// write writes the outcomes: at most one statement for each table.
func (c *queueChange) write(o *outcomes, jobs []runningJob, transitions []transition) error {
	if _, err := c.tx.Exec(`DELETE FROM running WHERE id IN ?*`, o.ids); err != nil {
		return err
	}
	if err := c.tx.resumeTTL(o.neverStarted); err != nil {
		return err
	}
	if err := c.insertSched(o.delayed); err != nil {
		return err
	}
	if err := insert(c.tx, "parked", o.unresolved); err != nil {
		return err
	}
	if err := insert(c.tx, "attempt", o.attempts); err != nil {
		return err
	}
	if err := c.tx.emitUnended(jobs, transitions); err != nil {
		return err
	}
	if err := c.complete(o.completions); err != nil {
		return err
	}
	c.admitAll(o.queued)
	return c.flush()
}

// emitUnended emits the events of the jobs that ran and have not ended.
func (tx *Tx) emitUnended(jobs []runningJob, transitions []transition) error {
	var ids []hostler.JobID
	at := map[hostler.JobID]int{}
	for i := range jobs {
		if !transitions[i].to.Terminal() {
			ids = append(ids, jobs[i].ID)
			at[jobs[i].ID] = i
		}
	}
	return tx.emitJobs(ids, func(e *hostler.JobEvent) {
		j, t := &jobs[at[e.Job]], &transitions[at[e.Job]]
		e.State, e.Cause, e.Attempt, e.Worker, e.Error = t.to, t.cause, int(j.Attempt), j.Worker, t.report.Error
		if t.to == hostler.StateUnknown {
			tx.jobOfRunEnded(e.Run, e.Job, t.to, true)
		}
	})
}
