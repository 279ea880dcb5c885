package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// Limits of a job request.
const (
	maxTimeout  = 7 * 24 * time.Hour
	maxDelay    = 366 * 24 * time.Hour
	maxBackoff  = 24 * time.Hour
	enqueueStep = 500  // jobs of one Enqueue
	idsShown    = 1000 // ids in the answer
	missesShown = 100  // missing assets that the answer names
)

// RunJobs makes one job, or one for each chosen asset: all or none. With an
// Idempotency-Key, a repetition makes nothing and returns what the first call
// returned.
func (a *App) RunJobs(ctx context.Context, c auth.Caller, req hostler.JobRequest, idem string) (hostler.JobsCreated, error) {
	g, err := a.allow(c, auth.RunJob)
	if err != nil {
		return hostler.JobsCreated{}, err
	}
	p, err := a.plan(req)
	if err != nil {
		return hostler.JobsCreated{}, err
	}
	key, err := g.idemRequest("POST /jobs", idem, req)
	if err != nil {
		return hostler.JobsCreated{}, err
	}
	// The answer is read in the same transaction: a read that fails after the commit
	// would report as failed what was done.
	return change(ctx, g, func(s *scope) (hostler.JobsCreated, error) {
		made, err := once(s, key, func() (hostler.JobsCreated, error) { return p.run(s) })
		if err == nil && made.Count == 1 {
			made.Job, err = s.Tx.Job(s.project, made.Jobs[0])
		}
		return made, err
	})
}

// plan is a checked request: what its jobs have in common, and the assets that it
// chooses.
type plan struct {
	spec     hostler.JobSpec
	act      *action.Action
	lane     string // a Lane value of the request
	runAt    *time.Time
	delay    time.Duration
	ttl      time.Duration
	ids      []hostler.AssetID
	names    []string
	labels   map[string]string
	most     int
	onAssets bool
	inline   *hostler.InlineTarget // a host that is no asset
	webhook  *endpoint             // told of the end of each job
}

// plan checks every field that can be checked without the store, and fills in the
// defaults.
func (a *App) plan(req hostler.JobRequest) (*plan, error) {
	var fields check.Fields
	if len(req.Args) == 0 || bytes.Equal(bytes.TrimSpace(req.Args), []byte("null")) {
		req.Args = json.RawMessage(`{}`)
	}
	p := &plan{
		lane: req.Lane, runAt: req.RunAt, delay: req.Delay.D(), ttl: req.TTL.D(), labels: req.Labels, most: a.cfg.Limits.Jobs,
		onAssets: len(req.Assets) > 0 || len(req.Labels) > 0,
	}
	p.act = a.planAction(&fields, req)
	p.chooseAssets(&fields, req.Assets)
	if req.Target != nil {
		fields.Require(!p.onAssets, "target", "excludes assets and labels", "不能与 assets、labels 同时指定")
		p.inline = checkTarget(&fields, *req.Target)
	}
	if req.Webhook != nil {
		p.webhook = checkJobWebhook(&fields, *req.Webhook)
	}
	checkLabels(&fields, req.Labels)
	checkPolicies(&fields, req)
	checkTimes(&fields, req)
	p.spec = hostler.JobSpec{
		Queue:       cmp.Or(req.Queue, hostler.DefaultQueue),
		Args:        req.Args,
		Priority:    cmp.Or(req.Priority, hostler.PriorityDefault),
		MaxAttempts: cmp.Or(req.MaxAttempts, 1),
		Backoff:     req.Backoff,
		Timeout:     cmp.Or(req.Timeout.D(), a.cfg.Limits.Timeout),
		OnLost:      req.OnLost,
		OnUnknown:   cmp.Or(req.OnUnknown, hostler.OnUnknownHold),
		OnRetry:     cmp.Or(req.OnRetry, hostler.OnRetryHold),
	}
	fields.Name("queue", p.spec.Queue, 64)
	p.checkLane(&fields, req)
	if err := fields.Err(); err != nil {
		return nil, err
	}
	p.fillIn(req)
	if p.inline != nil {
		p.spec.Target = a.jobTarget(p.inline)
	}
	return p, nil
}

func (a *App) planAction(fields *check.Fields, req hostler.JobRequest) *action.Action {
	if len(req.Args) > hostler.MaxArgsBytes || !utf8.Valid(req.Args) {
		fields.Add("args", "must be at most %d bytes of UTF-8", "最多 %d 字节，须为 UTF-8", hostler.MaxArgsBytes)
		return nil
	}
	act, err := a.runnable(req.Action, req.Args)
	if err != nil {
		fields.Merge(err)
		return nil
	}
	onAssets := len(req.Assets) > 0 || len(req.Labels) > 0
	switch {
	case act.Asset == action.AssetNever && req.Target != nil:
		fields.Add("target", "this action works on no host", "此动作不针对主机")
	case act.Asset == action.AssetRequired && !onAssets && req.Target == nil:
		fields.Add("assets", "this action needs an asset: name some, or choose them by labels", "此动作需要资产：请指定资产，或按标签选择")
	case act.Asset == action.AssetNever && onAssets:
		fields.Add("assets", "this action works on no asset", "此动作不针对资产")
	}
	return act
}

