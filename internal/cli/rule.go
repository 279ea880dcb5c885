package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// ruleCmd is 'hostler rule'.
func (a *app) ruleCmd() *cobra.Command {
	return a.group("rule", doc{
		short: txt("manage the rules of dangerous commands", "管理高危命令规则"),
		long: txt(`Manage the rules of dangerous commands of a project. A rule refuses jobs that run a
matching command, or demands an approval for them, however the command reaches Hostler.
Only an admin of the project changes rules.`,
			`管理项目的高危命令规则。无论命令以何种方式提交，规则都会拒绝执行匹配命令的作业，或要求审批。
只有项目管理员可以修改规则。`),
		example: `hostler rule list
hostler rule test -- 'rm -rf /'
hostler rule set restart-host off
hostler rule set no-force-push refuse --match 'git push -f|--force' --title 'force push'`,
	}, a.ruleList(), a.ruleShow(), a.ruleSet(), a.ruleReset(), a.ruleTest())
}

func (a *app) ruleColumns() []column[hostler.CommandRule] {
	return []column[hostler.CommandRule]{
		col("name", "名称", func(r hostler.CommandRule) string { return r.Name }),
		col("effect", "处置", func(r hostler.CommandRule) string { return a.ruleEffect(r.Effect) }),
		col("unknown", "无法判断时", func(r hostler.CommandRule) string {
			if r.Unknown == hostler.UnknownApplies {
				return a.t("apply", "视为匹配")
			}
			return a.t("ignore", "忽略")
		}),
		col("from", "来源", func(r hostler.CommandRule) string {
			switch {
			case r.Changed:
				return a.t("changed", "已修改")
			case r.Builtin:
				return a.t("built-in", "内置")
			}
			return a.t("project", "自定义")
		}),
		col("title", "说明", func(r hostler.CommandRule) string { return dash(r.Title.In(a.lang)) }),
	}
}

func (a *app) ruleEffect(e hostler.RuleEffect) string {
	switch e {
	case hostler.RuleRefuse:
		return a.t("refuse", "拒绝")
	case hostler.RuleApprove:
		return a.t("approve", "需审批")
	case hostler.RuleOff:
		return a.t("off", "关闭")
	}
	return string(e)
}

// ruleNames completes the names of rules.
func ruleNames(ctx context.Context, c *client.Client) ([]string, error) {
	rules, err := c.CommandRules(ctx)
	return names(rules, func(r hostler.CommandRule) string { return r.Name }), err
}

func (a *app) ruleList() *cobra.Command {
	return a.cmd("list", doc{
		short:   txt("list the command rules", "列出命令规则"),
		long:    txt("List the built-in rules, as the project has changed them, and its own.", "列出内置规则（含项目所做修改）和项目的自定义规则。"),
		example: "hostler rule list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		rules, err := c.CommandRules(ctx)
		if err != nil {
			return err
		}
		return list(a, rules, a.ruleColumns())
	})
}

func (a *app) ruleShow() *cobra.Command {
	cmd := a.cmd("show RULE", doc{
		short:   txt("show a command rule with its patterns", "查看命令规则及其模式"),
		long:    txt("Show a command rule with the patterns of commands that it matches.", "查看命令规则及其匹配的命令模式。"),
		example: "hostler rule show restart-host",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		r, err := c.CommandRule(ctx, args[0])
		if err != nil {
			return err
		}
		return one(a, r, append(a.ruleColumns(),
			col("commands", "命令", func(r hostler.CommandRule) string { return dash(strings.Join(r.Commands, "\n")) }),
			col("device", "设备命令", func(r hostler.CommandRule) string { return dash(strings.Join(r.Device, "\n")) }),
			col("changed by", "修改者", func(r hostler.CommandRule) string { return dash(r.UpdatedBy) }),
			col("changed at", "修改时间", func(r hostler.CommandRule) string { return optionalTime(r.UpdatedAt) })))
	})
	a.complete(cmd, "", ruleNames)
	return cmd
}

func (a *app) ruleSet() *cobra.Command {
	var in hostler.CommandRuleInput
	var unknown string
	cmd := a.cmd("set RULE EFFECT [flags]", doc{
		short: txt("change a command rule, or create one", "修改或创建命令规则"),
		long: txt(`Change what a built-in rule does, or create or replace a rule of the project. EFFECT is
off, approve or refuse. A rule of the project needs patterns:

  kubectl delete ns|namespace     a program and words in their order; | separates alternatives
  git push -f|--force             options count wherever they are, also in -uf
  rm -r {system}                  {system}, {disk}, {access} and {account} are classes of values
  > /data/*                       a write to a file; * and ? match any text
  terraform !-target destroy      a word that must not occur

A pattern of network devices (--device) begins with the first word of the line; a tilde
marks the shortest abbreviation: rel~oad.`,
			`修改内置规则的处置，或创建、替换自定义规则。EFFECT 为 off（关闭）、approve（需审批）或 refuse（拒绝）。
自定义规则需要模式：

  kubectl delete ns|namespace     程序名及按顺序出现的词；| 分隔备选项
  git push -f|--force             选项可在任意位置，也可合并为 -uf
  rm -r {system}                  {system}、{disk}、{access}、{account} 为值的类别
  > /data/*                       写入文件；* 和 ? 匹配任意文本
  terraform !-target destroy      不得出现的词

网络设备的模式（--device）从行首的词开始；波浪号标出最短缩写：rel~oad。`),
		example: `hostler rule set restart-host off
hostler rule set delete-system-files refuse --unknown apply
hostler rule set no-force-push approve --match 'git push -f|--force' --title 'force push'`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		in.Effect, in.Unknown = hostler.RuleEffect(args[1]), hostler.RuleUnknown(unknown)
		r, err := c.PutCommandRule(ctx, args[0], in)
		if err != nil {
			return err
		}
		return one(a, r, a.ruleColumns())
	})
	fs := cmd.Flags()
	fs.StringArrayVar(&in.Commands, "match", nil, a.t("pattern of commands of hosts; may be repeated", "主机命令的模式；可重复"))
	fs.StringArrayVar(&in.Device, "device", nil,
		a.t("pattern of commands of network devices; may be repeated", "网络设备命令的模式；可重复"))
	fs.StringVar(&in.Title, "title", "", a.t("what the commands do", "这些命令的作用"))
	fs.StringVar(&unknown, "unknown", "",
		a.t("for commands with values that are not known before they run: ignore or apply",
			"命令含运行前未知的值时：ignore（忽略）或 apply（视为匹配）"))
	a.complete(cmd, "", ruleNames)
	a.complete(cmd, "unknown", fixed(string(hostler.UnknownIgnored), string(hostler.UnknownApplies)))
	return cmd
}

