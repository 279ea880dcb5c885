package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// actionCmd is 'hostler action': what jobs can do. It changes nothing: actions are registered by
// the server's binary.
func (a *app) actionCmd() *cobra.Command {
	return a.group("action", doc{
		short: txt("show the actions that jobs can run", "查看作业可执行的动作"),
		long: txt("Show the actions that jobs can run. A JSON Schema describes the arguments of each.",
			"查看作业可执行的动作。每个动作的参数由 JSON Schema 描述。"),
		example: "hostler action list\nhostler action show ssh_command",
	}, a.actionList(), a.actionShow())
}

// actionList is 'hostler action list'. Disabled actions are listed too, so that an
// operator finds out what a server could do.
func (a *app) actionList() *cobra.Command {
	return a.cmd("list", doc{
		short:   txt("list actions", "列出动作"),
		long:    txt("List the actions that the server supports.", "列出服务器支持的动作。"),
		example: "hostler action list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, err := c.Actions(ctx)
		if err != nil {
			return err
		}
		return list(a, items, a.actionColumns())
	})
}

// actionColumns shows what a job's defaults depend on: idempotent decides on_lost, the
// default lane decides what runs one after another.
func (a *app) actionColumns() []column[hostler.ActionInfo] {
	return []column[hostler.ActionInfo]{
		col("name", "名称", func(x hostler.ActionInfo) string { return x.Name }),
		col("description", "说明", func(x hostler.ActionInfo) string { return x.Title.In(a.lang) }),
		col("idempotent", "幂等", func(x hostler.ActionInfo) string { return a.yesNo(x.Idempotent) }),
		col("default lane", "默认通道", func(x hostler.ActionInfo) string { return x.Lane }),
		col("enabled", "已启用", func(x hostler.ActionInfo) string { return a.yesNo(x.Enabled) }),
	}
}

// actionNames completes the names of actions.
func actionNames(ctx context.Context, c *client.Client) ([]string, error) {
	l, err := c.Actions(ctx)
	return names(l, func(x hostler.ActionInfo) string { return x.Name }), err
}

// argNames completes the arguments of an action, with the values that the schema names.
func (a *app) argNames(action *string) completer {
	return func(ctx context.Context, c *client.Client) ([]string, error) {
		x, err := c.Action(ctx, *action)
		if err != nil {
			return nil, err
		}
		var s struct {
			Properties map[string]argument `json:"properties"`
		}
		if err := json.Unmarshal(x.Schema, &s); err != nil {
			return nil, err
		}
		var words []string
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			p := s.Properties[name]
			words = append(words, name+"=\t"+p.meaning(a.lang))
			for _, v := range p.Enum {
				words = append(words, fmt.Sprintf("%s=%v", name, v))
			}
		}
		return words, nil
	}
}

// actionShow is 'hostler action show': the columns of the list, then the help text and
// a table of the arguments.
func (a *app) actionShow() *cobra.Command {
	cmd := a.cmd("show ACTION", doc{
		short: txt("show an action and its arguments", "查看动作及其参数"),
		long: txt("Show an action, with the type and meaning of each argument.",
			"查看动作，以及每个参数的类型和含义。"),
		example: "hostler action show check_port\nhostler action show ssh_command -o json",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		x, err := c.Action(ctx, args[0])
		if err != nil {
			return err
		}
		if err := one(a, x, a.actionColumns()); err != nil || a.output != "table" {
			return err
		}
		return a.describeArgs(x)
	})
	a.complete(cmd, "", actionNames)
	return cmd
}

// argument is one argument in the schema of an action.
type argument struct {
	schema
	Title         string          `json:"title"`
	TitleZH       string          `json:"x-title-zh"`
	Description   string          `json:"description"`
	DescriptionZH string          `json:"x-description-zh"`
	Default       json.RawMessage `json:"default"`
	Enum          []any           `json:"enum"`
}

// values returns the type of the argument, or the values that it may have.
func (x argument) values() string {
	if len(x.Enum) > 0 {
		return strings.Join(names(x.Enum, func(v any) string { return fmt.Sprint(v) }), "|")
	}
	return dash(strings.Join(x.names(), "|"))
}

// meaning returns the description in the language, or the title where there is none.
func (x argument) meaning(l hostler.Lang) string {
	if l == hostler.LangZH {
		return cmp.Or(x.DescriptionZH, x.TitleZH, x.Description, x.Title, "-")
	}
	return cmp.Or(x.Description, x.Title, "-")
}

// describeArgs writes a table of an action's arguments.
func (a *app) describeArgs(x hostler.ActionInfo) error {
	var s struct {
		Required   []string            `json:"required"`
		Properties map[string]argument `json:"properties"`
	}
	if err := json.Unmarshal(x.Schema, &s); err != nil {
		return hostler.Errorf(hostler.CodeInternal,
			"cannot read the schema of the action: %v", "无法读取动作的参数模式：%v", err)
	}
	if help := x.Help.In(a.lang); help != "" {
		fmt.Fprintf(a.out, "\n%s\n", term.EscapeLines(help))
	}
	fmt.Fprintln(a.out)
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		rows = append(rows, []string{
			name, p.values(), a.yesNo(slices.Contains(s.Required, name)), dash(string(p.Default)), p.meaning(a.lang),
		})
	}
	head := []string{
		a.t("ARGUMENT",
			"参数"), a.t("TYPE", "类型"), a.t("REQUIRED", "必填"), a.t("DEFAULT", "默认值"), a.t("MEANING", "含义"),
	}
	return term.WriteTable(a.out, head, rows)
}
