package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/risk"
	"hostler.dev/hostler/internal/store"
)

// maxOwnRules is how many rules a project may have besides the built-in ones.
const maxOwnRules = 200

// CommandRules lists the built-in rules, as the project has changed them, then its own.
func (a *App) CommandRules(ctx context.Context, c auth.Caller) ([]hostler.CommandRule, error) {
	g, err := a.allow(c, auth.ReadCommandRule)
	if err != nil {
		return nil, err
	}
	return view(ctx, g, (*scope).commandRules)
}

// CommandRule reads one rule.
func (a *App) CommandRule(ctx context.Context, c auth.Caller, name string) (hostler.CommandRule, error) {
	g, err := a.allow(c, auth.ReadCommandRule)
	if err != nil {
		return hostler.CommandRule{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.CommandRule, error) { return s.commandRule(name) })
}

func (s *scope) commandRules() ([]hostler.CommandRule, error) {
	rows, err := s.Tx.CommandRules(s.project)
	if err != nil {
		return nil, err
	}
	return mergeRules(rows), nil
}

func (s *scope) commandRule(name string) (hostler.CommandRule, error) {
	all, err := s.commandRules()
	if err != nil {
		return hostler.CommandRule{}, err
	}
	i := slices.IndexFunc(all, func(r hostler.CommandRule) bool { return r.Name == name })
	if i < 0 {
		return hostler.CommandRule{}, hostler.NotFound(ruleKind, check.Key(name))
	}
	return all[i], nil
}

// mergeRules applies what a project has set to the built-in rules, and appends its own.
func mergeRules(rows []store.CommandRuleRow) []hostler.CommandRule {
	out := risk.Builtin()
	for i := range rows {
		row := &rows[i]
		at := slices.IndexFunc(out, func(r hostler.CommandRule) bool { return r.Name == row.Name })
		if at < 0 {
			out = append(out, hostler.CommandRule{
				Name: row.Name, Title: hostler.Text{EN: row.Input.Title, ZH: row.Input.Title},
				Commands: append([]string{}, row.Input.Commands...), Device: append([]string{}, row.Input.Device...),
				Unknown: hostler.UnknownIgnored,
			})
			at = len(out) - 1
		}
		r := &out[at]
		r.Effect, r.Changed = row.Input.Effect, r.Builtin
		if row.Input.Unknown != "" {
			r.Unknown = row.Input.Unknown
		}
		r.UpdatedAt, r.UpdatedBy = &row.UpdatedAt, row.UpdatedBy
	}
	return out
}

// PutCommandRule changes a built-in rule, or creates or replaces one of the project. It
// holds for jobs that are created from then on.
func (a *App) PutCommandRule(
	ctx context.Context, c auth.Caller, name string, in hostler.CommandRuleInput,
) (hostler.CommandRule, error) {
	g, err := a.allow(c, auth.WriteCommandRule)
	if err != nil {
		return hostler.CommandRule{}, err
	}
	if err := checkCommandRule(name, in); err != nil {
		return hostler.CommandRule{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.CommandRule, error) {
		if err := s.LockProject(s.project); err != nil {
			return hostler.CommandRule{}, err
		}
		all, err := s.commandRules()
		if err != nil {
			return hostler.CommandRule{}, err
		}
		known := slices.ContainsFunc(all, func(r hostler.CommandRule) bool { return r.Name == name })
		if !known && len(all) >= len(risk.Builtin())+maxOwnRules {
			return hostler.CommandRule{}, hostler.Errorf(hostler.CodeConflict,
				"the project has %d rules of its own, which is the most; delete one first",
				"项目已有 %d 条自定义规则，达到上限；请先删除", maxOwnRules)
		}
		row := store.CommandRuleRow{Project: s.project, Name: name, Input: in, UpdatedBy: s.caller.User}
		if err := s.Tx.PutCommandRule(row); err != nil {
			return hostler.CommandRule{}, err
		}
		if err := s.audit("rule.set", name, in); err != nil {
			return hostler.CommandRule{}, err
		}
		return s.commandRule(name)
	})
}

