package store

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// runningJob is a locked row of running with what its ending must know of the
// job.
type runningJob struct {
	ticket
	worker    int64
	startedAt int64
	cancelAt  int64
	cancelBy  string
	policy    policy // read only for endings that are not a plain success
}

type policy struct {
	maxAttempts int64
	backoff     hostler.Backoff
	onLost      hostler.OnLost
	onUnknown   hostler.OnUnknown
	onRetry     hostler.OnRetry
}

// verdict is what becomes of a running job: a state, and how it gets there.
type verdict struct {
	to      hostler.State
	cause   hostler.Cause
	delay   time.Duration // for a retry
	release bool          // give the lane back although the job is not over
	report  hostler.Report
	outcome string // of the attempt, when the job goes on
}

// Finish ends leases as the worker reports. It returns one error per report, in
// order: nil, or CodeStale when the lease was no longer the worker's. A report
// that is repeated after its answer was lost is acknowledged again.
func (tx *Tx) Finish(w hostler.WorkerID, reports []hostler.Report) ([]error, error) {
	g, err := tx.gate()
	if err != nil {
		return nil, err
	}
	byJob := make(map[int64]*hostler.Report, len(reports))
	ids := make([]int64, 0, len(reports))
	needPolicy := false
	for i := range reports {
		id := int64(reports[i].Job)
		if byJob[id] == nil {
			ids = append(ids, id)
		}
		byJob[id] = &reports[i]
		needPolicy = needPolicy || reports[i].Outcome != hostler.OutcomeSucceeded
	}
	jobs, err := g.lockRunning(`id IN ?*`, ids)
	if err != nil {
		return nil, err
	}
	mine := jobs[:0]
	for _, j := range jobs {
		if r := byJob[j.id]; j.worker == int64(w) && j.fence == r.Fence {
			mine = append(mine, j)
		}
	}
	if needPolicy {
		if err := tx.readPolicies(mine); err != nil {
			return nil, err
		}
	}
	ended := make(map[int64]bool, len(mine))
	verdicts := make([]verdict, len(mine))
	for i := range mine {
		verdicts[i] = decide(&mine[i], *byJob[mine[i].id])
		ended[mine[i].id] = true
	}
	if err := g.apply(mine, verdicts); err != nil {
		return nil, err
	}
	return tx.acks(w, reports, byJob, ended)
}

// acks says of each report whether it counted, now or when it was first sent.
func (tx *Tx) acks(w hostler.WorkerID, reports []hostler.Report, byJob map[int64]*hostler.Report, ended map[int64]bool) ([]error, error) {
	acks := make([]error, len(reports))
	var doubt []int64
	for i := range reports {
		id := int64(reports[i].Job)
		if !ended[id] || byJob[id].Fence != reports[i].Fence {
			acks[i] = errFenceLost()
			doubt = append(doubt, id)
		}
	}
	if len(doubt) == 0 {
		return acks, nil
	}
	known := map[hostler.LeaseRef]bool{}
	note := func(r sqldb.Rows) error {
		var id, fence int64
		err := r.Scan(&id, &fence)
		known[hostler.LeaseRef{Job: hostler.JobID(id), Fence: fence}] = true
		return err
	}
	for _, sql := range []string{
		`SELECT id, fence FROM done WHERE id IN ?* AND worker = ?`,
		`SELECT job, fence FROM attempt WHERE job IN ?* AND worker = ? AND outcome <> 'lost'`,
	} {
		if err := tx.each(sql, []any{doubt, int64(w)}, note); err != nil {
			return nil, err
		}
	}
	for i := range reports {
		if known[reports[i].LeaseRef] {
			acks[i] = nil
		}
	}
	return acks, nil
}

func errFenceLost() error {
	return hostler.Errorf(hostler.CodeStale,
		"the lease of this job is no longer yours: stop it and do not report",
		"该作业的租约已不属于此节点：请停止执行且不要上报")
}

// lockRunning locks the running jobs that a condition on one list selects, in
// the order of their ids, and their lanes.
func (g *gate) lockRunning(where string, list any) ([]runningJob, error) {
	var jobs []runningJob
	var lanes []int64
	err := g.tx.each(`SELECT id, worker, queue, lane, prio, attempt, losses, fence, queued_at, started_at, cancel_at, cancel_by
FROM running WHERE `+where+` ORDER BY id FOR UPDATE`, []any{list}, func(r sqldb.Rows) error {
		var j runningJob
		err := r.Scan(&j.id, &j.worker, &j.queue, &j.lane, &j.prio, &j.attempt, &j.losses, &j.fence, &j.queuedAt,
			&j.startedAt, &j.cancelAt, &j.cancelBy)
		j.held = j.lane != 0
		jobs = append(jobs, j)
		lanes = append(lanes, j.lane)
		return err
	})
	if err != nil {
		return nil, err
	}
	return jobs, g.lockLanes(lanes)
}

