package app

import (
	"context"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// Job reads one job.
func (a *App) Job(ctx context.Context, c auth.Caller, id hostler.JobID) (hostler.Job, error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return hostler.Job{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Job, error) { return s.job(id) })
}

// job reads a job of the acting project.
func (s *scope) job(id hostler.JobID) (hostler.Job, error) {
	j, err := s.Tx.Job(s.project, id)
	if err != nil {
		return hostler.Job{}, err
	}
	if j == nil {
		return hostler.Job{}, hostler.NotFound(jobWord, id.String())
	}
	return *j, nil
}

// Jobs lists the jobs that the filter selects, newest first. A page may hold fewer
// jobs than its limit and yet not be the last: only so many rows are looked at for
// one.
func (a *App) Jobs(ctx context.Context, c auth.Caller, f hostler.JobFilter, p hostler.Page) (hostler.List[hostler.Job], error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return hostler.List[hostler.Job]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Job]{}, err
	}
	var before hostler.JobID
	if before.UnmarshalText([]byte(after)) != nil {
		return hostler.List[hostler.Job]{}, errCursor()
	}
	if err := checkFilter("", f); err != nil {
		return hostler.List[hostler.Job]{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.List[hostler.Job], error) {
		q, err := s.query(f)
		if err != nil {
			return hostler.List[hostler.Job]{}, err
		}
		ids, next, err := s.ListJobIDs(q, before, limit)
		if err != nil {
			return hostler.List[hostler.Job]{}, err
		}
		return s.page(ids, next)
	})
}

func checkFilter(path string, f hostler.JobFilter) error {
	var fields check.Fields
	for _, st := range f.States {
		check.OneOf(&fields, path+"states", st, hostler.States()...)
	}
	fields.Line(path+"queue", f.Queue, 64)
	fields.Line(path+"action", f.Action, 64)
	fields.Line(path+"asset", f.Asset, 253)
	fields.Line(path+"lane", f.Lane, 253)
	checkPeriod(&fields, path, f.Since, f.Until)
	return fields.Err()
}

// checkPeriod checks the times of a filter.
func checkPeriod(fields *check.Fields, path string, since, until *time.Time) {
	for name, t := range map[string]*time.Time{"since": since, "until": until} {
		fields.Time(path+name, t)
	}
}

// query resolves the names of a filter. The name of an asset that is gone selects
// by the name that its jobs had.
func (s *scope) query(f hostler.JobFilter) (store.JobQuery, error) {
	q := store.JobQuery{
		Project: s.project, States: f.States, Queue: f.Queue, Action: f.Action, Lane: f.Lane, Run: f.Run,
	}
	if act, ok := s.app.cfg.Actions.Lookup(f.Action); ok {
		q.Action = act.Name
	}
	if f.Since != nil {
		q.Since = *f.Since
	}
	if f.Until != nil {
		q.Until = *f.Until
	}
	if f.Asset == "" {
		return q, nil
	}
	if q.Asset, q.AssetName = assetRef(f.Asset); q.Asset != 0 {
		return q, nil
	}
	row, err := s.Tx.Asset(s.project, 0, f.Asset)
	if err == nil && row != nil {
		q.Asset, q.AssetName = row.ID, ""
	}
	return q, err
}

// Attempts lists the tries of a job that are over, oldest first.
func (a *App) Attempts(ctx context.Context, c auth.Caller, id hostler.JobID) ([]hostler.Attempt, error) {
	return aboutJob(ctx, a, c, id, func(s *scope) ([]hostler.Attempt, error) { return s.Attempts(id) })
}

// Waiting says why a job is not running yet; nothing for one that is not waiting.
func (a *App) Waiting(ctx context.Context, c auth.Caller, id hostler.JobID) ([]hostler.Waiting, error) {
	return aboutJob(ctx, a, c, id, func(s *scope) ([]hostler.Waiting, error) { return s.Explain(id, s.project) })
}

// aboutJob reads something about a job of the acting project.
func aboutJob[T any](ctx context.Context, a *App, c auth.Caller, id hostler.JobID, read func(s *scope) ([]T, error)) ([]T, error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return nil, err
	}
	return view(ctx, g, func(s *scope) ([]T, error) {
		if _, err := s.job(id); err != nil {
			return nil, err
		}
		out, err := read(s)
		if out == nil {
			out = []T{}
		}
		return out, err
	})
}

