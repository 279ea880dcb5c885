package app

import (
	"cmp"
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// This file runs tasks and templates by schedules. A fire prepares the run on a snapshot,
// where its commands are judged, and starts it in its own transaction, as a person's
// request does.

// maxScheduleParams bounds the parameters in the row of a schedule.
const maxScheduleParams = 64 << 10

// checkScheduleTask checks that a schedule runs one thing, with fields of this thing.
func checkScheduleTask(fields *check.Fields, in hostler.ScheduleInput) {
	t := in.Task
	of := func(field string) string { return "task." + field }
	n := 0
	for _, name := range []string{t.Action, t.Task, t.Template} {
		if name != "" {
			n++
		}
	}
	fields.Require(n == 1, "task", "needs exactly one of action, task and template", "须且只能指定 action、task、template 之一")
	if !t.IsFlow() {
		fields.Require(len(t.Params) == 0, of("params"), "are those of a task or template: give args", "仅用于任务或模板：请使用 args")
		fields.Require(t.Version == 0, of("version"), "is that of a template", "仅用于模板")
		return
	}
	fields.Require(len(t.Params) <= maxScheduleParams, of("params"), "must be at most 64 KiB", "最多 64 KiB")
	fields.Require(len(t.Args) == 0, of("args"), "are those of an action: give params", "仅用于动作：请使用 params")
	fields.Require(in.Queue == "" && in.Priority == 0, "queue", "and priority are set in the steps of the template",
		"与 priority 须在模板的步骤中设置")
	fields.Require(t.Timeout == 0 && t.MaxAttempts == 0 && t.Backoff == (hostler.Backoff{}) && t.Lane == "" &&
		t.TTL == 0 && t.OnLost == "", "task", "has fields of an action: set them in the steps of the template",
		"含有动作的字段：请在模板的步骤中设置")
}

// flowOf is the request for the run of a schedule.
func flowOf(sch *hostler.Schedule, edit hostler.ScheduleRunInput) (hostler.RunRequest, error) {
	t := sch.Task
	if len(edit.Args) > 0 || edit.Queue != "" || edit.Priority != 0 {
		return hostler.RunRequest{}, hostler.Invalid("args", "are those of an action: this schedule has params",
			"仅用于动作：此计划使用 params")
	}
	params, err := overlay(t.Params, edit.Params, "params")
	return hostler.RunRequest{
		Task: t.Task, Template: t.Template, Version: cmp.Or(edit.Version, t.Version), Params: params,
		Targets: cmp.Or(edit.Target, t.Target), OverrideCalendar: edit.OverrideCalendar, Then: sch.Then,
	}, err
}

// putFlowSchedule saves a schedule of a task or template after checking what it runs, as a
// run by the caller is checked.
func (a *App) putFlowSchedule(ctx context.Context, g grant, row store.ScheduleRow) (hostler.Schedule, error) {
	in, err := flowOf(&row.Schedule, hostler.ScheduleRunInput{})
	if err != nil {
		return hostler.Schedule{}, renameTask(err, "task.")
	}
	commands, err := judgeRun(ctx, g, in, 0)
	if err != nil {
		return hostler.Schedule{}, renameTask(err, "task.")
	}
	return change(ctx, g, func(s *scope) (hostler.Schedule, error) {
		row := row
		// Once more, because an admin allows uses of credentials by this.
		if _, err := s.newRun(in, 0, commands); err != nil {
			return hostler.Schedule{}, renameTask(err, "task.")
		}
		row.ProjectID, row.OwnerID, row.OwnerKey = s.project, s.caller.UserID, s.caller.Key
		return s.putSchedule(row)
	})
}

// runFlowSchedule runs a schedule of a task or template now.
func (a *App) runFlowSchedule(
	ctx context.Context, g grant, req RunScheduleRequest, sch *hostler.Schedule, key *store.IdemKey,
) (hostler.ScheduleRun, error) {
	in, err := flowOf(sch, req.Edit)
	if err != nil {
		return hostler.ScheduleRun{}, err
	}
	before, found, err := answeredBefore[hostler.ScheduleRun](ctx, g, key)
	if err != nil || found {
		return before, err
	}
	id, commands, err := a.judgeNewRun(ctx, a.store, g, in)
	if err != nil {
		return hostler.ScheduleRun{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.ScheduleRun, error) {
		row, err := s.findSchedule(s.Tx.Schedule, sch.ID.String())
		if err != nil {
			return hostler.ScheduleRun{}, err
		}
		return idempotent(s, key, func() (hostler.ScheduleRun, error) {
			if _, err := s.startRun(causeOf(&row.Schedule), in, id, commands); err != nil {
				return hostler.ScheduleRun{}, err
			}
			return s.recordRunNow(row, hostler.JobsCreated{Run: id})
		})
	})
}

// judgeFlow prepares the run of a fire. What is wrong with it is for the fire to tell.
func (a *App) judgeFlow(ctx context.Context, g grant, sch *hostler.Schedule) (hostler.RunID, *commandCheck, error) {
	in, err := flowOf(sch, hostler.ScheduleRunInput{})
	if err != nil {
		return 0, newCommandCheck(g, nil, nil), nil
	}
	id, commands, err := a.judgeNewRun(ctx, a.work, g, in)
	if commands != nil {
		err = nil
	}
	return id, commands, err
}

// startFlow starts the run of a fire with the rights of the schedule's owner.
func (f *firing) startFlow(g grant) (hostler.JobsCreated, error) {
	in, err := flowOf(&f.row.Schedule, hostler.ScheduleRunInput{})
	if err != nil {
		return hostler.JobsCreated{}, err
	}
	if f.flowRun == 0 {
		return hostler.JobsCreated{}, errNotJudged() // it was no flow a moment ago
	}
	why := causeOf(&f.row.Schedule)
	why.fire = true
	id, err := newScope(f.Tx, g).startRun(why, in, f.flowRun, f.commands)
	return hostler.JobsCreated{Run: id}, renameTask(err, "task.")
}

// stopReplaced lets the engine terminate a replaced run that has a row.
func (a *App) stopReplaced(ctx context.Context, id hostler.RunID) error {
	if !store.HasRow(id) {
		return nil
	}
	return a.work.InTx(ctx, func(tx *store.Tx) error {
		r, err := tx.LockRun(id)
		if err != nil || r == nil || r.State.Ended() || r.Stop != "" {
			return err
		}
		r.Stop, r.Paused = hostler.RunCancelled, false
		if err := tx.SaveRun(r); err != nil {
			return err
		}
		return tx.WakeRuns(id)
	})
}
