package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// queueCmd is 'hostler queue'. Queues are shared by projects, so only admins of 'default'
// change them.
func (a *app) queueCmd() *cobra.Command {
	return a.group("queue", doc{
		short: txt("manage the queues in which jobs wait", "管理队列：作业在其中等待"),
		long: txt(`Manage queues. Jobs wait in a queue until a worker runs them. A queue can be paused,
and it can limit how many jobs run at once and how many may wait. A queue is open to all
projects, or granted to some of them.`,
			`管理队列。作业在队列中等待工作节点运行。队列可以暂停，也可以限制同时运行和等待的作业数。
队列对所有项目开放，或只授权给部分项目。`),
		example: `hostler queue list
hostler queue set bulk --limit 10 --max-depth 10000
hostler queue pause bulk`,
	},
		a.queueList(), a.queueSet(),
		a.queueSwitch("pause", doc{
			short: txt("pause a queue", "暂停队列"),
			long: txt("Pause a queue. Its jobs do not start until it is resumed; running jobs continue.",
				"暂停队列。恢复之前其作业不会开始；正在运行的不受影响。"),
			example: "hostler queue pause bulk",
		}, (*client.Client).PauseQueue),
		a.queueSwitch("resume", doc{
			short: txt("resume a paused queue", "恢复队列"),
			long: txt("Resume a paused queue. Its jobs start again.",
				"恢复已暂停的队列，其作业重新开始运行。"),
			example: "hostler queue resume bulk",
		}, (*client.Client).ResumeQueue),
	)
}

// queueColumns show how full a queue is beside its limits.
func (a *app) queueColumns() []column[hostler.Queue] {
	return []column[hostler.Queue]{
		col("name", "名称", func(q hostler.Queue) string { return q.Name }),
		col("paused", "已暂停", func(q hostler.Queue) string { return a.yesNo(q.Paused) }),
		col("queued", "等待", func(q hostler.Queue) string { return fmt.Sprint(q.Queued) }),
		col("running", "运行", func(q hostler.Queue) string { return fmt.Sprint(q.Running) }),
		col("longest wait", "最久等待", func(q hostler.Queue) string { return fmt.Sprintf("%.1fs", q.OldestWait) }),
		col("limit", "并发上限", func(q hostler.Queue) string { return number(q.Limit) }),
		col("max depth", "等待上限", func(q hostler.Queue) string { return number(q.MaxDepth) }),
		col("projects", "项目", func(q hostler.Queue) string {
			if len(q.Projects) == 0 {
				return a.t("all", "全部")
			}
			return strings.Join(q.Projects, ",")
		}),
	}
}

// queueNames completes the names of queues.
func queueNames(ctx context.Context, c *client.Client) ([]string, error) {
	l, err := c.Queues(ctx)
	return names(l, func(x hostler.Queue) string { return x.Name }), err
}

func (a *app) queueList() *cobra.Command {
	return a.cmd("list", doc{
		short: txt("list queues", "列出队列"),
		long: txt("List the queues and count their waiting and running jobs.",
			"列出队列及其等待和运行的作业数。"),
		example: "hostler queue list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, err := c.Queues(ctx)
		if err != nil {
			return err
		}
		return list(a, items, a.queueColumns())
	})
}

// queueSet is 'hostler queue set'. Only limits whose flags were given change: 0 is a value,
// no limit.
func (a *app) queueSet() *cobra.Command {
	var limit, depth int
	var grant []string
	var open bool
	var cmd *cobra.Command
	cmd = a.cmd("set QUEUE [flags]", doc{
		short: txt("create a queue, or change its limits and projects", "创建队列，或修改其上限和项目"),
		long: txt(`Create a queue, or change what is given of an existing one. 0 removes a limit. A new
queue is open to all projects; --grant names those that may use it, instead of the ones
that could before, and --open opens it to all. Jobs of others that wait in it do not
start until it is granted to them again.`,
			`创建队列，或修改给出的项；0 表示不限。新队列对所有项目开放；--grant 指定可使用它的项目（取代之前的），
--open 对所有项目开放。其他项目在其中等待的作业不会开始，直到重新授权。`),
		example: `hostler queue set bulk --limit 10
hostler queue set bulk --limit 0 --max-depth 10000
hostler queue set routers --grant network,lab`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var l hostler.QueueLimits
		if cmd.Flags().Changed("limit") {
			l.Limit = &limit
		}
		if cmd.Flags().Changed("max-depth") {
			l.MaxDepth = &depth
		}
		if cmd.Flags().Changed("grant") {
			l.Projects = &grant
		}
		if open {
			l.Projects = &[]string{}
		}
		q, err := c.PutQueue(ctx, args[0], l)
		if err != nil {
			return err
		}
		return one(a, q, a.queueColumns())
	})
	fs := cmd.Flags()
	fs.IntVar(&limit, "limit", 0, a.t("maximum jobs running at once", "可同时运行的作业数"))
	fs.IntVar(&depth, "max-depth", 0,
		a.t("maximum jobs waiting; more are rejected", "可等待的作业数；超出的会被拒绝"))
	fs.StringSliceVar(&grant, "grant", nil, a.t("the projects that may use it", "可使用此队列的项目"))
	fs.BoolVar(&open, "open", false, a.t("open it to all projects", "对所有项目开放"))
	cmd.MarkFlagsMutuallyExclusive("grant", "open")
	a.complete(cmd, "grant", a.projectNames())
	a.complete(cmd, "", queueNames)
	return cmd
}

// changeQueue is a client call that pauses or resumes a queue.
type changeQueue func(*client.Client, context.Context, string) (hostler.Queue, error)

func (a *app) queueSwitch(verb string, d doc, change changeQueue) *cobra.Command {
	cmd := a.cmd(verb+" QUEUE", d, func(ctx context.Context, c *client.Client, args []string) error {
		q, err := change(c, ctx, args[0])
		if err != nil {
			return err
		}
		return one(a, q, a.queueColumns())
	})
	a.complete(cmd, "", queueNames)
	return cmd
}
