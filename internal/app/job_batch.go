package app

import (
	"context"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/webhook"
)

// Outcome is the result of one request of a batch.
type Outcome struct {
	Job hostler.Job
	Err error
}

// RunBatch creates one job for each request, in a few transactions. A request that
// is at fault fails alone; an error that concerns all of them, such as a full queue,
// fails the call, or what is left of it once jobs were created. The jobs are one run
// with one webhook: the requests must ask for the same webhook.
func (a *App) RunBatch(ctx context.Context, c auth.Caller, reqs []hostler.JobRequest) ([]Outcome, error) {
	g, err := a.allow(c, auth.RunJob)
	if err != nil {
		return nil, err
	}
	if len(reqs) > a.cfg.Limits.Bulk {
		return nil, hostler.Invalid("devices", "must be at most %d in one call",
			"每次调用最多 %d 个", a.cfg.Limits.Bulk)
	}
	var args argsTotal
	for _, req := range reqs {
		args.add(req.Args)
	}
	if err := a.checkArgs("devices", args); err != nil {
		return nil, err
	}
	out := make([]Outcome, len(reqs))
	commands := a.commands(ctx, g, nil)
	for from := 0; from < len(reqs); from += enqueueStep {
		to := min(from+enqueueStep, len(reqs))
		err := a.runChunk(ctx, g, commands, reqs[from:to], out[from:to])
		if err != nil && from == 0 {
			return nil, err // no job was created
		}
		for i := from; err != nil && i < to; i++ {
			if out[i].Err == nil {
				out[i].Err = err
			}
		}
	}
	return out, nil
}

// runChunk creates the jobs of one transaction and sets the outcome of each request.
func (a *App) runChunk(
	ctx context.Context, g grant, commands *commandCheck, reqs []hostler.JobRequest, out []Outcome,
) error {
	plans := make([]*plan, len(reqs))
	for i, req := range reqs {
		if plans[i], out[i].Err = a.plan(req); plans[i] != nil {
			plans[i].judge(commands)
		}
	}
	batch, err := change(ctx, g, func(s *scope) (*jobBatch, error) {
		b := &jobBatch{scope: s, errs: make([]error, len(plans))}
		err := b.run(plans)
		if err == nil {
			b.jobs, err = s.Tx.Jobs(s.project, b.ids)
		}
		return b, err
	})
	if err != nil {
		return err
	}
	for i, err := range batch.errs {
		if err != nil {
			out[i].Err = err
		}
	}
	a.recordRuleRefusal(ctx, g, batch.errs...)
	byID := make(map[hostler.JobID]hostler.Job, len(batch.jobs))
	for _, j := range batch.jobs {
		byID[j.ID] = j
	}
	for n, i := range batch.planOf {
		out[i].Job = byID[batch.ids[n]]
	}
	return nil
}

// jobBatch creates jobs of several plans in one transaction.
type jobBatch struct {
	*scope
	errs []error // why a plan could not run, by plan

	// The jobs, in the order in which they are enqueued.
	specs   []hostler.JobSpec
	planOf  []int // the plan of each job
	ids     []hostler.JobID
	jobs    []hostler.Job // as they were enqueued, in any order
	webhook *webhook.Endpoint

	admission *store.Admission
}

// run creates one job for each plan; nil plans are skipped.
func (b *jobBatch) run(plans []*plan) error {
	if err := b.freeze(plans...); err != nil {
		return err
	}
	id, err := b.NewID()
	if err != nil {
		return err
	}
	run := hostler.RunID(id)
	if b.admission, err = b.Admission(b.project, queuesOf(plans)...); err != nil {
		return err
	}
	if err := b.findForeign(plans...); err != nil {
		return err
	}
	for i, p := range plans {
		if p == nil {
			continue
		}
		if err := b.add(i, p, run); err != nil {
			return err
		}
	}
	if len(b.specs) == 0 {
		b.unchanged()
		return nil
	}
	if b.webhook != nil {
		if err := b.insertRunWebhook(run, *b.webhook); err != nil {
			return err
		}
	}
	if b.ids, err = b.Enqueue(b.specs); err != nil {
		return err
	}
	detail := map[string]any{"action": b.specs[0].Action, "count": len(b.specs), "queue": b.specs[0].Queue}
	return b.audit("job.run", run.String(), detail)
}

// queuesOf returns the queues of plans.
func queuesOf(plans []*plan) []string {
	var names []string
	for _, p := range plans {
		if p != nil && !slices.Contains(names, p.spec.Queue) {
			names = append(names, p.spec.Queue)
		}
	}
	return names
}

// add adds the job of one plan. What is at fault in the plan is in errs afterwards;
// any other error is returned.
func (b *jobBatch) add(i int, p *plan, run hostler.RunID) error {
	var targets []store.Target
	err := b.checkRun(p.act, p.spec.Args, p.onAssets)
	if err == nil {
		err = p.refusal
	}
	if err == nil {
		targets, err = b.findTargets(p)
	}
	if err == nil {
		err = b.checkAdHoc(p)
	}
	if err == nil {
		err = b.checkPlanCalendars(p, targets)
	}
	if err == nil {
		err = b.checkUses(p.act, p.spec.Args, targets, p.inline)
	}
	var spec hostler.JobSpec
	if err == nil {
		spec = specFor(b.specOf(p, run), targets[0], p.lane)
		err = b.admission.Check(&spec)
	}
	switch hostler.CodeOf(err) {
	case "":
		b.specs = append(b.specs, spec)
		b.planOf, b.webhook = append(b.planOf, i), p.webhook
		return nil
	case hostler.CodeNotFound, hostler.CodeInvalid, hostler.CodeForbidden:
		b.errs[i] = err
		return nil
	default:
		return err
	}
}
