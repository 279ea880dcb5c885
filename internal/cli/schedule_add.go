package cli

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// triggerFlags are the flags of a trigger.
type triggerFlags struct{ in hostler.Trigger }

func (a *app) triggerFlags(cmd *cobra.Command, f *triggerFlags) {
	fs := cmd.Flags()
	fs.StringVar(&f.in.Cron, "cron", "", a.t("cron expression of 5 fields, or of 6 with seconds first",
		"cron 表达式：5 个字段，或以秒开头的 6 个字段"))
	fs.Var(durationFlag{&f.in.Interval}, "every", a.t("interval, such as 5m", "间隔，如 5m"))
	fs.Var(laterFlag{timeFlag{&f.in.Date, a.now}}, "at", a.t("once, at this time", "在此时间执行一次"))
	fs.StringVar(&f.in.Zone, "zone", "", a.t("time zone of --cron (default: UTC)", "--cron 的时区（默认 UTC）"))
	fs.Var(durationFlag{&f.in.Jitter}, "jitter", a.t("delay each fire by a part of this", "每次触发在此范围内随机延后"))
	fs.Var(laterFlag{timeFlag{&f.in.Start, a.now}}, "start", a.t("no fire before this time", "在此时间之前不触发"))
	fs.Var(laterFlag{timeFlag{&f.in.End, a.now}}, "end", a.t("no fire from this time on", "自此时间起不再触发"))
	a.complete(cmd, "zone", fixed("UTC", "Asia/Shanghai", "Europe/Berlin", "Europe/London", "America/New_York"))
}

// laterFlag is a [timeFlag] whose durations are from now on.
type laterFlag struct{ timeFlag }

func (f laterFlag) Set(s string) error {
	if d, err := hostler.ParseDuration(s); err == nil && checkUnit(s) == nil {
		t := f.now().Add(d)
		*f.t = &t
		return nil
	}
	return f.timeFlag.Set(s)
}

// scheduleFlags are the flags of 'schedule add'.
type scheduleFlags struct {
	trigger        triggerFlags
	in             hostler.ScheduleInput
	target         hostler.StepTarget
	args           []string
	argsFile, file string
	params         map[string]string
	overlap        string
	grace          hostler.Duration
	each, paused   bool
	after          hostler.After
	wait           hostler.Duration
	slow           hostler.SlowDown
	then           followUpFlags
}

// scheduleAdd is 'hostler schedule add'.
func (a *app) scheduleAdd() *cobra.Command {
	var f scheduleFlags
	var cmd *cobra.Command
	cmd = a.cmd("add NAME [flags]", doc{
		short: txt("create or replace a schedule", "创建或替换计划"),
		long: txt(`Create a schedule, or replace the one of this name. It runs with your rights, as they
are when it fires. Give --cron, --every or --at, and --action with its arguments as for
'hostler job run', or --task or --template with --param; or a file of kind Schedule.

A time that the clock leaps over in spring fires at the leap; one that it shows twice in
autumn fires the first time.`,
			`创建计划，或替换同名计划。以你在触发时所具有的权限执行。请给出 --cron、--every 或 --at，以及
--action 与其参数（写法同 'hostler job run'），或 --task、--template 与 --param；或给出 Schedule 类型的文件。

夏令时跳过的时间在跳变时触发；重复的时间只在第一次触发。`),
		example: `hostler schedule add night --cron '30 2 * * *' --zone Europe/Berlin --action check_port --label role=web --arg port=443
hostler schedule add poll --every 5m --action check_port --asset web1 --arg port=22 --overlap queue
hostler schedule add sunday --cron '0 4 * * SUN' --task update-eu-games --param version=1.2
hostler schedule add night -f night.yaml`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		in, err := a.scheduleInput(ctx, c, cmd, &f)
		if err != nil {
			return err
		}
		s, err := c.PutSchedule(ctx, args[0], in)
		if err != nil {
			return err
		}
		return one(a, s, a.scheduleDetails())
	})
	a.triggerFlags(cmd, &f.trigger)
	a.scheduleFlags(cmd, &f)
	return cmd
}

