package app

import (
	"context"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// JobSearch selects jobs for the NetPulse-compatible API, whose clients identify jobs
// by the address of a host or by the machine of a worker. Empty fields select all.
type JobSearch struct {
	States []hostler.State
	Queue  string
	Host   string // address or name of an asset, or the address of an inline target
	Lane   string // address or name of an asset: the jobs in the lane of that device
	NoLane bool   // the jobs that are not in the lane of a device
	Node   string // hostname of the worker
}

func (f JobSearch) empty() bool {
	return len(f.States) == 0 && f.Queue == "" && f.Host == "" && f.Lane == "" && !f.NoLane && f.Node == ""
}

// JobsFound is a page of jobs and the names of their workers. Workers whose rows were
// deleted have no name.
type JobsFound struct {
	hostler.List[hostler.Job]
	Names map[hostler.WorkerID]string
}

// searchPages is how many pages of a listing one search reads to fill its own page.
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
	return list(ctx, g, func(s *scope) (JobsFound, error) {
		var out JobsFound
		ids, next, err := s.search(f, before, limit)
		if err != nil {
			return out, err
		}
		out.List, err = s.page(ids, next)
		if err != nil {
			return out, err
		}
		return s.withWorkerNames(out.List)
	})
}

// FindJob is [App.FindJobs] for one id. A job that does not exist is an empty page.
func (a *App) FindJob(ctx context.Context, c auth.Caller, id hostler.JobID) (JobsFound, error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return JobsFound{}, err
	}
	return list(ctx, g, func(s *scope) (JobsFound, error) {
		l, err := s.page([]hostler.JobID{id}, 0)
		if err != nil {
			return JobsFound{}, err
		}
		return s.withWorkerNames(l)
	})
}

// withWorkerNames adds the names of the jobs' workers.
func (s *scope) withWorkerNames(l hostler.List[hostler.Job]) (JobsFound, error) {
	var workers []hostler.WorkerID
	for _, j := range l.Items {
		if j.Worker != 0 && !slices.Contains(workers, j.Worker) {
			workers = append(workers, j.Worker)
		}
	}
	names, err := s.WorkerNames(workers)
	return JobsFound{l, names}, err
}

// search returns a page of ids, and the id to continue before; 0 at the end.
func (s *scope) search(f JobSearch, before hostler.JobID, limit int) ([]hostler.JobID, hostler.JobID, error) {
	q, possible, err := s.searchQuery(f)
	if err != nil || !possible {
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

// searchQuery resolves the names in a search. The result is false when no job can
// match.
func (s *scope) searchQuery(f JobSearch) (q store.JobQuery, possible bool, err error) {
	q = store.JobQuery{Project: s.project, States: f.States, Queue: f.Queue, NoLane: f.NoLane, Host: f.Host}
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
// one call cancels.
const (
	cancelStep = 200
	cancelMost = 10_000
)

// CancelWaiting cancels jobs that have not started: those with the ids, or, without
// ids, about cancelMost of those that the search selects. It returns the jobs that it
// cancelled; a job that starts meanwhile keeps running.
func (a *App) CancelWaiting(
	ctx context.Context, c auth.Caller, ids []hostler.JobID, f JobSearch,
) ([]hostler.JobID, error) {
	g, err := a.allow(c, auth.ChangeJob)
	if err != nil {
		return nil, err
	}
	if len(ids) > 0 {
		return a.cancelWaiting(ctx, g, ids)
	}
	if f.empty() {
		return nil, hostler.Invalid("filter",
			"must not be empty: changing all jobs is not supported", "不能为空：不支持更改全部作业")
	}
	f.States = []hostler.State{hostler.StateScheduled, hostler.StateQueued}
	type page struct {
		ids  []hostler.JobID
		next hostler.JobID
	}
	cancelled := []hostler.JobID{}
	for p := (page{}); len(cancelled) < cancelMost; {
		p, err = list(ctx, g, func(s *scope) (page, error) {
			ids, next, err := s.search(f, p.next, a.cfg.Limits.Bulk)
			return page{ids, next}, err
		})
		if err != nil {
			return cancelled, err
		}
		some, err := a.cancelWaiting(ctx, g, p.ids)
		cancelled = append(cancelled, some...)
		if err != nil || p.next == 0 {
			return cancelled, err
		}
	}
	return cancelled, nil
}

func (a *App) cancelWaiting(ctx context.Context, g grant, ids []hostler.JobID) ([]hostler.JobID, error) {
	cancelled := []hostler.JobID{}
	for chunk := range slices.Chunk(ids, cancelStep) {
		some, err := change(ctx, g, func(s *scope) ([]hostler.JobID, error) { return s.cancelWaiting(chunk) })
		if err != nil {
			return cancelled, err
		}
		cancelled = append(cancelled, some...)
	}
	return cancelled, nil
}

func (s *scope) cancelWaiting(ids []hostler.JobID) ([]hostler.JobID, error) {
	jobs, err := s.Tx.Jobs(s.project, ids) // those of other projects are left out
	if err != nil {
		return nil, err
	}
	own := make([]hostler.JobID, 0, len(jobs))
	for _, j := range jobs {
		if s.limit().AllowsAction(j.Action) {
			own = append(own, j.ID)
		}
	}
	cancelled, err := s.CancelWaiting(own, s.caller.User)
	if err != nil {
		return nil, err
	}
	s.unchanged() // unless a job was cancelled
	for _, id := range cancelled {
		if err := s.audit("job.cancel", id.String(), map[string]any{"state": hostler.StateCancelled}); err != nil {
			return nil, err
		}
	}
	return cancelled, nil
}

// AssetAddresses returns the addresses of the assets whose address, name or device key
// is host, and host itself.
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

// statsNewest is about how many ended jobs one call of ActionStats reads.
const statsNewest = 100_000

// ActionStats counts the ended jobs of the acting project by action: all there ever were.
// For a caller who may see some assets only, it counts among the newest statsNewest.
func (a *App) ActionStats(ctx context.Context, c auth.Caller) (map[string]store.ActionStats, error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return nil, err
	}
	return list(ctx, g, func(s *scope) (map[string]store.ActionStats, error) {
		if g.limit().LimitsAssets() {
			return s.Tx.ActionStats(s.project, statsNewest)
		}
		all, err := s.ActionTotals(s.project)
		out := make(map[string]store.ActionStats, len(all))
		for name, f := range all {
			out[name] = store.ActionStats{
				Count: int(f.Count()), Success: int(f.Succeeded), Failure: int(f.Failed + f.Cancelled),
				Total: f.RunTotal, Last: f.Last,
			}
		}
		return out, err
	})
}
