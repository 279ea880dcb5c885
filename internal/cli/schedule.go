package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// scheduleCmd is 'hostler schedule'. schedule_add.go creates schedules.
func (a *app) scheduleCmd() *cobra.Command {
	return a.group("schedule", doc{
		short: txt("run actions and tasks by themselves, at times", "按时间自动执行动作和任务"),
		long: txt(`Manage schedules. A schedule runs an action on no host, on named assets or on all
assets with certain labels, or a task or template, with the rights of the user who saved
it last.`,
			`管理计划。计划按时间执行动作：不针对主机、针对指定资产，或针对带有某些标签的全部资产；
也可执行任务或模板。以最后保存它的用户的权限执行。`),
		example: `hostler schedule add night --cron '30 2 * * *' --zone Europe/Berlin --action check_port --label role=web --arg port=443
hostler schedule next night
hostler schedule history night`,
	},
		a.scheduleAdd(), a.scheduleList(), a.scheduleShow(), a.scheduleNext(), a.scheduleForecast(), a.scheduleCalendar(), a.schedulePause(), a.scheduleResume(),
		a.scheduleRun(), a.scheduleHistory(), a.scheduleDelete(), a.scheduleImport(),
	)
}

// triggerText shows a trigger in a line.
func triggerText(t hostler.Trigger) string {
	var parts []string
	switch {
	case t.Cron != "":
		parts = append(parts, t.Cron)
	case t.Interval != 0:
		parts = append(parts, "every "+t.Interval.String())
	case t.Date != nil:
		parts = append(parts, t.Date.Format(time.RFC3339))
	}
	if t.Zone != "" {
		parts = append(parts, t.Zone)
	}
	if t.Jitter != 0 {
		parts = append(parts, "+"+t.Jitter.String())
	}
	return strings.Join(parts, " ")
}

// targetText shows what a schedule runs on.
func targetText(t *hostler.StepTarget) string {
	if t == nil {
		return "-"
	}
	parts := slices.Clone(t.Assets)
	for _, key := range slices.Sorted(maps.Keys(t.Labels)) {
		parts = append(parts, key+"="+t.Labels[key])
	}
	if t.Selector != "" {
		parts = append(parts, t.Selector)
	}
	for _, name := range t.Exclude {
		parts = append(parts, "-"+name)
	}
	return dash(strings.Join(parts, ","))
}

// runsText shows what a schedule runs: an action, a task, or a template and its version.
func runsText(t hostler.ScheduleTask) string {
	switch {
	case t.Action != "":
		return t.Action
	case t.Version != 0:
		return fmt.Sprintf("%s@%d", t.Task+t.Template, t.Version)
	}
	return t.Task + t.Template
}

func nextText(s hostler.Schedule) string {
	if s.Next == nil {
		return "-"
	}
	return localTime(*s.Next)
}

func (a *app) scheduleColumns() []column[hostler.Schedule] {
	return []column[hostler.Schedule]{
		col("name", "名称", func(s hostler.Schedule) string { return s.Name }),
		col("trigger", "触发", func(s hostler.Schedule) string { return triggerText(s.Trigger) }),
		col("runs", "执行内容", func(s hostler.Schedule) string { return runsText(s.Task) }),
		col("target", "目标", func(s hostler.Schedule) string { return targetText(s.Task.Target) }),
		col("enabled", "启用", func(s hostler.Schedule) string { return a.yesNo(s.Enabled) }),
		col("next", "下次", nextText),
		col("problem", "问题", func(s hostler.Schedule) string { return a.textOf(s.Problem) }),
	}
}

func (a *app) textOf(t *hostler.Text) string {
	if t == nil {
		return "-"
	}
	return t.In(a.lang)
}

func (a *app) scheduleDetails() []column[hostler.Schedule] {
	id := col("id", "ID", func(s hostler.Schedule) string { return s.ID.String() })
	return append(append([]column[hostler.Schedule]{id}, a.scheduleColumns()...),
		col("args", "参数", func(s hostler.Schedule) string { return dash(string(s.Task.Args) + string(s.Task.Params)) }),
		col("owner", "所有者", func(s hostler.Schedule) string { return s.Owner }),
		col("misfire grace", "补执行时限", func(s hostler.Schedule) string { return s.MisfireGrace.String() }),
		col("coalesce", "合并错过的触发", func(s hostler.Schedule) string { return a.yesNo(s.Coalesce) }),
		col("max instances", "最多同时执行", func(s hostler.Schedule) string { return fmt.Sprint(s.MaxInstances) }),
		col("overlap", "重叠时", func(s hostler.Schedule) string { return string(s.Overlap) }),
		col("calendar", "日历", func(s hostler.Schedule) string { return dash(s.Calendar) }),
		col("slow down", "降速", func(s hostler.Schedule) string {
			switch {
			case s.SlowDown == nil:
				return "-"
			case s.Slowed != nil:
				return fmt.Sprintf("%s: %s (%s)", s.SlowDown.When, s.SlowDown.Every, localTime(*s.Slowed))
			}
			return fmt.Sprintf("%s: %s", s.SlowDown.When, s.SlowDown.Every)
		}),
		col("after", "依赖", func(s hostler.Schedule) string {
			if s.After == nil {
				return "-"
			}
			return strings.Join(s.After.Schedules, ", ")
		}),
		col("then", "后续", func(s hostler.Schedule) string { return dash(followUpText(s.Then)) }),
		col("queue", "队列", func(s hostler.Schedule) string { return s.Queue }),
		col("priority", "优先级", func(s hostler.Schedule) string { return fmt.Sprint(s.Priority) }),
		col("changed", "修改时间", func(s hostler.Schedule) string { return localTime(s.UpdatedAt) }),
	)
}