func (a *app) scheduleFlags(cmd *cobra.Command, f *scheduleFlags) {
	fs := cmd.Flags()
	fs.StringVarP(&f.file, "file", "f", "", a.t("JSON or YAML file of kind Schedule; - is standard input",
		"Schedule 类型的文件（JSON 或 YAML）；- 表示标准输入"))
	fs.StringVar(&f.in.Task.Action, "action", "", a.t("action to run", "要执行的动作"))
	fs.StringVar(&f.in.Task.Task, "task", "", a.t("task to run, instead of an action", "要执行的任务（代替动作）"))
	fs.StringVar(&f.in.Task.Template, "template", "", a.t("template to run, likewise", "要执行的模板（代替动作）"))
	fs.IntVar(&f.in.Task.Version, "template-version", 0, a.t("version of the template (default: the task's, or the latest)",
		"模板版本（默认：任务所定，或最新）"))
	fs.VarP(pairsFlag{&f.params}, "param", "p", a.t("parameter of the task or template; may be repeated",
		"任务或模板的参数；可重复"))
	fs.StringSliceVar(&f.target.Assets, "asset", nil,
		a.t("names or ids of assets; may be repeated", "资产名称或 ID；可重复"))
	a.selectorFlag(cmd, &f.target.Selector)
	fs.StringArrayVar(&f.args, "arg", nil, a.t("argument of the action; may be repeated", "动作的参数；可重复"))
	fs.StringVar(&f.argsFile, "args-file", "", a.t("JSON or YAML file with arguments", "参数文件（JSON 或 YAML）"))
	fs.StringVar(&f.in.Title, "title", "", a.t("title", "标题"))
	fs.Var(durationFlag{&f.grace}, "grace", a.t("how late a fire may still run (default: 60s)",
		"迟到多久仍可执行（默认 60s）"))
	fs.BoolVar(&f.each, "each", false, a.t("run each late fire, not only the last", "迟到的触发逐个执行，而非只执行最后一个"))
	fs.IntVar(&f.in.MaxInstances, "max-instances", 0, a.t("runs at once (default: 1)", "最多同时执行数（默认 1）"))
	fs.StringVar(&f.overlap, "overlap", "", a.t("when so many are active: skip, queue or replace (default: skip)",
		"达到上限时：skip 跳过、queue 排队或 replace 取代（默认 skip）"))
	fs.StringVar(&f.in.Calendar, "calendar", "", a.t("calendar; fires are skipped or wait while it is closed", "日历；关闭期间跳过触发或等待"))
	fs.StringVar(&f.in.Queue, "queue", "", a.t("queue to wait in", "所用队列"))
	fs.IntVar(&f.in.Priority, "priority", 0, a.t("1 (first) to 9 (last)", "优先级：1（最先）至 9（最后）"))
	fs.Var(durationFlag{&f.in.Task.Timeout}, "timeout", a.t("timeout of one attempt", "单次尝试的超时"))
	fs.BoolVar(&f.paused, "paused", false, a.t("create it paused", "创建后暂停"))
	fs.StringSliceVar(&f.after.Schedules, "after", nil,
		a.t("fires wait for the success of this schedule; may be repeated", "触发等待此计划成功；可重复"))
	fs.Var(durationFlag{&f.after.Within}, "within", a.t("how old that success may be (default: 24h)", "该成功最多多久之前（默认 24h）"))
	fs.Var(durationFlag{&f.wait}, "wait-for", a.t("how long a fire waits for it (default: 1h)", "触发最多等待多久（默认 1h）"))
	fs.StringVar(&f.slow.When, "slow-down-when", "", a.t("fire less often while this holds, such as 'cpu > 80' or 'slots >= 95'",
		"满足此条件时降低触发频率，如 'cpu > 80' 或 'slots >= 95'"))
	fs.Var(durationFlag{&f.slow.Every}, "slow-down-every", a.t("then not more often than this, such as 30m", "此时的最小间隔，如 30m"))
	a.followUpFlags(cmd, &f.then)
	a.complete(cmd, "after", scheduleNames())
	a.complete(cmd, "action", actionNames)
	a.complete(cmd, "task", taskNames())
	a.complete(cmd, "calendar", calendarNames)
	a.complete(cmd, "template", templateNames())
	a.complete(cmd, "asset", assetNames())
	a.complete(cmd, "queue", queueNames)
	a.complete(cmd, "overlap", fixed("skip", "queue", "replace"))
}

// scheduleInput is what the flags, or the file, describe.
func (a *app) scheduleInput(
	ctx context.Context, c *client.Client, cmd *cobra.Command, f *scheduleFlags,
) (hostler.ScheduleInput, error) {
	if f.file != "" {
		return a.readSchedule(f.file)
	}
	in := f.in
	if in.Task.Action == "" && !in.Task.IsFlow() {
		return in, hostler.Invalid("action", "is required: give --action, --task or --template, or a file with -f",
			"不能为空：请给出 --action、--task 或 --template，或用 -f 指定文件")
	}
	in.Trigger, in.Overlap = f.trigger.in, hostler.Overlap(f.overlap)
	if len(f.target.Assets) > 0 || f.target.Selector != "" {
		in.Task.Target = &f.target
	}
	if cmd.Flags().Changed("grace") {
		in.MisfireGrace = &f.grace
	}
	if f.each {
		in.Coalesce = new(bool)
	}
	if f.paused {
		in.Enabled = new(bool)
	}
	in.Then = f.then.list()
	if f.slow != (hostler.SlowDown{}) {
		in.SlowDown = &f.slow
	}
	if len(f.after.Schedules) > 0 {
		in.After = &f.after
		if cmd.Flags().Changed("wait-for") {
			in.After.Wait = &f.wait
		}
	}
	var err error
	if in.Task.IsFlow() && in.Task.Action == "" {
		in.Task.Params, err = a.readParams("", f.params)
		return in, err
	}
	in.Task.Args, err = a.actionArgs(ctx, c, in.Task.Action, f.argsFile, f.args)
	return in, err
}

// readSchedule reads a document of kind Schedule.
func (a *app) readSchedule(name string) (hostler.ScheduleInput, error) {
	var in struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		hostler.ScheduleInput
	}
	text, err := a.readSmallFile(name)
	if err != nil {
		return in.ScheduleInput, err
	}
	wrong := func(err error) error {
		return hostler.Errorf(hostler.CodeInvalid, "%s is not a schedule: %v", "%s 不是计划：%v", name, err)
	}
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		return in.ScheduleInput, wrong(err)
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return in.ScheduleInput, wrong(err)
	}
	d := json.NewDecoder(bytes.NewReader(encoded))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return in.ScheduleInput, wrong(err)
	}
	if in.Kind != "" && in.Kind != "Schedule" {
		return in.ScheduleInput, hostler.Invalid("kind", "must be Schedule", "必须是 Schedule")
	}
	return in.ScheduleInput, nil
}
