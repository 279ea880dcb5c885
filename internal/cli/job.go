package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// jobCmd is 'hostler job'. Each larger part has a file: job_run.go and job_args.go create
// jobs, job_wait.go waits for them, job_log.go shows output, job_result.go results, and
// job_bulk.go changes many at once.
func (a *app) jobCmd() *cobra.Command {
	return a.group("job", doc{
		short: txt("run jobs and show their results", "执行作业并查看结果"),
		long: txt("Run jobs and show their results. A job is one execution of one action, on at most\none asset.",
			"执行作业并查看结果。作业是一个动作的一次执行，最多作用于一个资产。"),
		example: `hostler job run check_port --asset web1 --arg port=22 --wait
hostler job list --state failed --since 2h
hostler job log -f job_0001a2b3c4d`,
	},
		a.jobRun(), a.jobList(), a.jobGet(), a.jobLog(), a.jobCancel(), a.jobRetry(),
		a.jobResolve(), a.jobWhy(), a.jobAttempts(), a.jobArtefacts(),
	)
}

// jobColumns are the columns of a listing, which shows the outcome in short.
func (a *app) jobColumns() []column[hostler.Job] {
	return []column[hostler.Job]{
		col("id", "ID", func(j hostler.Job) string { return j.ID.String() }),
		col("action", "动作", func(j hostler.Job) string { return j.Action }),
		col("asset", "资产", func(j hostler.Job) string { return dash(j.AssetName) }),
		col("state", "状态", func(j hostler.Job) string { return a.state(j.State) }),
		col("by", "创建者", func(j hostler.Job) string { return dash(j.CreatedBy) }),
		col("what", "内容", func(j hostler.Job) string { return term.Truncate(jobWhat(j), 40) }),
		wideCol("queue", "队列", func(j hostler.Job) string { return j.Queue }),
		wideCol("attempt", "尝试", func(j hostler.Job) string { return fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts) }),
		wideCol("duration", "耗时", duration),
		col("created", "创建时间", func(j hostler.Job) string { return localTime(j.CreatedAt) }),
		col("outcome", "结果", func(j hostler.Job) string { return term.Truncate(a.outcome(j), 70) }),
	}
}

// jobDetails are the columns of a single job: those of a listing, with the result
// and the error in full.
func (a *app) jobDetails() []column[hostler.Job] {
	cols := slices.DeleteFunc(a.jobColumns(), func(c column[hostler.Job]) bool {
		return c.head.EN == "outcome" || c.head.EN == "by" || c.head.EN == "what"
	})
	return append(cols,
		col("started", "开始时间", func(j hostler.Job) string { return optionalTime(j.StartedAt) }),
		col("ended", "结束时间", func(j hostler.Job) string { return optionalTime(j.EndedAt) }),
		col("due", "计划时间", func(j hostler.Job) string { return optionalTime(j.RunAt) }),
		col("expires", "过期时间", func(j hostler.Job) string { return optionalTime(j.ExpiresAt) }),
		col("priority", "优先级", func(j hostler.Job) string { return number(j.Priority) }),
		col("lane", "通道", func(j hostler.Job) string { return dash(j.Lane) }),
		col("on lost", "失联处理", func(j hostler.Job) string { return string(j.OnLost) }),
		col("retry of", "重试自", func(j hostler.Job) string { return dash(j.RetryOf.String()) }),
		col("run", "批次", func(j hostler.Job) string { return dash(j.Run.String()) }),
		col("created by", "创建者", func(j hostler.Job) string { return dash(j.CreatedBy) }),
		col("progress", "进度", progress),
		col("args", "参数", func(j hostler.Job) string { return string(j.Args) }),
		col("result", "返回值", func(j hostler.Job) string { return dash(string(j.Result)) }),
		col("error", "错误", func(j hostler.Job) string { return dash(a.jobError(j)) }),
	)
}

// jobWhat is what a job runs in a few words: its command, or the first line of its script, or
// its arguments.
func jobWhat(j hostler.Job) string {
	var args map[string]any
	if json.Unmarshal(j.Args, &args) != nil || len(args) == 0 {
		return "-"
	}
	for _, name := range []string{"command", "script"} {
		if text, ok := args[name].(string); ok {
			return firstLine(strings.TrimPrefix(text, "#!/bin/sh\n"))
		}
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(args)) {
		parts = append(parts, fmt.Sprintf("%s=%v", k, args[k]))
	}
	return strings.Join(parts, " ")
}

// jobIDs completes the ids of jobs in the given states, or in any.
func jobIDs(states ...hostler.State) completer {
	return named(func(c *client.Client) client.Lister[hostler.Job] {
		return c.JobsLister(hostler.JobFilter{States: states})
	}, func(j hostler.Job) string {
		return j.ID.String() + "\t" + string(j.State) + " " + j.Action + " " + j.AssetName
	})
}