func isBuiltin(name string) bool {
	return slices.ContainsFunc(risk.Builtin(), func(r hostler.CommandRule) bool { return r.Name == name })
}

func checkCommandRule(name string, in hostler.CommandRuleInput) error {
	var fields check.Fields
	fields.Name("name", name, 64)
	check.OneOf(&fields, "effect", in.Effect, hostler.RuleOff, hostler.RuleApprove, hostler.RuleRefuse)
	check.OneOf(&fields, "unknown", in.Unknown, "", hostler.UnknownIgnored, hostler.UnknownApplies)
	fields.Line("title", in.Title, 200)
	patterns := len(in.Commands) + len(in.Device)
	fields.Count("commands", len(in.Commands), 50)
	fields.Count("device", len(in.Device), 50)
	if isBuiltin(name) {
		fields.Require(patterns == 0 && in.Title == "", "commands",
			"the patterns of a built-in rule cannot be changed; create a rule of another name",
			"内置规则的模式不能修改；请以其他名称创建规则")
	} else {
		fields.Require(patterns > 0, "commands",
			"no built-in rule has this name; a rule of your own needs a pattern, such as: kubectl delete ns",
			"没有此名称的内置规则；自定义规则至少需要一个模式，例如：kubectl delete ns")
	}
	if err := fields.Err(); err != nil {
		return err
	}
	rule := hostler.CommandRule{
		Name: name, Effect: hostler.RuleRefuse, Commands: in.Commands, Device: in.Device,
	}
	_, err := risk.NewSet([]hostler.CommandRule{rule})
	return err
}

// ResetCommandRule gives a built-in rule its defaults, or deletes a rule of the project. It
// returns the rule as it was.
func (a *App) ResetCommandRule(ctx context.Context, c auth.Caller, name string) (hostler.CommandRule, error) {
	g, err := a.allow(c, auth.WriteCommandRule)
	if err != nil {
		return hostler.CommandRule{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.CommandRule, error) {
		old, err := s.commandRule(name)
		if err != nil {
			return old, err
		}
		found, err := s.Tx.DeleteCommandRule(s.project, name)
		if err != nil {
			return old, err
		}
		if !found {
			s.unchanged()
			return old, nil
		}
		if err := s.audit("rule.reset", name, nil); err != nil || !old.Builtin {
			return old, err
		}
		return s.commandRule(name)
	})
}

// TestCommand reports which rules of the project a command matches. Nothing runs.
func (a *App) TestCommand(
	ctx context.Context, c auth.Caller, in hostler.CommandTest,
) (hostler.CommandVerdict, error) {
	g, err := a.allow(c, auth.ReadCommandRule)
	if err != nil {
		return hostler.CommandVerdict{}, err
	}
	var fields check.Fields
	fields.Require(in.Command != "" && check.Storable(in.Command), "command",
		"must be a text without NUL", "须为不含 NUL 的文本")
	check.OneOf(&fields, "as", in.As, "", "any", "shell", "device")
	if err := fields.Err(); err != nil {
		return hostler.CommandVerdict{}, err
	}
	rules, err := view(ctx, g, (*scope).commandRules)
	if err != nil {
		return hostler.CommandVerdict{}, err
	}
	set, err := risk.NewSet(rules)
	if err != nil {
		return hostler.CommandVerdict{}, err
	}
	var commands []risk.Command
	if in.As != "device" {
		commands = append(commands, risk.Command{Kind: risk.Shell, Text: in.Command})
	}
	if in.As != "shell" {
		for line := range strings.Lines(in.Command) {
			commands = append(commands, risk.Command{Kind: risk.Device, Text: line})
		}
	}
	out := hostler.CommandVerdict{Effect: hostler.RuleOff, Findings: []hostler.CommandFinding{}}
	for _, f := range set.Judge(commands...) {
		if slices.ContainsFunc(out.Findings, func(x hostler.CommandFinding) bool { return x.Rule == f.Rule }) {
			continue
		}
		at := slices.IndexFunc(rules, func(r hostler.CommandRule) bool { return r.Name == f.Rule })
		out.Findings = append(out.Findings, hostler.CommandFinding{
			Rule: f.Rule, Title: rules[at].Title, Effect: f.Effect, Line: f.Line, Column: f.Column,
			Text: f.Text, Certain: f.Certain,
		})
	}
	if len(out.Findings) > 0 {
		out.Effect = out.Findings[0].Effect
	}
	return out, nil
}

