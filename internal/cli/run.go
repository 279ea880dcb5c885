package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

func (a *app) runCmd() *cobra.Command {
	return a.runOnHosts(a.group("run [flags] [--] [COMMAND...]", doc{
		short: txt("run a command, a script or an action on hosts; control runs", "在主机上执行命令、脚本或动作；管理执行"),
		long: txt(`Run a command, a script or an action on hosts, and show its output:

  hostler run HOSTS COMMAND         HOSTS are labels (app=web), names (web01,web02), or
                                    patterns ('web*')
  hostler run -l app=web -- df -h   with flags; one word is a line for the shell of the host,
                                    several words arrive there as they are
  hostler run -a web01 -f fix.sh x  a script with its arguments
  hostler run -l app=web --action service --arg name=nginx --arg operation=restart

On a terminal equal output is folded: what most hosts say once, what others say instead as a
difference, failures last. Elsewhere each line begins with its host, and of a single host
there is only the output itself. A change on more than 10 hosts asks first, on a terminal.

The exit code is 0 when all jobs succeeded, 1 when some did not, 3 when the outcome of some
is unknown, and 130 on Ctrl-C (the jobs keep running). A run is what ran, with its hosts; the
commands below start, show and change runs, also those of flows. RUN may be the id of a job.`,
			`在主机上执行命令、脚本或动作，并显示输出：

  hostler run 主机 命令             主机可以是标签（app=web）、名称（web01,web02）或模式（'web*'）
  hostler run -l app=web -- df -h   用选项；单个词作为主机 shell 的一行，多个词原样传递
  hostler run -a web01 -f fix.sh x  脚本及其参数
  hostler run -l app=web --action service --arg name=nginx --arg operation=restart

在终端上合并相同的输出：多数主机的输出显示一次，其他主机显示差异，失败的在最后。否则每行以主机名开头；
单台主机则只有输出本身。在终端上，对超过 10 台主机的更改会先询问。

退出码：0 全部成功，1 有作业未成功，3 有作业结果未知，130 表示按下 Ctrl-C（作业继续运行）。
执行是一次运行及其主机；下列命令启动、查看和更改执行，也包括流程的执行。执行也可用其中作业的 ID 表示。`),
		example: `hostler run app=web uptime
hostler run -l app=web,env!=test -- systemctl is-active nginx
hostler run -a web01,web02 -f script.sh arg1 --sudo
hostler run -l app=web --sudo --canary 1 --batch 25% --stop-after 2 -- systemctl restart nginx
hostler run --from-run run_0001a2b3c4d --state failed -- uptime
hostler run start update-eu-games --param version=1.2 --wait
hostler run show run_0001a2b3c4d`,
	}, a.runGet(), a.runStart(), a.runRerun(), a.runList(), a.runShow(), a.runWatch(), a.runHosts(), a.runLog(),
		a.runChange("pause", doc{
			short: txt("pause a run: no further step or job starts", "暂停执行：不再启动新的步骤和作业"),
			long: txt("Pause a run. Jobs that were created go on; 'hostler run resume' continues it.",
				"暂停执行：已创建的作业继续；用 'hostler run resume' 恢复。"),
			example: "hostler run pause run_0001a2b3c4d",
		}, (*client.Client).PauseRun),
		a.runChange("resume", doc{
			short: txt("resume a paused run, or a failed one from its failed steps", "恢复暂停的执行，或从失败的步骤继续"),
			long: txt(`Resume a paused run. A run that failed, was rejected or was terminated goes on with the
steps that did not succeed, on the hosts that did not succeed. What was approved and has
not changed is not asked for again.`,
				`恢复暂停的执行。失败、被拒绝或被终止的执行从未成功的步骤、在未成功的主机上继续；已审批且未变化的内容不再询问。`),
			example: "hostler run resume run_0001a2b3c4d",
		}, (*client.Client).ResumeRun),
		a.runChange("terminate", doc{
			short: txt("terminate a run and its jobs", "终止执行及其作业"),
			long: txt("Terminate a run. Waiting jobs are cancelled, running ones are stopped on their hosts.",
				"终止执行：等待的作业被取消，运行中的作业在主机上被停止。"),
			example: "hostler run terminate run_0001a2b3c4d",
		}, (*client.Client).TerminateRun),
		a.runChange("retry-failed", doc{
			short: txt("run an ended run again on the hosts that did not succeed", "在未成功的主机上重新执行"),
			long: txt("Run the steps of an ended run again on the hosts that failed, were cancelled or did not start, as the same run.",
				"在失败、被取消或未开始的主机上重新执行已结束执行的步骤，仍为同一次执行。"),
			example: "hostler run retry-failed run_0001a2b3c4d",
		}, (*client.Client).RetryFailed),
		a.runSkip(), a.runWait(), a.runCancel(), a.runRetry(), a.runDiff()))
}