func (tx *Tx) readPolicies(jobs []runningJob) error {
	ids := make([]int64, len(jobs))
	at := make(map[int64]int, len(jobs))
	for i := range jobs {
		ids[i] = jobs[i].id
		at[jobs[i].id] = i
	}
	return tx.each(`SELECT id, max_attempts, backoff, on_lost, on_unknown, on_retry FROM job WHERE id IN ?*`, []any{ids}, func(r sqldb.Rows) error {
		var id int64
		var backoff, onLost, onUnknown, onRetry string
		var p policy
		if err := r.Scan(&id, &p.maxAttempts, &backoff, &onLost, &onUnknown, &onRetry); err != nil {
			return err
		}
		var err error
		p.backoff, err = decodeBackoff(backoff)
		p.onLost, p.onUnknown, p.onRetry = hostler.OnLost(onLost), hostler.OnUnknown(onUnknown), hostler.OnRetry(onRetry)
		jobs[at[id]].policy = p
		return err
	})
}

// decide is the state machine's answer to a report: a pure function of the
// running job, its policy and the report.
func decide(j *runningJob, r hostler.Report) verdict {
	v := verdict{report: r, cause: hostler.CauseFinish}
	switch r.Outcome {
	case hostler.OutcomeSucceeded:
		v.to = hostler.StateSucceeded
	case hostler.OutcomeCancelled:
		v.to, v.cause = hostler.StateCancelled, hostler.CauseCancel
	case hostler.OutcomeHandBack:
		v.to, v.cause, v.outcome = hostler.StateQueued, hostler.CauseHandBack, "handback"
		if j.cancelAt != 0 {
			v.to, v.cause = hostler.StateCancelled, hostler.CauseCancel
			v.report.Error = &hostler.JobError{Kind: hostler.ErrKindCancelled, Text: cancelledText(j.cancelBy)}
		}
	case hostler.OutcomeUnknown:
		return decideLost(j, v, "unknown")
	case hostler.OutcomeFailed:
		v.to = hostler.StateFailed
		if j.attempt < j.policy.maxAttempts && !r.NoRetry && j.cancelAt == 0 {
			v.to, v.cause, v.outcome = hostler.StateScheduled, hostler.CauseRetry, "retry"
			v.delay = backoffDelay(j.policy.backoff, int(j.attempt), rand.Float64())
			v.release = j.policy.onRetry == hostler.OnRetryRelease
		}
	default:
		v.to = hostler.StateFailed
		v.report.Error = &hostler.JobError{
			Kind: hostler.ErrKindInternal,
			Text: hostler.Text{EN: "the worker reported an outcome that does not exist", ZH: "工作节点上报了不存在的结果"},
		}
	}
	return v
}

// decideLost answers the loss of a worker or of sight of the work: on_lost.
func decideLost(j *runningJob, v verdict, outcome string) verdict {
	v.cause, v.outcome = hostler.CauseLost, outcome
	switch {
	case j.policy.onLost == hostler.OnLostRetry && j.cancelAt != 0:
		// Running it again is harmless, and nobody wants it any more.
		v.to, v.cause = hostler.StateCancelled, hostler.CauseCancel
		v.report.Error = &hostler.JobError{Kind: hostler.ErrKindCancelled, Text: cancelledText(j.cancelBy)}
	case j.policy.onLost == hostler.OnLostRetry && j.losses < hostler.MaxLosses:
		v.to = hostler.StateQueued
	case j.policy.onLost == hostler.OnLostAsk:
		v.to = hostler.StateUnknown
		v.release = j.policy.onUnknown == hostler.OnUnknownRelease
	default:
		v.to = hostler.StateFailed
	}
	return v
}

func cancelledText(by string) hostler.Text {
	return hostler.Textf("cancelled by %s", "已被 %s 取消", by)
}

// backoffDelay is the wait after the n-th failed attempt: base·2ⁿ⁻¹ up to max
// for exponential, base for fixed, of which a random quarter is taken away so
// that a fan-out that failed together does not come back together. r is in
// [0, 1).
func backoffDelay(b hostler.Backoff, n int, r float64) time.Duration {
	base, most := b.Base.D(), b.Max.D()
	if base == 0 {
		base = 5 * time.Second
	}
	if most == 0 {
		most = 10 * time.Minute
	}
	d := base
	if b.Kind != "fixed" {
		for i := 1; i < n && d < most; i++ {
			d *= 2
		}
	}
	d = min(d, most)
	return d - time.Duration(r*float64(d)/4)
}

// ending is a job that leaves the queue for the history.
type ending struct {
	ticket
	state     hostler.State
	cause     hostler.Cause
	startedAt int64
	worker    int64
	result    json.RawMessage
	err       *hostler.JobError
	output    []byte
}

