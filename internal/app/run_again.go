package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/store"
)

// This file runs earlier runs again: what they were started from becomes a request of the
// caller, which is edited, checked and judged like any other.

// RerunRequest asks for an earlier run again.
type RerunRequest struct {
	Run  hostler.RunID
	Edit hostler.RerunInput
	Key  string // Idempotency-Key
}

// Rerun starts a new run like an earlier one, with the edits of the request: with the version
// of the template that it had, with another one, or with the latest.
func (a *App) Rerun(ctx context.Context, c auth.Caller, req RerunRequest) (hostler.Run, error) {
	g, err := a.allow(c, auth.RunJob)
	if err != nil {
		return hostler.Run{}, err
	}
	if _, err := a.allow(c, auth.ReadJob); err != nil {
		return hostler.Run{}, err
	}
	if err := checkRerun(req.Edit); err != nil {
		return hostler.Run{}, err
	}
	key, err := g.idempotencyKey("POST /runs/"+req.Run.String()+"/rerun", req.Key, req.Edit)
	if err != nil {
		return hostler.Run{}, err
	}
	id, found, err := answeredBefore[hostler.RunID](ctx, g, key)
	if err != nil {
		return hostler.Run{}, err
	}
	if found {
		return view(ctx, g, func(s *scope) (hostler.Run, error) { return s.flowRun(id) })
	}
	again, err := list(ctx, g, func(s *scope) (rerun, error) { return s.rerunOf(req.Run, req.Edit) })
	if err != nil {
		return hostler.Run{}, err
	}
	why := cause{retryOf: req.Run}
	if again.flow != nil {
		return a.startRun(ctx, g, why, *again.flow, key)
	}
	return a.rerunJobs(ctx, g, why, *again.jobs, key)
}

func checkRerun(edit hostler.RerunInput) error {
	var fields check.Fields
	fields.Require(edit.Version == 0 || !edit.Latest, "latest", "excludes version", "不能与 version 同时指定")
	fields.Require(edit.Version >= 0, "version", "must be at least 1", "至少为 1")
	for name, raw := range map[string]json.RawMessage{"args": edit.Args, "params": edit.Params} {
		raw = bytes.TrimSpace(raw)
		fields.Require(len(raw) == 0 || raw[0] == '{', name, "must be an object", "必须是对象")
	}
	return fields.Err()
}

// rerun is the request for an earlier run: one of the two.
type rerun struct {
	flow *hostler.RunRequest
	jobs *hostler.JobRequest
}

// rerunOf is the request for a run like an earlier one.
func (s *scope) rerunOf(id hostler.RunID, edit hostler.RerunInput) (rerun, error) {
	var row *store.RunRow
	var err error
	if store.HasRow(id) {
		if row, err = s.Tx.Run(s.project, id); err != nil {
			return rerun{}, err
		}
	}
	if row != nil && !s.may(auth.ReadRun) {
		return rerun{}, hostler.NotFound(runKind, id.String()) // its args are not for the caller
	}
	if row != nil && row.Source != hostler.RunAdHoc {
		in, err := s.flowAgain(row, edit)
		return rerun{flow: &in}, err
	}
	if len(edit.Params) > 0 || edit.Version != 0 || edit.Latest {
		return rerun{}, hostler.Invalid("params", "and versions are those of a task or template: this run has args",
			"与 version 仅用于任务或模板：此执行使用 args")
	}
	var req hostler.JobRequest
	if row != nil {
		req, err = s.fanOutAgain(row)
	} else {
		req, err = s.jobsAgain(id)
	}
	if err != nil {
		return rerun{}, err
	}
	if req.Args, err = overlay(req.Args, edit.Args, "args"); err != nil {
		return rerun{}, err
	}
	if t := edit.Target; t != nil {
		setTarget(&req, *t)
		req.Target = nil
	}
	req.Queue, req.Priority = cmp.Or(edit.Queue, req.Queue), cmp.Or(edit.Priority, req.Priority)
	req.OverrideCalendar, req.OverrideRule = edit.OverrideCalendar, edit.OverrideRule
	return rerun{jobs: &req}, nil
}

