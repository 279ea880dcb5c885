package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// workerCmd is 'hostler worker'.
func (a *app) workerCmd() *cobra.Command {
	return a.group("worker", doc{
		short: txt("show and stop workers: the processes that run jobs",
			"查看和停止工作节点：运行作业的进程"),
		long: txt(`Show and stop workers. A worker runs jobs, several at once: its slots. It keeps idle
connections to hosts open for later jobs.`,
			`查看和停止工作节点。工作节点可同时运行多个作业（并发数），并保持与主机的空闲连接供后续作业使用。`),
		example: "hostler worker list\nhostler worker stop wrk_…",
	}, a.workerList(), a.workerStop(), a.workerCloseSession())
}

func (a *app) workerList() *cobra.Command {
	return a.cmd("list", doc{
		short: txt("list workers", "列出工作节点"),
		long: txt(
			`List the workers with their state, running jobs and resource usage. With -o json,
operators also see the open connections to hosts.`,
			`列出工作节点的状态、运行的作业和资源占用。使用 -o json 时，操作员还能看到与主机的连接。`),
		example: "hostler worker list\nhostler worker list -o json",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, err := c.Workers(ctx)
		if err != nil {
			return err
		}
		return list(a, items, a.workerColumns())
	})
}

// workerColumns count the open connections; -o json lists them.
func (a *app) workerColumns() []column[hostler.Worker] {
	return []column[hostler.Worker]{
		col("name", "名称", func(w hostler.Worker) string { return w.Name }),
		col("state", "状态", func(w hostler.Worker) string { return a.workerState(w.State) }),
		col("running", "运行", func(w hostler.Worker) string { return fmt.Sprintf("%d/%d", w.Running, w.Slots) }),
		col("sessions", "连接", func(w hostler.Worker) string { return fmt.Sprint(len(w.Sessions)) }),
		col("cpu", "CPU", func(w hostler.Worker) string { return fmt.Sprintf("%.1f%%", w.CPUPercent) }),
		col("machine", "主机负载", func(w hostler.Worker) string { return fmt.Sprintf("%.0f%%", w.LoadPercent) }),
		col("memory", "内存", func(w hostler.Worker) string { return humanize.IBytes(uint64(w.MemoryBytes)) }),
		col("queues", "队列", func(w hostler.Worker) string { return strings.Join(w.Queues, ",") }),
		col("succeeded", "成功", func(w hostler.Worker) string { return fmt.Sprint(w.Succeeded) }),
		col("failed", "失败", func(w hostler.Worker) string { return fmt.Sprint(w.Failed) }),
		col("heartbeat", "最近心跳", func(w hostler.Worker) string { return localTime(w.LastHeartbeat) }),
		col("id", "ID", func(w hostler.Worker) string { return w.ID.String() }),
	}
}

// workerState names the state of a worker in the language of the invocation.
func (a *app) workerState(state string) string {
	switch state {
	case "idle":
		return a.t("idle", "空闲")
	case "busy":
		return a.t("busy", "忙碌")
	case "draining":
		return a.t("draining", "排空中")
	case "dead":
		return a.t("dead", "失联")
	}
	return state
}

// workerStop is 'hostler worker stop', for a worker that does not react to SIGTERM.
func (a *app) workerStop() *cobra.Command {
	cmd := a.cmd("stop WORKER", doc{
		short: txt("stop a worker by force", "强制停止工作节点"),
		long: txt(
			`Stop a worker by force. Its running jobs are interrupted; each continues according to
its on_lost setting. If the process is still running, it registers again at once as a
new worker. To end the process after its jobs have finished, send it SIGTERM instead.`,
			`强制停止工作节点。其正在运行的作业被中断，后续按各作业的 on_lost 设置处理。
若进程仍在运行，会立即以新节点身份重新注册。若要等作业完成后结束进程，请向其发送 SIGTERM。`),
		example: "hostler worker stop wrk_…",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		id, err := workerID(args[0])
		if err != nil {
			return err
		}
		res, err := c.StopWorker(ctx, id)
		if err != nil {
			return err
		}
		return one(a, res, []column[hostler.WorkerStopped]{
			col("name", "名称", func(r hostler.WorkerStopped) string { return r.Worker.Name }),
			col("interrupted",
				"中断的作业", func(r hostler.WorkerStopped) string { return fmt.Sprint(r.Interrupted) }),
			col("id", "ID", func(r hostler.WorkerStopped) string { return r.Worker.ID.String() }),
		})
	})
	a.complete(cmd, "", workerIDs)
	return cmd
}

// workerCloseSession is 'hostler worker close-session', for a device that limits logins or
// must be reconnected.
func (a *app) workerCloseSession() *cobra.Command {
	cmd := a.cmd("close-session WORKER ADDRESS", doc{
		short: txt("close a worker's connections to a host", "关闭工作节点与某主机的连接"),
		long: txt(
			`Close a worker's connections to an address. A job that uses one of them is interrupted
and continues according to its on_lost setting; the next job opens a new connection.`,
			`关闭工作节点与某地址的连接。正在使用该连接的作业被中断，按其 on_lost 设置处理；
下一个作业会重新连接。`),
		example: "hostler worker close-session wrk_… 192.0.2.7",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		id, err := workerID(args[0])
		if err != nil {
			return err
		}
		res, err := c.CloseSession(ctx, id, args[1])
		if err != nil {
			return err
		}
		return one(a, res, []column[hostler.SessionClosed]{
			col("interrupted",
				"中断的作业", func(r hostler.SessionClosed) string { return fmt.Sprint(r.Interrupted) }),
		})
	})
	a.complete(cmd, "", workerIDs)
	return cmd
}

// workerID parses the id; workers have no unique names.
func workerID(arg string) (id hostler.WorkerID, err error) {
	if err := id.UnmarshalText([]byte(arg)); err != nil {
		return 0, hostler.Errorf(hostler.CodeInvalid,
			"%q is not the id of a worker; see: hostler worker list",
			"%q 不是工作节点 ID；请查看：hostler worker list", arg)
	}
	return id, nil
}

// workerIDs completes the ids of workers.
func workerIDs(ctx context.Context, c *client.Client) ([]string, error) {
	l, err := c.Workers(ctx)
	return names(l, func(w hostler.Worker) string { return w.ID.String() }), err
}
