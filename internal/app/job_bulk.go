package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// bulkScan is how many pages of a listing one bulk change reads.
const bulkScan = 20

// CancelJobs cancels the jobs that the request selects, each in a transaction of its
// own. A filter selects jobs that have not ended and whose cancellation was not
// requested yet.
func (a *App) CancelJobs(ctx context.Context, c auth.Caller, b hostler.BulkRequest) (hostler.BulkResult, error) {
	g, err := a.allow(c, auth.ChangeJob)
	if err != nil {
		return hostler.BulkResult{}, err
	}
	if b.State != "" || b.Note != "" {
		return hostler.BulkResult{}, errResolveOnly()
	}
	states := []hostler.State{hostler.StateScheduled, hostler.StateQueued, hostler.StateRunning}
	return a.bulk(ctx, g, b, states, (*scope).cancelJob)
}

// ResolveJobs sets the outcome of the unknown jobs that the request selects, each in a
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
	resolve := func(s *scope, id hostler.JobID) (hostler.Job, error) { return s.resolveJob(id, in) }
	return a.bulk(ctx, g, b, []hostler.State{hostler.StateUnknown}, resolve)
}

// errResolveOnly refuses the fields of a resolution in other bulk changes.
func errResolveOnly() error {
	return hostler.Invalid("state", "is allowed for resolve only", "仅用于确认结果")
}

// bulk applies a change to the selected jobs one by one, so that each has the result
// that the single change would have had.
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

// itemOf returns the outcome of one object. An error that does not concern the object
// alone is returned: it ends the call.
func itemOf(id fmt.Stringer, err error) (hostler.ItemOutcome, error) {
	item := hostler.ItemOutcome{ID: id.String(), OK: err == nil}
	switch hostler.CodeOf(err) {
	case "":
		return item, nil
	case hostler.CodeNotFound, hostler.CodeConflict, hostler.CodeInvalid, hostler.CodeForbidden:
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

// checkBulk checks the selection of a bulk change, which must not select all jobs.
func (a *App) checkBulk(b hostler.BulkRequest) error {
	switch {
	case b.Filter == nil && len(b.IDs) == 0:
		return hostler.Invalid("filter",
			"give a filter or ids: changing all jobs is not supported",
			"请提供 filter 或 ids：不支持更改全部作业")
	case b.Filter != nil && len(b.IDs) > 0:
		return hostler.Invalid("ids", "give a filter or ids, not both", "filter 与 ids 只能提供一个")
	case len(b.IDs) > a.cfg.Limits.Bulk:
		return hostler.Invalid("ids", "must be at most %d in one call", "每次调用最多 %d 个", a.cfg.Limits.Bulk)
	case b.Filter != nil && b.Filter.Empty():
		return hostler.Invalid("filter",
			"must not be empty: changing all jobs is not supported", "不能为空：不支持更改全部作业")
	case b.Filter != nil:
		return checkFilter("filter.", *b.Filter)
	}
	return nil
}

// selectJobs returns the ids that a bulk request selects, at most as many as one call
// may change, and whether there may be more. A filter selects only jobs in states in
// which the change can be made.
func (a *App) selectJobs(
	ctx context.Context, g grant, b hostler.BulkRequest, states []hostler.State,
) (selected []hostler.JobID, more bool, err error) {
	if b.Filter == nil {
		ids := slices.Clone(b.IDs)
		slices.Sort(ids)
		return slices.Compact(ids), false, nil
	}
	f := *b.Filter
	if len(f.States) > 0 {
		unwanted := func(s hostler.State) bool { return !slices.Contains(f.States, s) }
		states = slices.DeleteFunc(slices.Clone(states), unwanted)
	}
	if len(states) == 0 {
		return nil, false, nil
	}
	f.States = states
	_, err = view(ctx, g, func(s *scope) (struct{}, error) {
		selected, more, err = s.selectByFilter(f, a.cfg.Limits.Bulk)
		return struct{}{}, err
	})
	return selected, more, err
}

// selectByFilter reads pages of the listing until it has most jobs or has read
// bulkScan pages.
func (s *scope) selectByFilter(f hostler.JobFilter, most int) (selected []hostler.JobID, more bool, err error) {
	q, err := s.query(f)
	if err != nil {
		return nil, false, err
	}
	before := hostler.JobID(0)
	for range bulkScan {
		ids, next, err := s.ListJobIDs(q, before, most)
		if err != nil {
			return nil, false, err
		}
		if ids, err = s.withoutCancelRequested(ids); err != nil {
			return nil, false, err
		}
		selected = append(selected, ids...)
		switch {
		case len(selected) > most:
			return selected[:most], true, nil
		case next == 0:
			return selected, false, nil
		}
		before = next
	}
	return selected, true, nil
}

// withoutCancelRequested leaves out running jobs whose cancellation was requested:
// a second request has no effect, and a call that is repeated until nothing is left
// must come to an end.
func (s *scope) withoutCancelRequested(ids []hostler.JobID) ([]hostler.JobID, error) {
	requested, err := s.CancelRequested(ids)
	return slices.DeleteFunc(ids, func(id hostler.JobID) bool { return requested[id] }), err
}