// progress is the progress that the action reported, such as "40% copying".
func progress(j hostler.Job) string {
	if j.Progress == nil {
		return "-"
	}
	return strings.TrimSpace(fmt.Sprintf("%.0f%% %s", j.Progress.Percent, j.Progress.Text))
}

// chineseStates are the states as Chinese tables show them.
var chineseStates = map[hostler.State]string{
	hostler.StateScheduled: "已计划",
	hostler.StateQueued:    "排队中",
	hostler.StateRunning:   "运行中",
	hostler.StateSucceeded: "成功",
	hostler.StateFailed:    "失败",
	hostler.StateCancelled: "已取消",
	hostler.StateExpired:   "已过期",
	hostler.StateUnknown:   "未知",
}

// state names a job's state in the language of the invocation.
func (a *app) state(s hostler.State) string {
	return a.t(string(s), cmp.Or(chineseStates[s], string(s)))
}

// duration is how long an ended job ran.
func duration(j hostler.Job) string {
	if j.StartedAt == nil || j.EndedAt == nil {
		return "-"
	}
	return j.EndedAt.Sub(*j.StartedAt).Round(time.Millisecond).String()
}

// jobFilterFlags binds the flags that select jobs.
func (a *app) jobFilterFlags(cmd *cobra.Command, f *hostler.JobFilter, states bool) {
	fs := cmd.Flags()
	if states {
		fs.Var(statesFlag{&f.States}, "state", a.t("only jobs in these states", "只选这些状态的作业"))
		a.complete(cmd, "state", fixed(names(hostler.States(), func(s hostler.State) string { return string(s) })...))
	}
	fs.StringVar(&f.Queue, "queue", "", a.t("only jobs of this queue", "只选此队列的作业"))
	fs.StringVar(&f.Action, "action", "", a.t("only jobs of this action", "只选此动作的作业"))
	fs.StringVar(&f.Asset, "asset", "", a.t("only jobs on this asset", "只选此资产的作业"))
	fs.StringVar(&f.User, "user", "", a.t("only jobs that this user created", "只选此用户创建的作业"))
	a.selectorFlag(cmd, &f.Selector)
	a.complete(cmd, "user", userNames)
	fs.StringVar(&f.Lane, "lane", "", a.t("only jobs of this lane", "只选此通道的作业"))
	fs.Var(idFlag{&f.Run}, "run", a.t("only jobs of this run", "只选此批次的作业"))
	fs.Var(timeFlag{&f.Since, a.now}, "since",
		a.t("created at or after this time, such as 2h, yesterday, 09:00 or 2026-01-31",
			"在此时间之后创建，如 2h、yesterday、09:00 或 2026-01-31"))
	fs.Var(timeFlag{&f.Until, a.now}, "until", a.t("created before this time", "在此时间之前创建"))
	a.complete(cmd, "queue", queueNames)
	a.complete(cmd, "action", actionNames)
	a.complete(cmd, "asset", assetNames())
}

// jobList is 'hostler job list'. It reads only the newest jobs: the history may have
// millions.
func (a *app) jobList() *cobra.Command {
	var f hostler.JobFilter
	var limit int
	cmd := a.cmd("list [flags]", doc{
		short: txt("list jobs, newest first", "列出作业，最新在前"),
		long: txt("List jobs, newest first. Filters are combined.",
			"列出作业，最新在前；筛选条件可组合。"),
		example: "hostler job list --state running,queued\nhostler job list --asset web1 --since 24h --limit 0 -o json",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		jobs, more, err := collect(ctx, c.JobsLister(f), limit)
		if err != nil {
			return err
		}
		a.noteMore(more, limit)
		if slices.ContainsFunc(jobs, func(j hostler.Job) bool {
			return j.State == hostler.StateQueued || j.State == hostler.StateScheduled
		}) {
			a.noteHeld(ctx, c)
		}
		return list(a, jobs, a.jobColumns())
	})
	a.jobFilterFlags(cmd, &f, true)
	a.limitFlag(cmd, &limit)
	return cmd
}

// jobFunc is the body of a command on one job.
type jobFunc func(ctx context.Context, c *client.Client, id hostler.JobID) error

// jobAction makes a command on one job.
func (a *app) jobAction(use string, d doc, do jobFunc) *cobra.Command {
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
		short: txt("show a job", "查看作业"),
		long: txt("Show all fields of a job: times, arguments, result, error, and why it is waiting.",
			"查看作业的全部字段：时间、参数、返回值、错误，以及等待的原因。"),
		example: "hostler job get job_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, id hostler.JobID) error {
		j, err := c.Job(ctx, id)
		if err != nil {
			return err
		}
		columns := a.jobDetails()
		if a.output == "table" && (j.State == hostler.StateScheduled || j.State == hostler.StateQueued) {
			if columns, err = a.withWaiting(ctx, c, id, columns); err != nil {
				return err
			}
		}
		return one(a, j, columns)
	})
}