// Run counts the jobs of a run by state.
func (a *App) Run(ctx context.Context, c auth.Caller, id hostler.RunID) (hostler.RunSummary, error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return hostler.RunSummary{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.RunSummary, error) {
		sum, err := s.RunSummary(s.project, id)
		if err == nil && sum.Total == 0 {
			err = hostler.NotFound(runWord, id.String())
		}
		return sum, err
	})
}

// logMost bounds the lines of one read of a job's output.
const logMost = 10_000

// ReadLog reads a job's output after a position, 0 for the start. It returns the
// position to go on from; fewer lines than limit (0: 1,000) means that there are
// no more by now.
func (a *App) ReadLog(ctx context.Context, c auth.Caller, id hostler.JobID, after int64, limit int) ([]hostler.LogEntry, int64, error) {
	if limit == 0 {
		limit = 1000
	}
	if err := a.mayReadLog(ctx, c, id, limit); err != nil {
		return nil, 0, err
	}
	entries, next, err := a.store.ReadLog(ctx, id, max(after, 0), limit)
	if entries == nil {
		entries = []hostler.LogEntry{}
	}
	return entries, next, err
}

// TailLog reads the last n lines of a job's output, in order.
func (a *App) TailLog(ctx context.Context, c auth.Caller, id hostler.JobID, n int) ([]hostler.LogEntry, error) {
	if err := a.mayReadLog(ctx, c, id, n); err != nil {
		return nil, err
	}
	entries, err := a.store.TailLog(ctx, id, n)
	if entries == nil {
		entries = []hostler.LogEntry{}
	}
	return entries, err
}

func (a *App) mayReadLog(ctx context.Context, c auth.Caller, id hostler.JobID, limit int) error {
	if _, err := a.Job(ctx, c, id); err != nil {
		return err
	}
	if limit < 1 || limit > logMost {
		return hostler.Invalid("limit", "must be between 1 and %d", "必须在 1 到 %d 之间", logMost)
	}
	return nil
}

// CancelJob cancels a job that waits, at once, or asks for the end of one that
// runs. CodeConflict: it has ended, or its outcome is unknown.
func (a *App) CancelJob(ctx context.Context, c auth.Caller, id hostler.JobID) (hostler.Job, error) {
	g, err := a.allow(c, auth.ChangeJob)
	if err != nil {
		return hostler.Job{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Job, error) { return s.cancelJob(id) })
}

func (s *scope) cancelJob(id hostler.JobID) (hostler.Job, error) {
	if _, err := s.job(id); err != nil {
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

// ResolveJob decides the outcome of an unknown job.
func (a *App) ResolveJob(ctx context.Context, c auth.Caller, id hostler.JobID, in hostler.ResolveInput) (hostler.Job, error) {
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

func (s *scope) resolveJob(id hostler.JobID, in hostler.ResolveInput) (hostler.Job, error) {
	if _, err := s.job(id); err != nil {
		return hostler.Job{}, err
	}
	if err := s.ResolveJob(id, in.State, s.caller.User, in.Note); err != nil {
		return hostler.Job{}, err
	}
	if err := s.audit("job.resolve", id.String(), in); err != nil {
		return hostler.Job{}, err
	}
	return s.job(id)
}

// RetryJob makes a new job like one that has ended.
func (a *App) RetryJob(ctx context.Context, c auth.Caller, id hostler.JobID, idem string) (hostler.Job, error) {
	g, err := a.allow(c, auth.ChangeJob)
	if err != nil {
		return hostler.Job{}, err
	}
	key, err := g.idemRequest("POST /jobs/{id}/retry", idem, id)
	if err != nil {
		return hostler.Job{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Job, error) {
		fresh, err := once(s, key, func() (hostler.JobID, error) {
			made, err := s.retry([]hostler.JobID{id})
			if err != nil {
				return 0, err
			}
			return made[0].id, made[0].err
		})
		if err != nil {
			return hostler.Job{}, err
		}
		return s.job(fresh)
	})
}
