package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// doc is what --help says of a command. Examples are command lines, the same in
// both languages.
type doc struct {
	short, long hostler.Text
	example     string
}

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

// action is the body of a command that talks to a server.
type action func(ctx context.Context, c *client.Client, args []string) error

// cmd makes a command that talks to a server. The use line says how many
// arguments it takes: each NAME is one, [NAME] may be left out, NAME... may be
// repeated.
func (a *app) cmd(use string, d doc, run action) *cobra.Command {
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
	c.Args = a.countArgs(use)
	if _, most := arity(use); most == 0 {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		switch a.output {
		case "table", "json", "yaml":
			return run(cmd.Context(), args)
		}
		return hostler.Errorf(hostler.CodeInvalid, "-o takes table, json or yaml", "-o 只能是 table、json 或 yaml")
	}
	return c
}

func (a *app) bare(use string, d doc) *cobra.Command {
	return &cobra.Command{
		Use:                   use,
		Short:                 d.short.In(a.lang),
		Long:                  d.long.In(a.lang),
		Example:               indent(d.example),
		DisableFlagsInUseLine: true,
	}
}

func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }

// countArgs checks the number of arguments against the use line.
func (a *app) countArgs(use string) cobra.PositionalArgs {
	least, most := arity(use)
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		return hostler.Errorf(hostler.CodeInvalid,
			"usage: %s; see '%s --help'", "用法：%s；参见 '%s --help'", cmd.UseLine(), cmd.CommandPath())
	}
}

// arity reads the least and the most arguments off a use line; most is -1
// without limit.
func arity(use string) (least, most int) {
	for _, word := range strings.Fields(use)[1:] {
		switch {
		case word == "[flags]":
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

// localise puts the words that cobra adds by itself into the language.
func (a *app) localise(root *cobra.Command) {
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		what := flagError(err)
		return hostler.Errorf(hostler.CodeInvalid,
			"%[1]s; see '%[3]s --help'", "%[2]s；参见 '%[3]s --help'", what.EN, what.ZH, cmd.CommandPath())
	})
	if a.lang == hostler.LangZH {
		root.SetUsageTemplate(chinese.Replace(root.UsageTemplate()))
	}
	each(root, func(c *cobra.Command) {
		c.InitDefaultHelpFlag()
		c.Flags().Lookup("help").Usage = a.t("show this help", "显示帮助")
		if a.lang == hostler.LangZH {
			c.Flags().VisitAll(defaultInChinese)
			c.PersistentFlags().VisitAll(defaultInChinese)
		}
	})
}

// defaultInChinese tells a default, for which pflag has English words only.
func defaultInChinese(f *pflag.Flag) {
	none, ok := map[string]string{"string": "", "int": "0", "intSlice": "[]", "duration": "0s"}[f.Value.Type()]
	if ok && f.DefValue != none && f.DefValue != "" {
		f.Usage += "（默认 " + f.DefValue + "）"
		f.DefValue = none
	}
}

// flagError is pflag's error in both languages; what a flag's own Set says has them.
func flagError(err error) hostler.Text {
	zh := fmt.Sprintf("选项有误：%v", err)
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		zh = "没有选项 " + dashed(e.GetSpecifiedName())
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		zh = fmt.Sprintf("选项 %s 需要一个值", dashed(e.GetSpecifiedName()))
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		zh = fmt.Sprintf("选项 --%s 的值 %q 无效", e.GetFlag().Name, e.GetValue())
		if cause, ok := errors.AsType[*hostler.Error](err); ok {
			zh += "：" + cause.Text.ZH
		}
	}
	return hostler.Text{EN: err.Error(), ZH: zh}
}

func dashed(flag string) string {
	if len(flag) == 1 {
		return "-" + flag
	}
	return "--" + flag
}

var chinese = strings.NewReplacer(
	"Usage:", "用法：", "Aliases:", "别名：", "Examples:", "示例：",
	"Available Commands:", "可用命令：", "Additional Commands:", "其他命令：",
	"Global Flags:", "全局选项：", "Flags:", "选项：", "Additional help topics:", "其他帮助主题：",
	`Use "{{.CommandPath}} [command] --help" for more information about a command.`,
	`使用 "{{.CommandPath}} [command] --help" 查看子命令的详细说明。`,
)