// withWaiting adds the most binding reason why a job is waiting.
func (a *app) withWaiting(
	ctx context.Context, c *client.Client, id hostler.JobID, columns []column[hostler.Job],
) ([]column[hostler.Job], error) {
	reasons, err := c.Waiting(ctx, id)
	if err != nil || len(reasons) == 0 {
		return columns, err
	}
	return append(columns, col("waiting", "等待原因", func(hostler.Job) string { return reasons[0].Text.In(a.lang) })), nil
}

// jobWhy is 'hostler job why'. The server explains; see store/explain.go.
func (a *app) jobWhy() *cobra.Command {
	return a.jobAction("why JOB", doc{
		short: txt("explain why a job is waiting", "说明作业为何在等待"),
		long: txt(`Explain why a job is not running yet: its start time, its lane and the jobs that
occupy it, a limit, a pause, or no worker.`,
			`说明作业为何尚未运行：时间未到、通道被占（及占用它的作业）、上限、暂停或没有工作节点。`),
		example: "hostler job why job_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, id hostler.JobID) error {
		reasons, err := c.Waiting(ctx, id)
		if err != nil {
			return err
		}
		if len(reasons) == 0 && a.output == "table" {
			return a.noteNotWaiting(ctx, c, id)
		}
		return list(a, reasons, []column[hostler.Waiting]{
			col("reason", "原因", func(w hostler.Waiting) string { return w.Reason }),
			col("description", "说明", func(w hostler.Waiting) string { return w.Text.In(a.lang) }),
			col("held by", "占用者", func(w hostler.Waiting) string { return dash(a.holders(w)) }),
			col("ahead", "前面", func(w hostler.Waiting) string { return number(w.Ahead) }),
			col("until", "直到", func(w hostler.Waiting) string { return optionalTime(w.Until) }),
		})
	})
}

// noteNotWaiting notes the state of a job that does not wait, and what to do about it.
func (a *app) noteNotWaiting(ctx context.Context, c *client.Client, id hostler.JobID) error {
	j, err := c.Job(ctx, id)
	if err != nil {
		return err
	}
	a.note("the job is not waiting: it is %s", "该作业没有在等待：状态为%s", a.state(j.State))
	switch j.State {
	case hostler.StateUnknown:
		a.note("The connection or the worker was lost while it ran. Check the host, then run: hostler job resolve %s --as succeeded|failed",
			"运行时连接或工作节点丢失。请检查主机，然后执行：hostler job resolve %s --as succeeded|failed", id)
	case hostler.StateFailed:
		a.note("%s; again: hostler job retry %s", "%s；重试：hostler job retry %s", a.jobError(j), id)
	case hostler.StateRunning:
		a.note("Follow it with: hostler job log -f %s", "跟踪输出：hostler job log -f %s", id)
	case hostler.StateScheduled, hostler.StateQueued, hostler.StateSucceeded, hostler.StateCancelled, hostler.StateExpired:
	}
	return nil
}

// holders lists the jobs that occupy a lane. Those of other projects are only
// counted.
func (a *app) holders(w hostler.Waiting) string {
	jobs := names(w.Holders, hostler.JobID.String)
	if w.Foreign > 0 {
		jobs = append(jobs, fmt.Sprintf(a.t("%d of another project", "%d 个其他项目的作业"), w.Foreign))
	}
	return strings.Join(jobs, " ")
}

// jobAttempts is 'hostler job attempts'.
func (a *app) jobAttempts() *cobra.Command {
	return a.jobAction("attempts JOB", doc{
		short: txt("list the attempts of a job", "列出作业的各次尝试"),
		long: txt("List the attempts of a job, each with its worker and outcome.",
			"列出作业的各次尝试，以及每次的工作节点和结果。"),
		example: "hostler job attempts job_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, id hostler.JobID) error {
		attempts, err := c.Attempts(ctx, id)
		if err != nil {
			return err
		}
		return list(a, attempts, []column[hostler.Attempt]{
			col("n", "次序", func(x hostler.Attempt) string { return number(x.N) }),
			col("outcome", "结果", func(x hostler.Attempt) string { return a.attemptOutcome(x.Outcome) }),
			col("started", "开始时间", func(x hostler.Attempt) string { return localTime(x.StartedAt) }),
			col("ended", "结束时间", func(x hostler.Attempt) string { return localTime(x.EndedAt) }),
			col("worker", "工作节点", func(x hostler.Attempt) string { return dash(x.Worker.String()) }),
			col("error",
				"错误", func(x hostler.Attempt) string { return dash(a.jobError(hostler.Job{Error: x.Error})) }),
		})
	})
}

// attemptOutcome names how an attempt ended: in a state, or followed by another
// attempt.
func (a *app) attemptOutcome(outcome string) string {
	switch outcome {
	case "retry":
		return a.t("retry", "将重试")
	case "handback":
		return a.t("handback", "未开始即归还")
	case "lost":
		return a.t("lost", "失联")
	}
	return a.state(hostler.State(outcome))
}
