package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

func (a *app) jobCmd() *cobra.Command {
	return a.group("job", doc{
		short:   txt("run work and see what became of it", "执行作业并查看结果"),
		long:    txt("A job is one execution of one action, on at most one asset.", "作业是一个动作的一次执行，最多作用于一个资产。"),
		example: "hostler job run check_port --asset web1 --arg port=22 --wait\nhostler job list --state failed --since 2h\nhostler job log -f job_0001a2b3c4d",
	},
		a.jobRun(), a.jobList(), a.jobGet(), a.jobLog(), a.jobCancel(), a.jobRetry(),
		a.jobResolve(), a.jobWhy(), a.jobAttempts(),
	)
}

func (a *app) jobColumns() []column[hostler.Job] {
	return []column[hostler.Job]{
		col("id", "ID", func(j hostler.Job) string { return j.ID.String() }),
		col("action", "动作", func(j hostler.Job) string { return j.Action }),
		col("asset", "资产", func(j hostler.Job) string { return dash(j.AssetName) }),
		col("state", "状态", func(j hostler.Job) string { return a.state(j.State) }),
		col("queue", "队列", func(j hostler.Job) string { return j.Queue }),
		col("attempt", "尝试", func(j hostler.Job) string { return fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts) }),
		col("took", "耗时", func(j hostler.Job) string { return took(j) }),
		col("created", "创建时间", func(j hostler.Job) string { return when(j.CreatedAt) }),
		col("outcome", "结果", func(j hostler.Job) string { return cut(a.outcome(j), 70) }),
	}
}

func (a *app) jobDetails() []column[hostler.Job] {
	cols := slices.DeleteFunc(a.jobColumns(), func(c column[hostler.Job]) bool { return c.head.EN == "outcome" })
	return append(cols,
		col("started", "开始时间", func(j hostler.Job) string { return whenPtr(j.StartedAt) }),
		col("ended", "结束时间", func(j hostler.Job) string { return whenPtr(j.EndedAt) }),
		col("due", "计划时间", func(j hostler.Job) string { return whenPtr(j.RunAt) }),
		col("expires", "过期时间", func(j hostler.Job) string { return whenPtr(j.ExpiresAt) }),
		col("priority", "优先级", func(j hostler.Job) string { return number(j.Priority) }),
		col("lane", "通道", func(j hostler.Job) string { return dash(j.Lane) }),
		col("on lost", "失联处理", func(j hostler.Job) string { return string(j.OnLost) }),
		col("retry of", "重试自", func(j hostler.Job) string { return dash(j.RetryOf.String()) }),
		col("run", "执行", func(j hostler.Job) string { return dash(j.Run.String()) }),
		col("created by", "创建者", func(j hostler.Job) string { return dash(j.CreatedBy) }),
		col("progress", "进度", progress),
		col("args", "参数", func(j hostler.Job) string { return string(j.Args) }),
		col("result", "返回值", func(j hostler.Job) string { return dash(string(j.Result)) }),
		col("error", "错误", func(j hostler.Job) string { return dash(a.jobError(j)) }),
	)
}

func progress(j hostler.Job) string {
	if j.Progress == nil {
		return "-"
	}
	return strings.TrimSpace(fmt.Sprintf("%.0f%% %s", j.Progress.Percent, j.Progress.Text))
}

// state is a job's state in the language of the invocation.
func (a *app) state(s hostler.State) string {
	if a.lang != hostler.LangZH {
		return string(s)
	}
	switch s {
	case hostler.StateScheduled:
		return "已计划"
	case hostler.StateQueued:
		return "排队中"
	case hostler.StateRunning:
		return "运行中"
	case hostler.StateSucceeded:
		return "成功"
	case hostler.StateFailed:
		return "失败"
	case hostler.StateCancelled:
		return "已取消"
	case hostler.StateExpired:
		return "已过期"
	case hostler.StateUnknown:
		return "未知"
	}
	return string(s)
}

func (a *app) jobError(j hostler.Job) string {
	if j.Error == nil {
		return ""
	}
	return j.Error.Kind + ": " + j.Error.Text.In(a.lang)
}

// outcome is the error of a job, or else its result.
func (a *app) outcome(j hostler.Job) string { return first(a.jobError(j), resultText(j), "-") }

// resultText is what a result says of itself in words, or else the whole of it.
func resultText(j hostler.Job) string {
	var r struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(j.Result, &r) == nil && r.Text != "" {
		return r.Text
	}
	if string(j.Result) == "null" {
		return ""
	}
	return string(j.Result)
}

