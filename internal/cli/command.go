package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// group makes a command that only holds others.
func (a *app) group(use string, d doc, subs ...*cobra.Command) *cobra.Command {
	c := a.bare(use, d)
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return a.unknownCommand(cmd, args[0])
	}
	c.AddCommand(subs...)
	return c
}

// unknownCommand reports a misspelled command, with the names that are close to it.
func (a *app) unknownCommand(cmd *cobra.Command, name string) error {
	e := hostler.Errorf(hostler.CodeInvalid,
		"%q has no command %q; see '%s --help'", "%q 没有子命令 %q；参见 '%s --help'",
		cmd.CommandPath(), name, cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		e.Text.EN += "; did you mean " + strings.Join(near, ", ") + "?"
		e.Text.ZH += "；是否要用 " + strings.Join(near, "、") + "？"
	}
	return e
}

// serverAction is the body of a command that calls a server.
type serverAction func(ctx context.Context, c *client.Client, args []string) error

// cmd makes a command that calls a server. The use line defines how many
// arguments it takes: see [arity].
func (a *app) cmd(use string, d doc, run serverAction) *cobra.Command {
	return a.localCmd(use, d, func(ctx context.Context, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		return run(ctx, c, args)
	})
}

// localCmd makes a command that needs no server.
func (a *app) localCmd(use string, d doc, run func(ctx context.Context, args []string) error) *cobra.Command {
	c := a.bare(use, d)
	c.Args = countArgs(use)
	deletes, yes := c.Name() == "delete", false
	if deletes {
		c.Flags().BoolVarP(&yes, "yes", "y", false, a.t("do not ask", "不询问"))
	}
	if _, most := arity(use); most == 0 {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		formats := []string{"json", "yaml"}
		if cmd.Annotations[writesCSV] != "" || cmd.Name() == "list" {
			formats = append(formats, "csv")
		}
		if cmd.Name() == "list" {
			formats = append(formats, "name", "wide")
			a.empty = emptyLists[cmd.Parent().Name()]
		}
		if err := a.checkOutput(formats...); err != nil {
			return err
		}
		if deletes && !yes && a.interactive() && !a.confirm(
			fmt.Sprintf("Delete %s? [y/N] ", term.Escape(strings.Join(args, ", "))),
			fmt.Sprintf("确定删除 %s？[y/N] ", term.Escape(strings.Join(args, "、")))) {
			a.note("nothing was deleted", "未删除")
			return &outcomeError{exitNotSucceeded}
		}
		return run(cmd.Context(), args)
	}
	return c
}

// emptyLists tell what to do when a list is empty, by its group.
var emptyLists = map[string]hostler.Text{
	"asset": txt("no assets; add one with 'hostler asset add NAME --address ADDRESS', or many with 'hostler asset import FILE'",
		"没有资产；用 'hostler asset add 名称 --address 地址' 添加，或用 'hostler asset import 文件' 批量导入"),
	"credential": txt("no credentials; add one with 'hostler credential add NAME --kind ssh_key --username USER --file KEY'",
		"没有凭据；用 'hostler credential add 名称 --kind ssh_key --username 用户 --file 密钥' 添加"),
	"job":      txt("no job matches; run one with 'hostler run -l LABEL -- COMMAND'", "没有符合条件的作业；用 'hostler run -l 标签 -- 命令' 执行"),
	"run":      txt("no run matches; 'hostler run -l LABEL -- COMMAND' starts one", "没有符合条件的执行；用 'hostler run -l 标签 -- 命令' 启动"),
	"schedule": txt("no schedules; see 'hostler schedule add --help'", "没有计划；参见 'hostler schedule add --help'"),
	"template": txt("no templates; publish one with 'hostler apply -f FILE'", "没有模板；用 'hostler apply -f 文件' 发布"),
	"task":     txt("no tasks; publish one with 'hostler apply -f FILE'", "没有任务；用 'hostler apply -f 文件' 发布"),
	"webhook":  txt("no webhooks; see 'hostler webhook add --help'", "没有回调；参见 'hostler webhook add --help'"),
	"context": txt("no contexts; add one with 'hostler context add NAME --url URL'",
		"没有上下文；用 'hostler context add 名称 --url URL' 添加"),
}

// aliases are other words for the verbs of the commands.
var aliases = map[string][]string{
	"list": {"ls"}, "get": {"show", "describe"}, "show": {"get", "describe"}, "delete": {"rm", "remove"},
	"add": {"create", "new"}, "create": {"add", "new"}, "set": {"update", "edit"}, "run": {"r"},
}

// addAliases gives each command the aliases that no other command of its group has.
func addAliases(root *cobra.Command) {
	eachCommand(root, func(group *cobra.Command) {
		var taken []string
		for _, c := range group.Commands() {
			taken = append(taken, c.Name())
		}
		for _, c := range group.Commands() {
			for _, alias := range aliases[c.Name()] {
				if !slices.Contains(taken, alias) {
					c.Aliases, taken = append(c.Aliases, alias), append(taken, alias)
				}
			}
		}
	})
}

// writesCSV is the annotation of commands that take -o csv.
const writesCSV = "csv"

// checkOutput refuses what -o cannot be, besides table.
func (a *app) checkOutput(formats ...string) error {
	if a.output == "table" || slices.Contains(formats, a.output) {
		return nil
	}
	all := append([]string{"table"}, formats...)
	return hostler.Errorf(hostler.CodeInvalid, "-o takes %s", "-o 只能是 %s", strings.Join(all, ", "))
}

// bare makes a command that has help texts and does nothing.
func (a *app) bare(use string, d doc) *cobra.Command {
	return &cobra.Command{
		Use:                   a.useLine(use),
		Short:                 d.short.In(a.lang),
		Long:                  term.Wrap(d.long.In(a.lang), helpWidth),
		Example:               indent(d.example),
		DisableFlagsInUseLine: true,
	}
}

// countArgs checks the number of arguments against the use line.
func countArgs(use string) cobra.PositionalArgs {
	least, most := arity(use)
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		return hostler.Errorf(hostler.CodeInvalid,
			"usage: %s; see '%s --help'", "用法：%s；参见 '%s --help'", cmd.UseLine(), cmd.CommandPath())
	}
}

// arity returns how few and how many arguments a use line takes: NAME is one,
// [NAME] is optional, NAME... may be repeated. most is -1 without a limit.
func arity(use string) (least, most int) {
	for _, word := range strings.Fields(use)[1:] {
		switch {
		case word == "[flags]" || word == "[选项]":
		case strings.HasSuffix(word, "...]"):
			return least, -1
		case strings.HasSuffix(word, "..."):
			return least + 1, -1
		case strings.HasPrefix(word, "["):
			most++
		default:
			least++
			most++
		}
	}
	return least, most
}
