package flow

import (
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/selector"
)

const (
	maxWait     = 366 * 24 * time.Hour
	maxTimeout  = 7 * 24 * time.Hour
	maxAttempts = hostler.MaxAttemptsLimit
	maxText     = 4000
	maxTitle    = 200
	maxBatches  = 100
	maxParallel = 100_000
	maxPeople   = 50
)

var stepID = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// Needs returns for each step the indexes of the steps that it needs. Names of steps that
// do not exist are left out.
func Needs(steps []hostler.Step) [][]int {
	at := make(map[string]int, len(steps))
	for i := range steps {
		at[steps[i].ID] = i
	}
	out := make([][]int, len(steps))
	above := -1
	for i := range steps {
		switch needs := steps[i].Needs; {
		case steps[i].Undoes != "":
			continue // a rollback has an order of its own
		case needs == nil && above >= 0:
			out[i] = []int{above}
		case needs != nil:
			for _, id := range *needs {
				if n, ok := at[id]; ok {
					out[i] = append(out[i], n)
				}
			}
		}
		above = i
	}
	return out
}

// Behind returns the steps that some of them lead to, and these themselves.
func Behind(needs [][]int, of []bool) []bool {
	out := append([]bool(nil), of...)
	// Needs may name later steps, so the steps are passed until nothing changes.
	for changed := true; changed; {
		changed = false
		for i := range needs {
			for _, n := range needs[i] {
				if out[n] && !out[i] {
					out[i], changed = true, true
				}
			}
		}
	}
	return out
}

// TargetOf returns the hosts that a step selects by default: its own, or those of the
// nearest step above it that selects some; nil when there is none.
func TargetOf(steps []hostler.Step, i int) *hostler.StepTarget {
	for ; i >= 0; i-- {
		if steps[i].Target != nil {
			return steps[i].Target
		}
	}
	return nil
}

// checkTemplate checks everything that needs no knowledge of actions.
func checkTemplate(f *check.Fields, t *hostler.Template) {
	f.Name("name", t.Name, 64)
	f.Line("title", t.Title, maxTitle)
	f.Text("help", t.Help, maxText)
	if t.Param != nil {
		_, faults := compileSchema(t.Param)
		f.Nest("", faults...)
	}
	f.Require(len(t.Steps) > 0, "steps", "must have at least one step", "至少需要一个步骤")
	f.Require(len(t.Steps) <= hostler.MaxSteps, "steps", "must be at most %d", "最多 %d 个", hostler.MaxSteps)
	if len(t.Steps) > hostler.MaxSteps {
		return
	}
	checkIDs(f, t.Steps)
	before := checkOrder(f, t.Steps)
	for i := range t.Steps {
		c := stepCheck{
			f: f, t: t, s: &t.Steps[i], path: check.Item("steps", i), before: before[i], strict: strictOf(t.Steps, before, i),
		}
		c.run()
	}
}

// strictOf returns the steps between a step and a strict approval that it is behind, with
// the id of the approval.
func strictOf(steps []hostler.Step, before []map[string]bool, i int) map[string]string {
	out := map[string]string{}
	for a := range steps {
		ask := &steps[a]
		if ask.Approval == nil || ask.Approval.Bind == "" || !before[i][ask.ID] {
			continue
		}
		for id := range before[i] {
			if id != ask.ID && !before[a][id] {
				out[id] = ask.ID
			}
		}
	}
	return out
}

func checkIDs(f *check.Fields, steps []hostler.Step) {
	seen := map[string]bool{}
	for i := range steps {
		path := check.Item("steps", i) + ".id"
		f.Require(stepID.MatchString(steps[i].ID), path,
			"must be a lower-case letter and then up to 62 of a-z 0-9 _ -",
			"须以小写字母开头，其后最多 62 个 a-z、0-9、_、- 字符")
		f.Require(!seen[steps[i].ID], path, "is the id of an earlier step too", "与前面的步骤重复")
		seen[steps[i].ID] = true
	}
}