func took(j hostler.Job) string {
	if j.StartedAt == nil || j.EndedAt == nil {
		return "-"
	}
	return j.EndedAt.Sub(*j.StartedAt).Round(time.Millisecond).String()
}

// runFlags are what 'job run' is given besides the request's own fields.
type runFlags struct {
	req      hostler.JobRequest
	args     []string
	argsFile string
	onLost   string
	retries  int
	wait     bool
	idem     string
	// webhook is a URL, webhookFile a file with the whole of it.
	webhook, webhookFile string
}

func (a *app) jobRun() *cobra.Command {
	var f runFlags
	cmd := a.cmd("run ACTION [flags]", doc{
		short: txt("make one job, or one per asset", "创建一个作业，或每个资产一个"),
		long: txt(
			"Makes a job of the action; with several assets, or labels, one per asset.\n\nArguments are typed as the action's schema says (see 'hostler action show'):\nkey=value, key=a,b for arrays, key.sub=value for objects, key=@file for a file's\ncontent, key:=json for JSON as it stands.\n\nWith --wait the output is streamed, and the exit code is 0 when all succeeded,\n1 when some did not, 3 when the outcome of some is unknown, 130 on Ctrl-C (the\njobs go on).",
			"创建作业；给出多个资产或标签时，每个资产一个作业。\n\n参数按动作的模式确定类型（参见 'hostler action show'）：key=value；\nkey=a,b 表示数组；key.sub=value 表示对象；key=@file 取文件内容；key:=json 原样 JSON。\n\n带 --wait 时输出实时显示；退出码：0 全部成功，1 有失败，3 有结果未知，\n130 表示按下 Ctrl-C（作业继续运行）。"),
		example: "hostler job run check_port --asset web1 --arg port=22 --wait\nhostler job run ssh_command --label role=web --arg command=uptime --wait\nhostler job run ssh_script --asset web1 --arg script=@fix.sh --timeout 10m",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		f.req.Action = args[0]
		return a.makeJobs(ctx, c, &f)
	})
	a.runFlags(cmd, &f)
	a.complete(cmd, "", actionNames)
	return cmd
}

func (a *app) runFlags(cmd *cobra.Command, f *runFlags) {
	fs := cmd.Flags()
	fs.StringSliceVar(&f.req.Assets, "asset", nil, a.t("names or ids of assets; repeat, or use commas", "资产名称或 ID；可重复或用逗号分隔"))
	fs.Var(pairs{&f.req.Labels}, "label", a.t("every asset with this label; repeat for more", "带此标签的所有资产；可重复"))
	fs.StringArrayVar(&f.args, "arg", nil, a.t("an argument of the action; repeat for more", "动作的参数；可重复"))
	fs.StringVar(&f.argsFile, "args-file", "", a.t("a JSON or YAML file with the arguments; - is standard input", "参数文件（JSON 或 YAML）；- 表示标准输入"))
	fs.StringVar(&f.req.Queue, "queue", "", a.t("queue to wait in", "所用队列"))
	fs.StringVar(&f.req.Lane, "lane", "", a.t("asset, none, or a key of your own (default: the action's)", "通道：asset、none 或自定义键（默认由动作决定）"))
	fs.IntVar(&f.req.Priority, "priority", 0, a.t("1 (first) to 9 (last); default 5", "优先级：1（最先）至 9（最后），默认 5"))
	fs.Var(span{&f.req.Timeout}, "timeout", a.t("of one attempt, such as 10m; default 5m", "单次尝试的超时，如 10m；默认 5m"))
	fs.IntVar(&f.retries, "retries", 0, a.t("further attempts after a failure", "失败后的重试次数"))
	fs.Var(span{&f.req.Delay}, "delay", a.t("start no sooner than this from now", "延迟多久后开始"))
	fs.Var(span{&f.req.TTL}, "ttl", a.t("expire when not started within this span", "超过此时长未开始则过期"))
	fs.StringVar(&f.onLost, "on-lost", "", a.t("retry, fail or ask, when sight of it is lost (default: the action's)", "失联时的处理：retry、fail 或 ask（默认由动作决定）"))
	fs.StringVar(&f.idem, "idempotency-key", "", a.t("the same key never makes the same work twice", "相同的键不会重复创建作业"))
	fs.StringVar(&f.webhook, "webhook", "", a.t("URL that gets a request at the end of each job", "每个作业结束时向此 URL 发送请求"))
	fs.StringVar(&f.webhookFile, "webhook-file", "", a.t("a JSON or YAML file with url, token, secret, headers … of that request; - is standard input", "该请求的文件（JSON 或 YAML：url、token、secret、headers 等）；- 表示标准输入"))
	fs.BoolVar(&f.wait, "wait", false, a.t("stream the output and wait for the end", "实时显示输出并等待结束"))
	a.complete(cmd, "asset", assetNames())
	a.complete(cmd, "queue", queueNames)
	a.complete(cmd, "lane", fixed(hostler.LaneAsset, hostler.LaneNone))
	a.complete(cmd, "on-lost", fixed(string(hostler.OnLostRetry), string(hostler.OnLostFail), string(hostler.OnLostAsk)))
}