// scheduleNames completes the names of schedules.
func scheduleNames() completer {
	return named(func(c *client.Client) client.Lister[hostler.Schedule] { return c.Schedules },
		func(s hostler.Schedule) string { return s.Name })
}

func (a *app) scheduleList() *cobra.Command {
	return a.cmd("list", doc{
		short: txt("list schedules", "列出计划"),
		long: txt("List the schedules of the project, with their next fires.",
			"列出项目中的计划及其下次触发时间。"),
		example: "hostler schedule list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, _, err := collect(ctx, c.Schedules, 0)
		if err != nil {
			return err
		}
		return list(a, items, a.scheduleColumns())
	})
}

// scheduleVerb makes a command that does one thing to a schedule and shows it.
func (a *app) scheduleVerb(
	use string, d doc, do func(c *client.Client, ctx context.Context, ref string) (hostler.Schedule, error),
) *cobra.Command {
	cmd := a.cmd(use, d, func(ctx context.Context, c *client.Client, args []string) error {
		s, err := do(c, ctx, args[0])
		if err != nil {
			return err
		}
		return one(a, s, a.scheduleDetails())
	})
	a.complete(cmd, "", scheduleNames())
	return cmd
}

func (a *app) scheduleShow() *cobra.Command {
	return a.scheduleVerb("show SCHEDULE", doc{
		short:   txt("show a schedule", "查看计划"),
		long:    txt("Show a schedule by name or id.", "按名称或 ID 查看计划。"),
		example: "hostler schedule show night",
	}, (*client.Client).Schedule)
}

func (a *app) schedulePause() *cobra.Command {
	return a.scheduleVerb("pause SCHEDULE", doc{
		short: txt("stop the timer of a schedule", "暂停计划的定时器"),
		long: txt("Stop the timer of a schedule. Its runs continue, and 'schedule run' still runs it.",
			"暂停计划的定时器。已开始的执行继续，仍可用 'schedule run' 立即执行。"),
		example: "hostler schedule pause night",
	}, (*client.Client).PauseSchedule)
}

func (a *app) scheduleResume() *cobra.Command {
	return a.scheduleVerb("resume SCHEDULE", doc{
		short: txt("start the timer of a schedule again", "恢复计划的定时器"),
		long: txt("Start the timer of a schedule again. What it would have fired meanwhile is not made up for.",
			"恢复计划的定时器。暂停期间的触发不会补执行。"),
		example: "hostler schedule resume night",
	}, (*client.Client).ResumeSchedule)
}

func (a *app) scheduleDelete() *cobra.Command {
	cmd := a.cmd("delete SCHEDULE", doc{
		short:   txt("delete a schedule", "删除计划"),
		long:    txt("Delete a schedule. Its runs continue.", "删除计划。已开始的执行继续。"),
		example: "hostler schedule delete night",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		return c.DeleteSchedule(ctx, args[0])
	})
	a.complete(cmd, "", scheduleNames())
	return cmd
}

// scheduleNext is 'hostler schedule next', of a schedule or of flags.
func (a *app) scheduleNext() *cobra.Command {
	var f triggerFlags
	n := 10
	cmd := a.cmd("next [SCHEDULE] [flags]", doc{
		short: txt("list coming fires", "列出后续触发时间"),
		long: txt("List the coming fires of a schedule, or of a trigger that is not saved.",
			"列出计划或未保存的触发器的后续触发时间。"),
		example: `hostler schedule next night -n 5
hostler schedule next --cron '30 2 * * *' --zone Europe/Berlin`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var next hostler.NextFires
		var err error
		if len(args) == 1 {
			next, err = c.NextFiresOf(ctx, args[0], time.Time{}, n)
		} else {
			next, err = c.NextFires(ctx, hostler.NextRequest{Trigger: f.in, Count: n})
		}
		if err != nil {
			return err
		}
		if a.output != "table" {
			return a.structured(next)
		}
		for _, at := range next.Fires {
			if _, err := fmt.Fprintln(a.out, at.Format("2006-01-02 15:04:05 -07:00"), next.Zone); err != nil {
				return err
			}
		}
		return nil
	})
	a.triggerFlags(cmd, &f)
	cmd.Flags().IntVarP(&n, "count", "n", 10, a.t("how many", "数量"))
	a.complete(cmd, "", scheduleNames())
	return cmd
}

