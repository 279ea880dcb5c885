package app

import (
	"context"
	"encoding/json"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// RunTask creates one job on one asset, for the simple task API. Unlike
// [App.RunJobs] it accepts an unknown action: the clients of that API expect the task
// to be created, and to fail when a worker looks at it.
func (a *App) RunTask(
	ctx context.Context, c auth.Caller, asset hostler.AssetID, action string, args json.RawMessage,
) (hostler.Job, error) {
	if _, known := a.cfg.Actions.Lookup(action); !known {
		return a.runUnknown(ctx, c, asset, action, args)
	}
	req := hostler.JobRequest{Action: action, Args: args, Assets: []string{asset.String()}}
	created, err := a.RunJobs(ctx, c, req, "")
	if err != nil {
		return hostler.Job{}, err
	}
	return *created.Job, nil
}

// runUnknown creates a job of an action that does not exist.
func (a *App) runUnknown(
	ctx context.Context, c auth.Caller, asset hostler.AssetID, action string, args json.RawMessage,
) (hostler.Job, error) {
	g, err := a.allow(c, auth.RunJob)
	if err != nil {
		return hostler.Job{}, err
	}
	var fields check.Fields
	fields.Line("action", action, 64)
	fields.Given("action", action)
	checkArgs(&fields, args)
	if err := fields.Err(); err != nil {
		return hostler.Job{}, err
	}
	if len(args) == 0 {
		args = json.RawMessage(`{}`)
	}
	if err := g.checkLimit(action, true); err != nil {
		return hostler.Job{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Job, error) {
		targets, err := s.Targets(s.project, store.Selection{IDs: []hostler.AssetID{asset}})
		if err != nil {
			return hostler.Job{}, err
		}
		if len(targets) != 1 {
			return hostler.Job{}, hostler.NotFound(assetKind, asset.String())
		}
		run, err := s.NewID()
		if err != nil {
			return hostler.Job{}, err
		}
		ids, err := s.Enqueue([]hostler.JobSpec{{
			Project: s.project, Run: hostler.RunID(run), Queue: hostler.DefaultQueue,
			Action: action, Args: args, Asset: asset, AssetName: targets[0].Name,
			Priority: hostler.PriorityDefault, MaxAttempts: 1, Timeout: a.cfg.Limits.Timeout, DefaultTimeout: true,
			OnLost: hostler.OnLostRetry, OnUnknown: hostler.OnUnknownHold, OnRetry: hostler.OnRetryHold,
			CreatedBy: s.caller.User, CreatedByID: s.caller.UserID,
		}})
		if err != nil {
			return hostler.Job{}, err
		}
		detail := map[string]any{
			"action": action, "count": 1, "queue": hostler.DefaultQueue, "asset": targets[0].Name, "job": ids[0],
		}
		if err := s.audit("job.run", hostler.RunID(run).String(), detail); err != nil {
			return hostler.Job{}, err
		}
		return s.job(ids[0])
	})
}

// UserIDs returns the ids of users by name, for the simple task API, which shows who
// created a task as a number. Unknown names are left out.
func (a *App) UserIDs(ctx context.Context, c auth.Caller, names []string) (map[string]hostler.UserID, error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return nil, err
	}
	return view(ctx, g, func(s *scope) (map[string]hostler.UserID, error) {
		ids := make(map[string]hostler.UserID, len(names))
		for _, name := range names {
			u, err := s.UserByName(name)
			if err != nil {
				return nil, err
			}
			if u != nil {
				ids[name] = u.ID
			}
		}
		return ids, nil
	})
}