func (a *app) ruleReset() *cobra.Command {
	cmd := a.cmd("reset RULE", doc{
		short: txt("reset a built-in rule, or delete one of the project", "重置内置规则，或删除自定义规则"),
		long: txt("Give a built-in rule its defaults again, or delete a rule of the project.",
			"恢复内置规则的默认设置，或删除项目的自定义规则。"),
		example: "hostler rule reset restart-host",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if err := c.ResetCommandRule(ctx, args[0]); err != nil {
			return err
		}
		a.note("reset the rule %s", "已重置规则 %s", args[0])
		return nil
	})
	a.complete(cmd, "", ruleNames)
	return cmd
}

// ruleTest is 'hostler rule test'. Like 'can', it exits with 4 for a command that would not
// run.
func (a *app) ruleTest() *cobra.Command {
	var in hostler.CommandTest
	cmd := a.cmd("test COMMAND... [flags]", doc{
		short: txt("show which rules a command matches", "查看命令匹配哪些规则"),
		long: txt(`Show which rules a command matches, and where. Nothing runs. @file tests the content of
a file, and - standard input. The exit code is 0 if the command may run, and 4 if not.`,
			`查看命令匹配哪些规则及其位置；不执行任何命令。@file 检查文件内容，- 检查标准输入。
命令可以执行时退出码为 0，否则为 4。`),
		example: "hostler rule test -- 'rm -rf /'\nhostler rule test --as device reload\nhostler rule test @deploy.sh",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var err error
		if in.Command, err = a.commandText(args); err != nil {
			return err
		}
		v, err := c.TestCommand(ctx, in)
		if err != nil {
			return err
		}
		if err := a.printVerdict(v); err != nil {
			return err
		}
		if v.Effect != hostler.RuleOff {
			return &outcomeError{hostler.CodeForbidden.ExitCode()}
		}
		return nil
	})
	cmd.Flags().StringVar(&in.As, "as", "any",
		a.t("who reads the command: shell, device or any of them", "命令的解释者：shell、device 或 any（二者）"))
	a.complete(cmd, "as", fixed("any", "shell", "device"))
	return cmd
}

// commandText returns the text of arguments: a command, @file, or - for standard input.
func (a *app) commandText(args []string) (string, error) {
	name, isFile := strings.CutPrefix(args[0], "@")
	if len(args) > 1 || !isFile && name != "-" {
		return strings.Join(args, " "), nil
	}
	text, err := a.readInput(name)
	return string(text), err
}

func (a *app) printVerdict(v hostler.CommandVerdict) error {
	if a.output != "table" {
		return a.structured(v)
	}
	if len(v.Findings) == 0 {
		a.note("no rule matches: the command may run", "没有匹配的规则：命令可以执行")
		return nil
	}
	return list(a, v.Findings, []column[hostler.CommandFinding]{
		col("rule", "规则", func(f hostler.CommandFinding) string { return f.Rule }),
		col("effect", "处置", func(f hostler.CommandFinding) string { return a.ruleEffect(f.Effect) }),
		col("line", "行", func(f hostler.CommandFinding) string { return place(f.Line) }),
		col("column", "列", func(f hostler.CommandFinding) string { return place(f.Column) }),
		col("command", "命令", func(f hostler.CommandFinding) string { return f.Text }),
		col("why", "原因", func(f hostler.CommandFinding) string { return dash(f.Title.In(a.lang)) }),
	})
}

func place(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

// overrideFlags add the flags of a [hostler.RuleOverride].
func (a *app) overrideFlags(cmd *cobra.Command, o *hostler.RuleOverride) {
	fs := cmd.Flags()
	fs.StringSliceVar(&o.Rules, "override-rule", nil,
		a.t("admins only: run it although this command rule demands an approval; may be repeated",
			"仅限管理员：虽然该命令规则要求审批仍执行；可重复"))
	fs.StringVar(&o.Reason, "reason", "", a.t("why the rule is overridden, for the audit", "越过规则的理由；记入审计"))
	a.complete(cmd, "override-rule", ruleNames)
}

// overrideOf returns the override, if the flags were given.
func overrideOf(o hostler.RuleOverride) *hostler.RuleOverride {
	if len(o.Rules) == 0 && o.Reason == "" {
		return nil
	}
	return &o
}