func (p *plan) chooseAssets(fields *check.Fields, refs []string) {
	fields.Require(len(refs) <= p.most, "assets", "must be at most %d in one call", "每次调用最多 %d 个", p.most)
	for i, ref := range refs {
		if ref == "" || !check.Storable(ref) {
			fields.Add(fmt.Sprintf("assets[%d]", i), "is not the name or the id of an asset", "不是资产的名称或 ID")
			continue
		}
		if id, name := assetRef(ref); id != 0 {
			p.ids = append(p.ids, id)
		} else {
			p.names = append(p.names, name)
		}
	}
}

func checkPolicies(fields *check.Fields, req hostler.JobRequest) {
	check.Between(fields, "priority", req.Priority, 0, hostler.PriorityLast)
	check.Between(fields, "max_attempts", req.MaxAttempts, 0, hostler.MaxAttemptsLimit)
	check.OneOf(fields, "on_lost", req.OnLost, "", hostler.OnLostRetry, hostler.OnLostFail, hostler.OnLostAsk)
	check.OneOf(fields, "on_unknown", req.OnUnknown, "", hostler.OnUnknownHold, hostler.OnUnknownRelease)
	check.OneOf(fields, "on_retry", req.OnRetry, "", hostler.OnRetryHold, hostler.OnRetryRelease)
	check.OneOf(fields, "backoff.kind", req.Backoff.Kind, "", "fixed", "exponential")
	fields.Duration("backoff.base", req.Backoff.Base, maxBackoff)
	fields.Duration("backoff.max", req.Backoff.Max, maxBackoff)
}

func checkTimes(fields *check.Fields, req hostler.JobRequest) {
	fields.Duration("timeout", req.Timeout, maxTimeout)
	fields.Duration("delay", req.Delay, maxDelay)
	fields.Duration("ttl", req.TTL, maxDelay)
	if req.RunAt == nil {
		return
	}
	fields.Require(req.Delay == 0, "delay", "excludes run_at: give one of the two", "不能与 run_at 同时指定")
	fields.Time("run_at", req.RunAt)
}

func (p *plan) checkLane(fields *check.Fields, req hostler.JobRequest) {
	fields.Line("lane", req.Lane, 200)
	if c := req.Concurrency; c != nil {
		fields.Require(req.Lane == "", "concurrency", "excludes lane: give one of the two", "不能与 lane 同时指定")
		fields.Line("concurrency.key", c.Key, 200)
		fields.Given("concurrency.key", c.Key)
		check.Between(fields, "concurrency.limit", c.Limit, 1, 100_000)
	}
	fields.Require(req.Lane != hostler.LaneAsset || p.onHosts(), "lane", "asset needs an asset", "asset 通道需要指定资产")
}

// fillIn sets what depends on the action.
func (p *plan) fillIn(req hostler.JobRequest) {
	traits := p.act.Traits(req.Args)
	p.spec.Action = p.act.Name
	if p.spec.OnLost == "" {
		p.spec.OnLost = hostler.OnLostAsk
		if traits.Idempotent {
			p.spec.OnLost = hostler.OnLostRetry
		}
	}
	switch {
	case req.Concurrency != nil:
		p.lane, p.spec.LaneLimit = hostler.LaneNone, req.Concurrency.Limit
	case p.lane == hostler.LaneDefault && traits.Changes && p.onHosts():
		p.lane = hostler.LaneAsset
	case p.lane == hostler.LaneDefault:
		p.lane = hostler.LaneNone
	}
	// The project is not known yet; run makes the full key of these.
	switch {
	case req.Concurrency != nil:
		p.spec.LaneKey = req.Concurrency.Key
	case p.lane != hostler.LaneNone && p.lane != hostler.LaneAsset:
		p.spec.LaneKey, p.spec.LaneLimit = p.lane, 1
	}
}

// onHosts reports whether each job of the plan works on a host.
func (p *plan) onHosts() bool { return p.onAssets || p.inline != nil }

