package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/webhook"
)

const (
	enqueueStep = 500  // jobs of one Enqueue: bounds the size of a statement
	idsShown    = 1000 // ids in the answer
)

// RunJobs creates one job, or one for each selected asset: all or none. With an
// Idempotency-Key, a repeated call creates nothing and returns what the first call
// returned.
func (a *App) RunJobs(
	ctx context.Context, c auth.Caller, req hostler.JobRequest, idem string,
) (hostler.JobsCreated, error) {
	g, err := a.allow(c, auth.RunJob)
	if err != nil {
		return hostler.JobsCreated{}, err
	}
	p, err := a.plan(req)
	if err != nil {
		return hostler.JobsCreated{}, err
	}
	if err := g.checkOverride(req.OverrideRule); err != nil {
		return hostler.JobsCreated{}, err
	}
	key, err := g.idempotencyKey("POST /jobs", idem, req)
	if err != nil {
		return hostler.JobsCreated{}, err
	}
	if len(req.Then) > 0 {
		_, found, err := answeredBefore[hostler.JobsCreated](ctx, g, key)
		if err == nil && !found {
			err = a.checkFollowUps(ctx, g, "then", req.Then)
		}
		if err != nil {
			return hostler.JobsCreated{}, err
		}
	}
	p.judge(a.commands(ctx, g, req.OverrideRule))
	// The answer is read in the same transaction: a read that fails after the commit
	// would report as failed what was done.
	return change(ctx, g, func(s *scope) (hostler.JobsCreated, error) {
		created, err := idempotent(s, key, func() (hostler.JobsCreated, error) { return s.runPlan(p) })
		if err == nil && created.Count == 1 && len(created.Jobs) == 1 {
			created.Job, err = s.Tx.Job(s.project, created.Jobs[0])
		}
		return created, err
	})
}

// planHosts is how many hosts a plan names.
const planHosts = 10

// PlanJobs describes what a request for jobs would do, and does nothing. It refuses what
// rights, rules, credentials and calendars do not allow; RunJobs may still refuse the jobs,
// because of a full queue or a hold.
func (a *App) PlanJobs(ctx context.Context, c auth.Caller, req hostler.JobRequest) (hostler.JobPlan, error) {
	g, err := a.allow(c, auth.RunJob)
	if err != nil {
		return hostler.JobPlan{}, err
	}
	p, err := a.plan(req)
	if err != nil {
		return hostler.JobPlan{}, err
	}
	if err := g.checkOverride(req.OverrideRule); err != nil {
		return hostler.JobPlan{}, err
	}
	p.judge(a.commands(ctx, g, req.OverrideRule))
	if p.refusal != nil {
		return hostler.JobPlan{}, p.refusal
	}
	return list(ctx, g, func(s *scope) (hostler.JobPlan, error) {
		s.planning = true
		out := hostler.JobPlan{Action: p.act.Name, Hosts: []string{}, Changes: p.act.Traits(p.spec.Args).Changes}
		if err := s.checkRun(p.act, p.spec.Args, p.onAssets); err != nil {
			return out, err
		}
		targets, err := s.findTargets(p)
		if err != nil {
			return out, err
		}
		if err := s.checkUses(p.act, p.spec.Args, targets, p.inline); err != nil {
			return out, err
		}
		out.Count = len(targets)
		for _, t := range targets[:min(len(targets), planHosts)] {
			if t.Name != "" {
				out.Hosts = append(out.Hosts, t.Name)
			}
		}
		return out, s.checkPlanCalendars(p, targets)
	})
}

// judge judges the commands of the jobs, before the transaction that creates them, or
// looks up there what was judged.
func (p *plan) judge(c *commandCheck) *plan {
	p.commands, p.refusal = c, c.check(p.act, p.spec.Args)
	return p
}