// checkOrder refuses unknown needs and cycles, and returns for each step those that end
// before it starts.
func checkOrder(f *check.Fields, steps []hostler.Step) []map[string]bool {
	ids, undo := map[string]bool{}, map[string]bool{}
	for i := range steps {
		ids[steps[i].ID], undo[steps[i].ID] = true, steps[i].Undoes != ""
	}
	for i := range steps {
		if steps[i].Needs == nil {
			continue
		}
		for n, id := range *steps[i].Needs {
			path := check.Item(check.Item("steps", i)+".needs", n)
			f.Require(ids[id] && !undo[id], path, "names no step of this template", "不是本模板中的步骤")
			f.Require(id != steps[i].ID, path, "names the step itself", "不能依赖自身")
		}
	}
	needs := Needs(steps)
	order, rest := sortSteps(needs)
	if len(rest) > 0 {
		names := make([]string, 0, len(rest))
		for _, i := range rest[:min(len(rest), 10)] {
			names = append(names, check.Key(steps[i].ID))
		}
		f.Add(check.Item("steps", rest[0])+".needs", "is part of a cycle: %s", "形成循环：%s", strings.Join(names, ", "))
	}
	before := make([]map[string]bool, len(steps))
	for i := range before {
		before[i] = map[string]bool{}
	}
	for _, i := range order {
		for _, n := range needs[i] {
			before[i][steps[n].ID] = true
			for id := range before[n] {
				before[i][id] = true
			}
		}
	}
	for i := range steps {
		for n := range steps {
			if steps[n].ID == steps[i].Undoes {
				maps.Copy(before[i], before[n])
				before[i][steps[n].ID] = true
			}
		}
	}
	return before
}

// sortSteps orders steps so that each comes after those that it needs. The rest are the
// steps on cycles and those behind them.
func sortSteps(needs [][]int) (order, rest []int) {
	open := make([]int, len(needs))
	next := make([][]int, len(needs))
	for i, of := range needs {
		open[i] = len(of)
		for _, n := range of {
			next[n] = append(next[n], i)
		}
	}
	for i := range needs {
		if open[i] == 0 {
			order = append(order, i)
		}
	}
	for at := 0; at < len(order); at++ {
		for _, i := range next[order[at]] {
			if open[i]--; open[i] == 0 {
				order = append(order, i)
			}
		}
	}
	for i := range needs {
		if open[i] > 0 {
			rest = append(rest, i)
		}
	}
	return order, rest
}

// stepCheck checks one step.
type stepCheck struct {
	f      *check.Fields
	t      *hostler.Template
	s      *hostler.Step
	path   string
	before map[string]bool   // steps that have ended when this one starts
	strict map[string]string // of these, those behind a strict approval that this one is behind
}

func (c *stepCheck) run() {
	s, f := c.s, c.f
	kinds := 0
	for _, given := range []bool{s.Action != "", s.Approval != nil, s.Wait != 0, s.Notify != nil, s.Flow != nil} {
		if given {
			kinds++
		}
	}
	f.Require(kinds == 1, c.path, "must have exactly one of action, approval, wait, notify and flow",
		"须且只能有 action、approval、wait、notify、flow 之一")
	f.Line(c.path+".title", s.Title, maxTitle)
	f.Line(c.path+".action", s.Action, 64)
	check.OneOf(f, c.path+".on_failure", s.OnFailure, "", hostler.OnFailureStop, hostler.OnFailureContinue,
		hostler.OnFailureRollback)
	c.undoes()
	checkCondition(f, c.path+".when", s.When, runEnv, c.look)
	f.Duration(c.path+".wait", s.Wait, maxWait)
	c.actionOnly()
	checkTarget(f, c.path+".target", s.Target)
	if s.Rollout != nil {
		CheckRollout(c.f, c.path+".rollout", s.Rollout)
		c.probe(c.path+".rollout.gate", s.Rollout.Gate)
	}
	checkRetry(f, c.path+".retry", s.Retry)
	f.Duration(c.path+".timeout", s.Timeout, maxTimeout)
	c.outputs()
	c.probe(c.path+".verify", s.Verify)
	if s.Verify != nil {
		f.Require(s.Verify.Target == nil, c.path+".verify.target", "is not allowed: it looks at the host of the job",
			"不允许：它检查作业所在的主机")
	}
	if s.Flow != nil {
		c.flow(s.Flow)
	}
	if s.Approval != nil {
		c.approval(s.Approval)
	}
	if s.Notify != nil {
		if s.Notify.Channel != "" {
			f.Name(c.path+".notify.channel", s.Notify.Channel, 127)
		}
		f.Given(c.path+".notify.text", s.Notify.Text)
		f.Text(c.path+".notify.text", s.Notify.Text, maxText)
		c.text(s.Notify.Text, c.path+".notify.text")
	}
	c.args(c.path+".args", s.Args)
}