// runIDs completes the ids of runs.
func runIDs() completer {
	return named(func(c *client.Client) client.Lister[hostler.Run] {
		return func(ctx context.Context, p hostler.Page) (hostler.List[hostler.Run], error) {
			return c.Runs(ctx, "", "", p)
		}
	}, func(r hostler.Run) string { return r.Run.String() + "\t" + string(r.State) })
}

func (a *app) runGet() *cobra.Command {
	return a.cmd("get RUN", doc{
		short: txt("count the jobs of a run by state", "按状态统计一次执行的作业"),
		long: txt("Count the jobs of a run by state. To list them, use 'hostler job list --run RUN'.",
			"按状态统计一次执行的作业。用 'hostler job list --run 执行' 列出它们。"),
		example: "hostler run get run_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		id, err := a.runOf(ctx, c, args[0])
		if err != nil {
			return err
		}
		r, err := c.Run(ctx, id)
		if err != nil {
			return err
		}
		return one(a, r, a.runColumns())
	})
}

// runColumns have a column per state; empty ones are not shown.
func (a *app) runColumns() []column[hostler.Run] {
	cols := []column[hostler.Run]{
		col("run", "执行", func(r hostler.Run) string { return r.Run.String() }),
		col("total", "总数", func(r hostler.Run) string { return number(r.Total) }),
		col("done", "已结束", func(r hostler.Run) string { return a.yesNo(r.Done) }),
	}
	for _, s := range hostler.States() {
		cols = append(cols,
			col(string(s), a.state(s), func(r hostler.Run) string { return number(r.States[s]) }))
	}
	return cols
}

// startFlags are the flags of 'hostler run start'.
type startFlags struct {
	in         hostler.RunRequest
	template   bool
	params     map[string]string
	paramsFile string
	targets    hostler.StepTarget
	plan, wait bool
	key        string
	from       string // an earlier run, or what it was of
	fromHosts  string
	fromStep   string
	override   string // reason why a closed calendar is overridden
	then       followUpFlags
}

