package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

func (a *app) queueCmd() *cobra.Command {
	return a.group("queue", doc{
		short:   txt("manage queues: the pools that jobs wait in", "管理队列：作业等待的池"),
		long:    txt("A queue is a named pool that workers serve. It can be paused, limited in how\nmany jobs run at once, and limited in how many may wait.", "队列是由工作节点服务的命名池，可以暂停，也可以限制同时运行和等待的作业数。"),
		example: "hostler queue list\nhostler queue set bulk --limit 10 --max-depth 10000\nhostler queue pause bulk",
	},
		a.queueList(), a.queueSet(),
		a.queueSwitch("pause", doc{
			short:   txt("keep a queue's jobs from starting", "暂停队列"),
			long:    txt("Pauses a queue: its jobs do not start until it is resumed; running ones go on.", "暂停队列：在恢复之前其作业不会开始；正在运行的不受影响。"),
			example: "hostler queue pause bulk",
		}, (*client.Client).PauseQueue),
		a.queueSwitch("resume", doc{
			short:   txt("let a paused queue go on", "恢复队列"),
			long:    txt("Ends the pause of a queue.", "结束队列的暂停。"),
			example: "hostler queue resume bulk",
		}, (*client.Client).ResumeQueue),
	)
}

func (a *app) queueColumns() []column[hostler.Queue] {
	return []column[hostler.Queue]{
		col("name", "名称", func(q hostler.Queue) string { return q.Name }),
		col("paused", "已暂停", func(q hostler.Queue) string { return a.yesNo(q.Paused) }),
		col("queued", "等待", func(q hostler.Queue) string { return fmt.Sprint(q.Queued) }),
		col("running", "运行", func(q hostler.Queue) string { return fmt.Sprint(q.Running) }),
		col("oldest", "最久等待", func(q hostler.Queue) string { return fmt.Sprintf("%.1fs", q.OldestWait) }),
		col("limit", "并发上限", func(q hostler.Queue) string { return number(q.Limit) }),
		col("max depth", "等待上限", func(q hostler.Queue) string { return number(q.MaxDepth) }),
	}
}

func (a *app) queueList() *cobra.Command {
	return a.cmd("list", doc{
		short:   txt("list queues", "列出队列"),
		long:    txt("Lists the queues with how many jobs wait and run.", "列出队列及其等待和运行的作业数。"),
		example: "hostler queue list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, err := c.Queues(ctx)
		if err != nil {
			return err
		}
		return list(a, items, a.queueColumns())
	})
}

func (a *app) queueSet() *cobra.Command {
	var limit, depth int
	var cmd *cobra.Command
	cmd = a.cmd("set QUEUE [flags]", doc{
		short:   txt("make a queue, or change its limits", "创建队列或修改其上限"),
		long:    txt("Makes a queue, or changes the given limits of one. 0 takes a limit away.", "创建队列，或修改给出的上限；0 表示不限。"),
		example: "hostler queue set bulk --limit 10\nhostler queue set bulk --limit 0 --max-depth 10000",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var l hostler.QueueLimits
		if cmd.Flags().Changed("limit") {
			l.Limit = &limit
		}
		if cmd.Flags().Changed("max-depth") {
			l.MaxDepth = &depth
		}
		q, err := c.PutQueue(ctx, args[0], l)
		if err != nil {
			return err
		}
		return one(a, q, a.queueColumns())
	})
	cmd.Flags().IntVar(&limit, "limit", 0, a.t("jobs that may run at once", "可同时运行的作业数"))
	cmd.Flags().IntVar(&depth, "max-depth", 0, a.t("jobs that may wait; more are refused", "可等待的作业数；超出的会被拒绝"))
	a.complete(cmd, "", queueNames)
	return cmd
}

func (a *app) queueSwitch(verb string, d doc, change func(*client.Client, context.Context, string) (hostler.Queue, error)) *cobra.Command {
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
