package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/store"
)

// This file holds what people do with runs: pause, resume, terminate, skip, retry.

// PauseRun stops a run from starting further steps and jobs; jobs that were created go on.
func (a *App) PauseRun(ctx context.Context, c auth.Caller, id hostler.RunID) (hostler.Run, error) {
	return a.changeRun(ctx, c, "run.pause", id, nil, func(_ *scope, r *store.RunRow) error {
		if r.State.Ended() || r.Stop == hostler.RunCancelled {
			return errRunEnded()
		}
		r.Paused, r.State = true, hostler.RunPaused
		return nil
	})
}

// TerminateRun ends a run: jobs that wait are cancelled, those that run are stopped on
// their workers, and no further step starts.
func (a *App) TerminateRun(ctx context.Context, c auth.Caller, id hostler.RunID) (hostler.Run, error) {
	return a.changeRun(ctx, c, "run.terminate", id, nil, func(_ *scope, r *store.RunRow) error {
		if r.State.Ended() {
			return errRunEnded()
		}
		r.Stop, r.Paused = hostler.RunCancelled, false
		return nil
	})
}

// ResumeRun lets a paused run go on. A run that has ended without success goes on with the
// steps that failed, on the hosts that did not succeed, and with those behind them.
func (a *App) ResumeRun(ctx context.Context, c auth.Caller, id hostler.RunID) (hostler.Run, error) {
	return a.restartRun(ctx, c, "run.resume", id, func(r *store.RunRow, s *store.RunStepRow) bool {
		return !r.Paused && s.State != hostler.StepSucceeded && s.State != hostler.StepSkipped
	})
}

// RetryFailed runs the steps of an ended run again that have hosts which did not succeed,
// on those hosts only, and the steps behind them.
func (a *App) RetryFailed(ctx context.Context, c auth.Caller, id hostler.RunID) (hostler.Run, error) {
	return a.restartRun(ctx, c, "run.retry_failed", id, func(_ *store.RunRow, s *store.RunStepRow) bool {
		return s.State != hostler.StepSucceeded && s.State != hostler.StepSkipped || s.Failed+s.Cancelled > 0
	})
}

// SkipStep skips a step that has not started, that waits, or that ended without success;
// the run goes on as if it had succeeded.
func (a *App) SkipStep(
	ctx context.Context, c auth.Caller, id hostler.RunID, step string, in hostler.SkipInput,
) (hostler.Run, error) {
	var fields check.Fields
	fields.Given("reason", in.Reason)
	fields.Text("reason", in.Reason, 1000)
	detail := map[string]any{"step": step, "reason": in.Reason}
	g, err := a.allow(c, auth.ChangeRun)
	if err != nil {
		return hostler.Run{}, err
	}
	if err := a.judgeRun(ctx, g, id); err != nil {
		return hostler.Run{}, err
	}
	return a.changeRun(ctx, c, "run.skip", id, detail, func(s *scope, r *store.RunRow) error {
		if err := fields.Err(); err != nil {
			return err
		}
		row, err := s.runStep(id, step)
		if err != nil {
			return err
		}
		switch row.State {
		case hostler.StepPending, hostler.StepWaiting, hostler.StepFailed, hostler.StepRejected, hostler.StepCancelled:
		case hostler.StepRunning, hostler.StepUnknown, hostler.StepSucceeded, hostler.StepSkipped:
			return hostler.Errorf(hostler.CodeConflict, "the step is %s and cannot be skipped",
				"步骤状态为 %s，不能跳过", row.State)
		}
		if err := s.maySkip(r, row); err != nil {
			return err
		}
		if err := s.CloseApproval(row.ID, hostler.ApprovalClosed); err != nil {
			return err
		}
		if err := s.skip(row, in.Reason); err != nil || !r.State.Ended() {
			return err
		}
		return s.restart(r, func(s *store.RunStepRow) bool {
			return s.ID != row.ID && s.State != hostler.StepSucceeded && s.State != hostler.StepSkipped
		})
	})
}