func each(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		each(sub, f)
	}
}

// completer offers words that may follow.
type completer func(ctx context.Context, c *client.Client) ([]string, error)

func fixed(words ...string) completer {
	return func(context.Context, *client.Client) ([]string, error) { return words, nil }
}

// complete completes a flag, or with flag "" the first argument and those that
// repeat it.
func (a *app) complete(cmd *cobra.Command, flag string, f completer) {
	_, most := arity(cmd.Use)
	fn := func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if flag == "" && most > 0 && len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		words, err := f(ctx, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for i := range words {
			word, note, _ := strings.Cut(words[i], "\t")
			words[i] = cobra.CompletionWithDesc(clean(word), clean(note))
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	if flag == "" {
		cmd.ValidArgsFunction = fn
		return
	}
	if err := cmd.RegisterFlagCompletionFunc(flag, fn); err != nil {
		cmd.ValidArgsFunction = nil // only a flag that does not exist; TestCompletion would show it
	}
}

// named makes a completer of the names in a paged listing.
func named[T any](list func(*client.Client) client.Lister[T], name func(T) string) completer {
	return func(ctx context.Context, c *client.Client) ([]string, error) {
		l, err := list(c)(ctx, hostler.Page{Limit: 200})
		return names(l.Items, name), err
	}
}

func names[T any](items []T, name func(T) string) []string {
	words := make([]string, len(items))
	for i, it := range items {
		words[i] = name(it)
	}
	return words
}

func assetNames() completer {
	return named(func(c *client.Client) client.Lister[hostler.Asset] { return c.Assets },
		func(x hostler.Asset) string { return x.Name })
}

func credentialNames() completer {
	return named(func(c *client.Client) client.Lister[hostler.Credential] { return c.Credentials },
		func(x hostler.Credential) string { return x.Name })
}

func jobIDs(states ...hostler.State) completer {
	return named(func(c *client.Client) client.Lister[hostler.Job] {
		return c.JobsLister(hostler.JobFilter{States: states})
	}, func(j hostler.Job) string {
		return j.ID.String() + "\t" + string(j.State) + " " + j.Action + " " + j.AssetName
	})
}

func actionNames(ctx context.Context, c *client.Client) ([]string, error) {
	l, err := c.Actions(ctx)
	return names(l, func(x hostler.ActionInfo) string { return x.Name }), err
}

func queueNames(ctx context.Context, c *client.Client) ([]string, error) {
	l, err := c.Queues(ctx)
	return names(l, func(x hostler.Queue) string { return x.Name }), err
}

// pairs is a flag that takes key=value, many times.
type pairs struct{ m *map[string]string }

func (p pairs) String() string { return "" }
func (p pairs) Type() string   { return "key=value" }

func (p pairs) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok || k == "" {
		return hostler.Errorf(hostler.CodeInvalid, "write it as key=value", "请写成 key=value")
	}
	if *p.m == nil {
		*p.m = map[string]string{}
	}
	(*p.m)[k] = v
	return nil
}

// span is a flag that takes a duration as people write it.
type span struct{ d *hostler.Duration }

func (s span) String() string {
	if s.d == nil || *s.d == 0 {
		return ""
	}
	return s.d.String()
}
func (s span) Type() string       { return "duration" }
func (s span) Set(v string) error { return s.d.UnmarshalText([]byte(v)) }

// moment is a flag that takes a time: RFC 3339, a date with or without a time
// of day, or a span ago such as 2h.
type moment struct {
	t   **time.Time
	now func() time.Time
}

func (m moment) String() string { return "" }
func (m moment) Type() string   { return "time" }

func (m moment) Set(s string) error {
	if d, err := hostler.ParseDuration(s); err == nil {
		t := m.now().Add(-d)
		*m.t = &t
		return nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			*m.t = &t
			return nil
		}
	}
	return hostler.Errorf(hostler.CodeInvalid,
		"write a time like 2026-01-31 18:00, or how long ago like 2h", "时间请写成 2026-01-31 18:00，或如 2h 表示多久以前")
}

var _ = []pflag.Value{pairs{}, span{}, moment{}}