// flowAgain is the request for a run of a task or template again.
func (s *scope) flowAgain(r *store.RunRow, edit hostler.RerunInput) (in hostler.RunRequest, err error) {
	if len(edit.Args) > 0 || edit.Queue != "" || edit.Priority != 0 || edit.OverrideRule != nil {
		return in, hostler.Invalid("args", "queue, priority and override_rule are those of an action: this run has params",
			"与 queue、priority、override_rule 仅用于动作：此执行使用 params")
	}
	in = hostler.RunRequest{Template: r.Template, Version: cmp.Or(edit.Version, r.Version), OverrideCalendar: edit.OverrideCalendar}
	if edit.Latest {
		latest, err := s.template(r.Template, 0)
		if err != nil {
			return in, err
		}
		in.Version = latest.Version
	}
	if r.Source == hostler.RunFromTask {
		t, err := s.task(r.Name)
		if err != nil {
			return in, err
		}
		var spec hostler.TaskSpec
		if err := json.Unmarshal([]byte(t.Spec), &spec); err != nil {
			return in, fmt.Errorf("decode a task: %w", err)
		}
		if spec.Template != r.Template {
			return in, hostler.Errorf(hostler.CodeConflict, "the task %s is one of another template now: %s, and not %s",
				"任务 %s 现在使用另一个模板 %s，而不是 %s", r.Name, spec.Template, r.Template)
		}
		in.Task, in.Template = r.Name, ""
	}
	if in.Targets = edit.Target; in.Targets == nil && r.Targets != "" {
		in.Targets = &hostler.StepTarget{}
		if err := json.Unmarshal([]byte(r.Targets), in.Targets); err != nil {
			return in, fmt.Errorf("decode targets: %w", err)
		}
	}
	in.Params, err = overlay(json.RawMessage(r.Params), edit.Params, "params")
	return in, err
}

// fanOutAgain is the request for an ad-hoc run again: on the same hosts.
func (s *scope) fanOutAgain(r *store.RunRow) (req hostler.JobRequest, err error) {
	rows, err := s.RunSteps(r.ID)
	if err != nil {
		return req, err
	}
	if len(rows) != 1 {
		return req, fmt.Errorf("the ad-hoc run %v has %d steps", r.ID, len(rows))
	}
	var step hostler.Step
	var jobs store.StepJobs
	if err := json.Unmarshal([]byte(rows[0].Spec), &step); err != nil {
		return req, fmt.Errorf("decode a step: %w", err)
	}
	if err := json.Unmarshal([]byte(rows[0].Jobs), &jobs); err != nil {
		return req, fmt.Errorf("decode the jobs of a step: %w", err)
	}
	if !jobs.OnAsset {
		return s.jobsAgain(r.ID) // one job, maybe on a host that the request brought
	}
	req = hostler.JobRequest{
		Action: jobs.Action, Args: jobs.Args, Queue: jobs.Queue, Priority: jobs.Priority, MaxAttempts: jobs.MaxAttempts,
		Backoff: jobs.Backoff, OnLost: jobs.OnLost, OnUnknown: jobs.OnUnknown, OnRetry: jobs.OnRetry,
	}
	if !jobs.DefaultTimeout {
		req.Timeout = jobs.Timeout
	}
	if step.Rollout != nil && !reflect.DeepEqual(step.Rollout, flow.AllAtOnce()) {
		req.Rollout = step.Rollout
	}
	laneAgain(&req, jobs.AssetLane, jobs.LaneKey, jobs.LaneLimit)
	targets, err := s.targetsOfRun(r.ID, rows)
	for _, t := range targets {
		req.Assets = append(req.Assets, t.ID.String())
	}
	return req, err
}

