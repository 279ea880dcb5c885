package store

import (
	"cmp"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file holds the ways out of the queue that no worker reports: time, ttl,
// a person, a lost worker.

// DueJobs queues up to limit scheduled jobs whose time has come. It returns how
// many, and when the next one after them is due (zero when there is none).
func (tx *Tx) DueJobs(limit int) (n int, next time.Time, err error) {
	g, err := tx.gate()
	if err != nil {
		return 0, next, err
	}
	due, err := tx.dueJobs(limit)
	if err != nil {
		return 0, next, err
	}
	if len(due) > 0 {
		if n, err = g.queueDue(due); err != nil {
			return 0, next, err
		}
	}
	var at int64
	_, err = tx.one(`SELECT run_at FROM sched ORDER BY run_at, id LIMIT 1`, nil, &at)
	return n, sqldb.Time(at), err
}

type dueJob struct{ id, lane, runAt int64 }

// dueJobs lists up to limit scheduled jobs whose time has come, by their time.
func (tx *Tx) dueJobs(limit int) (due []dueJob, err error) {
	err = tx.each(`SELECT id, lane, run_at FROM sched WHERE run_at <= ? ORDER BY run_at, id LIMIT ?`,
		[]any{sqldb.Micros(tx.now), limit}, func(r sqldb.Rows) error {
			var d dueJob
			err := r.Scan(&d.id, &d.lane, &d.runAt)
			due = append(due, d)
			return err
		})
	return due, err
}

// queueDue queues due jobs as if each had arrived at its own time: "stop at :10"
// runs before "start at :30" although both are found due together.
func (g *gate) queueDue(due []dueJob) (int, error) {
	ids := make([]int64, len(due))
	lanes := make([]int64, len(due))
	runAt := make(map[int64]int64, len(due))
	for i, d := range due {
		ids[i], lanes[i], runAt[d.id] = d.id, d.lane, d.runAt
	}
	if err := g.lockLanes(lanes); err != nil {
		return 0, err
	}
	tickets, err := g.take("sched", ids)
	if err != nil {
		return 0, err
	}
	slices.SortFunc(tickets, func(a, b ticket) int {
		return cmp.Or(cmp.Compare(runAt[a.id], runAt[b.id]), cmp.Compare(a.id, b.id))
	})
	for i := range tickets {
		t := &tickets[i]
		t.queuedAt = g.arrive(t.lane, runAt[t.id])
	}
	g.placeAll(tickets)
	if err := g.settle(); err != nil {
		return 0, err
	}
	return len(tickets), g.tx.emitJobs(ticketIDs(tickets), func(_ int64, e *hostler.JobEvent) {
		e.State, e.Cause = hostler.StateQueued, hostler.CauseDue
	})
}

// ExpireJobs ends up to limit jobs that were not started in time.
func (tx *Tx) ExpireJobs(limit int) (int, error) {
	g, err := tx.gate()
	if err != nil {
		return 0, err
	}
	ids, err := tx.ints(`SELECT id FROM job WHERE expires_at <> 0 AND expires_at > 0 AND expires_at <= ? ORDER BY expires_at LIMIT ?`, sqldb.Micros(tx.now), limit)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	reason := &hostler.JobError{Kind: hostler.ErrKindExpired, Text: hostler.Text{
		EN: "expired: it was not started within its ttl", ZH: "已过期：未在有效等待时间内开始执行",
	}}
	tickets, err := g.withdraw(ids)
	if err != nil {
		return 0, err
	}
	return len(tickets), g.endAll(tickets, hostler.StateExpired, hostler.CauseExpire, reason)
}

// CancelJob cancels a job that waits, at once, or asks the worker of a running
// one to stop it. It returns the job's new state: cancelled, or running.
// CodeConflict: it has ended, or its outcome is unknown.
func (tx *Tx) CancelJob(id hostler.JobID, by string) (hostler.State, error) {
	// The lock comes first in the order of locks: a transaction that asks for one
	// job's end and then withdraws another must not take it in between.
	if err := tx.KeepLanes(); err != nil {
		return "", err
	}
	for range 5 {
		// Running jobs first, and without a lane's lock: running rows come before
		// lanes in the order of locks.
		if asked, err := tx.askCancel(int64(id), by); err != nil || asked {
			return hostler.StateRunning, err
		}
		g, err := tx.gate()
		if err != nil {
			return "", err
		}
		tickets, err := g.withdraw([]int64{int64(id)})
		if err != nil {
			return "", err
		}
		if len(tickets) == 1 {
			reason := &hostler.JobError{Kind: hostler.ErrKindCancelled, Text: cancelledText(by)}
			return hostler.StateCancelled, g.endAll(tickets, hostler.StateCancelled, hostler.CauseCancel, reason)
		}
		if err := tx.refuseCancel(id); err != nil {
			return "", err
		}
		// It went from one table to another between two statements: look again.
	}
	return "", hostler.Errorf(hostler.CodeConflict,
		"the job changes its state right now; try again", "作业状态正在变化，请重试")
}

// CancelWaiting cancels those of the jobs that have not started, and returns them:
// one that starts meanwhile is passed over. The caller has seen to it that they are
// of its project.
func (tx *Tx) CancelWaiting(ids []hostler.JobID, by string) ([]hostler.JobID, error) {
	g, err := tx.gate()
	if err != nil {
		return nil, err
	}
	plain := make([]int64, len(ids))
	for i, id := range ids {
		plain[i] = int64(id)
	}
	tickets, err := g.withdraw(plain)
	if err != nil || len(tickets) == 0 {
		return nil, err
	}
	out := make([]hostler.JobID, len(tickets))
	for i, t := range tickets {
		out[i] = hostler.JobID(t.id)
	}
	slices.Sort(out)
	reason := &hostler.JobError{Kind: hostler.ErrKindCancelled, Text: cancelledText(by)}
	return out, g.endAll(tickets, hostler.StateCancelled, hostler.CauseCancel, reason)
}

func (tx *Tx) askCancel(id int64, by string) (bool, error) {
	n, err := tx.Exec(`UPDATE running SET cancel_at = ?, cancel_by = ? WHERE id = ? AND cancel_at = 0`, sqldb.Micros(tx.now), by, id)
	if err != nil || n > 0 {
		return n > 0, err
	}
	return tx.one(`SELECT id FROM running WHERE id = ?`, []any{id}, &id)
}

// refuseCancel returns the error for a job that cannot be cancelled; nil when it
// is still on its way.
func (tx *Tx) refuseCancel(id hostler.JobID) error {
	var n int64
	parked, err := tx.one(`SELECT id FROM parked WHERE id = ?`, []any{int64(id)}, &n)
	if err != nil {
		return err
	}
	if parked {
		return hostler.Errorf(hostler.CodeConflict,
			"the job's outcome is unknown; it cannot be cancelled, resolve it: hostler job resolve %s --as succeeded|failed",
			"作业结果未知，无法取消；请裁定：hostler job resolve %s --as succeeded|failed", id)
	}
	live, err := tx.one(`SELECT id FROM job WHERE id = ?`, []any{int64(id)}, &n)
	if err != nil || live {
		return err
	}
	ended, err := tx.one(`SELECT id FROM done WHERE id = ?`, []any{int64(id)}, &n)
	if err != nil {
		return err
	}
	if ended {
		return hostler.Errorf(hostler.CodeConflict, "the job has ended already", "作业已经结束")
	}
	return hostler.NotFound(jobWord, id.String())
}

var jobWord = hostler.Text{EN: "job", ZH: "作业"}

// withdraw takes waiting jobs out of sched, wait and ready, with their lanes
// locked. Jobs that are elsewhere are passed over.
func (g *gate) withdraw(ids []int64) ([]ticket, error) {
	lanes, err := g.tx.ints(`SELECT DISTINCT lane FROM job WHERE id IN ?* AND lane <> 0`, ids)
	if err != nil {
		return nil, err
	}
	if err := g.lockLanes(lanes); err != nil {
		return nil, err
	}
	var all []ticket
	for _, table := range []string{"sched", "wait", "ready"} {
		tickets, err := g.take(table, ids)
		if err != nil {
			return nil, err
		}
		all = append(all, tickets...)
	}
	return all, nil
}

// takeSQL deletes from a table and returns tickets: id, queue, lane, prio,
// attempt, losses, fence, queued_at, held.
var takeSQL = map[string]string{
	"sched": `DELETE FROM sched WHERE id IN ?* RETURNING id, (SELECT j.queue FROM job j WHERE j.id = sched.id), lane,
(SELECT j.prio FROM job j WHERE j.id = sched.id), attempt, losses, fence, 0, lane_held`,
	"wait":  `DELETE FROM wait WHERE id IN ?* RETURNING id, queue, lane, prio, attempt, losses, fence, queued_at, 0`,
	"ready": `DELETE FROM ready WHERE id IN ?* RETURNING id, queue, lane, prio, attempt, losses, fence, queued_at, 1`,
}

func (g *gate) take(table string, ids []int64) ([]ticket, error) {
	return g.takeBy(takeSQL[table], ids)
}

func (g *gate) takeBy(sql string, args ...any) ([]ticket, error) {
	var out []ticket
	err := g.tx.each(sql, args, func(r sqldb.Rows) error {
		var t ticket
		var held int64
		err := r.Scan(&t.id, &t.queue, &t.lane, &t.prio, &t.attempt, &t.losses, &t.fence, &t.queuedAt, &held)
		t.held = held != 0
		out = append(out, t)
		return err
	})
	return out, err
}

// endAll ends withdrawn jobs that no worker ran, and settles.
func (g *gate) endAll(tickets []ticket, state hostler.State, cause hostler.Cause, reason *hostler.JobError) error {
	ends := make([]ending, len(tickets))
	for i, t := range tickets {
		ends[i] = ending{ticket: t, state: state, cause: cause, err: reason}
	}
	if err := g.end(ends); err != nil {
		return err
	}
	return g.settle()
}

// RetireWorker marks one worker, which was told to stop, as dead.
func (tx *Tx) RetireWorker(w hostler.WorkerID) ([]hostler.WorkerID, error) {
	return tx.endWorkers(hostler.EventWorkerStopped, `id = ?`, int64(w))
}

// RetireAllWorkers marks every worker as dead: a server on SQLite does so at its
// start, because the data folder's lock says that whoever ran before is gone.
func (tx *Tx) RetireAllWorkers() ([]hostler.WorkerID, error) {
	return tx.endWorkers(hostler.EventWorkerLost, `1 = 1`)
}

// endWorkers marks the live workers that a condition selects as dead. Those that
// were told to stop are marked as stopped too: nobody needs to look after them.
func (tx *Tx) endWorkers(t hostler.EventType, where string, args ...any) ([]hostler.WorkerID, error) {
	var out []hostler.WorkerID
	args = append([]any{t == hostler.EventWorkerStopped}, args...)
	err := tx.each(`UPDATE worker SET dead = 1, stopped = ? WHERE dead = 0 AND `+where+` RETURNING id, name`, args, func(r sqldb.Rows) error {
		var id int64
		var name string
		err := r.Scan(&id, &name)
		out = append(out, hostler.WorkerID(id))
		tx.emitWorker(t, name)
		return err
	})
	return out, err
}

// RescueJobs takes up to limit running jobs from dead workers and deals with
// them as their on_lost says. It returns how many there were.
func (tx *Tx) RescueJobs(limit int) (int, error) {
	ids, err := tx.ints(`SELECT r.id FROM running r JOIN worker w ON w.id = r.worker WHERE w.dead = 1 ORDER BY r.id LIMIT ?`, limit)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return tx.settleLost(ids, tx.onDeadWorker(), func(j *runningJob) verdict {
		return decideLost(j, verdict{report: hostler.Report{Error: &hostler.JobError{
			Kind: hostler.ErrKindWorkerLost, Text: lostText(j),
		}}}, "lost")
	})
}

// onDeadWorker reports whether a running job's worker is dead. It is asked under
// the job's lock: another server may have rescued the job, and a live worker may
// run it by now. The dead stay dead, so that one look at each worker is enough; an
// error fails the transaction with its next statement.
func (tx *Tx) onDeadWorker() func(*runningJob) bool {
	known := map[int64]bool{}
	return func(j *runningJob) bool {
		is, seen := known[j.worker]
		if !seen {
			var dead int64
			found, err := tx.one(`SELECT dead FROM worker WHERE id = ?`, []any{j.worker}, &dead)
			is = err == nil && (!found || dead != 0)
			known[j.worker] = is
		}
		return is
	}
}

func lostText(j *runningJob) hostler.Text {
	if j.losses >= hostler.MaxLosses {
		return hostler.Textf("its worker was lost %d times; it may be what kills its workers",
			"执行它的工作节点已丢失 %d 次；该作业可能会使工作节点崩溃", j.losses+1)
	}
	return hostler.Text{
		EN: "the worker was lost while the job ran", ZH: "作业运行期间工作节点丢失",
	}
}

// settleLost locks running jobs, keeps those that still qualify, and applies a
// verdict to each.
func (tx *Tx) settleLost(ids []int64, still func(*runningJob) bool, judge func(*runningJob) verdict) (int, error) {
	g, err := tx.gate()
	if err != nil {
		return 0, err
	}
	jobs, err := g.lockRunning(`id IN ?*`, ids)
	if err != nil {
		return 0, err
	}
	lost := jobs[:0]
	for i := range jobs {
		if still(&jobs[i]) {
			lost = append(lost, jobs[i])
		}
	}
	if err := tx.readPolicies(lost); err != nil {
		return 0, err
	}
	verdicts := make([]verdict, len(lost))
	for i := range lost {
		verdicts[i] = judge(&lost[i])
	}
	return len(lost), g.apply(lost, verdicts)
}

// ResolveJob decides the outcome of an unknown job. CodeConflict: the job is not
// unknown.
func (tx *Tx) ResolveJob(id hostler.JobID, to hostler.State, by, note string) error {
	if !hostler.CanChange(hostler.StateUnknown, hostler.CauseResolve, to) {
		return hostler.Invalid("state", "must be succeeded or failed", "必须为 succeeded 或 failed")
	}
	g, err := tx.gate()
	if err != nil {
		return err
	}
	lanes, err := tx.ints(`SELECT lane FROM job WHERE id = ? AND lane <> 0`, int64(id))
	if err != nil {
		return err
	}
	if err := g.lockLanes(lanes); err != nil {
		return err
	}
	e, err := g.unpark(id)
	if err != nil {
		return err
	}
	e.state, e.cause = to, hostler.CauseResolve
	e.err = resolution(e.err, to, by, note)
	if err := g.end([]ending{e}); err != nil {
		return err
	}
	return g.settle()
}

func (g *gate) unpark(id hostler.JobID) (ending, error) {
	var e ending
	var held int64
	var result, jobErr string
	found, err := g.tx.one(`DELETE FROM parked WHERE id = ? RETURNING id, lane, lane_held, worker, attempt, losses, fence, queued_at, started_at, error, result`,
		[]any{int64(id)}, &e.id, &e.lane, &held, &e.worker, &e.attempt, &e.losses, &e.fence, &e.queuedAt, &e.startedAt, &jobErr, &result)
	if err != nil {
		return e, err
	}
	if !found {
		return e, hostler.Errorf(hostler.CodeConflict,
			"only a job whose outcome is unknown can be resolved", "只有结果未知的作业才能裁定")
	}
	e.held, e.result, e.err = held != 0, []byte(result), decodeError(jobErr)
	return e, nil
}

// resolution is what the job's error says once a person has decided: nothing for
// a success that needs no note.
func resolution(was *hostler.JobError, to hostler.State, by, note string) *hostler.JobError {
	if to == hostler.StateSucceeded && note == "" {
		return nil
	}
	en, zh := "resolved as %s by %s", "由 %[2]s 裁定为 %[1]s"
	args := []any{to, by}
	if note != "" {
		en, zh = en+": %s", zh+"：%[3]s"
		args = append(args, note)
	}
	t := hostler.Textf(en, zh, args...)
	if was != nil {
		t.EN += " (" + was.Text.EN + ")"
		t.ZH += "（" + was.Text.ZH + "）"
	}
	return &hostler.JobError{Kind: hostler.ErrKindResolved, Text: t}
}