func checkRetry(f *check.Fields, path string, r *hostler.Retry) {
	if r == nil {
		return
	}
	check.Between(f, path+".attempts", r.Attempts, 1, maxAttempts)
	check.OneOf(f, path+".backoff", r.Backoff, "", "fixed", "exponential")
	f.Duration(path+".base", r.Base, 24*time.Hour)
	f.Duration(path+".max", r.Max, 24*time.Hour)
}

// probe checks a gate or a verify action.
func (c *stepCheck) probe(path string, p *hostler.Probe) {
	if p == nil {
		return
	}
	c.f.Line(path+".action", p.Action, 64)
	c.f.Given(path+".action", p.Action)
	checkTarget(c.f, path+".target", p.Target)
	c.f.Duration(path+".timeout", p.Timeout, maxTimeout)
	checkRetry(c.f, path+".retry", p.Retry)
	c.args(path+".args", p.Args)
}

// flow checks a step that runs another template.
func (c *stepCheck) flow(s *hostler.FlowStep) {
	c.f.Name(c.path+".flow.template", s.Template, 64)
	c.f.Require(s.Version >= 0, c.path+".flow.version", "must be at least 1", "至少为 1")
	c.f.Require(s.Template != c.t.Name, c.path+".flow.template", "is this template itself", "不能为本模板")
	c.args(c.path+".flow.params", s.Params)
	c.f.Require(!UsesOutputs(s.Params), c.path+".flow.params",
		"must not look up outputs: parameters are checked before the run starts", "不能引用步骤输出：参数在运行前检查")
}

// undoes checks a step that undoes another.
func (c *stepCheck) undoes() {
	if c.s.Undoes == "" {
		return
	}
	at := slices.IndexFunc(c.t.Steps, func(o hostler.Step) bool { return o.ID == c.s.Undoes })
	c.f.Require(at >= 0 && c.t.Steps[max(at, 0)].Undoes == "", c.path+".undoes", "names no step of this template that can be undone",
		"不是本模板中可回滚的步骤")
	c.f.Require(c.s.Needs == nil, c.path+".needs", "is not allowed: a rollback runs in the reverse order of the steps",
		"不允许：回滚按步骤的相反顺序执行")
	c.f.Require(!c.s.Always, c.path+".always", "is not allowed: it runs in a rollback only", "不允许：仅在回滚时执行")
	asks := slices.ContainsFunc(c.t.Steps, func(o hostler.Step) bool { return o.OnFailure == hostler.OnFailureRollback })
	c.f.Require(asks, c.path+".undoes", "is never used: no step has on_failure: rollback", "不会被使用：没有步骤设置 on_failure: rollback")
}

// actionOnly refuses fields that only actions have.
func (c *stepCheck) actionOnly() {
	s := c.s
	if s.Action != "" {
		return
	}
	for name, given := range map[string]bool{
		"args": s.Args != nil, "target": s.Target != nil && s.Flow == nil, "outputs": s.Outputs != nil,
		"verify": s.Verify != nil, "rollout": s.Rollout != nil, "retry": s.Retry != nil,
		"timeout": s.Timeout != 0, "queue": s.Queue != "", "lane": s.Lane != "", "priority": s.Priority != 0,
		"on_lost": s.OnLost != "",
	} {
		c.f.Require(!given, c.path+"."+name, "goes with an action only", "仅用于 action 步骤")
	}
}

// CheckRollout checks the waves of a step, or of a request for jobs.
func CheckRollout(f *check.Fields, path string, r *hostler.Rollout) {
	f.Count(path+".batch", len(r.Batch), maxBatches)
	for i, b := range r.Batch {
		f.Require(b.N > 0, check.Item(path+".batch", i), "must be more than 0", "必须大于 0")
	}
	f.Require(r.MaxFailures.N >= 0, path+".max_failures", "must not be negative", "不能为负")
	f.Duration(path+".pause_between", r.PauseBetween, maxWait)
	check.Between(f, path+".parallel", r.Parallel, 0, maxParallel)
}

