package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// bulkScan is how many pages of a listing one bulk change looks through.
const bulkScan = 20

// CancelJobs cancels the jobs that the request selects, each in a transaction of
// its own. A filter selects jobs that have not ended and that nobody asked to
// cancel yet.
func (a *App) CancelJobs(ctx context.Context, c auth.Caller, b hostler.BulkRequest) (hostler.BulkResult, error) {
	g, err := a.allow(c, auth.ChangeJob)
	if err != nil {
		return hostler.BulkResult{}, err
	}
	if b.State != "" || b.Note != "" {
		return hostler.BulkResult{}, hostler.Invalid("state", "belongs to resolve only", "仅用于裁定")
	}
	return a.bulk(ctx, g, b, []hostler.State{hostler.StateScheduled, hostler.StateQueued, hostler.StateRunning},
		func(s *scope, id hostler.JobID) (hostler.Job, error) { return s.cancelJob(id) })
}

// ResolveJobs decides the unknown jobs that the request selects, each in a
// transaction of its own.
func (a *App) ResolveJobs(ctx context.Context, c auth.Caller, b hostler.BulkRequest) (hostler.BulkResult, error) {
	g, err := a.allow(c, auth.ChangeJob)
	if err != nil {
		return hostler.BulkResult{}, err
	}
	in := hostler.ResolveInput{State: b.State, Note: b.Note}
	if err := checkResolution(in); err != nil {
		return hostler.BulkResult{}, err
	}
	return a.bulk(ctx, g, b, []hostler.State{hostler.StateUnknown},
		func(s *scope, id hostler.JobID) (hostler.Job, error) { return s.resolveJob(id, in) })
}

// bulk changes the selected jobs one by one: what a person sees of each is what a
// single change would have said.
func (a *App) bulk(ctx context.Context, g grant, b hostler.BulkRequest, states []hostler.State,
	one func(s *scope, id hostler.JobID) (hostler.Job, error),
) (hostler.BulkResult, error) {
	if err := a.checkBulk(b); err != nil {
		return hostler.BulkResult{}, err
	}
	ids, more, err := a.selectJobs(ctx, g, b, states)
	if err != nil {
		return hostler.BulkResult{}, err
	}
	res := hostler.BulkResult{Matched: len(ids), Items: make([]hostler.ItemOutcome, 0, len(ids)), More: more}
	for _, id := range ids {
		_, err := change(ctx, g, func(s *scope) (hostler.Job, error) { return one(s, id) })
		item, err := itemOf(id, err)
		if err != nil {
			return res, err
		}
		res.Items = append(res.Items, item)
	}
	return res, nil
}

// itemOf is the outcome of one object; an error that is not about the object ends
// the whole call.
func itemOf(id fmt.Stringer, err error) (hostler.ItemOutcome, error) {
	item := hostler.ItemOutcome{ID: id.String(), OK: err == nil}
	switch hostler.CodeOf(err) {
	case "":
		return item, nil
	case hostler.CodeNotFound, hostler.CodeConflict, hostler.CodeInvalid:
		if e, ok := errors.AsType[*hostler.Error](err); ok {
			text := e.Text
			for _, f := range e.Fields {
				text.EN += "; " + f.Path + ": " + f.Text.EN
				text.ZH += "；" + f.Path + "：" + f.Text.ZH
			}
			item.Error = &text
		}
		return item, nil
	default:
		return item, err
	}
}

func (a *App) checkBulk(b hostler.BulkRequest) error {
	switch {
	case b.Filter == nil && len(b.IDs) == 0:
		return hostler.Invalid("filter", "give a filter or ids: changing every job is not offered", "请提供 filter 或 ids：不支持更改全部作业")
	case b.Filter != nil && len(b.IDs) > 0:
		return hostler.Invalid("ids", "give a filter or ids, not both", "filter 与 ids 只能提供一个")
	case len(b.IDs) > a.cfg.Limits.Bulk:
		return hostler.Invalid("ids", "must be at most %d in one call", "每次调用最多 %d 个", a.cfg.Limits.Bulk)
	case b.Filter != nil && b.Filter.Empty():
		return hostler.Invalid("filter", "must not be empty: changing every job is not offered", "不能为空：不支持更改全部作业")
	case b.Filter != nil:
		return checkFilter("filter.", *b.Filter)
	}
	return nil
}