// commandCheck judges the commands of the jobs that one call creates. All ways to create a
// job go through it.
type commandCheck struct {
	grant
	override *hostler.RuleOverride
	load     func() ([]hostler.CommandRule, error)

	set    *risk.Set
	rules  []hostler.CommandRule
	memo   map[judgedArgs]error
	closed bool     // nothing more is judged; see close
	left   int      // bytes of args that may be judged
	used   []string // rules that the override was for
	// approved: the job starts only after people approve it, in the run that it is a step of.
	approved bool
}

// judgedArgs identifies what was judged.
type judgedArgs struct {
	action   string
	approved bool
	args     [sha256.Size]byte
}

// maxJudged bounds the args, counted once where jobs have them in common, that one call may
// have judged.
const maxJudged = 8 << 20

// commands returns the check for one call, with the rules as they are now.
func (a *App) commands(ctx context.Context, g grant, o *hostler.RuleOverride) *commandCheck {
	return newCommandCheck(g, o, func() ([]hostler.CommandRule, error) {
		return view(ctx, g, (*scope).commandRules)
	})
}

func newCommandCheck(
	g grant, o *hostler.RuleOverride, load func() ([]hostler.CommandRule, error),
) *commandCheck {
	return &commandCheck{grant: g, override: o, load: load, memo: map[judgedArgs]error{}, left: maxJudged}
}

// checkOverride refuses an override that the caller may not use.
func (g grant) checkOverride(o *hostler.RuleOverride) error {
	if o == nil {
		return nil
	}
	if !g.may(auth.OverrideRule) {
		return refusal(g.caller, auth.OverrideRule)
	}
	var fields check.Fields
	fields.Given("override_rule.reason", strings.TrimSpace(o.Reason))
	fields.Line("override_rule.reason", o.Reason, 500)
	fields.Require(len(o.Rules) > 0, "override_rule.rules", "name the rules, as the refusal lists them",
		"请列出拒绝信息中的规则名")
	fields.Count("override_rule.rules", len(o.Rules), 20)
	return fields.Err()
}

// check refuses a job that runs a command which a rule refuses, or for which it demands an
// approval that there is none of. Errors of the database have no code of a refusal.
func (c *commandCheck) check(act *action.Action, args []byte) error {
	if act.Commands == nil {
		return nil
	}
	key := judgedArgs{act.Name, c.approved, sha256.Sum256(args)}
	if err, ok := c.memo[key]; ok {
		return err
	}
	if c.closed {
		return errNotJudged()
	}
	if err := c.prepare(); err != nil {
		return err
	}
	err := c.judge(act, args)
	c.memo[key] = err
	return err
}

// close ends the judging, which may take long, before a transaction begins. There, check
// only looks up what was judged; jobs that changed meanwhile are refused.
func (c *commandCheck) close() { c.closed = true }

// errNotJudged: what a call runs was changed by another while its commands were judged.
func errNotJudged() error {
	e := hostler.Errorf(hostler.CodeConflict,
		"what this would run was changed a moment ago; try again", "将要执行的内容刚刚被修改；请重试")
	e.Cause = errUnjudged
	return e
}

var errUnjudged = errors.New("commands were not judged before the transaction")

// judge judges args that were not judged before.
func (c *commandCheck) judge(act *action.Action, args []byte) error {
	if c.left -= len(args); c.left < 0 {
		return hostler.Invalid("args",
			"the different args of one call have more than %d MB to be judged by the command rules: "+
				"create fewer jobs in each call",
			"每次调用中需按命令规则判断的不同参数超过 %d MB：请每次调用创建更少的作业", maxJudged>>20)
	}
	return c.refuse(act, c.set.Judge(act.Commands(args)...))
}

