package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/schedule"
	"hostler.dev/hostler/internal/store"
)

// This file fires schedules: a server calls [App.FireSchedules] again and again, and any
// number of servers may do so at the same time.
//
// A fire is one transaction, by the clock of the database: it locks the schedule, decides
// what became of its instants, creates the jobs, and moves the schedule on. So a server
// that dies has fired or has not, and the next one goes on from there. The jobs are made
// by the use case of a person's request, with the rights that the owner of the schedule
// has now.

const (
	fireBatch   = 100
	fireWorkers = 4 // transactions at once
	// fireRetry is how soon a server looks again at a schedule that could not fire for a
	// while, or whose fires wait for its runs.
	fireRetry = time.Second
	fireLater = time.Minute // after an error of the database
)

// FireSchedules looks at up to a batch of schedules that are due. It returns when to call
// it again at the latest; the zero time if nothing is known to be due.
func (a *App) FireSchedules(ctx context.Context) (next time.Time, err error) {
	var due []hostler.ScheduleID
	err = a.work.View(ctx, func(tx *store.Tx) error {
		held, err := tx.Hold()
		if err != nil || held != nil {
			next = tx.Now().Add(fireRetry) // a copy of the data starts nothing by itself
			return err
		}
		due, next, err = tx.DueSchedules(fireBatch)
		if len(due) > 0 {
			next = tx.Now()
		}
		return err
	})
	if err != nil {
		return next, err
	}
	var g errgroup.Group
	g.SetLimit(fireWorkers)
	for _, id := range due {
		g.Go(func() error { return a.fireSchedule(ctx, id) })
	}
	return next, g.Wait()
}

// runError is why the run of a fire could not be created, for the schedule's owner.
type runError struct {
	err   error
	owner grant
}

func (e *runError) Error() string { return e.err.Error() }
func (e *runError) Unwrap() error { return e.err }