// selectJobs finds the ids that a bulk request means, at most as many as one call
// may change, and says whether there may be more. A filter is narrowed to the
// states in which the change can be made.
func (a *App) selectJobs(ctx context.Context, g grant, b hostler.BulkRequest, states []hostler.State) ([]hostler.JobID, bool, error) {
	if b.Filter == nil {
		ids := slices.Clone(b.IDs)
		slices.Sort(ids)
		return slices.Compact(ids), false, nil
	}
	f := *b.Filter
	if len(f.States) > 0 {
		states = slices.DeleteFunc(slices.Clone(states), func(s hostler.State) bool { return !slices.Contains(f.States, s) })
	}
	if len(states) == 0 {
		return nil, false, nil
	}
	f.States = states
	type found struct {
		ids  []hostler.JobID
		more bool
	}
	got, err := view(ctx, g, func(s *scope) (found, error) {
		var out found
		q, err := s.query(f)
		if err != nil {
			return out, err
		}
		before := hostler.JobID(0)
		for range bulkScan {
			ids, next, err := s.ListJobIDs(q, before, a.cfg.Limits.Bulk)
			if err != nil {
				return out, err
			}
			if ids, err = s.notYetAsked(ids); err != nil {
				return out, err
			}
			out.ids = append(out.ids, ids...)
			if len(out.ids) > a.cfg.Limits.Bulk {
				return found{out.ids[:a.cfg.Limits.Bulk], true}, nil
			}
			if out.more = next != 0; !out.more {
				return out, nil
			}
			before = next
		}
		return out, nil
	})
	return got.ids, got.more, err
}

// notYetAsked leaves out running jobs that somebody asked to cancel: asking again
// brings nothing, and a call that is repeated must come to an end.
func (s *scope) notYetAsked(ids []hostler.JobID) ([]hostler.JobID, error) {
	asked, err := s.CancelAsked(ids)
	return slices.DeleteFunc(ids, func(id hostler.JobID) bool { return asked[id] }), err
}

// RetryJobs makes new jobs like the ended ones that the request selects, all in
// one run. A filter that names no states selects those that did not succeed; one
// that selects more than a call may change is refused, because a repetition would
// find the same jobs again.
func (a *App) RetryJobs(ctx context.Context, c auth.Caller, b hostler.BulkRequest, idem string) (hostler.BulkResult, error) {
	g, err := a.allow(c, auth.ChangeJob)
	if err != nil {
		return hostler.BulkResult{}, err
	}
	if err := a.checkRetry(b); err != nil {
		return hostler.BulkResult{}, err
	}
	key, err := g.idemRequest("POST /jobs/retry", idem, b)
	if err != nil {
		return hostler.BulkResult{}, err
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
	return change(ctx, g, func(s *scope) (hostler.BulkResult, error) {
		return once(s, key, func() (hostler.BulkResult, error) { return s.retryAll(ids) })
	})
}

func (a *App) checkRetry(b hostler.BulkRequest) error {
	if b.State != "" || b.Note != "" {
		return hostler.Invalid("state", "belongs to resolve only", "仅用于裁定")
	}
	return a.checkBulk(b)
}

func retriable(f *hostler.JobFilter) []hostler.State {
	states := []hostler.State{hostler.StateFailed, hostler.StateCancelled, hostler.StateExpired}
	if f != nil && slices.Contains(f.States, hostler.StateSucceeded) {
		states = append(states, hostler.StateSucceeded)
	}
	return states
}

func (s *scope) retryAll(ids []hostler.JobID) (hostler.BulkResult, error) {
	made, err := s.retry(ids)
	if err != nil {
		return hostler.BulkResult{}, err
	}
	res := hostler.BulkResult{Matched: len(ids), Items: make([]hostler.ItemOutcome, 0, len(ids))}
	for _, m := range made {
		item, err := itemOf(m.of, m.err)
		if err != nil {
			return res, err
		}
		res.Items = append(res.Items, item)
	}
	return res, nil
}
