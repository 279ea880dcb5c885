package app

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// Outcome is what became of one request of a batch.
type Outcome struct {
	Job hostler.Job
	Err error
}

// RunBatch makes one job for each request, in a few transactions. A request that
// cannot be served fails alone; what is about all of them, such as a full queue,
// fails the call, or the rest of it once jobs are made. The jobs are one run, with
// one webhook: the requests must ask for the same.
func (a *App) RunBatch(ctx context.Context, c auth.Caller, reqs []hostler.JobRequest) ([]Outcome, error) {
	g, err := a.allow(c, auth.RunJob)
	if err != nil {
		return nil, err
	}
	if len(reqs) > a.cfg.Limits.Bulk {
		return nil, hostler.Invalid("devices", "must be at most %d in one call", "每次调用最多 %d 个", a.cfg.Limits.Bulk)
	}
	out := make([]Outcome, len(reqs))
	for from := 0; from < len(reqs); from += enqueueStep {
		to := min(from+enqueueStep, len(reqs))
		err := a.runChunk(ctx, g, reqs[from:to], out[from:to])
		if err != nil && from == 0 {
			return nil, err // nothing is made
		}
		for i := from; err != nil && i < to; i++ {
			if out[i].Err == nil {
				out[i].Err = err
			}
		}
	}
	return out, nil
}

// runChunk makes the jobs of one transaction and writes what became of each.
func (a *App) runChunk(ctx context.Context, g grant, reqs []hostler.JobRequest, out []Outcome) error {
	plans := make([]*plan, len(reqs))
	for i, req := range reqs {
		plans[i], out[i].Err = a.plan(req)
	}
	errs := make([]error, len(plans))
	var at []int // the request of each job
	var ids []hostler.JobID
	jobs, err := change(ctx, g, func(s *scope) (jobs []hostler.Job, err error) {
		clear(errs)
		if at, ids, err = s.runPlans(plans, errs); err != nil {
			return nil, err
		}
		return s.Tx.Jobs(s.project, ids)
	})
	if err != nil {
		return err
	}
	for i, err := range errs {
		if err != nil {
			out[i].Err = err
		}
	}
	byID := make(map[hostler.JobID]hostler.Job, len(jobs))
	for _, j := range jobs {
		byID[j.ID] = j
	}
	for k, i := range at {
		out[i].Job = byID[ids[k]]
	}
	return nil
}

// runPlans makes one job for each plan that is there; errs gets why one could not.
func (s *scope) runPlans(plans []*plan, errs []error) (at []int, ids []hostler.JobID, err error) {
	if err := s.KeepLanes(); err != nil {
		return nil, nil, err
	}
	run, err := s.NewID()
	if err != nil {
		return nil, nil, err
	}
	var specs []hostler.JobSpec
	var hook *endpoint
	for i, p := range plans {
		if p == nil {
			continue
		}
		targets, err := p.targets(s)
		if err == nil {
			err = s.checkCredentials(p.act, p.spec.Args)
		}
		switch hostler.CodeOf(err) {
		case "":
			specs, at, hook = append(specs, onTarget(p.common(s, hostler.RunID(run)), targets[0], p.lane)), append(at, i), p.webhook
		case hostler.CodeNotFound, hostler.CodeInvalid:
			errs[i] = err
		default:
			return nil, nil, err
		}
	}
	if len(specs) == 0 {
		s.unchanged()
		return nil, nil, nil
	}
	if hook != nil {
		if err := s.bindWebhook(hostler.RunID(run), *hook); err != nil {
			return nil, nil, err
		}
	}
	ids, err = s.Enqueue(specs)
	if err != nil {
		return nil, nil, err
	}
	detail := map[string]any{"action": specs[0].Action, "count": len(specs), "queue": specs[0].Queue}
	return at, ids, s.audit("job.run", hostler.RunID(run).String(), detail)
}
