package app

import (
	"context"
	"encoding/json"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// RunNamed runs what has a name, for clients that know names only: the schedule of that
// name, or else the task, or else the action. args replace those of the schedule, or are
// the parameters of the task or the args of the action.
func (a *App) RunNamed(
	ctx context.Context, c auth.Caller, name string, args json.RawMessage, key string,
) (hostler.RunID, error) {
	g, err := a.allow(c, auth.RunJob)
	if err != nil {
		return 0, err
	}
	var sch *store.ScheduleRow
	isTask := false
	if _, err = view(ctx, g, func(s *scope) (none struct{}, err error) {
		if s.may(auth.ReadSchedule) {
			sch, err = s.findSchedule(s.Tx.Schedule, name)
		}
		if err == nil || hostler.CodeOf(err) == hostler.CodeNotFound {
			_, err = s.task(name)
			isTask = err == nil
		}
		return none, err
	}); err != nil && hostler.CodeOf(err) != hostler.CodeNotFound {
		return 0, err
	}
	_, isAction := a.cfg.Actions.Lookup(name)
	switch {
	case sch != nil:
		edit := hostler.ScheduleRunInput{Args: args}
		if sch.Task.IsFlow() {
			edit = hostler.ScheduleRunInput{Params: args}
		}
		run, err := a.RunSchedule(ctx, c, RunScheduleRequest{Schedule: name, Edit: edit, Key: key})
		return run.Run, err
	case isTask:
		run, err := a.StartRun(ctx, c, hostler.RunRequest{Task: name, Params: args}, key)
		return run.Run, err
	case isAction:
		created, err := a.RunJobs(ctx, c, hostler.JobRequest{Action: name, Args: args}, key)
		return created.Run, err
	}
	return 0, hostler.NotFound(taskKind, name)
}
