package app

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/selector"
	"hostler.dev/hostler/internal/webhook"
)

// Limits of a job request.
const (
	maxTimeout = 7 * 24 * time.Hour
	maxDelay   = 366 * 24 * time.Hour
	maxBackoff = 24 * time.Hour
)

// plan is a checked request: what its jobs have in common, and the assets that it
// selects. It is made without the store, so that [scope.runPlan] can run in a
// transaction that may be repeated.
type plan struct {
	spec  hostler.JobSpec // of every job; see plan.specFor for what it lacks
	act   *action.Action
	lane  string // a Lane value of the request
	runAt *time.Time
	delay time.Duration
	ttl   time.Duration

	// The selected assets.
	hosts    hostSelection
	most     int
	onAssets bool

	inline  *hostler.InlineTarget // a host that is not an asset
	webhook *webhook.Endpoint     // receives the end of each job
	rollout *hostler.Rollout      // the engine creates the jobs, wave by wave; nil: all at once

	// commands judged the args, and refusal is what they are refused for, if anything.
	commands *commandCheck
	refusal  error

	then     []hostler.FollowUp // the end of the run
	schedule string             // name of the schedule that it belongs to
	cause
	// overrideCalendar runs it although a calendar is closed.
	overrideCalendar *hostler.CalendarOverride
}

// onHosts reports whether each job of the plan works on a host.
func (p *plan) onHosts() bool { return p.onAssets || p.inline != nil }

// cause is what a run is started for, beside the request.
type cause struct {
	calendar string // that a schedule names
	origin   string // such as schedule:night; empty for a request of a person
	retryOf  hostler.RunID
	depth    int           // how many runs came before in a chain
	chain    hostler.RunID // the run that the chain began with
	fire     bool          // the timer of a schedule: while a calendar is closed, the fire waits and not the run
}

// outputOf names the runs whose outputs are compared: those of a schedule, or else of a task
// or template.
func (c *cause) outputOf(source hostler.RunSource, name string) string {
	if strings.HasPrefix(c.origin, originSchedule) {
		return c.origin
	}
	return string(source) + ":" + name
}

// plan checks every field that can be checked without the store, and sets the
// defaults.
func (a *App) plan(req hostler.JobRequest) (*plan, error) {
	return a.planOf(plannedRequest{JobRequest: req, onAssets: selectsAssets(req)})
}

// plannedRequest is a request of a step of a run.
type plannedRequest struct {
	hostler.JobRequest
	onAssets bool              // it works on assets, whoever finds them
	terms    selector.Selector // further conditions on the labels of the assets
	late     []string          // paths of args that are known only later: their faults are not reported
}

func (a *App) planOf(in plannedRequest) (*plan, error) {
	req := in.JobRequest
	if len(req.Args) == 0 || bytes.Equal(bytes.TrimSpace(req.Args), []byte("null")) {
		req.Args = json.RawMessage(`{}`)
	}
	p := &plan{
		overrideCalendar: req.OverrideCalendar, then: req.Then,
		lane: req.Lane, runAt: req.RunAt, delay: req.Delay.D(), ttl: req.TTL.D(),
		rollout: req.Rollout, most: a.cfg.Limits.Jobs, onAssets: in.onAssets,
		spec: hostler.JobSpec{
			Queue:       cmp.Or(req.Queue, hostler.DefaultQueue),
			Args:        req.Args,
			Priority:    cmp.Or(req.Priority, hostler.PriorityDefault),
			MaxAttempts: cmp.Or(req.MaxAttempts, 1),
			Backoff:     req.Backoff,
			Timeout:     cmp.Or(req.Timeout.D(), a.cfg.Limits.Timeout),

			DefaultTimeout: req.Timeout == 0,
			OnLost:         req.OnLost,
			OnUnknown:      cmp.Or(req.OnUnknown, hostler.OnUnknownHold),
			OnRetry:        cmp.Or(req.OnRetry, hostler.OnRetryHold),
		},
	}
	var fields check.Fields
	p.act = a.checkAction(&fields, in)
	p.hosts = selectHosts(&fields, "", p.most, targetOf(req), in.terms...)
	if req.Target != nil {
		fields.Require(!p.onAssets, "target", "excludes assets, labels, selector and from_run",
			"不能与 assets、labels、selector、from_run 同时指定")
		p.inline = checkTarget(&fields, *req.Target)
	}
	if req.Webhook != nil {
		p.webhook = checkJobWebhook(&fields, *req.Webhook)
	}
	flow.CheckFollowUps(&fields, "then", req.Then)
	checkPolicies(&fields, req)
	checkTimes(&fields, req)
	checkRollout(&fields, req)
	fields.Name("queue", p.spec.Queue, 64)
	p.checkLane(&fields, req)
	if err := fields.Err(); err != nil {
		return nil, err
	}
	p.setLane(req, len(in.late) > 0)
	if p.inline != nil {
		p.spec.Target = a.jobTarget(p.inline)
	}
	return p, nil
}

