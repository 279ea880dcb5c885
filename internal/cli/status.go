package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// statusFailed is how many failed jobs 'hostler status' counts.
const statusFailed = 1000

// status is what 'hostler status' shows.
type status struct {
	URL     string           `json:"url"`
	Version string           `json:"version"`
	Store   string           `json:"store"`
	User    string           `json:"user"`
	Project string           `json:"project"`
	Held    bool             `json:"dispatch_held"`
	Queues  []hostler.Queue  `json:"queues"`
	Workers []hostler.Worker `json:"workers"`
	Failed  int              `json:"failed_today"`
	More    bool             `json:"more_failed,omitempty"`
	last    string
}

// statusCmd is 'hostler status'.
func (a *app) statusCmd() *cobra.Command {
	return a.cmd("status", doc{
		short: txt("show server, queues, workers, and what failed today", "查看服务、队列、工作节点及今日失败的作业"),
		long: txt("Show the server that commands use, its queues and workers, and how many jobs failed since midnight.",
			"查看命令所使用的服务、其队列和工作节点，以及自零点以来失败的作业数。"),
		example: "hostler status\nhostler status -o json",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		s, err := a.readStatus(ctx, c)
		if err != nil {
			return err
		}
		return one(a, s, a.statusColumns())
	})
}

func (a *app) readStatus(ctx context.Context, c *client.Client) (s status, err error) {
	target, err := a.target()
	if err != nil {
		return s, err
	}
	version, err := c.Version(ctx)
	if err != nil {
		return s, err
	}
	me, err := c.Me(ctx)
	if err != nil {
		return s, err
	}
	s = status{URL: target.URL, Version: version.Version, Store: version.Store, User: me.User, Project: me.Project}
	if s.Queues, err = c.Queues(ctx); err != nil {
		return s, err
	}
	if s.Workers, err = c.Workers(ctx); err != nil {
		return s, err
	}
	if d, err := c.Dispatch(ctx); err == nil {
		s.Held = d.Held
	}
	midnight := startOfDay(a.now())
	failed, more, err := collect(ctx, c.JobsLister(hostler.JobFilter{
		States: []hostler.State{hostler.StateFailed, hostler.StateUnknown}, Since: &midnight,
	}), statusFailed)
	s.Failed, s.More = len(failed), more
	if len(failed) > 0 {
		s.last = fmt.Sprintf("%s %s: %s", failed[0].Action, failed[0].AssetName, a.jobError(failed[0]))
	}
	return s, err
}

func (a *app) statusColumns() []column[status] {
	return []column[status]{
		col("server", "服务", func(s status) string { return s.URL + " · " + s.Version + " · " + s.Store }),
		col("you", "您", func(s status) string { return s.User + " · " + s.Project }),
		col("dispatch", "分派", func(s status) string {
			if s.Held {
				return a.t("held: no job starts; see 'hostler dispatch show'", "已暂停：没有作业会开始；请查看 'hostler dispatch show'")
			}
			return a.t("jobs start", "正常")
		}),
		col("queues", "队列", func(s status) string {
			waiting, running, paused := 0, 0, 0
			for _, q := range s.Queues {
				waiting, running = waiting+q.Queued, running+q.Running
				if q.Paused {
					paused++
				}
			}
			return fmt.Sprintf(a.t("%d (%d paused) · %d jobs wait, %d run", "%d 个（%d 个暂停）· 等待 %d，运行 %d"),
				len(s.Queues), paused, waiting, running)
		}),
		col("workers", "工作节点", func(s status) string {
			if len(s.Workers) == 0 {
				return a.t("none: no job can start", "无：作业无法开始")
			}
			return fmt.Sprint(len(s.Workers))
		}),
		col("failed today", "今日失败", func(s status) string {
			if s.Failed == 0 {
				return "0"
			}
			more := ""
			if s.More {
				more = "+"
			}
			return fmt.Sprintf(a.t("%d%s; the last: %s; see 'hostler job list --state failed,unknown --since today'",
				"%d%s；最近一个：%s；请查看 'hostler job list --state failed,unknown --since today'"), s.Failed, more, s.last)
		}),
	}
}

// startOfDay is the last midnight.
func startOfDay(t time.Time) time.Time {
	y, m, d := t.Local().Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.Local)
}
