package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/selector"
	"hostler.dev/hostler/internal/store"
)

const (
	// maxRenderedArgs bounds the args of the steps of one run, as they are stored.
	maxRenderedArgs = 8 << 20
	// shownWaves is how many waves of a step are listed.
	shownWaves = 20
)

// StartRun starts a run of a task or of a template. Everything that can be checked is
// checked before, with the rights of the caller: every parameter, action, host, queue and
// credential.
func (a *App) StartRun(ctx context.Context, c auth.Caller, in hostler.RunRequest, idem string) (hostler.Run, error) {
	g, err := a.allow(c, auth.RunJob)
	if err != nil {
		return hostler.Run{}, err
	}
	key, err := g.idempotencyKey("POST /runs", idem, in)
	if err != nil {
		return hostler.Run{}, err
	}
	return a.startRun(ctx, g, cause{}, in, key)
}

// startRun judges a run of a task or template, and starts it.
func (a *App) startRun(
	ctx context.Context, g grant, why cause, in hostler.RunRequest, key *store.IdemKey,
) (hostler.Run, error) {
	id, found, err := answeredBefore[hostler.RunID](ctx, g, key)
	if err != nil {
		return hostler.Run{}, err
	}
	if found {
		return view(ctx, g, func(s *scope) (hostler.Run, error) { return s.flowRun(id) })
	}
	if err := a.checkFollowUps(ctx, g, "then", in.Then); err != nil {
		return hostler.Run{}, err
	}
	id, commands, err := a.judgeNewRun(ctx, a.store, g, in)
	if err != nil {
		return hostler.Run{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Run, error) {
		id, err := idempotent(s, key, func() (hostler.RunID, error) { return s.startRun(why, in, id, commands) })
		if err != nil {
			return hostler.Run{}, err
		}
		return s.flowRun(id)
	})
}

// PlanRun returns what a run would do, and starts nothing.
func (a *App) PlanRun(ctx context.Context, c auth.Caller, in hostler.RunRequest) (hostler.RunPlan, error) {
	g, err := a.allow(c, auth.RunJob)
	if err != nil {
		return hostler.RunPlan{}, err
	}
	_, plan, err := prepareRun(ctx, g, in, 0, (*newRun).plan)
	return plan, err
}

// prepareRun prepares a run on a snapshot, and returns what judged its commands and what
// fn makes of it.
func prepareRun[T any](
	ctx context.Context, g grant, in hostler.RunRequest, id hostler.RunID, fn func(n *newRun) (T, error),
) (commands *commandCheck, out T, err error) {
	commands = g.app.commands(ctx, g, nil)
	if err := commands.prepare(); err != nil { // outside of the snapshot, which has its own connection
		return nil, out, err
	}
	out, err = list(ctx, g, func(s *scope) (out T, err error) {
		s.planning = true
		n, err := s.newRun(in, id, commands)
		if err != nil {
			return out, err
		}
		return fn(n)
	})
	return commands, out, err
}

// judgeRun prepares a run on a snapshot, where a faulty request takes no lock and judging
// its commands may take long.
func judgeRun(ctx context.Context, g grant, in hostler.RunRequest, id hostler.RunID) (*commandCheck, error) {
	commands, _, err := prepareRun(ctx, g, in, id, func(*newRun) (none struct{}, err error) { return none, nil })
	if commands != nil {
		commands.close()
	}
	if !g.unattended { // or else the transaction tells of it
		g.app.recordRuleRefusal(ctx, g, err)
	}
	return commands, err
}