func (a *app) makeJobs(ctx context.Context, c *client.Client, f *runFlags) error {
	info, err := c.Action(ctx, f.req.Action)
	if err != nil {
		return err
	}
	base, err := a.argsFile(f.argsFile)
	if err != nil {
		return err
	}
	if f.req.Args, err = buildArgs(base, f.args, info.Schema); err != nil {
		return err
	}
	if f.req.Webhook, err = a.jobWebhook(f.webhook, f.webhookFile); err != nil {
		return err
	}
	f.req.OnLost = hostler.OnLost(f.onLost)
	if f.retries > 0 {
		f.req.MaxAttempts = f.retries + 1
	}
	made, err := c.CreateJobs(ctx, f.req, client.CreateOptions{IdempotencyKey: f.idem})
	if err != nil {
		return err
	}
	if f.wait {
		return a.wait(ctx, c, made)
	}
	if a.output != "table" {
		return a.structured(made)
	}
	return a.sayMade(made)
}

func (a *app) sayMade(made hostler.JobsCreated) error {
	if made.Count == 1 && len(made.Jobs) == 1 {
		_, err := fmt.Fprintln(a.out, made.Jobs[0])
		return err
	}
	a.note("%d jobs; see 'hostler run get %s'", "已创建 %d 个作业；用 'hostler run get %s' 查看", made.Count, made.Run)
	_, err := fmt.Fprintln(a.out, made.Run)
	return err
}

// argsFile reads arguments from a JSON or YAML file.
func (a *app) argsFile(name string) (map[string]any, error) {
	if name == "" {
		return nil, nil
	}
	text, err := a.readFile(name)
	if err != nil {
		return nil, hostler.Errorf(hostler.CodeInvalid, "the arguments cannot be read: %v", "无法读取参数：%v", err)
	}
	var args map[string]any
	if err := yaml.Unmarshal(text, &args); err != nil {
		return nil, hostler.Errorf(hostler.CodeInvalid, "%s is neither JSON nor YAML: %v", "%s 不是 JSON 或 YAML：%v", name, err)
	}
	return args, nil
}

func (a *app) readFile(name string) ([]byte, error) {
	if name == "-" {
		s, err := readAll(a.in)
		return []byte(s), err
	}
	return os.ReadFile(name)
}

// filterFlags binds the flags that select jobs.
func (a *app) filterFlags(cmd *cobra.Command, f *hostler.JobFilter, states bool) {
	fs := cmd.Flags()
	if states {
		fs.Var(stateList{&f.States}, "state", a.t("only jobs in these states", "只选这些状态的作业"))
		a.complete(cmd, "state", fixed(names(hostler.States(), func(s hostler.State) string { return string(s) })...))
	}
	fs.StringVar(&f.Queue, "queue", "", a.t("only jobs of this queue", "只选此队列的作业"))
	fs.StringVar(&f.Action, "action", "", a.t("only jobs of this action", "只选此动作的作业"))
	fs.StringVar(&f.Asset, "asset", "", a.t("only jobs on this asset", "只选此资产的作业"))
	fs.StringVar(&f.Lane, "lane", "", a.t("only jobs of this lane", "只选此通道的作业"))
	fs.Var(idFlag{&f.Run}, "run", a.t("only jobs of this run", "只选此次执行的作业"))
	fs.Var(moment{&f.Since, a.now}, "since", a.t("made at or after, such as 2h or 2026-01-31", "在此时间之后创建，如 2h 或 2026-01-31"))
	fs.Var(moment{&f.Until, a.now}, "until", a.t("made before", "在此时间之前创建"))
	a.complete(cmd, "queue", queueNames)
	a.complete(cmd, "action", actionNames)
	a.complete(cmd, "asset", assetNames())
}