func (a *app) runStart() *cobra.Command {
	var f startFlags
	cmd := a.cmd("start TASK [flags]", doc{
		short: txt("start a run of a task or a template", "启动任务或模板的执行"),
		long: txt(`Start a run of a task, or with --template of a template. Parameters go over those of the
task and the defaults of the template; every fault is reported before anything runs.
--plan prints what would run, as JSON with its SHA-256, and starts nothing.`,
			`启动任务的执行；加 --template 则启动模板的执行。参数覆盖任务的参数和模板的默认值；
所有错误在执行前一次报告。--plan 以 JSON 显示将执行的内容及其 SHA-256，不启动任何作业。`),
		example: `hostler run start update-eu-games --param version=1.2 --wait
hostler run start game-update --template --label region=eu --param version=1.2 --plan
hostler run start update-eu-games --param version=1.2 --from-run run_0001a2b3c4d --from-hosts failed`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if err := a.readStartFlags(&f, args[0]); err != nil {
			return err
		}
		if f.plan {
			p, err := c.PlanRun(ctx, f.in)
			if err != nil {
				return err
			}
			return a.printPlan(p)
		}
		r, err := c.StartRun(ctx, f.in, f.key)
		if err != nil {
			return err
		}
		if f.wait {
			return a.waitRun(ctx, c, r.Run)
		}
		return a.printRun(r)
	})
	fs := cmd.Flags()
	fs.BoolVar(&f.template, "template", false, a.t("TASK is the name of a template", "TASK 为模板名称"))
	fs.IntVar(&f.in.Version, "version", 0, a.t("version of the template (default: the task's, or the latest)",
		"模板版本（默认为任务指定的版本或最新版本）"))
	a.paramFlags(cmd, &f)
	fs.StringVar(&f.from, "from-run", "", a.t("only on hosts of this earlier run, or of the last run of this task or template",
		"仅在此前某次执行的主机上；也可指定任务或模板名称，取其最近一次执行"))
	fs.StringVar(&f.fromHosts, "from-hosts", "failed", a.t("which hosts of --from-run: failed, succeeded or changed",
		"--from-run 的哪些主机：failed、succeeded 或 changed"))
	fs.StringVar(&f.fromStep, "from-step", "", a.t("only of this step of --from-run", "仅 --from-run 的此步骤"))
	a.complete(cmd, "from-hosts", fixed("failed", "succeeded", "changed"))
	a.calendarOverrideFlag(fs, &f.override)
	a.followUpFlags(cmd, &f.then)
	fs.BoolVar(&f.plan, "plan", false, a.t("print what would run, and start nothing", "只显示将执行的内容"))
	fs.BoolVar(&f.wait, "wait", false, a.t("wait until the run has ended or waits for people; exit 1 if it did not succeed",
		"等待执行结束或等待人工处理；未成功则退出码为 1"))
	fs.StringVar(&f.key, "idempotency-key", "", a.t("start at most one run for this key", "同一键最多启动一次执行"))
	a.complete(cmd, "", taskNames())
	return cmd
}

// runRerun is 'hostler run rerun'.
func (a *app) runRerun() *cobra.Command {
	var in hostler.RerunInput
	var args []string
	var params map[string]string
	var argsFile, idem, overCalendar string
	var target hostler.StepTarget
	var over hostler.RuleOverride
	var wait bool
	cmd := a.cmd("rerun RUN [flags]", doc{
		short: txt("run an earlier run again, with its own or other arguments", "以相同或修改后的参数重新执行"),
		long: txt(`Start a new run like an earlier one: with its arguments or parameters, of which you may
replace some, on its hosts, and with the version of the template that it had, or with --latest.
It is checked like any other request, with your rights.`,
			`以先前某次执行的参数（可替换其中一部分）、主机和模板版本启动新的执行；--latest 使用最新版本。
与其他请求一样按你的权限检查。`),
		example: `hostler run rerun run_0001a2b3c4d
hostler run rerun run_0001a2b3c4d --param version=1.3 --latest --wait
hostler run rerun run_0001a2b3c4d --arg port=8443`,
	}, func(ctx context.Context, c *client.Client, names []string) error {
		id, err := a.runOf(ctx, c, names[0])
		if err != nil {
			return err
		}
		if len(args) > 0 || argsFile != "" {
			if in.Args, err = a.rerunArgs(ctx, c, id, argsFile, args); err != nil {
				return err
			}
		}
		if len(params) > 0 {
			if in.Params, err = a.readParams("", params); err != nil {
				return err
			}
		}
		if len(target.Assets) > 0 || target.Selector != "" {
			in.Target = &target
		}
		in.OverrideCalendar, in.OverrideRule = calendarOverride(overCalendar), overrideOf(over)
		r, err := c.Rerun(ctx, id, in, idem)
		if err != nil {
			return err
		}
		if wait {
			return a.waitRun(ctx, c, r.Run)
		}
		return a.printRun(r)
	})
	fs := cmd.Flags()
	fs.StringArrayVar(&args, "arg", nil, a.t("argument that replaces that of the run; may be repeated", "替换原执行中同名的参数；可重复"))
	fs.StringVar(&argsFile, "args-file", "", a.t("JSON or YAML file with such arguments; - is standard input",
		"此类参数的文件（JSON 或 YAML）；- 表示标准输入"))
	fs.VarP(pairsFlag{&params}, "param", "p", a.t("parameter that replaces that of a run of a task or template; may be repeated",
		"替换原执行（任务或模板）中同名的参数；可重复"))
	fs.BoolVar(&in.Latest, "latest", false, a.t("with the latest version of the template", "使用模板的最新版本"))
	fs.IntVar(&in.Version, "template-version", 0, a.t("with this version of the template", "使用模板的此版本"))
	fs.StringSliceVar(&target.Assets, "asset", nil, a.t("on this asset instead; may be repeated", "改在此资产上；可重复"))
	a.selectorFlag(cmd, &target.Selector)
	fs.StringVar(&in.Queue, "queue", "", a.t("queue to wait in", "所用队列"))
	fs.IntVar(&in.Priority, "priority", 0, a.t("1 (first) to 9 (last)", "优先级：1（最先）至 9（最后）"))
	a.overrideFlags(cmd, &over)
	a.calendarOverrideFlag(fs, &overCalendar)
	fs.BoolVar(&wait, "wait", false, a.t("wait until the run has ended or waits for people; exit 1 if it did not succeed",
		"等待执行结束或等待人工处理；未成功则退出码为 1"))
	fs.StringVar(&idem, "idempotency-key", "", a.t("start at most one run for this key", "同一键最多启动一次执行"))
	a.complete(cmd, "queue", queueNames)
	return cmd
}