// maySkip refuses to skip an approval to those who may not grant it, and what belongs to
// another step.
func (s *scope) maySkip(r *store.RunRow, row *store.RunStepRow) error {
	var spec flow.Spec
	if err := json.Unmarshal([]byte(row.Spec), &spec); err != nil {
		return fmt.Errorf("decode a step: %w", err)
	}
	if spec.PartOf() != "" {
		return hostler.Errorf(hostler.CodeConflict, "it belongs to the step %s: skip that", "它属于步骤 %s：请跳过该步骤", spec.PartOf())
	}
	// Who skips a flow skips its approvals.
	rows, err := s.RunSteps(r.ID)
	if err != nil {
		return err
	}
	specs, err := specsOf(rows)
	if err != nil {
		return err
	}
	for i := range specs {
		within := specs[i].ID == row.Step || strings.HasPrefix(specs[i].ID, row.Step+".")
		if a := specs[i].Approval; a != nil && within {
			if a.Quorum > 1 && rows[i].State != hostler.StepSucceeded {
				return hostler.Errorf(hostler.CodeConflict,
					"the approval %s wants %d people: one cannot skip it; reject it, or terminate the run",
					"审批 %s 需要 %d 人，一人不能跳过；可拒绝审批或终止执行", specs[i].ID, a.Quorum)
			}
			if err := s.mayGrant(approversOf(a), a.Self, r.Requester); err != nil {
				return err
			}
		}
	}
	return nil
}

// skip stores that a person skipped a step.
func (s *scope) skip(row *store.RunStepRow, reason string) error {
	text, err := json.Marshal(hostler.Textf("skipped by %s: %s", "由 %s 跳过：%s", s.caller.User, reason))
	if err != nil {
		return fmt.Errorf("encode a reason: %w", err)
	}
	row.State, row.Reason, row.EndedAt = hostler.StepSkipped, string(text), s.Now()
	return s.SaveSteps([]store.RunStepRow{*row})
}

func errRunEnded() error {
	return hostler.Errorf(hostler.CodeConflict, "the run has ended", "执行已经结束")
}

// changeRun changes a run under its lock, and wakes it.
func (a *App) changeRun(
	ctx context.Context, c auth.Caller, verb string, id hostler.RunID, detail any,
	fn func(s *scope, r *store.RunRow) error,
) (hostler.Run, error) {
	g, err := a.allow(c, auth.ChangeRun)
	if err != nil {
		return hostler.Run{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Run, error) {
		r, err := s.LockRun(id)
		if err == nil && (r == nil || r.Project != s.project) {
			err = hostler.NotFound(runKind, id.String())
		}
		if err != nil {
			return hostler.Run{}, err
		}
		if err := s.mayChangeRun(id); err != nil {
			return hostler.Run{}, err
		}
		if err := fn(s, r); err != nil {
			return hostler.Run{}, err
		}
		if err := s.SaveRun(r); err != nil {
			return hostler.Run{}, err
		}
		if err := s.WakeRuns(id); err != nil {
			return hostler.Run{}, err
		}
		if err := s.audit(verb, id.String(), detail); err != nil {
			return hostler.Run{}, err
		}
		return s.flowRun(id)
	})
}

// mayChangeRun refuses callers who may not run the actions of a run.
func (s *scope) mayChangeRun(id hostler.RunID) error {
	rows, err := s.RunSteps(id)
	if err != nil {
		return err
	}
	for i := range rows {
		if rows[i].Jobs == "" {
			continue
		}
		var jobs store.StepJobs
		if err := json.Unmarshal([]byte(rows[i].Jobs), &jobs); err != nil {
			return fmt.Errorf("decode the jobs of a step: %w", err)
		}
		act, ok := s.app.cfg.Actions.Lookup(jobs.Action)
		if !ok {
			continue
		}
		if err := s.checkRun(act, jobs.Args, jobs.OnAsset); err != nil {
			return err
		}
	}
	return nil
}

