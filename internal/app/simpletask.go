package app

import (
	"context"
	"encoding/json"
	"unicode/utf8"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
)

// RunTask makes one job on one asset, as the simple task API asks for it. Unlike
// RunJobs it takes an action that nobody knows: the clients of that API expect to
// hear of it from the task, which fails when a worker looks at it.
func (a *App) RunTask(ctx context.Context, c auth.Caller, asset hostler.AssetID, action string, args json.RawMessage) (hostler.Job, error) {
	if _, known := a.cfg.Actions.Lookup(action); !known {
		return a.runUnknown(ctx, c, asset, action, args)
	}
	made, err := a.RunJobs(ctx, c, hostler.JobRequest{Action: action, Args: args, Assets: []string{asset.String()}}, "")
	if err != nil {
		return hostler.Job{}, err
	}
	return *made.Job, nil
}

func (a *App) runUnknown(ctx context.Context, c auth.Caller, asset hostler.AssetID, action string, args json.RawMessage) (hostler.Job, error) {
	g, err := a.allow(c, auth.RunJob)
	if err != nil {
		return hostler.Job{}, err
	}
	var fields check.Fields
	fields.Line("action", action, 64)
	fields.Given("action", action)
	fields.Require(len(args) <= hostler.MaxArgsBytes && utf8.Valid(args), "args", "must be at most %d bytes of UTF-8", "最多 %d 字节，须为 UTF-8", hostler.MaxArgsBytes)
	if err := fields.Err(); err != nil {
		return hostler.Job{}, err
	}
	if len(args) == 0 {
		args = json.RawMessage(`{}`)
	}
	return change(ctx, g, func(s *scope) (hostler.Job, error) {
		targets, err := s.Targets(s.project, []hostler.AssetID{asset}, nil, nil)
		if err != nil {
			return hostler.Job{}, err
		}
		if len(targets) != 1 {
			return hostler.Job{}, hostler.NotFound(assetWord, asset.String())
		}
		run, err := s.NewID()
		if err != nil {
			return hostler.Job{}, err
		}
		ids, err := s.Enqueue([]hostler.JobSpec{{
			Project: s.project, Run: hostler.RunID(run), Queue: hostler.DefaultQueue,
			Action: action, Args: args, Asset: asset, AssetName: targets[0].Name,
			Priority: hostler.PriorityDefault, MaxAttempts: 1, Timeout: a.cfg.Limits.Timeout,
			OnLost: hostler.OnLostRetry, OnUnknown: hostler.OnUnknownHold, OnRetry: hostler.OnRetryHold,
			CreatedBy: s.caller.User,
		}})
		if err != nil {
			return hostler.Job{}, err
		}
		detail := map[string]any{"action": action, "count": 1, "queue": hostler.DefaultQueue, "asset": targets[0].Name, "job": ids[0]}
		if err := s.audit("job.run", hostler.RunID(run).String(), detail); err != nil {
			return hostler.Job{}, err
		}
		return s.job(ids[0])
	})
}

// UserIDs finds the ids of the users that made jobs, by name. Names of users that
// are gone are left out.
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
