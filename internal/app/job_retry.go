package app

import (
	"context"
	"slices"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// RetryJob creates a new job like one that has ended.
func (a *App) RetryJob(ctx context.Context, c auth.Caller, id hostler.JobID, idem string) (hostler.Job, error) {
	g, err := a.allow(c, auth.ChangeJob)
	if err != nil {
		return hostler.Job{}, err
	}
	key, err := g.idempotencyKey("POST /jobs/{id}/retry", idem, id)
	if err != nil {
		return hostler.Job{}, err
	}
	ids := []hostler.JobID{id}
	commands, err := a.judgeRetries(ctx, g, ids, nil)
	if err != nil {
		return hostler.Job{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Job, error) {
		created, err := idempotent(s, key, func() (hostler.JobID, error) {
			results, err := s.retry(ids, commands, nil)
			if err != nil {
				return 0, err
			}
			return results[0].id, results[0].err
		})
		if err != nil {
			return hostler.Job{}, err
		}
		return s.job(created)
	})
}

// RetryJobs creates new jobs like the ended ones that the request selects, all in one
// run. A filter without states selects those that did not succeed. A filter that
// selects more than one call may retry is refused, because the next call would select
// the same jobs again.
func (a *App) RetryJobs(
	ctx context.Context, c auth.Caller, b hostler.BulkRequest, idem string,
) (hostler.BulkResult, error) {
	g, err := a.allow(c, auth.ChangeJob)
	if err != nil {
		return hostler.BulkResult{}, err
	}
	if err := a.checkRetry(b); err != nil {
		return hostler.BulkResult{}, err
	}
	if err := g.checkOverride(b.OverrideRule); err != nil {
		return hostler.BulkResult{}, err
	}
	key, err := g.idempotencyKey("POST /jobs/retry", idem, b)
	if err != nil {
		return hostler.BulkResult{}, err
	}
	if answer, found, err := answeredBefore[hostler.BulkResult](ctx, g, key); err != nil || found {
		return answer, err
	}
	ids, more, err := a.selectJobs(ctx, g, b, retriable(b.Filter))
	if err != nil {
		return hostler.BulkResult{}, err
	}
	if more {
		return hostler.BulkResult{}, hostler.Invalid("filter",
			"selects more than the %d jobs that one call may retry; narrow it, for example by since and until",
			"选中的作业超过每次可重试的 %d 个；请缩小范围，例如使用 since 和 until", a.cfg.Limits.Bulk)
	}
	commands, err := a.judgeRetries(ctx, g, ids, b.OverrideRule)
	if err != nil {
		return hostler.BulkResult{}, err
	}
	var refusals []error
	out, err := change(ctx, g, func(s *scope) (hostler.BulkResult, error) {
		return idempotent(s, key, func() (out hostler.BulkResult, err error) {
			out, refusals, err = s.retryAll(ids, commands, b.OverrideCalendar)
			return out, err
		})
	})
	if err == nil {
		a.recordRuleRefusal(ctx, g, refusals...)
	}
	return out, err
}

// judgeRetries judges the commands of ended jobs that are to be created again. What is
// wrong with a job is for the transaction to tell.
func (a *App) judgeRetries(
	ctx context.Context, g grant, ids []hostler.JobID, o *hostler.RuleOverride,
) (*commandCheck, error) {
	commands := a.commands(ctx, g, o)
	defer commands.close()
	var total argsTotal
	for some := range slices.Chunk(ids, specsStep) {
		specs, err := list(ctx, g, func(s *scope) (map[hostler.JobID]hostler.JobSpec, error) {
			return s.JobSpecs(s.project, some)
		})
		if err != nil {
			return nil, err
		}
		for _, spec := range specs {
			total.add(spec.Args)
			act, err := a.enabledAction(spec.Action, spec.Args)
			if err != nil {
				continue
			}
			if err := commands.check(act, spec.Args); hostler.CodeOf(err) == hostler.CodeInternal {
				return nil, err
			}
		}
		if err := a.checkArgs("ids", total); err != nil {
			return nil, err
		}
	}
	return commands, nil
}

func (a *App) checkRetry(b hostler.BulkRequest) error {
	if b.State != "" || b.Note != "" {
		return errResolveOnly()
	}
	return a.checkBulk(b)
}

// retriable returns the states from which a filter selects jobs to retry.
func retriable(f *hostler.JobFilter) []hostler.State {
	states := []hostler.State{hostler.StateFailed, hostler.StateCancelled, hostler.StateExpired}
	if f != nil && slices.Contains(f.States, hostler.StateSucceeded) {
		states = append(states, hostler.StateSucceeded)
	}
	return states
}

// retryAll also returns why jobs were not retried.
func (s *scope) retryAll(
	ids []hostler.JobID, commands *commandCheck, o *hostler.CalendarOverride,
) (res hostler.BulkResult, refusals []error, err error) {
	made, err := s.retry(ids, commands, o)
	if err != nil {
		return res, nil, err
	}
	res = hostler.BulkResult{Matched: len(ids), Items: make([]hostler.ItemOutcome, 0, len(ids))}
	for _, m := range made {
		item, err := itemOf(m.of, m.err)
		if err != nil {
			return res, nil, err
		}
		res.Items, refusals = append(res.Items, item), append(refusals, m.err)
	}
	return res, refusals, nil
}

// retried is the result for one job that was to be retried.
type retried struct {
	of  hostler.JobID
	id  hostler.JobID // of the new job
	err error         // why there is none
}

// retry creates new jobs like ended ones, in one run. An error of one of them is in
// its result; the others are created all the same.
func (s *scope) retry(
	ids []hostler.JobID, commands *commandCheck, o *hostler.CalendarOverride,
) ([]retried, error) {
	specs, err := s.specsToRetry(ids)
	if err != nil {
		return nil, err
	}
	if err := s.FreezeLanes(); err != nil {
		return nil, err
	}
	keys, err := s.deviceKeys(specs)
	if err != nil {
		return nil, err
	}
	admission, err := s.admission(specs)
	if err != nil {
		return nil, err
	}
	run, err := s.NewID()
	if err != nil {
		return nil, err
	}
	out := make([]retried, len(ids))
	var retries []hostler.JobSpec
	var at []int
	for i, id := range ids {
		out[i].of = id
		spec, err := s.retrySpec(id, specs, keys, commands)
		if err == nil {
			err = s.checkRetryCalendars(&spec, o)
		}
		if err == nil {
			err = admission.Check(&spec)
		}
		if hostler.CodeOf(err) == hostler.CodeInternal {
			return nil, err
		}
		if out[i].err = err; err != nil {
			continue
		}
		spec.Run = hostler.RunID(run)
		spec.CreatedBy, spec.CreatedByID = s.caller.User, s.caller.UserID
		retries, at = append(retries, spec), append(at, i)
	}
	made, err := s.Enqueue(retries)
	if err != nil {
		return nil, err
	}
	for n, id := range made {
		out[at[n]].id = id
		detail := map[string]any{"job": id}
		commands.overrideDetail(detail)
		if o != nil {
			detail["override_calendar"] = o.Reason
		}
		if err := s.audit("job.retry", out[at[n]].of.String(), detail); err != nil {
			return nil, err
		}
	}
	if len(made) == 0 {
		s.unchanged()
	}
	return out, nil
}

// checkRetryCalendars asks the calendars when a retry may begin.
func (s *scope) checkRetryCalendars(spec *hostler.JobSpec, o *hostler.CalendarOverride) error {
	until, err := s.waitForCalendars(begin{targets: []store.Target{{ID: spec.Asset}}, override: o})
	if err != nil || until.IsZero() {
		return err
	}
	if !spec.ExpiresAt.IsZero() {
		spec.ExpiresAt = spec.ExpiresAt.Add(until.Sub(s.Now()))
	}
	spec.RunAt = until
	return nil
}

// specsStep is how many jobs, with their args, specsToRetry reads before it looks at the
// size of these.
const specsStep = 32

// specsToRetry reads what ended jobs were created from.
func (s *scope) specsToRetry(ids []hostler.JobID) (map[hostler.JobID]hostler.JobSpec, error) {
	specs := make(map[hostler.JobID]hostler.JobSpec, len(ids))
	var total argsTotal
	for some := range slices.Chunk(ids, specsStep) {
		read, err := s.JobSpecs(s.project, some)
		if err != nil {
			return nil, err
		}
		for id, spec := range read {
			specs[id] = spec
			total.add(spec.Args)
		}
		if err := s.app.checkArgs("ids", total); err != nil {
			return nil, err
		}
	}
	return specs, nil
}

// admission returns what decides whether jobs may enter their queues again.
func (s *scope) admission(specs map[hostler.JobID]hostler.JobSpec) (*store.Admission, error) {
	var queues []string
	for _, spec := range specs {
		if !slices.Contains(queues, spec.Queue) {
			queues = append(queues, spec.Queue)
		}
	}
	return s.Admission(s.project, queues...)
}

// deviceKeys returns the current device keys of the jobs' assets.
func (s *scope) deviceKeys(specs map[hostler.JobID]hostler.JobSpec) (map[hostler.AssetID]string, error) {
	var ids []hostler.AssetID
	for _, spec := range specs {
		if spec.Asset != 0 {
			ids = append(ids, spec.Asset)
		}
	}
	targets, err := s.Targets(s.project, store.Selection{IDs: ids})
	keys := make(map[hostler.AssetID]string, len(targets))
	for _, t := range targets {
		keys[t.ID] = t.DeviceKey
	}
	return keys, err
}

// retrySpec returns the spec of a new job like an ended one, checked like a new one.
func (s *scope) retrySpec(
	id hostler.JobID, specs map[hostler.JobID]hostler.JobSpec, keys map[hostler.AssetID]string,
	commands *commandCheck,
) (hostler.JobSpec, error) {
	spec, ok := specs[id]
	if !ok {
		if _, err := s.job(id); err != nil {
			return spec, err
		}
		return spec, hostler.Errorf(hostler.CodeConflict,
			"only a job that has ended can be retried", "只有已结束的作业才能重试")
	}
	if spec.Target != nil {
		return spec, errLoginDeleted(spec.AssetName)
	}
	if err := s.checkLimit(spec.Action, spec.Asset != 0); err != nil {
		return spec, err
	}
	act, err := s.app.enabledAction(spec.Action, spec.Args)
	if err != nil {
		return spec, err
	}
	if err := s.checkRun(act, spec.Args, spec.Asset != 0); err != nil {
		return spec, err
	}
	if err := commands.check(act, spec.Args); err != nil {
		return spec, err
	}
	key, ok := keys[spec.Asset]
	if spec.Asset != 0 && !ok {
		return spec, hostler.Errorf(hostler.CodeConflict,
			"its asset %q was deleted", "其资产 %q 已被删除", spec.AssetName)
	}
	if err := s.checkUses(act, spec.Args, []store.Target{{ID: spec.Asset}}, nil); err != nil {
		return spec, err
	}
	if strings.HasPrefix(spec.LaneKey, hostler.AssetLaneKey("")) {
		spec.LaneKey = hostler.AssetLaneKey(key)
	}
	return spec, nil
}