// restartRun lets a run go on with the steps that which selects.
func (a *App) restartRun(
	ctx context.Context, c auth.Caller, verb string, id hostler.RunID,
	which func(r *store.RunRow, s *store.RunStepRow) bool,
) (hostler.Run, error) {
	g, err := a.allow(c, auth.ChangeRun)
	if err != nil {
		return hostler.Run{}, err
	}
	if err := a.judgeRun(ctx, g, id); err != nil {
		return hostler.Run{}, err
	}
	changed, err := a.changedApprovals(ctx, g, id)
	if err != nil {
		return hostler.Run{}, err
	}
	return a.changeRun(ctx, c, verb, id, nil, func(s *scope, r *store.RunRow) error {
		switch {
		case r.Paused && verb == "run.resume":
			r.Paused, r.State = false, hostler.RunRunning
			return nil
		case !r.State.Ended():
			return hostler.Errorf(hostler.CodeConflict,
				"the run is %s: it goes on by itself", "执行状态为 %s，会自行继续", r.State)
		}
		return s.restart(r, func(step *store.RunStepRow) bool {
			return slices.Contains(changed, step.ID) || which(r, step)
		})
	})
}

// judgeRun judges the commands of the steps of a run that have not succeeded: the rules may
// have changed since it started.
func (a *App) judgeRun(ctx context.Context, g grant, id hostler.RunID) error {
	rows, err := list(ctx, g, func(s *scope) ([]store.RunStepRow, error) {
		if run, err := s.Tx.Run(s.project, id); err != nil || run == nil {
			return nil, err
		}
		return s.RunSteps(id)
	})
	if err != nil {
		return err
	}
	commands := a.commands(ctx, g, nil)
	for i := range rows {
		if rows[i].Jobs == "" || rows[i].State == hostler.StepSucceeded || rows[i].State == hostler.StepSkipped {
			continue
		}
		var jobs store.StepJobs
		if err := json.Unmarshal([]byte(rows[i].Jobs), &jobs); err != nil {
			return fmt.Errorf("decode the jobs of a step: %w", err)
		}
		act, ok := a.cfg.Actions.Lookup(jobs.Action)
		if !ok {
			continue
		}
		commands.approved = jobs.Approved
		if err := commands.check(act, jobs.Args); err != nil {
			a.recordRuleRefusal(ctx, g, err)
			return err
		}
	}
	return nil
}

// CheckJobs tells why jobs of a step are refused whose args are complete only now, because
// they look up what earlier steps have left.
func (a *App) CheckJobs(
	tx *store.Tx, r *store.RunRow, jobs *store.StepJobs, args []json.RawMessage,
) ([]*hostler.Text, error) {
	out := make([]*hostler.Text, len(args))
	projects, err := tx.Projects([]hostler.ProjectID{r.Project}, false, "", 1)
	if err != nil || len(projects) == 0 {
		return out, err
	}
	g := grant{app: a, project: r.Project, unattended: true, caller: auth.Caller{
		Project: r.Project, ProjectName: projects[0].Name, User: r.RequesterName, UserID: r.Requester,
	}}
	var refusals []error
	commands := newCommandCheck(g, nil, func() ([]hostler.CommandRule, error) {
		rows, err := tx.CommandRules(r.Project)
		return mergeRules(rows), err
	})
	commands.approved = jobs.Approved
	if err := commands.prepare(); err != nil {
		return nil, err
	}
	for i := range args {
		if args[i] == nil {
			continue
		}
		act, err := a.enabledAction(jobs.Action, args[i])
		if err == nil {
			err = sameCredentials(act, jobs.Args, args[i])
		}
		if err == nil {
			err = commands.check(act, args[i])
		}
		if hostler.CodeOf(err) == hostler.CodeInternal {
			return nil, err
		}
		if err != nil {
			text := reasonOf(err)
			out[i], refusals = &text, append(refusals, err)
		}
	}
	if len(refusals) > 0 {
		tx.AfterCommit(func(ctx context.Context) { a.recordRuleRefusal(ctx, g, refusals...) })
	}
	return out, nil
}

// changedApprovals returns the steps of approvals that do not approve any more what would
// run: they ask again.
func (a *App) changedApprovals(ctx context.Context, g grant, id hostler.RunID) ([]hostler.RunStepID, error) {
	approved, err := list(ctx, g, func(s *scope) ([]store.ApprovalRow, error) {
		return s.Tx.Approvals(s.project, hostler.ApprovalApproved, id, 0, hostler.MaxSteps)
	})
	if err != nil {
		return nil, err
	}
	var changed []hostler.RunStepID
	for _, row := range approved {
		p, err := a.cfg.Plan(ctx, row)
		if err != nil {
			return nil, err
		}
		if p.Digest != row.Digest {
			changed = append(changed, row.Step)
		}
	}
	return changed, nil
}