// apply carries out the verdicts on locked running jobs.
func (g *gate) apply(jobs []runningJob, verdicts []verdict) error {
	if len(jobs) == 0 {
		return nil
	}
	var ends []ending
	var again []ticket
	var unbegun []int64
	var later, parked, attempts [][]any
	ids := make([]int64, len(jobs))
	now := sqldb.Micros(g.tx.now)
	for i := range jobs {
		j, v := &jobs[i], &verdicts[i]
		ids[i] = j.id
		if !hostler.CanChange(hostler.StateRunning, v.cause, v.to) {
			return fmt.Errorf("job %v: no transition running → %s by %s", hostler.JobID(j.id), v.to, v.cause)
		}
		if l := g.lanes[j.lane]; l != nil {
			l.owner = j.worker
		}
		// Under a queue's limit, the next job is in ready already.
		g.tx.notifyWork(g.queues[j.queue].lim > 0)
		if !v.to.Terminal() {
			attempts = append(attempts, []any{
				j.id, j.fence, j.attempt, j.worker, j.startedAt, now, v.outcome, encodeError(v.report.Error),
			})
		}
		t := j.ticket
		if v.release {
			g.leave(t)
			t.held = false
		}
		switch v.to {
		case hostler.StateScheduled:
			later = append(later, schedRow(now+v.delay.Microseconds(), t))
		case hostler.StateQueued:
			t.attempt-- // an attempt that was lost or never made does not count
			if v.cause == hostler.CauseLost {
				t.losses++
			}
			if t.attempt == 0 && t.losses == 0 {
				unbegun = append(unbegun, t.id)
			}
			again = append(again, t)
		case hostler.StateUnknown:
			parked = append(parked, []any{
				j.id, j.lane, bit(t.held), j.worker, j.attempt, j.losses, j.fence, j.queuedAt, j.startedAt, now,
				encodeError(v.report.Error), validText(v.report.Result),
			})
		default:
			ends = append(ends, ending{
				ticket: t, state: v.to, cause: v.cause, startedAt: j.startedAt, worker: j.worker,
				result: v.report.Result, err: v.report.Error, output: EncodeBlock(v.report.Output),
			})
		}
	}
	if _, err := g.tx.Exec(`DELETE FROM running WHERE id IN ?*`, ids); err != nil {
		return err
	}
	g.placeAll(again)
	if err := g.tx.restoreTTL(unbegun); err != nil {
		return err
	}
	if err := g.insertSched(later); err != nil {
		return err
	}
	if err := g.insertParked(parked); err != nil {
		return err
	}
	if err := g.insertAttempts(attempts); err != nil {
		return err
	}
	if err := g.tx.emitGoingOn(jobs, verdicts); err != nil {
		return err
	}
	if err := g.end(ends); err != nil {
		return err
	}
	return g.settle()
}

// emitGoingOn tells of the jobs that ran and are not over.
func (tx *Tx) emitGoingOn(jobs []runningJob, verdicts []verdict) error {
	var ids []int64
	at := map[int64]int{}
	for i := range jobs {
		if !verdicts[i].to.Terminal() {
			ids = append(ids, jobs[i].id)
			at[jobs[i].id] = i
		}
	}
	return tx.emitJobs(ids, func(id int64, e *hostler.JobEvent) {
		j, v := &jobs[at[id]], &verdicts[at[id]]
		e.State, e.Cause, e.Attempt, e.Worker, e.Error = v.to, v.cause, int(j.attempt), hostler.WorkerID(j.worker), v.report.Error
	})
}

// restoreTTL lets the ttl of jobs that never began count again; see Claim.
func (tx *Tx) restoreTTL(ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.Exec(`UPDATE job SET expires_at = -expires_at WHERE id IN ?* AND expires_at < 0`, ids)
	return err
}

func (g *gate) insertParked(rows [][]any) error {
	return g.insert(`INSERT INTO parked (id, lane, lane_held, worker, attempt, losses, fence, queued_at, started_at, since, error, result)
SELECT v.id, v.lane, v.lane_held, v.worker, v.attempt, v.losses, v.fence, v.queued_at, v.started_at, v.since, v.error, v.result FROM @rows`,
		append(sqldb.Ints("id", "lane", "lane_held", "worker", "attempt", "losses", "fence", "queued_at", "started_at", "since"),
			sqldb.Texts("error", "result")...), rows)
}

func (g *gate) insertAttempts(rows [][]any) error {
	return g.insert(`INSERT INTO attempt (job, fence, n, worker, started_at, ended_at, outcome, error)
SELECT v.job, v.fence, v.n, v.worker, v.started_at, v.ended_at, v.outcome, v.error FROM @rows`,
		append(sqldb.Ints("job", "fence", "n", "worker", "started_at", "ended_at"), sqldb.Texts("outcome", "error")...), rows)
}