// stateList is a flag that takes job states, with commas or repeated.
type stateList struct{ s *[]hostler.State }

func (l stateList) String() string { return "" }
func (l stateList) Type() string   { return "state" }

func (l stateList) Set(v string) error {
	for part := range strings.SplitSeq(v, ",") {
		s := hostler.State(strings.TrimSpace(part))
		if !s.Valid() {
			return hostler.Errorf(hostler.CodeInvalid, "there is no state %q", "没有状态 %q", part)
		}
		*l.s = append(*l.s, s)
	}
	return nil
}

// idFlag is a flag that takes the id of a run.
type idFlag struct{ id *hostler.RunID }

func (f idFlag) String() string     { return "" }
func (f idFlag) Type() string       { return "id" }
func (f idFlag) Set(v string) error { return f.id.UnmarshalText([]byte(v)) }

func (a *app) jobList() *cobra.Command {
	var f hostler.JobFilter
	var limit int
	cmd := a.cmd("list [flags]", doc{
		short:   txt("list jobs, newest first", "列出作业，最新在前"),
		long:    txt("Lists jobs, newest first. Filters combine.", "列出作业，最新在前；筛选条件可组合。"),
		example: "hostler job list --state running,queued\nhostler job list --asset web1 --since 24h --limit 0 -o json",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		jobs, more, err := collect(ctx, c.JobsLister(f), limit)
		if err != nil {
			return err
		}
		a.noteMore(more)
		return list(a, jobs, a.jobColumns())
	})
	a.filterFlags(cmd, &f, true)
	cmd.Flags().IntVar(&limit, "limit", 100, a.t("at most this many; 0 for all", "最多条数；0 表示全部"))
	return cmd
}

// jobAction is a command on one job.
func (a *app) jobAction(use string, d doc, do func(ctx context.Context, c *client.Client, id hostler.JobID) error) *cobra.Command {
	cmd := a.cmd(use, d, func(ctx context.Context, c *client.Client, args []string) error {
		var id hostler.JobID
		if err := id.UnmarshalText([]byte(args[0])); err != nil {
			return err
		}
		return do(ctx, c, id)
	})
	a.complete(cmd, "", jobIDs())
	return cmd
}

func (a *app) jobGet() *cobra.Command {
	return a.jobAction("get JOB", doc{
		short:   txt("show a job", "查看作业"),
		long:    txt("Shows everything about a job: times, arguments, result, error.", "查看作业的全部信息：时间、参数、返回值、错误。"),
		example: "hostler job get job_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, id hostler.JobID) error {
		j, err := c.Job(ctx, id)
		if err != nil {
			return err
		}
		return one(a, j, a.jobDetails())
	})
}

func (a *app) jobLog() *cobra.Command {
	var follow, raw bool
	var tail int
	cmd := a.jobAction("log JOB [flags]", doc{
		short:   txt("show a job's output", "查看作业输出"),
		long:    txt("Shows the output of a job, with -f until it ends. What the job wrote to standard\noutput goes to standard output, the rest to standard error. Characters that a\nterminal would obey are shown as escapes; --raw passes them on.", "显示作业的输出，-f 持续显示直到结束。作业的标准输出写到标准输出，其余写到标准错误。\n会控制终端的字符以转义形式显示；--raw 原样输出。"),
		example: "hostler job log job_0001a2b3c4d\nhostler job log -f job_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, id hostler.JobID) error {
		p := printer{a: a, raw: raw}
		if follow {
			_, err := a.follow(ctx, c, id, &p)
			return err
		}
		return a.printLog(ctx, c, id, tail, &p)
	})
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, a.t("go on until the job ends", "持续显示直到作业结束"))
	cmd.Flags().IntVar(&tail, "tail", 0, a.t("only the last so many pieces", "只显示最后若干段"))
	cmd.Flags().BoolVar(&raw, "raw", false, a.t("do not escape anything", "不做任何转义"))
	return cmd
}

func (a *app) printLog(ctx context.Context, c *client.Client, id hostler.JobID, tail int, p *printer) error {
	if a.output != "table" {
		l, err := c.Log(ctx, id, client.LogQuery{Tail: tail})
		if err != nil {
			return err
		}
		return a.structured(l.Items)
	}
	q := client.LogQuery{Tail: tail, Limit: 1000}
	for {
		l, err := c.Log(ctx, id, q)
		if err != nil {
			return err
		}
		for _, e := range l.Items {
			p.print(e)
			q.After = e.Pos
		}
		if l.Next == "" || len(l.Items) == 0 || tail > 0 {
			return nil
		}
	}
}