func selectsAssets(req hostler.JobRequest) bool {
	return len(req.Assets) > 0 || len(req.Labels) > 0 || req.Selector != "" || req.FromRun != nil
}

// checkAction checks the action, its args, and whether it works on what the request
// selects.
func (a *App) checkAction(fields *check.Fields, req plannedRequest) *action.Action {
	if !checkArgs(fields, req.Args) {
		return nil
	}
	act, err := a.knownAction(req.Action)
	if err != nil {
		fields.Merge(err)
		return nil
	}
	bad := false
	for _, fault := range a.cfg.Actions.Problems(act, req.Args) {
		if !slices.Contains(req.late, fault.Path) {
			bad = true
			fields.AddFault(fault)
		}
	}
	if bad {
		return nil
	}
	switch {
	case act.Asset == action.AssetNever && req.Target != nil:
		fields.Add("target", "is not allowed: this action does not work on a host", "此动作不针对主机")
	case act.Asset == action.AssetRequired && !req.onAssets && req.Target == nil:
		fields.Add("assets", "this action requires an asset: name assets, or select them by labels",
			"此动作需要资产：请指定资产，或按标签选择")
	case act.Asset == action.AssetNever && req.onAssets:
		fields.Add("assets", "is not allowed: this action does not work on an asset", "此动作不针对资产")
	}
	return act
}

// checkArgs checks what every action requires of its args.
func checkArgs(fields *check.Fields, args json.RawMessage) bool {
	good := len(args) <= hostler.MaxArgsBytes && utf8.Valid(args)
	fields.Require(good, "args", "must be at most %d bytes of UTF-8",
		"最多 %d 字节，须为 UTF-8", hostler.MaxArgsBytes)
	return good
}

// argsTotal counts the args of the jobs that one call creates.
type argsTotal struct {
	jobs            int
	bytes, distinct int64          // in all; with common args counted once
	seen            map[*byte]bool // args in memory
}

// add counts the args of one job. Jobs with the same args have the same slice.
func (t *argsTotal) add(args json.RawMessage) {
	t.jobs++
	if len(args) == 0 {
		return
	}
	t.bytes += int64(len(args))
	if !t.seen[&args[0]] {
		if t.seen == nil {
			t.seen = map[*byte]bool{}
		}
		t.seen[&args[0]] = true
		t.distinct += int64(len(args))
	}
}

// checkArgs refuses a call whose jobs have too large args together. The field is where
// the call says which jobs it creates.
func (a *App) checkArgs(field string, t argsTotal) error {
	const mb = 1 << 20
	switch {
	case t.bytes > a.cfg.Limits.Args:
		return hostler.Invalid(field,
			"the args of %d jobs have %d MB together, one call may have %d MB: "+
				"use smaller args, or create fewer jobs in each call",
			"%d 个作业的参数合计 %d MB，每次调用最多 %d MB：请减小参数，或每次调用创建更少的作业",
			t.jobs, t.bytes/mb, a.cfg.Limits.Args/mb)
	case t.distinct > a.cfg.Limits.DistinctArgs:
		return hostler.Invalid(field,
			"the different args of %d jobs have %d MB together, one call may have %d MB: "+
				"use smaller args, or create fewer jobs in each call",
			"%d 个作业的不同参数合计 %d MB，每次调用最多 %d MB：请减小参数，或每次调用创建更少的作业",
			t.jobs, t.distinct/mb, a.cfg.Limits.DistinctArgs/mb)
	}
	return nil
}

