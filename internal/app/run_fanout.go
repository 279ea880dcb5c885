package app

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/store"
)

// This file makes runs of ad-hoc fan-outs. A request for several hosts, or for hosts in
// waves, is a run of one step: with a row, like the runs of flows. Its jobs are created in
// the transaction of the request as long as it has no rollout; else the engine creates them,
// wave by wave. A single job has no row: it is its own list and state.

// fanOutStep is the id of the one step.
const fanOutStep = "run"

// checkRollout checks a rollout of a request for jobs.
func checkRollout(fields *check.Fields, req hostler.JobRequest) {
	if req.Rollout == nil {
		return
	}
	flow.CheckRollout(fields, "rollout", req.Rollout)
	fields.Require(req.Rollout.Gate == nil, "rollout.gate", "goes with a step of a template", "仅用于模板的步骤")
	fields.Require(selectsAssets(req), "rollout", "requires assets or labels", "需要指定 assets 或 labels")
	for field, given := range map[string]bool{
		"delay": req.Delay != 0, "run_at": req.RunAt != nil, "ttl": req.TTL != 0,
	} {
		fields.Require(!given, field, "cannot be given with rollout", "不能与 rollout 同时指定")
	}
}

// fanOut is the run of a plan for some targets. started tells that all its jobs are created
// with it.
func (s *scope) fanOut(p *plan, id hostler.RunID, targets []store.Target) (*store.RunStepRow, error) {
	step := hostler.Step{
		ID: fanOutStep, Action: p.spec.Action, Args: p.spec.Args, Queue: p.spec.Queue, Rollout: p.rollout,
		OnLost: p.spec.OnLost, Priority: p.spec.Priority,
	}
	row := store.RunStepRow{
		Step: fanOutStep, HostSet: 1, Total: len(targets), Hosts: len(targets), State: hostler.StepPending,
	}
	run := store.RunRow{
		ID: id, Project: s.project, Source: hostler.RunAdHoc, Origin: cmp.Or(p.origin, s.caller.Origin), RetryOf: p.retryOf, Depth: p.depth, Chain: p.chain,
		Follows: len(p.then) > 0, OutputOf: p.outputOfJobs(targets), Name: p.spec.Action, Params: "{}",
		State: hostler.RunPending, Requester: s.caller.UserID, RequesterName: s.caller.User,
	}
	if p.rollout != nil && p.runAt != nil {
		run.StartAt = *p.runAt // the calendars let it wait
	}
	if p.rollout == nil {
		// A failure of one host is none of the others.
		step.Rollout = flow.AllAtOnce()
		row.State, row.Started, row.NextSeq, row.StartedAt = hostler.StepRunning, row.Total, int64(row.Total), s.Now()
		run.State, run.StartedAt = hostler.RunRunning, s.Now()
	}
	row.Parallel = step.Rollout.Parallel
	spec, err := flow.Canonical(step)
	if err != nil {
		return nil, fmt.Errorf("encode a step: %w", err)
	}
	row.Spec = string(spec)
	if row.Jobs, err = stepJobs(s.specOf(p, id), p, false); err != nil {
		return nil, err
	}
	hosts := make([]store.RunHost, len(targets))
	for i, t := range targets {
		hosts[i] = store.RunHost{ID: t.ID, Name: t.Name}
	}
	sets := [][]store.RunHost{hosts}
	if !p.onAssets {
		row.HostSet, sets = 0, nil
	}
	steps := []store.RunStepRow{row}
	if err := s.InsertRun(&run, steps, sets); err != nil {
		return nil, err
	}
	s.emit(hostler.EventRunStarted, id.String())
	return &steps[0], nil
}

// outputOfJobs names the runs of jobs whose outputs are compared: those of a schedule, or else
// of the same args on the same hosts.
func (p *plan) outputOfJobs(targets []store.Target) string {
	h := sha256.New()
	_, _ = h.Write(p.spec.Args)
	for _, t := range targets {
		_, _ = fmt.Fprintf(h, " %v %s", t.ID, t.Name)
	}
	return p.outputOf(hostler.RunAdHoc, p.spec.Action+":"+hex.EncodeToString(h.Sum(nil)))
}

// checkWaves checks what the creation of jobs checks, for jobs that the engine creates later.
func (s *scope) checkWaves(p *plan, id hostler.RunID, targets []store.Target) error {
	common := s.specOf(p, id)
	admission, err := s.Admission(s.project, common.Queue)
	if err != nil {
		return err
	}
	if err := admission.Check(&common); err != nil {
		return err
	}
	return s.CheckHolds(specsOn(common, targets))
}

// stepJobs is what the jobs of a step are created from.
func stepJobs(spec hostler.JobSpec, p *plan, approved bool) (string, error) {
	b, err := flow.Canonical(store.StepJobs{
		Queue: spec.Queue, Action: spec.Action, Args: spec.Args, OnAsset: p.onAssets,
		AssetLane: p.lane == hostler.LaneAsset, LaneKey: spec.LaneKey, LaneLimit: spec.LaneLimit,
		Priority: spec.Priority, MaxAttempts: spec.MaxAttempts, Backoff: spec.Backoff,
		Timeout: hostler.Duration(spec.Timeout), OnLost: spec.OnLost, OnUnknown: spec.OnUnknown, OnRetry: spec.OnRetry,
		DefaultTimeout: spec.DefaultTimeout, Approved: approved,
	})
	return string(b), err
}
