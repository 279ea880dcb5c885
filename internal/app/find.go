package app

import (
	"context"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// This file serves the compatible endpoints, which look for jobs by what only
// they know: the address of a host, the name of a machine that runs workers.

// JobSearch selects jobs; empty fields select all.
type JobSearch struct {
	States []hostler.State
	Queue  string
	Host   string // address or name of an asset, or the address of an inline target
	Lane   string // the same, of jobs in the lane of that device
	NoLane bool   // jobs in no device's lane
	Node   string // hostname of the worker
}

func (f JobSearch) empty() bool {
	return len(f.States) == 0 && f.Queue == "" && f.Host == "" && f.Lane == "" && !f.NoLane && f.Node == ""
}

// JobsFound is a page of jobs and the names of their workers. Workers that are
// long gone have no name.
type JobsFound struct {
	hostler.List[hostler.Job]
	Names map[hostler.WorkerID]string
}

// searchPages is how many pages of a listing one search looks through to fill one.
const searchPages = 5

// FindJobs lists the jobs that the search selects, newest first.
func (a *App) FindJobs(ctx context.Context, c auth.Caller, f JobSearch, p hostler.Page) (JobsFound, error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return JobsFound{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return JobsFound{}, err
	}
	var before hostler.JobID
	if before.UnmarshalText([]byte(after)) != nil {
		return JobsFound{}, errCursor()
	}
	return view(ctx, g, func(s *scope) (JobsFound, error) {
		var out JobsFound
		ids, next, err := s.search(f, before, limit)
		if err != nil {
			return out, err
		}
		out.List, err = s.page(ids, next)
		if err != nil {
			return out, err
		}
		return s.named(out.List)
	})
}

// FindJob is FindJobs for one id; it finds nothing rather than failing.
func (a *App) FindJob(ctx context.Context, c auth.Caller, id hostler.JobID) (JobsFound, error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return JobsFound{}, err
	}
	return view(ctx, g, func(s *scope) (JobsFound, error) {
		l, err := s.page([]hostler.JobID{id}, 0)
		if err != nil {
			return JobsFound{}, err
		}
		return s.named(l)
	})
}

// A page of jobs holds as many as fit into about pageBytes of results, of which
// pageStep are read at a time.
const (
	pageBytes = 16 << 20
	pageStep  = 32
)