// enabledAction returns an action by its name, and checks the args against it.
func (a *App) enabledAction(name string, args json.RawMessage) (*action.Action, error) {
	act, err := a.knownAction(name)
	if err != nil {
		return nil, err
	}
	if faults := a.cfg.Actions.Problems(act, args); len(faults) > 0 {
		return nil, hostler.InvalidFields(faults...)
	}
	return act, nil
}

// knownAction returns an action that may run.
func (a *App) knownAction(name string) (*action.Action, error) {
	act, ok := a.cfg.Actions.Lookup(name)
	switch {
	case !ok:
		return nil, hostler.Invalid("action",
			"there is no such action; see: hostler action list", "没有此动作；请查看：hostler action list")
	case !act.Enabled:
		return nil, hostler.Invalid("action", "is disabled in the server's configuration",
			"已在服务器配置中停用")
	}
	return act, nil
}

// checkJobWebhook checks the webhook that a request brings.
func checkJobWebhook(fields *check.Fields, w hostler.JobWebhook) *webhook.Endpoint {
	var own check.Fields
	e := webhook.OfJob(w)
	e.Check(&own)
	fields.Nest("webhook.", own.Faults()...)
	return &e
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
	fields.Time("run_at", req.RunAt)
	fields.Require(req.RunAt == nil || req.Delay == 0, "delay",
		"excludes run_at: give one of the two", "不能与 run_at 同时指定")
}

func (p *plan) checkLane(fields *check.Fields, req hostler.JobRequest) {
	fields.Line("lane", req.Lane, 200)
	if c := req.Concurrency; c != nil {
		fields.Require(req.Lane == "", "concurrency", "excludes lane: give one of the two",
			"不能与 lane 同时指定")
		fields.Line("concurrency.key", c.Key, 200)
		fields.Given("concurrency.key", c.Key)
		check.Between(fields, "concurrency.limit", c.Limit, 1, 100_000)
	}
	fields.Require(req.Lane != hostler.LaneAsset || p.onHosts(), "lane",
		"asset requires an asset", "asset 通道需要指定资产")
}

// setLane chooses the lane, and what is lost with a worker, by what the action does:
// one that may change a host runs in the lane of its asset, and is not repeated by
// itself. The lane key of the request is set as it was given: the project, which is
// a part of the full key, is known only in the transaction.
// Of args that are known only later, the worst is assumed.
func (p *plan) setLane(req hostler.JobRequest, late bool) {
	traits := p.act.Traits(req.Args)
	if late {
		traits.Idempotent, traits.Changes = false, true
	}
	p.spec.Action = p.act.Name
	if p.spec.OnLost == "" {
		p.spec.OnLost = hostler.OnLostAsk
		if traits.Idempotent {
			p.spec.OnLost = hostler.OnLostRetry
		}
	}
	switch {
	case req.Concurrency != nil:
		p.lane = hostler.LaneNone
		p.spec.LaneKey, p.spec.LaneLimit = req.Concurrency.Key, req.Concurrency.Limit
	case p.lane == hostler.LaneDefault && traits.Changes && p.onHosts():
		p.lane = hostler.LaneAsset
	case p.lane == hostler.LaneDefault:
		p.lane = hostler.LaneNone
	case p.lane != hostler.LaneNone && p.lane != hostler.LaneAsset:
		p.spec.LaneKey, p.spec.LaneLimit = p.lane, 1
	}
}
