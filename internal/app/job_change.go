package app

import (
	"context"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
)

// CancelJob cancels a waiting job at once, or requests that a running one is stopped.
// CodeConflict: it has ended, or its outcome is unknown.
func (a *App) CancelJob(ctx context.Context, c auth.Caller, id hostler.JobID) (hostler.Job, error) {
	g, err := a.allow(c, auth.ChangeJob)
	if err != nil {
		return hostler.Job{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Job, error) { return s.cancelJob(id) })
}

func (s *scope) cancelJob(id hostler.JobID) (hostler.Job, error) {
	if err := s.mayChange(id); err != nil {
		return hostler.Job{}, err
	}
	state, err := s.CancelJob(id, s.caller.User)
	if err != nil {
		return hostler.Job{}, err
	}
	if err := s.audit("job.cancel", id.String(), map[string]any{"state": state}); err != nil {
		return hostler.Job{}, err
	}
	return s.job(id)
}

// mayChange refuses to change a job that does not exist for the caller, or whose action
// the caller's limits exclude.
func (s *scope) mayChange(id hostler.JobID) error {
	j, err := s.job(id)
	if err != nil {
		return err
	}
	return s.checkLimit(j.Action, j.Asset != 0)
}

// ResolveJob sets the outcome of an unknown job.
func (a *App) ResolveJob(
	ctx context.Context, c auth.Caller, id hostler.JobID, in hostler.ResolveInput,
) (hostler.Job, error) {
	g, err := a.allow(c, auth.ChangeJob)
	if err != nil {
		return hostler.Job{}, err
	}
	if err := checkResolution(in); err != nil {
		return hostler.Job{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Job, error) { return s.resolveJob(id, in) })
}

func checkResolution(in hostler.ResolveInput) error {
	var fields check.Fields
	check.OneOf(&fields, "state", in.State, hostler.StateSucceeded, hostler.StateFailed)
	fields.Text("note", in.Note, 2000)
	return fields.Err()
}

// checkFourEyes refuses that the requester of a job says that it succeeded, or a key that the
// requester created, where the project wants another person to look.
func (s *scope) checkFourEyes(id hostler.JobID) error {
	on, err := s.FourEyes(s.project)
	if err != nil || !on {
		return err
	}
	j, err := s.job(id)
	if err != nil {
		return err
	}
	users, err := s.KeyUsers(s.caller.Key)
	if err != nil {
		return err
	}
	own := j.CreatedByID == s.caller.UserID || slices.Contains(users, j.CreatedByID)
	if j.CreatedByID == 0 {
		own = j.CreatedBy == s.caller.User // a job of an earlier version
	}
	if own {
		return hostler.Errorf(hostler.CodeForbidden,
			"the project wants four eyes: another person than the requester of the job resolves it as succeeded",
			"项目要求四眼原则：须由作业发起人以外的人确认其成功")
	}
	return nil
}

func (s *scope) resolveJob(id hostler.JobID, in hostler.ResolveInput) (hostler.Job, error) {
	if err := s.mayChange(id); err != nil {
		return hostler.Job{}, err
	}
	if in.State == hostler.StateSucceeded {
		if err := s.checkFourEyes(id); err != nil {
			return hostler.Job{}, err
		}
	}
	if err := s.ResolveJob(id, in.State, s.caller.User, in.Note); err != nil {
		return hostler.Job{}, err
	}
	if err := s.audit("job.resolve", id.String(), in); err != nil {
		return hostler.Job{}, err
	}
	return s.job(id)
}