// laneAgain sets the lane or the limit that jobs had.
func laneAgain(req *hostler.JobRequest, ofAsset bool, key string, limit int) {
	own := strings.SplitN(key, ":", 3) // see hostler.OwnLaneKey
	switch {
	case ofAsset:
		req.Lane = hostler.LaneAsset
	case len(own) < 3:
		req.Lane = hostler.LaneNone
	case limit == 1:
		req.Lane = own[2]
	default:
		req.Concurrency = &hostler.Concurrency{Key: own[2], Limit: limit}
	}
}

// jobsAgain is the request for a run without a row again, whose jobs have ended.
func (s *scope) jobsAgain(id hostler.RunID) (req hostler.JobRequest, err error) {
	q, err := s.query(hostler.JobFilter{Run: id})
	if err != nil {
		return req, err
	}
	ids, err := s.allJobs(q)
	if err != nil {
		return req, err
	}
	if len(ids) == 0 {
		return req, hostler.NotFound(runKind, id.String())
	}
	specs, err := s.specsToRetry(ids)
	if err != nil {
		return req, err
	}
	for i, job := range ids {
		spec, ok := specs[job]
		if !ok {
			return req, hostler.Errorf(hostler.CodeConflict, "the run has not ended", "执行尚未结束")
		}
		if spec.Target != nil {
			return req, errLoginDeleted(spec.AssetName)
		}
		one := hostler.JobRequest{
			Action: spec.Action, Args: spec.Args, Queue: spec.Queue, Priority: spec.Priority, MaxAttempts: spec.MaxAttempts,
			Backoff: spec.Backoff, OnLost: spec.OnLost, OnUnknown: spec.OnUnknown, OnRetry: spec.OnRetry,
		}
		if !spec.DefaultTimeout {
			one.Timeout = hostler.Duration(spec.Timeout)
		}
		if !spec.ExpiresAt.IsZero() {
			one.TTL = hostler.Duration(spec.ExpiresAt.Sub(s.Now()))
		}
		laneAgain(&one, strings.HasPrefix(spec.LaneKey, hostler.AssetLaneKey("")), spec.LaneKey, spec.LaneLimit)
		switch {
		case i == 0:
			req = one
		case one.Action != req.Action || !bytes.Equal(one.Args, req.Args):
			return req, hostler.Errorf(hostler.CodeConflict,
				"the jobs of the run have different args: retry them (POST /jobs/retry with filter.run)",
				"执行的各作业参数不同：请重试作业（POST /jobs/retry，filter.run）")
		}
		if spec.Asset != 0 {
			req.Assets = append(req.Assets, spec.Asset.String())
		}
	}
	return req, nil
}

// allJobs lists the jobs of a query, of which there must be no more than one call may change.
func (s *scope) allJobs(q store.JobQuery) (ids []hostler.JobID, err error) {
	most := s.app.cfg.Limits.Bulk
	for before := hostler.JobID(0); ; {
		some, next, err := s.ListJobIDs(q, before, most+1-len(ids))
		if err != nil {
			return nil, err
		}
		if ids = append(ids, some...); len(ids) > most {
			return nil, hostler.Errorf(hostler.CodeConflict,
				"the run has more than %d jobs: retry them in parts (POST /jobs/retry with filter.run)",
				"执行的作业超过 %d 个：请分批重试作业（POST /jobs/retry，filter.run）", most)
		}
		if next == 0 {
			return ids, nil
		}
		before = next
	}
}

// rerunJobs starts an ad-hoc run again.
func (a *App) rerunJobs(
	ctx context.Context, g grant, why cause, req hostler.JobRequest, key *store.IdemKey,
) (hostler.Run, error) {
	p, err := a.plan(req)
	if err != nil {
		return hostler.Run{}, err
	}
	if err := g.checkOverride(req.OverrideRule); err != nil {
		return hostler.Run{}, err
	}
	p.cause = why
	p.judge(a.commands(ctx, g, req.OverrideRule))
	return change(ctx, g, func(s *scope) (hostler.Run, error) {
		id, err := idempotent(s, key, func() (hostler.RunID, error) {
			created, err := s.runPlan(p)
			return created.Run, err
		})
		if err != nil {
			return hostler.Run{}, err
		}
		return s.flowRun(id)
	})
}
