package app

import (
	"context"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/selector"
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

// job finds a job of the acting project.
func (s *scope) job(id hostler.JobID) (hostler.Job, error) {
	j, err := s.Tx.Job(s.project, id)
	if err != nil {
		return hostler.Job{}, err
	}
	if j == nil {
		return hostler.Job{}, hostler.NotFound(jobKind, id.String())
	}
	return *j, nil
}

// Jobs lists the jobs that the filter selects, newest first. A page may hold fewer
// jobs than its limit and yet not be the last, because the rows that are read for
// one page are bounded.
func (a *App) Jobs(
	ctx context.Context, c auth.Caller, f hostler.JobFilter, p hostler.Page,
) (hostler.List[hostler.Job], error) {
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
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Job], error) {
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

// page reads a page of jobs by their ids; see [pageBytes]. The id next is where the following page
// begins, unless this one ends early.
func (s *scope) page(ids []hostler.JobID, next hostler.JobID) (hostler.List[hostler.Job], error) {
	l := hostler.List[hostler.Job]{Items: []hostler.Job{}}
	size := 0
	for step := pageFirst; len(ids) > 0 && size < pageBytes; step = stepFor(size, len(l.Items)) {
		some := ids[:min(step, len(ids))]
		ids = ids[len(some):]
		jobs, err := s.Tx.Jobs(s.project, some)
		if err != nil {
			return l, err
		}
		l.Items = append(l.Items, jobs...)
		for _, j := range jobs {
			size += len(j.Args) + len(j.Result)
		}
		if len(ids) > 0 && size >= pageBytes {
			next = some[len(some)-1]
		}
	}
	if next != 0 {
		l.Next = cursor(next.String())
	}
	return l, nil
}

// checkFilter checks a filter of jobs; path goes before the names of its fields.
func checkFilter(path string, f hostler.JobFilter) error {
	var fields check.Fields
	for _, st := range f.States {
		check.OneOf(&fields, path+"states", st, hostler.States()...)
	}
	fields.Line(path+"queue", f.Queue, 64)
	fields.Line(path+"action", f.Action, 64)
	fields.Line(path+"asset", f.Asset, 253)
	fields.Line(path+"lane", f.Lane, 253)
	fields.Line(path+"user", f.User, 128)
	checkSelector(&fields, path+"selector", f.Selector)
	checkPeriod(&fields, path, f.Since, f.Until)
	return fields.Err()
}

// checkPeriod checks the times of a filter.
func checkPeriod(fields *check.Fields, path string, since, until *time.Time) {
	fields.Time(path+"since", since)
	fields.Time(path+"until", until)
}

// query resolves the names of a filter. The name of a deleted asset selects the jobs
// that recorded this name.
func (s *scope) query(f hostler.JobFilter) (store.JobQuery, error) {
	q := store.JobQuery{
		Project: s.project, States: f.States, Queue: f.Queue, Action: f.Action, Lane: f.Lane, Run: f.Run, User: f.User,
	}
	var err error
	if q.Labels, err = selector.Parse(f.Selector); err != nil {
		return q, err
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

// Attempts lists the ended attempts of a job, oldest first.
func (a *App) Attempts(ctx context.Context, c auth.Caller, id hostler.JobID) ([]hostler.Attempt, error) {
	return readOfJob(ctx, a, c, id, func(s *scope) ([]hostler.Attempt, error) { return s.Attempts(id) })
}

// Waiting lists the reasons why a job is not running yet; none for a job that is not
// waiting.
func (a *App) Waiting(ctx context.Context, c auth.Caller, id hostler.JobID) ([]hostler.Waiting, error) {
	return readOfJob(ctx, a, c, id, func(s *scope) ([]hostler.Waiting, error) { return s.explain(id) })
}

func (s *scope) explain(id hostler.JobID) ([]hostler.Waiting, error) {
	all, err := s.Explain(id, s.project)
	if err != nil || len(all) == 0 {
		return all, err
	}
	if err := s.hideHolders(all); err != nil {
		return nil, err
	}
	j, err := s.job(id)
	if err != nil {
		return nil, err
	}
	forbidden, err := s.explainForbidden(j)
	return append(forbidden, all...), err
}

// readOfJob reads a list that belongs to a job of the acting project.
func readOfJob[T any](
	ctx context.Context, a *App, c auth.Caller, id hostler.JobID, read func(s *scope) ([]T, error),
) ([]T, error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return nil, err
	}
	return list(ctx, g, func(s *scope) ([]T, error) {
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