func (c *stepCheck) approval(a *hostler.ApprovalStep) {
	path := c.path + ".approval"
	c.f.Given(path+".title", a.Title)
	c.f.Line(path+".title", a.Title, maxTitle)
	c.text(a.Title, path+".title")
	c.f.Count(path+".approvers", len(a.Approvers), maxPeople)
	for i, who := range a.Approvers {
		kind, name, _ := strings.Cut(who, ":")
		c.f.Require(name != "" && (kind == "role" || kind == "user"), check.Item(path+".approvers", i),
			"must be role:NAME or user:NAME", "须为 role:名称 或 user:名称")
		c.f.Line(check.Item(path+".approvers", i), who, 256)
	}
	check.Between(c.f, path+".quorum", a.Quorum, 0, maxPeople)
	c.f.Duration(path+".expires", a.Expires, maxWait)
	check.OneOf(c.f, path+".bind", a.Bind, "", "strict")
	check.OneOf(c.f, path+".on_expiry", a.OnExpiry, "", hostler.OnExpiryReject, hostler.OnExpiryContinue)
}

// args checks the look-ups in args: they see what is known when the run starts, and outputs
// of steps that have ended.
func (c *stepCheck) args(path string, args json.RawMessage) {
	if args == nil {
		return
	}
	v, ok := decodeObject(args)
	if !ok {
		c.f.Add(path, "must be an object", "须为对象")
		return
	}
	faults := lookups(v, path, func(l lookup) {
		if l.path[0] == "steps" && !outputOf(l.path) || l.path[0] == "run" && len(l.path) == 2 && l.path[1] == "state" {
			c.f.Add(l.at, "is not known before the run starts: args may look up params, run.id, run.requester and outputs of steps",
				"在运行开始前未知：args 只能引用 params、run.id、run.requester 和步骤的 outputs")
			return
		}
		c.look(l)
	})
	c.f.Nest("", faults...)
}

// text checks the look-ups in a text for people.
func (c *stepCheck) text(s, path string) {
	c.f.Nest("", lookups(s, path, c.look)...)
}

// look checks what is looked up.
func (c *stepCheck) look(l lookup) {
	name := check.Key(strings.Join(l.path, "."))
	switch {
	case l.path[0] == "params" && len(l.path) > 1:
		c.f.Require(knowsParam(c.t.Param, l.path[1]), l.at, "%s is not a parameter of this template",
			"%s 不是本模板的参数", name)
	case l.path[0] == "run" && len(l.path) == 2 && slices.Contains([]string{"id", "requester", "state"}, l.path[1]):
	case l.path[0] == "steps" && len(l.path) > 1:
		c.f.Require(c.before[l.path[1]], l.at, "%s is not a step that has ended when this one starts: add it to needs",
			"%s 不是在此步骤开始前已结束的步骤：请加入 needs", name)
		if outputOf(l.path) {
			c.output(l, name)
			return
		}
		c.f.Require(len(l.path) < 3 || len(l.path) == 3 && slices.Contains(stepValues, l.path[2]), l.at,
			"%s does not exist; a step has %s", "%s 不存在；步骤具有 %s", name, strings.Join(stepValues, ", "))
	default:
		c.f.Add(l.at, "%s does not exist: use params, run or steps", "%s 不存在：可用 params、run、steps", name)
	}
}

// output checks a look-up of an output.
func (c *stepCheck) output(l lookup, name string) {
	at := slices.IndexFunc(c.t.Steps, func(o hostler.Step) bool { return o.ID == l.path[1] })
	declared := false
	if at >= 0 && len(l.path) > 3 {
		_, declared = c.t.Steps[at].Outputs[l.path[3]]
	}
	c.f.Require(declared, l.at, "%s is not an output that the step declares", "%s 不是该步骤声明的输出", name)
	if strict, ok := c.strict[l.path[1]]; ok {
		c.f.Add(l.at, "%s is still to come when the approval %s is decided, which says bind: strict",
			"审批 %[2]s 决定时 %[1]s 尚未产生，而该审批要求 bind: strict", name, check.Key(strict))
	}
}