// rerunArgs reads arguments for an ad-hoc run, by the schema of its action.
func (a *app) rerunArgs(
	ctx context.Context, c *client.Client, id hostler.RunID, file string, args []string,
) ([]byte, error) {
	jobs, err := c.Jobs(ctx, hostler.JobFilter{Run: id}, hostler.Page{Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(jobs.Items) == 0 {
		return nil, hostler.Errorf(hostler.CodeInvalid, "the run %s has no jobs; a task or template has parameters: use --param",
			"执行 %s 没有作业；任务或模板使用 --param", id)
	}
	return a.actionArgs(ctx, c, jobs.Items[0].Action, file, args)
}

// paramFlags add the flags of parameters and targets.
func (a *app) paramFlags(cmd *cobra.Command, f *startFlags) {
	fs := cmd.Flags()
	fs.VarP(pairsFlag{&f.params}, "param", "p", a.t("parameter; numbers, true and false are read as such, quotes make text; may be repeated",
		"参数；数字和 true、false 按其类型读取，加引号则为文本；可重复"))
	fs.StringVar(&f.paramsFile, "params-file", "", a.t("YAML or JSON file with parameters, - for standard input",
		"参数所在的 YAML 或 JSON 文件，- 表示标准输入"))
	fs.StringSliceVar(&f.targets.Assets, "asset", nil, a.t("only on this asset; may be repeated", "只在此资产上；可重复"))
	a.selectorFlag(cmd, &f.targets.Selector)
}

func (a *app) readStartFlags(f *startFlags, name string) error {
	f.in.Task, f.in.Template = name, ""
	f.in.OverrideCalendar, f.in.Then = calendarOverride(f.override), f.then.list()
	if f.template {
		f.in.Task, f.in.Template = "", name
	}
	if f.from != "" {
		f.targets.FromRun = &hostler.FromRun{Step: f.fromStep, Hosts: f.fromHosts}
		if f.targets.FromRun.Run.UnmarshalText([]byte(f.from)) != nil {
			f.targets.FromRun.Run, f.targets.FromRun.Name = 0, f.from
		}
	}
	if len(f.targets.Assets) > 0 || f.targets.Selector != "" || f.from != "" {
		f.in.Targets = &f.targets
	}
	var err error
	f.in.Params, err = a.readParams(f.paramsFile, f.params)
	return err
}

// readParams reads parameters from a file and from key=value.
func (a *app) readParams(file string, pairs map[string]string) (json.RawMessage, error) {
	params := map[string]any{}
	if file != "" {
		b, err := a.readInput(file)
		if err != nil {
			return nil, err
		}
		if err := yaml.Unmarshal(b, &params); err != nil {
			return nil, badFile(err)
		}
	}
	for key, text := range pairs {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			v = text
		}
		params[key] = v
	}
	return json.Marshal(params)
}

func (a *app) printPlan(p hostler.RunPlan) error {
	if a.output == "table" {
		a.output = "json" // a plan is compared as text
	}
	return a.structured(p)
}

// waitRun watches a run, and prints it when it has ended or waits for people. On a terminal
// the picture is the print. Of a run that failed, the jobs that did not succeed follow.
func (a *app) waitRun(ctx context.Context, c *client.Client, id hostler.RunID) error {
	r, err := a.watchRun(ctx, c, id)
	if err != nil {
		return err
	}
	if term.Columns(a.out) == 0 || a.output != "table" || r.State == "" {
		if err := a.printRun(r); err != nil {
			return err
		}
	}
	if a.output == "table" && r.State == hostler.RunFailed {
		if err := a.printResults(ctx, c, hostler.JobFilter{Run: id, States: notSucceeded}); err != nil {
			return err
		}
	}
	return runOutcome(r.State)
}

func (a *app) printRun(r hostler.Run) error {
	if a.output != "table" {
		return a.structured(r)
	}
	if r.State == "" {
		return one(a, r, a.runColumns())
	}
	at := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return localTime(*t)
	}
	err := one(a, r, []column[hostler.Run]{
		col("run", "执行", func(r hostler.Run) string { return r.Run.String() }),
		col("name", "名称", func(r hostler.Run) string { return r.Name }),
		col("source", "来源", a.runSource),
		col("state", "状态", func(r hostler.Run) string { return string(r.State) }),
		col("requester", "发起人", func(r hostler.Run) string { return r.Requester }),
		col("started", "开始时间", func(r hostler.Run) string { return at(r.StartedAt) }),
		col("ended", "结束时间", func(r hostler.Run) string { return at(r.EndedAt) }),
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	return list(a, r.Steps, a.stepColumns())
}

// runSource is what a run was started from.
func (a *app) runSource(r hostler.Run) string {
	from := string(r.Source)
	if r.Template != "" {
		from = fmt.Sprintf("%s %d", r.Template, r.Version)
	}
	if r.Origin != "" {
		from += " (" + r.Origin + ")"
	}
	return dash(from)
}

// stepMarks stand for the states of steps.
var stepMarks = map[hostler.StepState]string{
	hostler.StepPending: "○", hostler.StepRunning: "▶", hostler.StepWaiting: "⏸", hostler.StepSucceeded: "✓",
	hostler.StepFailed: "✗", hostler.StepRejected: "✗", hostler.StepSkipped: "↷", hostler.StepCancelled: "–",
	hostler.StepUnknown: "?",
}

func (a *app) stepColumns() []column[hostler.RunStep] {
	return []column[hostler.RunStep]{
		col("step", "步骤", func(s hostler.RunStep) string { return stepMarks[s.State] + " " + s.ID }),
		col("needs", "依赖", func(s hostler.RunStep) string { return dash(strings.Join(s.Needs, ",")) }),
		col("what", "内容", func(s hostler.RunStep) string {
			if s.Action != "" {
				return s.Action
			}
			return string(s.Kind)
		}),
		col("state", "状态", func(s hostler.RunStep) string { return string(s.State) }),
		col("hosts", "主机", func(s hostler.RunStep) string {
			if s.Hosts == 0 {
				return "-"
			}
			return fmt.Sprintf("%d/%d", s.Succeeded, s.Hosts)
		}),
		col("failed", "失败", func(s hostler.RunStep) string { return number(s.Failed + s.Cancelled) }),
		col("unknown", "未知", func(s hostler.RunStep) string { return number(s.Unknown) }),
		col("reason", "原因", func(s hostler.RunStep) string {
			if s.Reason == nil {
				return "-"
			}
			return term.Truncate(s.Reason.In(a.lang), 80)
		}),
	}
}

func (a *app) runShow() *cobra.Command {
	var follow bool
	cmd := a.cmd("show RUN [flags]", doc{
		short: txt("show a run and its steps", "查看执行及其步骤"),
		long: txt(`Show a run with the states of its steps. On a terminal it is drawn, and redrawn until the
run has ended or waits for people; --wait does so elsewhere too, and sets the exit code.`,
			`查看执行及各步骤状态。在终端上以图形显示并持续刷新，直至执行结束或等待人工处理；
--wait 在其他情况下也等待，并设置退出码。`),
		example: "hostler run show run_0001a2b3c4d\nhostler run show run_0001a2b3c4d --wait",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		id, err := a.runOf(ctx, c, args[0])
		if err != nil {
			return err
		}
		if follow {
			return a.waitRun(ctx, c, id)
		}
		if term.Columns(a.out) > 0 && a.output == "table" {
			r, err := a.watchRun(ctx, c, id)
			if err == nil && r.State == "" {
				err = a.printRun(r)
			}
			return err
		}
		r, err := c.Run(ctx, id)
		if err != nil {
			return err
		}
		return a.printRun(r)
	})
	cmd.Flags().BoolVar(&follow, "wait", false, a.t("wait until it has ended or waits for people", "等待其结束或等待人工处理"))
	return cmd
}

// runWatch is 'hostler run watch'.
func (a *app) runWatch() *cobra.Command {
	return a.cmd("watch RUN", doc{
		short: txt("watch a run until it has ended or waits for people", "持续查看执行，直至结束或等待人工处理"),
		long: txt(`Watch a run: drawn in place on a terminal, a line for each change of a step elsewhere.
The exit code is 0 when it succeeded, 1 when it did not, 3 when it waits for people.`,
			`持续查看执行：在终端上就地刷新图形，否则步骤每次变化输出一行。退出码：0 成功，1 未成功，3 等待人工处理。`),
		example: "hostler run watch run_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		id, err := a.runOf(ctx, c, args[0])
		if err != nil {
			return err
		}
		return a.waitRun(ctx, c, id)
	})
}

// runLog is 'hostler run log'.
func (a *app) runLog() *cobra.Command {
	var only string
	cmd := a.cmd("log RUN [flags]", doc{
		short: txt("print the output of all hosts of a run", "输出执行中所有主机的日志"),
		long: txt("Print the output of the jobs of a run, by step and host, each below a line with both.",
			"按步骤和主机输出执行中各作业的日志，每段之前有一行标题。"),
		example: "hostler run log run_0001a2b3c4d\nhostler run log run_0001a2b3c4d --step update",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		id, err := a.runOf(ctx, c, args[0])
		if err != nil {
			return err
		}
		r, err := c.Run(ctx, id)
		if err != nil {
			return err
		}
		for _, s := range r.Steps {
			if s.Action == "" || only != "" && s.ID != only {
				continue
			}
			if err := a.printStepLog(ctx, c, id, s.ID); err != nil {
				return err
			}
		}
		return nil
	})
	cmd.Flags().StringVar(&only, "step", "", a.t("only of this step", "只输出此步骤"))
	return cmd
}

// printStepLog prints the output of the hosts of a step, a page of hosts at a time.
func (a *app) printStepLog(ctx context.Context, c *client.Client, id hostler.RunID, step string) error {
	hosts := func(ctx context.Context, p hostler.Page) (hostler.List[hostler.RunHost], error) {
		return c.RunHosts(ctx, id, step, p)
	}
	for h, err := range client.All(ctx, hosts) {
		if err != nil {
			return err
		}
		if h.Job == 0 {
			continue
		}
		if a.output == "table" {
			fmt.Fprintf(a.out, "== %s · %s · %s · %s\n", step, term.Escape(dash(h.Name)), h.State, h.Job)
		}
		p := logPrinter{stdout: a.out, stderr: a.out}
		if err := a.printLog(ctx, c, h.Job, 0, &p); err != nil {
			return err
		}
		p.finish()
	}
	return nil
}

func (a *app) runList() *cobra.Command {
	var state, name string
	limit := 0
	cmd := a.cmd("list [flags]", doc{
		short: txt("list runs, newest first", "列出执行，最新在前"), long: txt("List the runs of flows and of ad-hoc jobs on several hosts, newest first.", "列出流程及多主机作业的执行，最新在前。"),
		example: "hostler run list --state waiting\nhostler run list --name update-eu-games -o json",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, more, err := collect(ctx, func(ctx context.Context, p hostler.Page) (hostler.List[hostler.Run], error) {
			return c.Runs(ctx, hostler.RunState(state), name, p)
		}, limit)
		if err != nil {
			return err
		}
		a.noteMore(more, limit)
		return list(a, items, []column[hostler.Run]{
			col("run", "执行", func(r hostler.Run) string { return r.Run.String() }),
			col("name", "名称", func(r hostler.Run) string { return r.Name }),
			col("source", "来源", a.runSource),
			col("state", "状态", func(r hostler.Run) string { return string(r.State) }),
			col("requester", "发起人", func(r hostler.Run) string { return r.Requester }),
			col("created", "创建时间", func(r hostler.Run) string { return localTime(*r.CreatedAt) }),
		})
	})
	cmd.Flags().StringVar(&state, "state", "", a.t("only runs in this state", "只列出此状态的执行"))
	cmd.Flags().StringVar(&name, "name", "", a.t("only runs of this task or template", "只列出此任务或模板的执行"))
	a.limitFlag(cmd, &limit)
	return cmd
}

func (a *app) runHosts() *cobra.Command {
	return a.cmd("hosts RUN STEP", doc{
		short: txt("list the hosts of a step with their jobs", "列出某步骤的主机及其作业"),
		long: txt("List the hosts of a step of a run, with the state and the job of each; 'hostler job log' shows the output.",
			"列出执行中某步骤的主机及其状态和作业；用 'hostler job log' 查看输出。"),
		example: "hostler run hosts run_0001a2b3c4d stop",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		id, err := a.runOf(ctx, c, args[0])
		if err != nil {
			return err
		}
		items, _, err := collect(ctx, func(ctx context.Context, p hostler.Page) (hostler.List[hostler.RunHost], error) {
			return c.RunHosts(ctx, id, args[1], p)
		}, 0)
		if err != nil {
			return err
		}
		return list(a, items, []column[hostler.RunHost]{
			col("asset", "资产", func(h hostler.RunHost) string { return dash(h.Name) }),
			col("state", "状态", func(h hostler.RunHost) string { return h.State }),
			col("job", "作业", func(h hostler.RunHost) string { return dash(h.Job.String()) }),
		})
	})
}

// changeRun is a client call that changes a run.
type changeRun func(*client.Client, context.Context, hostler.RunID) (hostler.Run, error)

func (a *app) runChange(verb string, d doc, change changeRun) *cobra.Command {
	return a.cmd(verb+" RUN", d, func(ctx context.Context, c *client.Client, args []string) error {
		id, err := a.runOf(ctx, c, args[0])
		if err != nil {
			return err
		}
		r, err := change(c, ctx, id)
		if err != nil {
			return err
		}
		return a.printRun(r)
	})
}

func (a *app) runSkip() *cobra.Command {
	var reason string
	cmd := a.cmd("skip RUN STEP [flags]", doc{
		short: txt("skip a step with a reason", "说明原因并跳过步骤"),
		long: txt("Skip a step that waits or did not succeed. The run goes on as if it had succeeded.",
			"跳过等待中或未成功的步骤；执行如同该步骤成功一样继续。"),
		example: "hostler run skip run_0001a2b3c4d qa --reason 'tested by hand'",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		id, err := a.runOf(ctx, c, args[0])
		if err != nil {
			return err
		}
		r, err := c.SkipStep(ctx, id, args[1], reason)
		if err != nil {
			return err
		}
		return a.printRun(r)
	})
	cmd.Flags().StringVar(&reason, "reason", "", a.t("why (required)", "原因（必填）"))
	return cmd
}