// runPlan creates the jobs of a plan, as one run.
func (s *scope) runPlan(p *plan) (hostler.JobsCreated, error) {
	if err := s.checkRun(p.act, p.spec.Args, p.onAssets); err != nil {
		return hostler.JobsCreated{}, err
	}
	if p.commands == nil {
		return hostler.JobsCreated{}, fmt.Errorf("the commands of %s were not judged", p.act.Name)
	}
	if p.refusal != nil {
		return hostler.JobsCreated{}, p.refusal
	}
	if err := s.freeze(p); err != nil {
		return hostler.JobsCreated{}, err
	}
	targets, err := s.findTargets(p)
	if err != nil {
		return hostler.JobsCreated{}, err
	}
	if err := s.findForeign(p); err != nil {
		return hostler.JobsCreated{}, err
	}
	if err := s.checkAdHoc(p); err != nil {
		return hostler.JobsCreated{}, err
	}
	if err := s.checkPlanCalendars(p, targets); err != nil {
		return hostler.JobsCreated{}, err
	}
	if err := s.checkUses(p.act, p.spec.Args, targets, p.inline); err != nil {
		return hostler.JobsCreated{}, err
	}
	withRow := len(targets) > 1 || p.rollout != nil || p.retryOf != 0 || p.chain != 0 || len(p.then) > 0
	id, err := s.NewRunID(withRow || p.schedule != "") // the statistics look up the schedule
	if err != nil {
		return hostler.JobsCreated{}, err
	}
	created := hostler.JobsCreated{Run: id, Count: len(targets), Jobs: []hostler.JobID{}}
	if p.webhook != nil {
		if err := s.insertRunWebhook(created.Run, *p.webhook); err != nil {
			return hostler.JobsCreated{}, err
		}
	}
	var step *store.RunStepRow
	if withRow {
		if step, err = s.fanOut(p, id, targets); err != nil {
			return hostler.JobsCreated{}, err
		}
	}
	if err := s.insertFollowUps(id, p.then); err != nil {
		return hostler.JobsCreated{}, err
	}
	if p.rollout != nil {
		err = s.checkWaves(p, id, targets)
	} else {
		err = s.enqueue(p, targets, step, &created)
	}
	if err != nil {
		return hostler.JobsCreated{}, err
	}
	return created, s.audit("job.run", created.Run.String(), runDetail(p, targets, created))
}

// freeze makes sure that the lanes of the jobs of plans stay what they are.
func (s *scope) freeze(plans ...*plan) error {
	if slices.ContainsFunc(plans, func(p *plan) bool { return p != nil && p.inline != nil }) {
		if err := s.FreezeHosts(); err != nil {
			return err
		}
	}
	return s.FreezeLanes()
}

// enqueue enqueues a job for each target and sets the ids that the answer shows. The jobs
// are those of the hosts of a step, if there is one.
func (s *scope) enqueue(
	p *plan, targets []store.Target, step *store.RunStepRow, created *hostler.JobsCreated,
) error {
	common := s.specOf(p, created.Run)
	specs := make([]hostler.JobSpec, len(targets))
	var args argsTotal
	for i, t := range targets {
		specs[i] = specFor(common, t, p.lane)
		args.add(p.spec.Args)
	}
	if err := s.app.checkArgs("args", args); err != nil {
		return err
	}
	if len(specs) > enqueueStep {
		// All locks first, in one order: two calls that take them chunk by chunk could
		// wait for each other.
		if err := s.LockLanes(specs); err != nil {
			return err
		}
	}
	var starts []store.HostStart
	for chunk := range slices.Chunk(specs, enqueueStep) {
		ids, err := s.Enqueue(chunk)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if step != nil {
				starts = append(starts, store.HostStart{Step: step.ID, Seq: int64(len(starts)), Job: id})
			}
		}
		if left := idsShown - len(created.Jobs); left > 0 {
			created.Jobs = append(created.Jobs, ids[:min(left, len(ids))]...)
		}
	}
	for chunk := range slices.Chunk(starts, enqueueStep) {
		if err := s.StartHosts(chunk); err != nil {
			return err
		}
	}
	return nil
}