func (a *app) jobWhy() *cobra.Command {
	return a.jobAction("why JOB", doc{
		short:   txt("say why a job is waiting", "说明作业为何在等待"),
		long:    txt("Says why a job is not running yet: its time, its lane and who holds it, a limit,\na pause, or no worker.", "说明作业为何尚未运行：时间未到、通道被占（及占用者）、上限、暂停或没有工作节点。"),
		example: "hostler job why job_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, id hostler.JobID) error {
		reasons, err := c.Waiting(ctx, id)
		if err != nil {
			return err
		}
		if len(reasons) == 0 && a.output == "table" {
			a.note("it is not waiting", "该作业没有在等待")
		}
		return list(a, reasons, []column[hostler.Waiting]{
			col("reason", "原因", func(w hostler.Waiting) string { return w.Reason }),
			col("text", "说明", func(w hostler.Waiting) string { return w.Text.In(a.lang) }),
			col("held by", "占用者", func(w hostler.Waiting) string { return dash(a.holders(w)) }),
			col("ahead", "前面", func(w hostler.Waiting) string { return number(w.Ahead) }),
			col("until", "直到", func(w hostler.Waiting) string { return whenPtr(w.Until) }),
		})
	})
}

func (a *app) holders(w hostler.Waiting) string {
	who := names(w.Holders, hostler.JobID.String)
	if w.Foreign > 0 {
		who = append(who, fmt.Sprintf(a.t("%d of another project", "%d 个其他项目的作业"), w.Foreign))
	}
	return strings.Join(who, " ")
}

func (a *app) jobAttempts() *cobra.Command {
	return a.jobAction("attempts JOB", doc{
		short:   txt("list the tries of a job", "列出作业的各次尝试"),
		long:    txt("Lists the tries of a job with the worker and the outcome of each.", "列出作业的各次尝试，以及每次的工作节点和结果。"),
		example: "hostler job attempts job_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, id hostler.JobID) error {
		tries, err := c.Attempts(ctx, id)
		if err != nil {
			return err
		}
		return list(a, tries, []column[hostler.Attempt]{
			col("n", "次序", func(x hostler.Attempt) string { return number(x.N) }),
			col("outcome", "结果", func(x hostler.Attempt) string { return x.Outcome }),
			col("started", "开始时间", func(x hostler.Attempt) string { return when(x.StartedAt) }),
			col("ended", "结束时间", func(x hostler.Attempt) string { return when(x.EndedAt) }),
			col("worker", "工作节点", func(x hostler.Attempt) string { return dash(x.Worker.String()) }),
			col("error", "错误", func(x hostler.Attempt) string { return dash(a.jobError(hostler.Job{Error: x.Error})) }),
		})
	})
}

func (a *app) runCmd() *cobra.Command {
	get := a.cmd("get RUN", doc{
		short:   txt("count the jobs of a run by state", "按状态统计一次执行的作业"),
		long:    txt("Counts the jobs of a run by state. 'hostler job list --run RUN' lists them.", "按状态统计一次执行的作业；'hostler job list --run RUN' 可列出它们。"),
		example: "hostler run get run_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var id hostler.RunID
		if err := id.UnmarshalText([]byte(args[0])); err != nil {
			return err
		}
		r, err := c.Run(ctx, id)
		if err != nil {
			return err
		}
		cols := []column[hostler.RunSummary]{
			col("run", "执行", func(r hostler.RunSummary) string { return r.Run.String() }),
			col("total", "总数", func(r hostler.RunSummary) string { return number(r.Total) }),
			col("done", "已结束", func(r hostler.RunSummary) string { return a.yesNo(r.Done) }),
		}
		for _, s := range hostler.States() {
			cols = append(cols, col(string(s), a.state(s), func(r hostler.RunSummary) string { return number(r.States[s]) }))
		}
		return one(a, r, cols)
	})
	return a.group("run", doc{
		short:   txt("see runs: the jobs of one call together", "查看执行：一次调用产生的全部作业"),
		long:    txt("A run holds the jobs that one 'hostler job run' made.", "一次执行包含一条 'hostler job run' 创建的所有作业。"),
		example: "hostler run get run_0001a2b3c4d",
	}, get)
}