// stepValues are what can be looked up of a step.
var stepValues = []string{"state", "hosts", "succeeded", "failed", "cancelled", "unknown"}

func checkTarget(f *check.Fields, path string, t *hostler.StepTarget) {
	if t == nil {
		return
	}
	f.Require(len(t.Assets) > 0 || len(t.Labels) > 0 || t.Selector != "" || t.FromRun != nil, path,
		"must name assets, labels, selector or from_run", "须指定 assets、labels、selector 或 from_run")
	if _, err := selector.Parse(t.Selector); err != nil {
		e, _ := errors.AsType[*hostler.Error](err)
		f.AddText(path+".selector", e.Text)
	}
	f.Count(path+".exclude", len(t.Exclude), 1000)
	for i, a := range t.Exclude {
		f.Require(a != "" && check.SingleLine(a) && len(a) <= 1024, check.Item(path+".exclude", i),
			"is not the name or the id of an asset, or a pattern", "不是资产的名称或 ID，也不是模式")
	}
	CheckFromRun(f, path+".from_run", t.FromRun)
	f.Count(path+".assets", len(t.Assets), 100_000)
	f.Count(path+".labels", len(t.Labels), 64)
	for i, a := range t.Assets {
		f.Require(a != "" && check.SingleLine(a) && len(a) <= 1024, check.Item(path+".assets", i),
			"is not the name or the id of an asset", "不是资产的名称或 ID")
	}
	for _, key := range sortedKeys(t.Labels) {
		f.Line(check.Member(path+".labels", key), key, 64)
		f.Line(check.Member(path+".labels", key), t.Labels[key], 256)
	}
}

// CheckFromRun checks a selection of hosts of an earlier run.
func CheckFromRun(f *check.Fields, path string, from *hostler.FromRun) {
	if from == nil {
		return
	}
	f.Require((from.Run == 0) != (from.Name == ""), path, "must have either run or name", "须指定 run 或 name 之一")
	f.Line(path+".name", from.Name, 64)
	f.Line(path+".step", from.Step, 400)
	check.OneOf(f, path+".hosts", from.Hosts, "succeeded", "failed", "changed")
}

func checkTask(f *check.Fields, t *hostler.TaskSpec) {
	f.Name("name", t.Name, 64)
	f.Line("title", t.Title, maxTitle)
	f.Name("template", t.Template, 64)
	f.Require(t.Version >= 0, "version", "must be at least 1", "至少为 1")
	if _, ok := decodeObject(t.Params); !ok {
		f.Add("params", "must be an object", "须为对象")
	}
	checkTarget(f, "targets", t.Targets)
	CheckFollowUps(f, "then", t.Then)
}

// MaxFollowUps is how many follow-ups a document or request may have.
const MaxFollowUps = 10

// CheckFollowUps checks what can be checked of follow-ups without the store.
func CheckFollowUps(f *check.Fields, path string, list []hostler.FollowUp) {
	f.Count(path, len(list), MaxFollowUps)
	for i, u := range list[:min(len(list), MaxFollowUps)] {
		at := check.Item(path, i)
		check.OneOf(f, at+".on", u.On, "", hostler.FollowSuccess, hostler.FollowFailure, hostler.FollowChange, hostler.FollowEnd)
		n := 0
		for _, name := range []string{u.Task, u.Schedule, u.Webhook} {
			if name != "" {
				n++
			}
		}
		f.Require(n == 1, at, "needs exactly one of task, schedule and webhook", "须且只能指定 task、schedule、webhook 之一")
		f.Require(len(u.Params) == 0 || u.Webhook == "", at+".params", "are those of a task or schedule", "仅用于任务或计划")
		f.Require(len(u.Params) <= maxFollowUpParams, at+".params", "must be at most 16 KiB", "最多 16 KiB")
		v, ok := decodeObject(u.Params)
		if !ok {
			f.Add(at+".params", "must be an object", "须为对象")
			continue
		}
		for _, fault := range lookups(v, at+".params", func(lookup) {}) {
			f.AddFault(fault)
		}
	}
}

// maxFollowUpParams bounds the parameters of a follow-up.
const maxFollowUpParams = 16 << 10
