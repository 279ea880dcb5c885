package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

func (a *app) workerCmd() *cobra.Command {
	return a.group("worker", doc{
		short:   txt("see and stop the workers: the processes that run jobs", "查看和停止工作节点：运行作业的进程"),
		long:    txt("A worker leases jobs and runs them, several at once: its slots. It keeps\nconnections to hosts open for the jobs that follow.", "工作节点领取并运行作业，可同时运行多个（并发数），并为后续作业保持与主机的连接。"),
		example: "hostler worker list\nhostler worker stop wrk_…",
	}, a.workerList(), a.workerStop(), a.workerCloseSession())
}

func (a *app) workerList() *cobra.Command {
	return a.cmd("list", doc{
		short: txt("list workers", "列出工作节点"),
		long: txt(
			"Lists the workers, with how busy each is and what it uses. With -o json, operators\nsee the connections to hosts that each keeps too.",
			"列出工作节点、其忙闲和资源占用。使用 -o json 时，操作员还能看到各节点保持的主机连接。"),
		example: "hostler worker list\nhostler worker list -o json",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, err := c.Workers(ctx)
		if err != nil {
			return err
		}
		return list(a, items, workerColumns())
	})
}

func workerColumns() []column[hostler.Worker] {
	return []column[hostler.Worker]{
		col("name", "名称", func(w hostler.Worker) string { return w.Name }),
		col("state", "状态", func(w hostler.Worker) string { return w.State }),
		col("running", "运行", func(w hostler.Worker) string { return fmt.Sprintf("%d/%d", w.Running, w.Slots) }),
		col("sessions", "连接", func(w hostler.Worker) string { return fmt.Sprint(len(w.Sessions)) }),
		col("cpu", "CPU", func(w hostler.Worker) string { return fmt.Sprintf("%.1f%%", w.CPUPercent) }),
		col("memory", "内存", func(w hostler.Worker) string { return fmt.Sprintf("%d MiB", w.MemoryBytes>>20) }),
		col("queues", "队列", func(w hostler.Worker) string { return strings.Join(w.Queues, ",") }),
		col("succeeded", "成功", func(w hostler.Worker) string { return fmt.Sprint(w.Succeeded) }),
		col("failed", "失败", func(w hostler.Worker) string { return fmt.Sprint(w.Failed) }),
		col("heartbeat", "最近心跳", func(w hostler.Worker) string { return when(w.LastHeartbeat) }),
		col("id", "ID", func(w hostler.Worker) string { return w.ID.String() }),
	}
}

func (a *app) workerStop() *cobra.Command {
	cmd := a.cmd("stop WORKER", doc{
		short: txt("stop a worker by force", "强制停止工作节点"),
		long: txt(
			"Stops a worker by force: what it runs is interrupted, and each job's on_lost decides\nwhat becomes of it. A process that lives comes back as a fresh worker at once; to\nend a process, and let its jobs end first, send it SIGTERM.",
			"强制停止工作节点：其正在运行的作业被中断，去向由各作业的 on_lost 决定。\n仍存活的进程会立即以新节点身份重新注册；若要结束进程并等待作业完成，请向其发送 SIGTERM。"),
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
			col("interrupted", "中断的作业", func(r hostler.WorkerStopped) string { return fmt.Sprint(r.Interrupted) }),
			col("id", "ID", func(r hostler.WorkerStopped) string { return r.Worker.ID.String() }),
		})
	})
	a.complete(cmd, "", workerIDs)
	return cmd
}

func (a *app) workerCloseSession() *cobra.Command {
	cmd := a.cmd("close-session WORKER ADDRESS", doc{
		short: txt("close the connections that a worker keeps to a host", "关闭工作节点与某主机保持的连接"),
		long: txt(
			"Closes the connections that a worker keeps to an address. A job on one of them loses\nsight of its work, and its on_lost decides; the next job connects anew.",
			"关闭工作节点与某地址保持的连接。正在使用该连接的作业将失去对其工作的掌握，由其 on_lost 决定去向；\n下一个作业会重新连接。"),
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
			col("interrupted", "中断的作业", func(r hostler.SessionClosed) string { return fmt.Sprint(r.Interrupted) }),
		})
	})
	a.complete(cmd, "", workerIDs)
	return cmd
}

func workerID(arg string) (id hostler.WorkerID, err error) {
	if err := id.UnmarshalText([]byte(arg)); err != nil {
		return 0, hostler.Errorf(hostler.CodeInvalid,
			"%q is no worker's id; see: hostler worker list", "%q 不是工作节点 ID；请查看：hostler worker list", arg)
	}
	return id, nil
}

func workerIDs(ctx context.Context, c *client.Client) ([]string, error) {
	l, err := c.Workers(ctx)
	return names(l, func(w hostler.Worker) string { return w.ID.String() }), err
}