// judgeNewRun is judgeRun for a run that is to be started, whose id it allocates.
func (a *App) judgeNewRun(
	ctx context.Context, st *store.Store, g grant, in hostler.RunRequest,
) (id hostler.RunID, commands *commandCheck, err error) {
	err = st.InTx(ctx, func(tx *store.Tx) error {
		id, err = tx.NewRunID(true)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	commands, err = judgeRun(ctx, g, in, id)
	return id, commands, err
}

// startRun creates a run.
func (s *scope) startRun(
	why cause, in hostler.RunRequest, id hostler.RunID, commands *commandCheck,
) (hostler.RunID, error) {
	if err := s.FreezeLanes(); err != nil {
		return 0, err
	}
	n, err := s.newRun(in, id, commands)
	if err != nil {
		return 0, err
	}
	var targets []store.Target
	for _, set := range n.setSeen {
		targets = append(targets, set...)
	}
	n.row.StartAt, err = s.waitForCalendars(begin{
		calendar: why.calendar, targets: targets, override: in.OverrideCalendar, fire: why.fire,
	})
	if err != nil {
		return 0, err
	}
	n.row.Origin, n.row.RetryOf, n.row.Depth = cmp.Or(why.origin, s.caller.Origin), why.retryOf, why.depth
	n.row.Chain = why.chain
	n.row.OutputOf = why.outputOf(n.row.Source, n.row.Name)
	then := slices.Concat(in.Then, n.task.Then)
	n.row.Follows = len(then) > 0
	if t := in.Targets; t != nil {
		targets, err := json.Marshal(t)
		if err != nil {
			return 0, fmt.Errorf("encode targets: %w", err)
		}
		n.row.Targets = string(targets)
	}
	if err := s.InsertRun(&n.row, n.rows(), n.sets); err != nil {
		return 0, err
	}
	if err := s.insertFollowUps(id, then); err != nil {
		return 0, err
	}
	detail := map[string]any{
		"name": n.row.Name, "template": n.row.Template, "version": n.row.Version, "steps": len(n.steps),
	}
	if why.retryOf != 0 {
		detail["rerun_of"] = why.retryOf
	}
	if o := in.OverrideCalendar; o != nil {
		detail["override_calendar"] = o.Reason
	}
	return id, s.audit("run.start", id.String(), detail)
}

// newRun is a run that is being prepared.
type newRun struct {
	*scope
	in       hostler.RunRequest
	template hostler.Template
	task     hostler.TaskSpec // zero without a task
	values   flow.Values
	row      store.RunRow
	steps    []*runStep
	within   []string // names of the templates that are being expanded
	sets     [][]store.RunHost
	setAt    map[string]int // by what selects the hosts; from 1
	setSeen  map[int][]store.Target
	queues   map[string]*store.Admission
	hosts    int // of all sets
	bytes    int // of the args of all steps
	faults   []hostler.FieldError
	code     hostler.Code // of the faults
	refused  *refused     // by command rules

	commandCheck *commandCheck
	approved     []bool // the steps behind an approval
}

// newRun prepares a run. The error names everything that is wrong.
func (s *scope) newRun(in hostler.RunRequest, id hostler.RunID, commands *commandCheck) (*newRun, error) {
	n := &newRun{
		scope: s, in: in, commandCheck: commands, code: hostler.CodeInvalid,
		setAt: map[string]int{}, setSeen: map[int][]store.Target{},
		queues: map[string]*store.Admission{},
	}
	if err := n.find(); err != nil {
		return nil, err
	}
	params, err := flow.Params(n.template.Param, n.task.Params, in.Params)
	if err != nil {
		return nil, err
	}
	n.row.ID, n.row.Project, n.row.Params, n.row.State = id, s.project, string(params), hostler.RunPending
	n.row.Requester, n.row.RequesterName = s.caller.UserID, s.caller.User
	n.values = flow.Values{
		"params": flow.ParamValues(params), "run": flow.RunView(id, s.caller.User, hostler.RunPending),
	}
	n.within = []string{n.row.Template}
	if err := n.expand(&n.template, "", "", n.values, nil); err != nil {
		return nil, err
	}
	specs := make([]flow.Spec, len(n.steps))
	for i, s := range n.steps {
		specs[i] = s.Spec
	}
	n.approved = flow.Approved(specs)
	// Those that follow others come after them.
	for _, parts := range []bool{false, true} {
		for i, s := range n.steps {
			if parts == (s.PartOf() != "" || s.Undoes != "") {
				if err := n.addStep(i); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(n.faults) > 0 {
		e := hostler.InvalidFields(n.faults[:min(len(n.faults), check.MaxFaults)]...)
		e.Code = n.code
		if n.refused != nil {
			e.Cause = n.refused
		}
		return nil, e
	}
	return n, nil
}

// find finds the task and the template.
func (n *newRun) find() error {
	var fields check.Fields
	fields.Require((n.in.Task == "") != (n.in.Template == ""), "task", "give either task or template",
		"请指定 task 或 template 之一")
	fields.Require(n.in.Version >= 0, "version", "must be at least 1", "至少为 1")
	if t := n.in.Targets; t != nil {
		checkLabels(&fields, t.Labels)
		checkSelector(&fields, "targets.selector", t.Selector)
		flow.CheckFromRun(&fields, "targets.from_run", t.FromRun)
	}
	if err := fields.Err(); err != nil {
		return err
	}
	n.row.Source, n.row.Name = hostler.RunFromTemplate, n.in.Template
	if n.in.Task != "" {
		t, err := n.scope.task(n.in.Task)
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(t.Spec), &n.task); err != nil {
			return fmt.Errorf("decode a task: %w", err)
		}
		n.row.Source, n.row.Name = hostler.RunFromTask, t.Name
	}
	t, err := n.scope.template(cmp.Or(n.task.Template, n.in.Template), cmp.Or(n.in.Version, n.task.Version))
	if err != nil {
		return err
	}
	if !t.RetiredAt.IsZero() {
		return errRetired(t)
	}
	n.row.Template, n.row.Version = t.Name, t.Version
	if err := json.Unmarshal([]byte(t.Spec), &n.template); err != nil {
		return fmt.Errorf("decode a template: %w", err)
	}
	return nil
}

func errRetired(t *store.TemplateRow) error {
	return hostler.Errorf(hostler.CodeConflict, "version %d of the template %q is retired",
		"模板 %[2]q 的版本 %[1]d 已停用", t.Version, t.Name)
}

// rows are the steps as they are stored.
func (n *newRun) rows() []store.RunStepRow {
	out := make([]store.RunStepRow, len(n.steps))
	for i, s := range n.steps {
		out[i] = s.row
	}
	return out
}

// fault notes what is wrong with a step.
func (n *newRun) fault(path string, err error) error {
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok || e.Code == hostler.CodeInternal || e.Code.Temporary() {
		return err
	}
	if e.Code == hostler.CodeForbidden {
		n.code = e.Code
	}
	if r := ruleRefusal(err); r != nil && n.refused == nil {
		n.refused = r
	}
	if len(e.Fields) == 0 {
		n.faults = append(n.faults, hostler.FieldError{Path: path, Text: e.Text})
	}
	for _, f := range e.Fields {
		f.Path = path + "." + f.Path
		n.faults = append(n.faults, f)
	}
	return nil
}

// addStep renders and checks one step.
func (n *newRun) addStep(i int) error {
	s := n.steps[i]
	s.row = store.RunStepRow{Step: s.ID, State: hostler.StepPending}
	if s.Rollout != nil {
		s.row.Parallel = s.Rollout.Parallel
	}
	s.Late = flow.UsesOutputs(s.Args)
	args, faults := flow.RenderEarly(s.Args, s.path+".args", s.values)
	n.faults = append(n.faults, faults...)
	if !s.Late {
		s.Args = args
	}
	n.bytes += len(args)
	if n.bytes > maxRenderedArgs {
		return hostler.Invalid("params", "make the args of the steps larger than %d MB together",
			"使各步骤的参数合计超过 %d MB", maxRenderedArgs>>20)
	}
	if s.Action != "" && len(faults) == 0 {
		if err := n.addJobs(s, args, i); err != nil {
			if err := n.fault(s.path, err); err != nil {
				return err
			}
		}
	}
	spec, err := flow.Canonical(s.Spec)
	if err != nil {
		return fmt.Errorf("encode a step: %w", err)
	}
	s.row.Spec = string(spec)
	return nil
}

// addJobs checks the jobs of a step like those of a request, and freezes them. Args that
// look up outputs are checked again when their jobs are created.
func (n *newRun) addJobs(s *runStep, args json.RawMessage, i int) error {
	req := hostler.JobRequest{
		Action: s.Action, Args: args, Queue: s.Queue, Lane: s.Lane, Priority: s.Priority,
		Timeout: s.Timeout, OnLost: s.OnLost,
	}
	if r := s.Retry; r != nil {
		req.MaxAttempts, req.Backoff = r.Attempts, hostler.Backoff{Kind: r.Backoff, Base: r.Base, Max: r.Max}
	}
	follows, err := n.follow(s)
	if err != nil {
		return err
	}
	sel, err := n.selectionOf(s)
	if err != nil {
		return err
	}
	req.Assets, req.Labels, req.Exclude, req.FromRun = sel.assets, sel.labels, sel.exclude, sel.from
	if len(req.Assets)+len(req.Labels)+len(sel.terms) == 0 && req.FromRun == nil {
		req.Exclude = nil // of a step without hosts
	}
	p, err := n.app.planOf(plannedRequest{
		JobRequest: req, onAssets: follows || len(sel.terms) > 0 || selectsAssets(req),
		late: flow.OutputPaths(s.Spec.Args, "args"), terms: sel.terms,
	})
	if err != nil {
		return err
	}
	if err := n.checkRun(p.act, p.spec.Args, p.onAssets); err != nil {
		return err
	}
	n.commandCheck.approved = n.approved[i]
	if err := n.commandCheck.check(p.act, p.spec.Args); err != nil {
		return err
	}
	if err := n.addHosts(s, sel, p); err != nil {
		return err
	}
	spec := n.specOf(p, n.row.ID)
	if err := n.admit(&spec); err != nil {
		return err
	}
	s.jobs = p
	targets := []store.Target{{}}
	if s.row.HostSet > 0 {
		targets = n.setSeen[s.row.HostSet]
	}
	if err := n.CheckHolds(specsOn(spec, targets)); err != nil {
		return err
	}
	if s.Late {
		spec.Args = s.Spec.Args
	}
	s.row.Jobs, err = stepJobs(spec, p, n.approved[i])
	return err
}

// specsOn is a job on each of some targets, as far as holds look at it.
func specsOn(common hostler.JobSpec, targets []store.Target) []hostler.JobSpec {
	specs := make([]hostler.JobSpec, len(targets))
	for i, t := range targets {
		specs[i] = hostler.JobSpec{Project: common.Project, Asset: t.ID, AssetName: t.Name}
	}
	return specs
}

// addHosts finds the hosts of a step, and refuses credentials that may not be used there.
func (n *newRun) addHosts(s *runStep, sel selection, p *plan) (err error) {
	targets := []store.Target{{}}
	switch {
	case s.Follows:
		targets = n.setSeen[s.row.HostSet]
	case p.onAssets:
		if s.row.HostSet, err = n.hostSet(sel, p); err != nil {
			return err
		}
		targets = n.setSeen[s.row.HostSet]
		s.row.Total, s.row.Hosts = len(targets), len(targets)
	default:
		s.row.Total, s.row.Hosts = 1, 1
	}
	return n.checkUses(p.act, p.spec.Args, targets, nil)
}

// admit refuses jobs that could never enter their queue.
func (n *newRun) admit(spec *hostler.JobSpec) (err error) {
	admission, known := n.queues[spec.Queue]
	if !known {
		if admission, err = n.Admission(n.project, spec.Queue); err != nil {
			return err
		}
		n.queues[spec.Queue] = admission
	}
	return admission.Check(spec)
}

// selection is what selects the hosts of a step.
type selection struct {
	assets, exclude []string
	labels          map[string]string
	terms           selector.Selector // of the selectors, all of which must match
	// narrow: hosts must be among the assets and have the labels too.
	narrow bool
	// from: hosts must be among those of an earlier run.
	from *hostler.FromRun
}

// selectionOf merges the targets of a step, of the flows that it is within, of the task and
// of the request. Labels are merged by key, selectors must all match. Assets that these name
// narrow what labels select. What selects hosts for a gate selects nothing else.
func (n *newRun) selectionOf(s *runStep) (selection, error) {
	act, ok := n.app.cfg.Actions.Lookup(s.Action)
	if !ok || s.Follows || act.Asset == action.AssetNever || act.Asset == action.AssetOptional && s.Target == nil {
		return selection{}, nil
	}
	sel := selection{labels: map[string]string{}}
	targets := append(slices.Clone(s.narrow), n.task.Targets, n.in.Targets)
	if s.PartOf() != "" {
		targets = nil
	}
	for i, t := range append([]*hostler.StepTarget{s.target}, targets...) {
		if t == nil {
			continue
		}
		maps.Copy(sel.labels, t.Labels)
		terms, err := selector.Parse(t.Selector)
		if err != nil {
			return sel, err
		}
		sel.terms, sel.exclude = append(sel.terms, terms...), append(sel.exclude, t.Exclude...)
		if i == 0 || len(t.Assets) > 0 {
			sel.assets, sel.narrow = t.Assets, i > 0
		}
		if t.FromRun != nil {
			sel.from = t.FromRun
		}
	}
	sel.narrow = sel.narrow && len(sel.labels)+len(sel.terms) > 0
	return sel, nil
}

// hostSet returns the number of the set of hosts that a selection selects.
func (n *newRun) hostSet(sel selection, p *plan) (int, error) {
	key, err := flow.Canonical(map[string]any{
		"assets": sel.assets, "labels": sel.labels, "narrow": sel.narrow, "from": sel.from,
		"terms": sel.terms, "exclude": sel.exclude,
	})
	if err != nil {
		return 0, fmt.Errorf("encode a selection: %w", err)
	}
	if set, ok := n.setAt[string(key)]; ok {
		return set, nil
	}
	targets, err := n.targetsOf(sel, p)
	if err != nil {
		return 0, err
	}
	if n.hosts += len(targets); n.hosts > n.app.cfg.Limits.Jobs {
		return 0, hostler.Invalid("target", "the steps select more than %d hosts together",
			"各步骤合计选中超过 %d 台主机", n.app.cfg.Limits.Jobs)
	}
	hosts := make([]store.RunHost, len(targets))
	for i, t := range targets {
		hosts[i] = store.RunHost{ID: t.ID, Name: t.Name}
	}
	n.sets = append(n.sets, hosts)
	set := len(n.sets)
	n.setAt[string(key)], n.setSeen[set] = set, targets
	return set, nil
}

func (n *newRun) targetsOf(sel selection, p *plan) ([]store.Target, error) {
	if !sel.narrow {
		return n.findTargets(p)
	}
	byLabel, byName := *p, *p
	byLabel.hosts.Selection = store.Selection{Labels: p.hosts.Labels}
	byName.hosts.Labels = nil
	labelled, err := n.findTargets(&byLabel)
	if err != nil {
		return nil, err
	}
	named, err := n.findTargets(&byName)
	if err != nil {
		return nil, err
	}
	has := make(map[hostler.AssetID]bool, len(named))
	for _, t := range named {
		has[t.ID] = true
	}
	both := slices.DeleteFunc(labelled, func(t store.Target) bool { return !has[t.ID] })
	if len(both) == 0 {
		return nil, hostler.Errorf(hostler.CodeNotFound, "none of the named assets has the labels of this step",
			"指定的资产都不具有此步骤的标签")
	}
	return both, nil
}

// plan describes the prepared run.
func (n *newRun) plan() (hostler.RunPlan, error) {
	out := hostler.RunPlan{
		Template: n.row.Template, Version: n.row.Version, Params: json.RawMessage(n.row.Params),
		Steps: make([]hostler.PlannedStep, len(n.steps)),
	}
	rows := n.rows()
	steps, err := runStepsOf(rows)
	if err != nil {
		return out, err
	}
	for i, s := range steps {
		out.Steps[i].RunStep = s
		if set := rows[i].HostSet; set > 0 && !n.steps[i].Follows {
			for _, h := range n.sets[set-1] {
				out.Steps[i].On = append(out.Steps[i].On, h.Name)
			}
		}
	}
	b, err := flow.Canonical(out)
	if err != nil {
		return out, fmt.Errorf("encode a plan: %w", err)
	}
	sum := sha256.Sum256(b)
	out.Digest = hex.EncodeToString(sum[:])
	return out, nil
}