// run makes the jobs in the transaction.
func (p *plan) run(s *scope) (hostler.JobsCreated, error) {
	if err := s.KeepLanes(); err != nil {
		return hostler.JobsCreated{}, err
	}
	targets, err := p.targets(s)
	if err != nil {
		return hostler.JobsCreated{}, err
	}
	if err := s.checkCredentials(p.act, p.spec.Args); err != nil {
		return hostler.JobsCreated{}, err
	}
	run, err := s.NewID()
	if err != nil {
		return hostler.JobsCreated{}, err
	}
	made := hostler.JobsCreated{Run: hostler.RunID(run), Count: len(targets), Jobs: []hostler.JobID{}}
	if p.webhook != nil {
		if err := s.bindWebhook(made.Run, *p.webhook); err != nil {
			return hostler.JobsCreated{}, err
		}
	}
	common := p.common(s, made.Run)
	specs := make([]hostler.JobSpec, len(targets))
	for i, t := range targets {
		specs[i] = onTarget(common, t, p.lane)
	}
	if len(specs) > enqueueStep {
		if err := s.LockLanes(specs); err != nil {
			return hostler.JobsCreated{}, err
		}
	}
	for chunk := range slices.Chunk(specs, enqueueStep) {
		ids, err := s.Enqueue(chunk)
		if err != nil {
			return hostler.JobsCreated{}, err
		}
		if room := idsShown - len(made.Jobs); room > 0 {
			made.Jobs = append(made.Jobs, ids[:min(room, len(ids))]...)
		}
	}
	detail := map[string]any{"action": p.spec.Action, "count": made.Count, "queue": p.spec.Queue}
	if len(targets) == 1 {
		detail["asset"] = targets[0].Name
		detail["job"] = made.Jobs[0]
	}
	if p.webhook != nil {
		detail["webhook"] = hostler.MaskURL(p.webhook.url)
	}
	if t := p.inline; t != nil {
		detail["port"], detail["username"] = t.Port, t.Username
	}
	return made, s.audit("job.run", made.Run.String(), detail)
}

// common is what all jobs of the call share, now that project and time are known.
func (p *plan) common(s *scope, run hostler.RunID) hostler.JobSpec {
	spec := p.spec
	spec.Project, spec.Run, spec.CreatedBy = s.project, run, s.caller.User
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

func onTarget(spec hostler.JobSpec, t store.Target, lane string) hostler.JobSpec {
	spec.Asset, spec.AssetName = t.ID, t.Name
	if lane == hostler.LaneAsset {
		spec.LaneKey, spec.LaneLimit = hostler.AssetLaneKey(t.DeviceKey), 1
	}
	return spec
}

// targets finds the chosen assets; one that is none when the request chooses none.
// A host that is no asset is the device of its address.
func (p *plan) targets(s *scope) ([]store.Target, error) {
	if t := p.inline; t != nil {
		return []store.Target{{Name: t.Address, DeviceKey: t.Address}}, nil
	}
	if !p.onAssets {
		return []store.Target{{}}, nil
	}
	targets, err := s.Targets(s.project, p.ids, p.names, p.labels)
	if err != nil {
		return nil, err
	}
	if err := p.missing(targets); err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		return nil, hostler.Errorf(hostler.CodeNotFound, "no asset has all these labels", "没有资产同时具有这些标签")
	}
	if len(targets) > p.most {
		return nil, hostler.Invalid("labels", "choose %d assets; one call may make %d jobs", "选中了 %d 个资产；每次调用最多创建 %d 个作业", len(targets), p.most)
	}
	return targets, nil
}

// missing names the assets that were asked for and are not there, all at once.
func (p *plan) missing(targets []store.Target) error {
	haveID, haveName := make(map[hostler.AssetID]bool, len(targets)), make(map[string]bool, len(targets))
	for _, t := range targets {
		haveID[t.ID], haveName[t.Name] = true, true
	}
	var gone []string
	for _, id := range p.ids {
		if !haveID[id] {
			gone = append(gone, id.String())
		}
	}
	for _, name := range p.names {
		if !haveName[name] {
			gone = append(gone, check.Key(name))
		}
	}
	if len(gone) == 0 {
		return nil
	}
	shown, more := gone, ""
	if len(gone) > missesShown {
		shown, more = gone[:missesShown], fmt.Sprintf(" … (%d)", len(gone))
	}
	list := strings.Join(shown, ", ") + more
	return hostler.Errorf(hostler.CodeNotFound, "these assets do not exist: %s", "以下资产不存在：%s", list)
}

// checkCredentials refuses args that name credentials which the project does not
// have.
func (s *scope) checkCredentials(act *action.Action, args json.RawMessage) error {
	if act.Credentials == nil {
		return nil
	}
	names := act.Credentials(args)
	if len(names) == 0 {
		return nil
	}
	have, err := s.CredentialNames(s.project, names)
	if err != nil {
		return err
	}
	var fields check.Fields
	for _, name := range names {
		fields.Require(have[name], "args", "names the credential %q, which does not exist in this project", "引用的凭据 %q 在本项目中不存在", name)
	}
	return fields.Err()
}