// end moves jobs to the history and gives back the lanes that they held. The
// caller has deleted their rows from the queue.
func (g *gate) end(ends []ending) error {
	if len(ends) == 0 {
		return nil
	}
	now := sqldb.Micros(g.tx.now)
	ids := make([]int64, len(ends))
	rows := make([][]any, len(ends))
	for i := range ends {
		e := &ends[i]
		ids[i] = e.id
		g.leave(e.ticket)
		output := e.output
		if output == nil {
			output = []byte{}
		}
		rows[i] = []any{
			e.id, string(e.state), e.attempt, e.queuedAt, e.startedAt, now, e.worker, e.fence,
			validText(e.result), encodeError(e.err), output,
		}
	}
	n, err := g.tx.c.ExecRows(g.tx.ctx, `INSERT INTO `+g.tx.c.InsertTable("done")+` (id, project, run, queue, action, asset, asset_name,
lane_key, lane_lim, prio, state, attempt, max_attempts, backoff, timeout, on_lost, on_unknown, on_retry, run_at, expires_at, retry_of,
created_by, created_at, queued_at, started_at, ended_at, worker, fence, args, result, error, output)
SELECT j.id, j.project, j.run, j.queue, j.action, j.asset, j.asset_name,
j.lane_key, j.lane_lim, j.prio, v.state, v.attempt, j.max_attempts, j.backoff, j.timeout, j.on_lost, j.on_unknown, j.on_retry, j.run_at,
CASE WHEN j.expires_at > 0 THEN j.expires_at ELSE 0 END, j.retry_of, j.created_by, j.created_at, v.queued_at, v.started_at, v.ended_at, v.worker, v.fence, j.args, v.result, v.error, v.output
FROM @rows JOIN job j ON j.id = v.id`, doneCols, rows)
	if err != nil {
		return err
	}
	if n != int64(len(ends)) {
		return fmt.Errorf("%d jobs to end, %d found: the queue and its jobs disagree", len(ends), n)
	}
	return g.tx.forgetJobs(ids, ends)
}

// forgetJobs deletes the rows of jobs that ended, with the hosts that some of
// them brought along, and tells of their ends.
func (tx *Tx) forgetJobs(ids []int64, ends []ending) error {
	at := make(map[int64]*ending, len(ends))
	for i := range ends {
		at[ends[i].id] = &ends[i]
	}
	inline := false
	err := tx.each(`DELETE FROM job WHERE id IN ?* RETURNING id, project, run, action, queue, asset, asset_name, created_by`,
		[]any{ids}, func(r sqldb.Rows) error {
			s, err := scanSubject(r)
			if err != nil {
				return err
			}
			inline = inline || s.inline
			e := at[int64(s.Job)]
			s.State, s.Cause, s.Attempt, s.Worker, s.Error = e.state, e.cause, int(e.attempt), hostler.WorkerID(e.worker), e.err
			tx.emitJob(s.project, s.JobEvent)
			return nil
		})
	if err != nil || !inline {
		return err
	}
	_, err = tx.Exec(`DELETE FROM job_target WHERE job IN ?*`, ids)
	return err
}

var doneCols = []sqldb.Col{
	{Name: "id", Type: sqldb.Int},
	{Name: "state", Type: sqldb.Text},
	{Name: "attempt", Type: sqldb.Int},
	{Name: "queued_at", Type: sqldb.Int},
	{Name: "started_at", Type: sqldb.Int},
	{Name: "ended_at", Type: sqldb.Int},
	{Name: "worker", Type: sqldb.Int},
	{Name: "fence", Type: sqldb.Int},
	{Name: "result", Type: sqldb.Text},
	{Name: "error", Type: sqldb.Text},
	{Name: "output", Type: sqldb.Bytes},
}

// validText is a result as text that every database takes; one that it refused
// would hold up all that is finished with it.
func validText(b []byte) string {
	return strings.ReplaceAll(strings.ToValidUTF8(string(b), "\uFFFD"), "\x00", "\uFFFD")
}

// encodeError is a job error as stored: JSON, or nothing.
func encodeError(e *hostler.JobError) string {
	if e == nil {
		return ""
	}
	// A struct of strings always encodes.
	b, _ := json.Marshal(e)
	return string(b)
}

func decodeError(s string) *hostler.JobError {
	if s == "" {
		return nil
	}
	var e hostler.JobError
	if err := json.Unmarshal([]byte(s), &e); err != nil {
		return &hostler.JobError{Kind: hostler.ErrKindInternal, Text: hostler.Text{EN: s, ZH: s}}
	}
	return &e
}
