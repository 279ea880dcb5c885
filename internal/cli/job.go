package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
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
		col("outcome", "结果", func(j hostler.Job) string { return term.Truncate(a.outcome(j), 70) }),
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
func (a *app) outcome(j hostler.Job) string { return cmp.Or(a.jobError(j), resultText(j), "-") }

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

// filterFlags binds the flags that select jobs.
func (a *app) filterFlags(cmd *cobra.Command, f *hostler.JobFilter, states bool) {
	fs := cmd.Flags()
	if states {
		fs.Var(statesFlag{&f.States}, "state", a.t("only jobs in these states", "只选这些状态的作业"))
		a.complete(cmd, "state", fixed(names(hostler.States(), func(s hostler.State) string { return string(s) })...))
	}
	fs.StringVar(&f.Queue, "queue", "", a.t("only jobs of this queue", "只选此队列的作业"))
	fs.StringVar(&f.Action, "action", "", a.t("only jobs of this action", "只选此动作的作业"))
	fs.StringVar(&f.Asset, "asset", "", a.t("only jobs on this asset", "只选此资产的作业"))
	fs.StringVar(&f.Lane, "lane", "", a.t("only jobs of this lane", "只选此通道的作业"))
	fs.Var(idFlag{&f.Run}, "run", a.t("only jobs of this run", "只选此次执行的作业"))
	fs.Var(timeFlag{&f.Since, a.now}, "since", a.t("made at or after, such as 2h or 2026-01-31", "在此时间之后创建，如 2h 或 2026-01-31"))
	fs.Var(timeFlag{&f.Until, a.now}, "until", a.t("made before", "在此时间之前创建"))
	a.complete(cmd, "queue", queueNames)
	a.complete(cmd, "action", actionNames)
	a.complete(cmd, "asset", assetNames())
}

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