// fireSchedule fires one schedule. If its run cannot be created, a second transaction
// records that, or lets servers try again soon if the reason may pass.
func (a *App) fireSchedule(ctx context.Context, id hostler.ScheduleID) error {
	commands, run, err := a.judgeFire(ctx, id)
	if err == nil {
		err = a.work.InGrowingTx(ctx, func(tx *store.Tx) error {
			return (&firing{app: a, Tx: tx, commands: commands, flowRun: run}).fire(id)
		})
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	if errors.Is(err, errUnjudged) {
		return nil // the schedule has just been changed; it is still due
	}
	why, failed := err, (*runError)(nil)
	if errors.As(err, &failed) {
		why = failed.err
	}
	err = a.work.InTx(ctx, func(tx *store.Tx) error { return (&firing{app: a, Tx: tx, failed: why}).fire(id) })
	if err == nil {
		if failed != nil {
			a.recordRuleRefusal(ctx, failed.owner, why)
		}
		return nil
	}
	// Others go on meanwhile.
	later := a.work.InTx(ctx, func(tx *store.Tx) error { return tx.PostponeSchedule(id, tx.Now().Add(fireLater)) })
	return fmt.Errorf("fire %s: %w", id, errors.Join(err, later))
}

// judgeFire judges the commands that a schedule runs, as it is now. It returns the id for
// the run of a task or template.
func (a *App) judgeFire(ctx context.Context, id hostler.ScheduleID) (*commandCheck, hostler.RunID, error) {
	f, g, rules := &firing{app: a}, grant{}, []hostler.CommandRule(nil)
	err := a.work.View(ctx, func(tx *store.Tx) (err error) {
		f.Tx = tx
		if f.row, err = f.ScheduleByID(id); err != nil || f.row == nil {
			return err
		}
		if g, err = f.owner(); err != nil && hostler.CodeOf(err) != hostler.CodeInternal {
			f.row = nil // for the fire to tell
			return nil
		}
		if err == nil {
			rules, err = newScope(tx, g).commandRules()
		}
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if f.row != nil && f.row.Task.IsFlow() {
		run, commands, err := a.judgeFlow(ctx, g, &f.row.Schedule)
		return commands, run, err
	}
	commands := newCommandCheck(g, nil, func() ([]hostler.CommandRule, error) { return rules, nil })
	defer commands.close()
	if f.row == nil {
		return commands, 0, nil
	}
	// What else is wrong is for the fire to tell.
	if p, err := a.planSchedule(f.row.Schedule, hostler.ScheduleRunInput{}, "task."); err == nil {
		p.judge(commands)
	}
	return commands, 0, nil
}

// firing is the transaction of a fire.
type firing struct {
	*store.Tx
	app *App
	// commands judged what the schedule runs.
	commands *commandCheck
	flowRun  hostler.RunID // of a task or template
	// closedUntil is when to look again at what fires wait for, beside runs: a calendar, or
	// another schedule. queuedNow is 1 when the fire of this transaction waits.
	closedUntil time.Time
	queuedNow   int
	// failed is why the run could not be created a moment ago; nil: it was not tried.
	failed error

	row   *store.ScheduleRow
	times *schedule.Times
}

func (f *firing) fire(id hostler.ScheduleID) (err error) {
	if f.row, err = f.LockDueSchedule(id); err != nil || f.row == nil {
		return err
	}
	if f.times, err = timesOf(f.row); err != nil {
		f.row.Problem, f.row.LookAt = textOf(err), time.Time{} // its zone is no longer known
		return f.MoveSchedule(*f.row)
	}
	active, queued, err := f.ActiveFires(id)
	if err != nil {
		return err
	}
	if queued > 0 && active < f.row.MaxInstances {
		wait, err := f.startQueued()
		if err != nil || wait && f.closedUntil.IsZero() {
			return err
		}
		if !wait {
			if active, queued = active+1, queued-1; f.failed != nil || f.row.Task.IsFlow() {
				// The failure was that of the queued fire; a flow was prepared for one run only.
				return f.move(queued)
			}
		}
	}
	if wait, err := f.decide(active, queued); err != nil || wait {
		return err
	}
	return f.move(queued + f.queuedNow)
}

// decide decides the instants that are due. wait is true when servers try again later.
func (f *firing) decide(active, queued int) (wait bool, err error) {
	policy := schedule.Policy{
		Grace: f.row.MisfireGrace.D(), Coalesce: f.row.Coalesce, MaxInstances: f.row.MaxInstances, Overlap: f.row.Overlap,
	}
	d := f.times.Decide(f.row.ID, f.row.NextAt, f.Now(), policy)
	fire, over := f.newFire(d.Fire), false
	if !d.Fire.IsZero() {
		if over, err = f.passOver(&fire); err != nil {
			return false, err
		}
	}
	if !d.Fire.IsZero() && !over {
		admission := policy.Admit(active, queued)
		if !f.closedUntil.IsZero() {
			admission = f.admitClosed(&fire, queued)
		}
		switch admission {
		case schedule.Merge:
		case schedule.Queue:
			fire.State, f.queuedNow = hostler.FireQueued, 1
		case schedule.Skip:
			f.skip(&fire, active, queued)
		case schedule.Start, schedule.Replace:
			if wait, err := f.run(&fire); err != nil || wait {
				return wait, err
			}
		}
		if admission == schedule.Replace && fire.State == hostler.FireStarted {
			if err := f.ReplaceFires(f.row.ID); err != nil {
				return false, err
			}
		}
	}
	if d.Missed != nil {
		if err := f.recordMissed(*d.Missed, d.Fire); err != nil {
			return false, err
		}
	}
	f.row.NextAt = d.Next
	if d.Fire.IsZero() {
		return false, nil
	}
	if over {
		if over, err = f.ExtendFire(fire); err != nil || over {
			return false, err
		}
	}
	_, err = f.InsertFire(fire)
	return false, err
}

// skip records that too many runs are active.
func (f *firing) skip(fire *store.FireRow, active, queued int) {
	fire.State = hostler.FireSkipped
	fire.Reason = reason("%d runs of the schedule are active and %d fires wait, which is the limit: "+
		"raise max_instances, or set overlap to queue or replace",
		"计划有 %d 个执行仍在进行、%d 次触发在等待，已达上限：请增大 max_instances，或将 overlap 设为 queue 或 replace",
		active, queued)
	f.Emit(f.row.ProjectID, hostler.EventScheduleMissed, hostler.ObjectEvent{Object: f.row.Name})
}

// run creates the run of a fire, or sets why there is none. wait is true when the reason
// may pass before the fire is too late: then nothing else has changed.
func (f *firing) run(fire *store.FireRow) (wait bool, err error) {
	if closed, ok := errors.AsType[*closedError](f.failed); ok {
		return f.closed(fire, closed), nil
	}
	if f.failed != nil {
		if hostler.CodeOf(f.failed).Temporary() {
			f.row.Blocked, f.row.LookAt = textOf(f.failed), f.Now().Add(fireRetry)
			return true, f.MoveSchedule(*f.row)
		}
		fire.State, fire.Reason = hostler.FireRefused, textOf(f.failed)
		f.row.Problem = fire.Reason
		f.Emit(f.row.ProjectID, hostler.EventScheduleMissed, hostler.ObjectEvent{Object: f.row.Name})
		return false, nil
	}
	g, err := f.owner()
	var created hostler.JobsCreated
	if err == nil {
		err = f.checkAfter(fire.At)
	}
	if err == nil {
		created, err = f.runAs(g)
	}
	if err != nil {
		return false, &runError{err, g}
	}
	fire.State, fire.Active, fire.Run, fire.Jobs = hostler.FireStarted, true, created.Run, created.Count
	f.row.Problem = nil
	return false, nil
}

// closed records that a calendar is closed, or that another schedule has not succeeded. wait
// is true for a fire that waited before.
func (f *firing) closed(fire *store.FireRow, c *closedError) (wait bool) {
	if c.effect != hostler.ClosedWait {
		fire.State, fire.Reason = hostler.FireSkipped, textOf(f.failed)
		if hostler.CodeOf(f.failed) == hostler.CodeConflict { // of another schedule
			f.row.Problem = fire.Reason
			f.Emit(f.row.ProjectID, hostler.EventScheduleMissed, hostler.ObjectEvent{Object: f.row.Name})
		}
		return false
	}
	f.closedUntil = c.until
	if c.until.IsZero() {
		f.closedUntil = f.Now().Add(fireLater)
	}
	if fire.State == hostler.FireQueued {
		return true
	}
	fire.State, fire.Reason, f.queuedNow = hostler.FireQueued, textOf(f.failed), 1
	return false
}

// admitClosed decides what a fire does while an earlier one waits for more than runs.
func (f *firing) admitClosed(fire *store.FireRow, queued int) schedule.Admission {
	switch {
	case f.row.Coalesce:
		fire.State = hostler.FireMerged
		fire.Reason = reason("an earlier fire waits, and coalesce is on", "前一次触发正在等待（coalesce 已开启）")
		return schedule.Merge
	case queued < schedule.MaxQueued:
		return schedule.Queue
	}
	return schedule.Skip
}

// runAs creates the jobs with the rights that the owner of the schedule has now.
func (f *firing) runAs(g grant) (hostler.JobsCreated, error) {
	if f.row.Task.IsFlow() {
		return f.startFlow(g)
	}
	p, err := f.app.planSchedule(f.row.Schedule, hostler.ScheduleRunInput{}, "task.")
	if err != nil {
		return hostler.JobsCreated{}, err
	}
	p.fire = true
	return newScope(f.Tx, g).runPlan(p.judge(f.commands))
}

// owner is the permission of the schedule's owner.
func (f *firing) owner() (grant, error) {
	return f.app.ownerOf(f.Tx, owner{f.row.OwnerID, f.row.Owner, f.row.OwnerKey, f.row.ProjectID, f.row.Project})
}

// owner is for whom runs start while nobody is there.
type owner struct {
	id          hostler.UserID
	name        string
	key         hostler.KeyID
	project     hostler.ProjectID
	projectName string
}

// ownerOf is the permission of an owner to run jobs as it is now, limited as the key was that
// the owner used.
func (a *App) ownerOf(tx *store.Tx, o owner) (grant, error) {
	u, err := tx.UserByName(o.name)
	switch {
	case err != nil:
		return grant{}, err
	case u == nil || u.ID != o.id:
		return grant{}, hostler.Errorf(hostler.CodeForbidden,
			"the user for whom this runs does not exist any more; save it again", "以其权限执行的用户已不存在；请重新保存")
	case u.Disabled:
		return grant{}, hostler.Errorf(hostler.CodeForbidden,
			"the user %s, for whom this runs, is disabled; enable the user (hostler user enable %[1]s), "+
				"or save it as another user",
			"以其权限执行的用户 %s 已停用；请启用该用户（hostler user enable %[1]s），或由其他用户重新保存", u.Name)
	}
	roles, err := tx.RolesOf(u.ID)
	if err != nil {
		return grant{}, err
	}
	key, err := tx.Key(o.key)
	if err != nil {
		return grant{}, err
	}
	if key == nil || key.UserID != u.ID {
		key = &store.KeyRow{UserID: u.ID, Base: hostler.RoleAdmin} // the local key, which expires and is deleted
		key.User = u.Name
	}
	c := callerOf(key, roles)
	c.Project, c.ProjectName = o.project, o.projectName
	ids, err := tx.ProjectIDs([]string{hostler.DefaultProject})
	if err != nil {
		return grant{}, err
	}
	c.Default = ids[hostler.DefaultProject]
	g, err := a.allow(c, auth.RunJob)
	g.unattended = true
	return g, err
}

// startQueued starts the oldest fire that waits for an earlier run.
func (f *firing) startQueued() (wait bool, err error) {
	q, err := f.QueuedFire(f.row.ID)
	if err != nil || q == nil {
		return false, err
	}
	if wait, err := f.run(q); err != nil || wait {
		return wait, err
	}
	return false, f.EndQueuedFire(*q)
}

func (f *firing) newFire(at time.Time) store.FireRow {
	return store.FireRow{ProjectID: f.row.ProjectID, Fire: hostler.Fire{
		Schedule: f.row.ID, Name: f.row.Name, At: at, Trigger: hostler.FireTimer, Count: 1,
	}}
}

// recordMissed records instants that do not run, with the reason. fire is the one that
// runs in their place, if there is one.
func (f *firing) recordMissed(m schedule.Missed, fire time.Time) error {
	row := f.newFire(m.From)
	row.Until, row.Count, row.More, row.State = &m.Until, m.Count, m.More, m.State
	switch {
	case m.State == hostler.FireMerged:
		row.Reason = reason("merged into the fire of %s, because coalesce is on", "已合并到 %s 的触发（coalesce 已开启）",
			fire.Format(time.RFC3339))
	case f.row.Blocked != nil:
		row.Reason = &hostler.Text{
			EN: fmt.Sprintf("it could not run until misfire_grace (%s) was over; the last reason was: %s",
				f.row.MisfireGrace, f.row.Blocked.EN),
			ZH: fmt.Sprintf("在 misfire_grace（%s）内未能执行；最后的原因：%s", f.row.MisfireGrace, f.row.Blocked.ZH),
		}
	default:
		row.Reason = reason("no server fired it within misfire_grace (%s): none was running, or dispatch was held; "+
			"raise misfire_grace to run late fires",
			"在 misfire_grace（%s）内没有服务器触发：没有服务器在运行，或调度已暂停；如需补执行请增大 misfire_grace",
			f.row.MisfireGrace)
	}
	if m.State == hostler.FireMissed {
		f.row.Problem = row.Reason
		f.Emit(f.row.ProjectID, hostler.EventScheduleMissed, hostler.ObjectEvent{Object: f.row.Name})
	}
	_, err := f.InsertFire(row)
	return err
}

func reason(en, zh string, args ...any) *hostler.Text {
	t := hostler.Textf(en, zh, args...)
	return &t
}

// textOf is the text of an error with the fields at fault.
func textOf(err error) *hostler.Text {
	t := reasonOf(err)
	return &t
}

// move records how far the schedule is decided, and when servers look at it again.
func (f *firing) move(queued int) error {
	now := f.Now()
	look := f.times.Due(f.row.ID, f.row.NextAt)
	if !look.IsZero() && look.Before(now) {
		look = now // behind those that wait longer
	}
	poll := now.Add(fireRetry)
	if !f.closedUntil.IsZero() {
		poll = now.Add(fireLater) // the calendar may be changed
		if f.closedUntil.Before(poll) {
			poll = f.closedUntil
		}
	}
	if queued > 0 && (look.IsZero() || look.After(poll)) {
		look = poll
	}
	f.row.LookAt, f.row.Blocked = look, nil
	return f.MoveSchedule(*f.row)
}

// replacedBatch is how many jobs of replaced runs are cancelled at once.
const replacedBatch = 50

// CancelReplaced cancels jobs of runs that later fires of their schedules replaced. It
// reports whether there are more.
func (a *App) CancelReplaced(ctx context.Context) (more bool, err error) {
	var runs []store.ReplacedRun
	err = a.work.View(ctx, func(tx *store.Tx) (err error) {
		runs, err = tx.ReplacedRuns(replacedBatch)
		return err
	})
	for _, r := range runs {
		if err := a.stopReplaced(ctx, r.Run); err != nil {
			return true, err
		}
		for _, id := range r.Jobs {
			err := a.work.InTx(ctx, func(tx *store.Tx) error {
				_, err := tx.CancelJob(id, "")
				return err
			})
			switch hostler.CodeOf(err) {
			case "", hostler.CodeConflict, hostler.CodeNotFound: // it has ended meanwhile
			default:
				return true, err
			}
		}
		if len(r.Jobs) > 0 {
			more = true
			continue
		}
		if err := a.work.InTx(ctx, func(tx *store.Tx) error { return tx.EndReplacedRun(r.Fire) }); err != nil {
			return true, err
		}
	}
	return more, err
}