// page reads a page of jobs by their ids; next is where the one after it begins
// unless their results are so large that it begins sooner.
func (s *scope) page(ids []hostler.JobID, next hostler.JobID) (hostler.List[hostler.Job], error) {
	l := hostler.List[hostler.Job]{Items: []hostler.Job{}}
	size := 0
	for len(ids) > 0 && size < pageBytes {
		some := ids[:min(pageStep, len(ids))]
		ids = ids[len(some):]
		jobs, err := s.Tx.Jobs(s.project, some)
		if err != nil {
			return l, err
		}
		l.Items = append(l.Items, jobs...)
		for _, j := range jobs {
			size += len(j.Result)
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

// named adds the names of the jobs' workers.
func (s *scope) named(l hostler.List[hostler.Job]) (JobsFound, error) {
	var workers []hostler.WorkerID
	for _, j := range l.Items {
		if j.Worker != 0 && !slices.Contains(workers, j.Worker) {
			workers = append(workers, j.Worker)
		}
	}
	names, err := s.WorkerNames(workers)
	return JobsFound{l, names}, err
}

// search finds a page of ids, and where to go on.
func (s *scope) search(f JobSearch, before hostler.JobID, limit int) ([]hostler.JobID, hostler.JobID, error) {
	q, some, err := s.searchQuery(f)
	if err != nil || !some {
		return nil, 0, err
	}
	var all []hostler.JobID
	for range searchPages {
		ids, next, err := s.ListJobIDs(q, before, limit-len(all))
		if err != nil {
			return nil, 0, err
		}
		all = append(all, ids...)
		if before = next; next == 0 || len(all) == limit {
			break
		}
	}
	return all, before, nil
}

// searchQuery resolves what a search names; false means that nothing can match.
func (s *scope) searchQuery(f JobSearch) (store.JobQuery, bool, error) {
	q := store.JobQuery{Project: s.project, States: f.States, Queue: f.Queue, NoLane: f.NoLane, Host: f.Host}
	if f.Host != "" {
		assets, err := s.AssetsAt(s.project, f.Host)
		if err != nil {
			return q, false, err
		}
		for _, t := range assets {
			q.Hosts = append(q.Hosts, int64(t.ID))
		}
	}
	if f.Lane != "" {
		assets, err := s.AssetsAt(s.project, f.Lane)
		if err != nil {
			return q, false, err
		}
		q.Lanes = []string{hostler.AssetLaneKey(f.Lane)}
		for _, t := range assets {
			q.Lanes = append(q.Lanes, hostler.AssetLaneKey(t.DeviceKey))
		}
	}
	if f.Node != "" {
		workers, err := s.WorkersOn(f.Node)
		q.Workers = workers
		return q, len(workers) > 0, err
	}
	return q, true, nil
}

// cancelStep is how many jobs one transaction cancels, and cancelMost about how many
// one search does.
const (
	cancelStep = 200
	cancelMost = 10_000
)

// CancelWaiting cancels the jobs that have not started: the ones with these ids,
// or, without any, those that the search selects, some cancelMost at most. It
// returns the jobs that it cancelled; one that starts meanwhile is not touched.
func (a *App) CancelWaiting(ctx context.Context, c auth.Caller, ids []hostler.JobID, f JobSearch) ([]hostler.JobID, error) {
	g, err := a.allow(c, auth.ChangeJob)
	if err != nil {
		return nil, err
	}
	if len(ids) > 0 {
		return a.cancelWaiting(ctx, g, ids)
	}
	if f.empty() {
		return nil, hostler.Invalid("filter", "must not be empty: changing every job is not offered", "不能为空：不支持更改全部作业")
	}
	f.States = []hostler.State{hostler.StateScheduled, hostler.StateQueued}
	type page struct {
		ids  []hostler.JobID
		next hostler.JobID
	}
	gone := []hostler.JobID{}
	for p := (page{}); len(gone) < cancelMost; {
		p, err = view(ctx, g, func(s *scope) (page, error) {
			ids, next, err := s.search(f, p.next, a.cfg.Limits.Bulk)
			return page{ids, next}, err
		})
		if err != nil {
			return gone, err
		}
		some, err := a.cancelWaiting(ctx, g, p.ids)
		gone = append(gone, some...)
		if err != nil || p.next == 0 {
			return gone, err
		}
	}
	return gone, nil
}

func (a *App) cancelWaiting(ctx context.Context, g grant, ids []hostler.JobID) ([]hostler.JobID, error) {
	gone := []hostler.JobID{}
	for chunk := range slices.Chunk(ids, cancelStep) {
		some, err := change(ctx, g, func(s *scope) ([]hostler.JobID, error) { return s.cancelWaiting(chunk) })
		if err != nil {
			return gone, err
		}
		gone = append(gone, some...)
	}
	return gone, nil
}

func (s *scope) cancelWaiting(ids []hostler.JobID) ([]hostler.JobID, error) {
	jobs, err := s.Tx.Jobs(s.project, ids) // and none of another project
	if err != nil {
		return nil, err
	}
	own := make([]hostler.JobID, len(jobs))
	for i, j := range jobs {
		own[i] = j.ID
	}
	gone, err := s.CancelWaiting(own, s.caller.User)
	if err != nil {
		return nil, err
	}
	s.unchanged() // unless there is something to record
	for _, id := range gone {
		if err := s.audit("job.cancel", id.String(), map[string]any{"state": hostler.StateCancelled}); err != nil {
			return nil, err
		}
	}
	return gone, nil
}

// AssetAddresses are the addresses that an address, or the name or device key of
// assets of the acting project, stands for, itself included.
func (a *App) AssetAddresses(ctx context.Context, c auth.Caller, host string) ([]string, error) {
	g, err := a.allow(c, auth.ReadAsset)
	if err != nil {
		return nil, err
	}
	return view(ctx, g, func(s *scope) ([]string, error) {
		addresses, err := s.AddressesOn(s.project, host)
		return append(addresses, host), err
	})
}

// statsNewest is how many ended jobs one call of ActionStats looks at.
const statsNewest = 100_000

// ActionStats counts the ended jobs of the acting project by action, as far as they
// are among the newest statsNewest of all projects.
func (a *App) ActionStats(ctx context.Context, c auth.Caller) (map[string]store.ActionStats, error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return nil, err
	}
	return view(ctx, g, func(s *scope) (map[string]store.ActionStats, error) { return s.Tx.ActionStats(s.project, statsNewest) })
}