// restart begins a new round of the selected steps of an ended run, and of all steps
// behind them.
func (s *scope) restart(r *store.RunRow, which func(step *store.RunStepRow) bool) error {
	rows, err := s.RunSteps(r.ID)
	if err != nil {
		return err
	}
	specs, err := specsOf(rows)
	if err != nil {
		return err
	}
	links := flow.Link(specs)
	// What was undone does not count as done: it runs again, on all hosts.
	first, undone := make([]bool, len(rows)), make([]bool, len(rows))
	for i := range rows {
		first[i] = links[i].PartOf == 0 && links[i].Undoes == 0 && which(&rows[i])
		if u := links[i].Undoes; u > 0 && rows[i].Started+rows[i].Kept > 0 {
			undone[u-1] = true
		}
	}
	for i := range rows {
		first[i] = first[i] || undone[i]
	}
	again := flow.Behind(flow.Graph(specs), first)
	var restarted []store.RunStepRow
	for i, row := range rows {
		if !first[i] && (!again[i] || row.State == hostler.StepSkipped && links[i].Ordinary()) {
			continue
		}
		row.Kept += row.Succeeded
		if !first[i] || undone[i] {
			row.Kept = 0 // it runs behind other work now
		}
		row.State, row.Round, row.Hosts = hostler.StepPending, row.Round+1, row.Total-row.Kept
		if specs[i].Follows {
			row.Hosts = 0
		}
		restarted = append(restarted, row)
	}
	if len(restarted) == 0 {
		return hostler.Errorf(hostler.CodeConflict, "every step has succeeded: there is nothing to run again",
			"所有步骤均已成功，没有可重新执行的内容")
	}
	r.State, r.Stop, r.EndedAt = hostler.RunRunning, "", time.Time{}
	targets, err := s.targetsOfRun(r.ID, restarted)
	if err != nil {
		return err
	}
	if r.StartAt, err = s.waitForCalendars(begin{targets: targets}); err != nil {
		return closedForRestart(err, r.ID)
	}
	return s.RestartSteps(restarted)
}

// closedForRestart names the way around a closed calendar: what continues a run has none.
func closedForRestart(err error, id hostler.RunID) error {
	closed, ok := errors.AsType[*closedError](err)
	if !ok {
		return err
	}
	e := hostler.Errorf(hostler.CodeForbidden,
		"the calendar %s is closed: wait, or let an admin run it anew: hostler run rerun %s --override-calendar REASON",
		"日历 %s 在关闭期：请等待，或由管理员重新执行：hostler run rerun %s --override-calendar 原因", closed.name, id)
	e.Cause = err
	return e
}

// targetsOfRun are the assets of some steps of a run.
func (s *scope) targetsOfRun(id hostler.RunID, steps []store.RunStepRow) ([]store.Target, error) {
	const page = 5000
	var out []store.Target
	seen := map[int]bool{0: true}
	for i := range steps {
		for from := int64(0); !seen[steps[i].HostSet]; from += page {
			hosts, err := s.Tx.RunHosts(id, steps[i].HostSet, from, page)
			if err != nil {
				return nil, err
			}
			for _, h := range hosts {
				out = append(out, store.Target{ID: h.ID})
			}
			if len(hosts) < page {
				break
			}
		}
		seen[steps[i].HostSet] = true
	}
	return out, nil
}

// sameCredentials refuses args whose outputs of earlier steps, which a host prints, name a
// credential that the args of the step do not.
func sameCredentials(act *action.Action, before, after json.RawMessage) error {
	if act.Credentials == nil {
		return nil
	}
	known := map[action.CredentialUse]bool{}
	for _, use := range act.Credentials(before) {
		known[action.CredentialUse{Name: use.Name, Use: use.Use}] = true
	}
	for _, use := range act.Credentials(after) {
		if !known[action.CredentialUse{Name: use.Name, Use: use.Use}] {
			return hostler.Invalid("args", "an output of a step must not name a credential", "步骤输出不得指定凭据")
		}
	}
	return nil
}