// runDetail is what the audit records of a run. It holds no args, because args may
// hold anything.
func runDetail(p *plan, targets []store.Target, created hostler.JobsCreated) map[string]any {
	detail := map[string]any{"action": p.spec.Action, "count": created.Count, "queue": p.spec.Queue}
	if len(targets) == 1 && len(created.Jobs) == 1 {
		detail["asset"] = targets[0].Name
		detail["job"] = created.Jobs[0]
	}
	if p.overrideCalendar != nil {
		detail["override_calendar"] = p.overrideCalendar.Reason
	}
	if p.schedule != "" {
		detail["schedule"] = p.schedule
	}
	if p.retryOf != 0 {
		detail["rerun_of"] = p.retryOf
	}
	if p.webhook != nil {
		detail["webhook"] = hostler.MaskURL(p.webhook.URL)
	}
	if t := p.inline; t != nil {
		detail["port"], detail["username"] = t.Port, t.Username
	}
	p.commands.overrideDetail(detail)
	return detail
}

// specOf is what all jobs of a plan have in common, now that project and time are
// known.
func (s *scope) specOf(p *plan, run hostler.RunID) hostler.JobSpec {
	spec := p.spec
	spec.Project, spec.Run = s.project, run
	spec.CreatedBy, spec.CreatedByID = s.caller.User, s.caller.UserID
	if spec.LaneKey != "" {
		spec.LaneKey = hostler.OwnLaneKey(s.project, spec.LaneKey)
	}
	due := s.Now()
	switch {
	case p.runAt != nil && p.runAt.After(due):
		due = *p.runAt
		spec.RunAt = due
	case p.delay > 0:
		due = due.Add(p.delay)
		spec.RunAt = due
	}
	if p.ttl > 0 {
		spec.ExpiresAt = due.Add(p.ttl)
	}
	return spec
}

// specFor is the spec of the job for one target.
func specFor(common hostler.JobSpec, t store.Target, lane string) hostler.JobSpec {
	spec := common
	spec.Asset, spec.AssetName = t.ID, t.Name
	if lane == hostler.LaneAsset {
		spec.LaneKey, spec.LaneLimit = hostler.AssetLaneKey(t.DeviceKey), 1
	}
	return spec
}

// findTargets finds the selected assets. A plan on no asset has one empty target; a
// host that is not an asset is a target whose device is its address.
func (s *scope) findTargets(p *plan) ([]store.Target, error) {
	if t := p.inline; t != nil {
		return []store.Target{{Name: t.Address, DeviceKey: t.Address}}, nil
	}
	if !p.onAssets {
		return []store.Target{{}}, nil
	}
	targets, err := s.findHosts(&p.hosts)
	if err != nil {
		return nil, err
	}
	switch {
	case len(targets) == 0:
		return nil, p.hosts.errNone()
	case len(targets) > p.most:
		return nil, hostler.Invalid("labels", "select %d assets; one call may create %d jobs",
			"选中了 %d 个资产；每次调用最多创建 %d 个作业", len(targets), p.most)
	}
	return targets, nil
}

// insertRunWebhook creates the webhook of the jobs of one run. It is not listed; its
// deliveries are.
func (s *scope) insertRunWebhook(run hostler.RunID, e webhook.Endpoint) error {
	row := store.WebhookRow{ProjectID: s.project, Run: run}
	row.Name, row.Enabled, row.Limit = run.String(), true, webhook.DefaultLimit
	row.Lang, row.Rate = cmp.Or(s.caller.Lang, hostler.LangEN), rateOf(0, e.Format)
	e.Describe(&row.Webhook)
	_, err := s.InsertWebhook(row, s.sealWebhook(e.Secrets()))
	return err
}