// scheduleRun is 'hostler schedule run'.
func (a *app) scheduleRun() *cobra.Command {
	var in hostler.ScheduleRunInput
	var args []string
	var params map[string]string
	var argsFile, idem, override string
	cmd := a.cmd("run SCHEDULE [flags]", doc{
		short: txt("run a schedule now", "立即执行计划"),
		long: txt(`Run a schedule now, also a paused one, with other arguments if you give some. Its
next fire stays. Write arguments as for 'hostler job run'.`,
			`立即执行计划（暂停中也可），可修改参数，不影响下次触发。参数写法同 'hostler job run'。`),
		example: `hostler schedule run night
hostler schedule run night --arg port=8443
hostler schedule run sunday --param version=1.3 --template-version 4`,
	}, func(ctx context.Context, c *client.Client, names []string) error {
		if len(args) > 0 || argsFile != "" {
			s, err := c.Schedule(ctx, names[0])
			if err != nil {
				return err
			}
			if in.Args, err = a.actionArgs(ctx, c, s.Task.Action, argsFile, args); err != nil {
				return err
			}
		}
		if len(params) > 0 {
			var err error
			if in.Params, err = a.readParams("", params); err != nil {
				return err
			}
		}
		in.OverrideCalendar = calendarOverride(override)
		run, err := c.RunSchedule(ctx, names[0], in, idem)
		if err != nil {
			return err
		}
		if a.output != "table" {
			return a.structured(run)
		}
		a.note("%s; see 'hostler run get %s'", "%s；用 'hostler run get %s' 查看", run.Message, run.Run)
		_, err = fmt.Fprintln(a.out, run.Run)
		return err
	})
	fs := cmd.Flags()
	fs.StringArrayVar(&args, "arg", nil, a.t("argument that replaces that of the schedule; may be repeated",
		"替换计划中同名的参数；可重复"))
	fs.StringVar(&argsFile, "args-file", "", a.t("JSON or YAML file with such arguments; - is standard input",
		"此类参数的文件（JSON 或 YAML）；- 表示标准输入"))
	fs.VarP(pairsFlag{&params}, "param", "p", a.t("parameter that replaces that of the schedule of a task or template; may be repeated",
		"替换计划（任务或模板）中同名的参数；可重复"))
	a.calendarOverrideFlag(fs, &override)
	fs.IntVar(&in.Version, "template-version", 0, a.t("version of the template, for this run", "本次执行所用的模板版本"))
	fs.StringVar(&in.Queue, "queue", "", a.t("queue to wait in", "所用队列"))
	fs.IntVar(&in.Priority, "priority", 0, a.t("1 (first) to 9 (last)", "优先级：1（最先）至 9（最后）"))
	fs.StringVar(&idem, "idempotency-key", "",
		a.t("a repeated call with the same key runs it once", "以相同的键重复调用只执行一次"))
	a.complete(cmd, "", scheduleNames())
	a.complete(cmd, "queue", queueNames)
	return cmd
}

// actionArgs reads arguments of an action from a file and from key=value.
func (a *app) actionArgs(
	ctx context.Context, c *client.Client, action, file string, args []string,
) ([]byte, error) {
	info, err := c.Action(ctx, action)
	if err != nil {
		return nil, err
	}
	base, err := a.readArgsFile(file)
	if err != nil {
		return nil, err
	}
	return buildArgs(base, args, info.Schema)
}

func (a *app) fireColumns() []column[hostler.Fire] {
	return []column[hostler.Fire]{
		col("at", "时间", func(f hostler.Fire) string { return localTime(f.At) }),
		col("instants", "次数", func(f hostler.Fire) string {
			if f.More {
				return fmt.Sprintf("%d+", f.Count)
			}
			return fmt.Sprint(f.Count)
		}),
		col("by", "触发者", func(f hostler.Fire) string {
			if f.Trigger == hostler.FireManual {
				return f.By
			}
			return string(f.Trigger)
		}),
		col("state", "状态", func(f hostler.Fire) string { return string(f.State) }),
		col("run", "执行", func(f hostler.Fire) string { return dash(f.Run.String()) }),
		col("jobs", "作业", func(f hostler.Fire) string { return number(f.Jobs) }),
		col("reason", "原因", func(f hostler.Fire) string { return a.textOf(f.Reason) }),
	}
}

// scheduleHistory is 'hostler schedule history'.
func (a *app) scheduleHistory() *cobra.Command {
	limit := 50
	cmd := a.cmd("history SCHEDULE [flags]", doc{
		short: txt("list the fires of a schedule", "列出计划的触发记录"),
		long: txt("List the fires of a schedule, newest first, with the reason of each that did not run.",
			"列出计划的触发记录，最新在前；未执行的附有原因。"),
		example: "hostler schedule history night",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		lister := func(ctx context.Context, p hostler.Page) (hostler.List[hostler.Fire], error) {
			return c.Fires(ctx, args[0], p)
		}
		items, _, err := collect(ctx, lister, limit)
		if err != nil {
			return err
		}
		return list(a, items, a.fireColumns())
	})
	cmd.Flags().IntVar(&limit, "limit", limit, a.t("at most this many", "最多列出多少条"))
	a.complete(cmd, "", scheduleNames())
	return cmd
}