// prepare reads the rules, unless it did before.
func (c *commandCheck) prepare() error {
	if c.set != nil {
		return nil
	}
	rules, err := c.load()
	if err != nil {
		return err
	}
	if c.set, err = risk.NewSet(rules); err != nil {
		return fmt.Errorf("stored command rules: %w", err)
	}
	c.rules = rules
	return nil
}

// refused is the cause of a refusal by rules, for its record.
type refused struct {
	action string
	rules  []string
}

func (r *refused) Error() string { return r.action + " matches " + strings.Join(r.rules, ", ") }

// refuse returns the error for findings; nil if there are none, or an admin overrides them.
func (c *commandCheck) refuse(act *action.Action, found []risk.Finding) error {
	found = slices.DeleteFunc(found, func(f risk.Finding) bool {
		if f.Effect != hostler.RuleApprove || c.approved {
			return c.approved && f.Effect == hostler.RuleApprove
		}
		override := c.override != nil && slices.Contains(c.override.Rules, f.Rule)
		if override && !slices.Contains(c.used, f.Rule) {
			c.used = append(c.used, f.Rule)
		}
		return override
	})
	if len(found) == 0 {
		return nil
	}
	cause := &refused{action: act.Name}
	e := errApprovalNeeded(c.caller.ProjectName)
	if found[0].Effect == hostler.RuleRefuse {
		e = errRuleRefuses(c.caller.ProjectName)
	}
	e.Cause = cause
	for _, f := range found[:min(len(found), 20)] {
		if !slices.Contains(cause.rules, f.Rule) {
			cause.rules = append(cause.rules, f.Rule)
		}
		e.Fields = append(e.Fields, c.fieldError(f))
	}
	return e
}

func (c *commandCheck) fieldError(f risk.Finding) hostler.FieldError {
	title := hostler.Text{}
	for _, r := range c.rules {
		if r.Name == f.Rule {
			title = r.Title
		}
	}
	out := hostler.FieldError{Path: "args." + f.Path, Text: hostler.Textf("rule %s: %s", "规则 %s：%s", f.Rule, title.EN)}
	out.Text.ZH = fmt.Sprintf("规则 %s：%s", f.Rule, title.ZH)
	if f.Effect == hostler.RuleApprove {
		out.Text.EN += " (needs an approval)"
		out.Text.ZH += "（需要审批）"
	}
	if f.Line > 1 || f.Column > 1 {
		out.Text.EN += fmt.Sprintf(", at line %d, column %d", f.Line, f.Column)
		out.Text.ZH += fmt.Sprintf("，位于第 %d 行第 %d 列", f.Line, f.Column)
	}
	return out
}

func errRuleRefuses(project string) *hostler.Error {
	return hostler.Errorf(hostler.CodeForbidden,
		"the command rules of the project %s refuse this job; an admin of the project can change them "+
			"(hostler rule list; hostler rule test shows what matches)",
		"项目 %s 的命令规则拒绝此作业；项目管理员可以修改规则（hostler rule list；hostler rule test 可查看匹配内容）", project)
}

func errApprovalNeeded(project string) *hostler.Error {
	return hostler.Errorf(hostler.CodeForbidden,
		"the command rules of the project %s demand an approval for this job; an admin of the project can run it with "+
			"override_rule, the names of the rules and a reason "+
			"(hostler job run … --override-rule NAME --reason TEXT)",
		"项目 %s 的命令规则要求审批此作业；项目管理员可用 override_rule 给出规则名和理由后执行"+
			"（hostler job run … --override-rule 规则名 --reason 理由）", project)
}

// overrideDetail adds the override of a call to the detail of its audit row.
func (c *commandCheck) overrideDetail(detail map[string]any) {
	if len(c.used) > 0 {
		detail["override"] = map[string]any{"rules": c.used, "reason": c.override.Reason}
	}
}

// ruleRefusal returns what an error says about command rules; nil if it is another error.
func ruleRefusal(err error) *refused {
	r, _ := errors.AsType[*refused](err)
	return r
}
