package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// dispatchCmd is 'hostler dispatch': whether workers get jobs. It is held after a restore.
func (a *app) dispatchCmd() *cobra.Command {
	return a.group("dispatch", doc{
		short: txt("show, hold or release the start of jobs", "查看、暂停或恢复作业分派"),
		long: txt(`While dispatch is held no job starts, on any server; running jobs continue and new
ones wait. A restored backup comes up like this: what waited when it was taken may
have run since. See what waits, cancel what must not run, then release the rest:
all queues, or some of them while the others are paused.`,
			`作业分派暂停时，任何服务上都不会有作业开始；正在运行的作业继续，新作业等待。恢复的备份启动后
即为此状态：备份时等待的作业之后可能已经执行。请先查看等待的作业，取消不应执行的，再恢复其余的：
可恢复全部队列，也可只恢复部分队列，其余队列随即暂停。`),
		example: `hostler dispatch show
hostler job list --state queued,scheduled
hostler job cancel --queue nightly
hostler dispatch release --queue default`,
	}, a.dispatchShow(), a.dispatchHold(), a.dispatchRelease())
}

func (a *app) dispatchShow() *cobra.Command {
	return a.cmd("show", doc{
		short: txt("show whether dispatch is held, and what waits", "查看作业分派是否暂停及等待的作业"),
		long: txt("Show whether dispatch is held and why, and count the jobs that wait.",
			"查看作业分派是否暂停、原因，以及等待的作业数。"),
		example: "hostler dispatch show\nhostler dispatch show -o json",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		d, err := c.Dispatch(ctx)
		if err != nil {
			return err
		}
		return a.printDispatch(d)
	})
}

func (a *app) dispatchHold() *cobra.Command {
	var terms hostler.HoldTerms
	ofProject := false
	cmd := a.cmd("hold [flags]", doc{
		short: txt("hold dispatch: no job starts", "暂停作业分派"),
		long: txt(`Hold dispatch on all servers, or with --of-project that of the project only, which takes
an admin of it and a --reason. Running jobs continue. Without --for and --until it lasts
until 'hostler dispatch release'.`,
			`在所有服务上暂停作业分派；加 --of-project 则只暂停本项目（需要本项目的管理员，并用 --reason 说明）。
正在运行的作业继续。不带 --for 和 --until 时持续到 'hostler dispatch release'。`),
		example: "hostler dispatch hold --for 2h --reason 'move of the data centre'\nhostler dispatch hold --of-project --reason freeze",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		if ofProject {
			h, err := c.CreateHold(ctx, hostler.HoldInput{HoldTerms: terms})
			if err != nil {
				return err
			}
			return one(a, h, a.holdColumns())
		}
		d, err := c.HoldDispatch(ctx, terms)
		if err != nil {
			return err
		}
		return a.printDispatch(d)
	})
	a.ofProjectFlag(cmd, &ofProject)
	a.termFlags(cmd, &terms)
	return cmd
}

func (a *app) ofProjectFlag(cmd *cobra.Command, of *bool) {
	cmd.Flags().BoolVar(of, "of-project", false, a.t("of the project only, not of the installation", "只针对本项目，而非整个系统"))
}

// releaseProject ends the hold of the project.
func (a *app) releaseProject(ctx context.Context, c *client.Client) error {
	holds, err := c.Holds(ctx)
	if err != nil {
		return err
	}
	for _, h := range holds {
		if h.Asset == "" && len(h.Labels) == 0 && h.Select == "" && !h.Ended {
			a.note("Dispatch of the project is released.", "已恢复本项目的作业分派。")
			return c.EndHold(ctx, h.ID)
		}
	}
	return hostler.Errorf(hostler.CodeNotFound, "dispatch of the project is not held", "本项目的作业分派未暂停")
}

func (a *app) dispatchRelease() *cobra.Command {
	var queues []string
	ofProject := false
	cmd := a.cmd("release [flags]", doc{
		short: txt("let jobs start again", "恢复作业分派"),
		long: txt(`Let jobs start again. With --queue, only the named queues go on; all others are
paused, and go on with 'hostler queue resume'. With --of-project, end the hold of the
project.`,
			`恢复作业分派。加 --of-project 时结束本项目的暂停。使用 --queue 时只恢复指定的队列，其余队列被暂停，之后可用 'hostler queue resume' 恢复。`),
		example: "hostler dispatch release\nhostler dispatch release --queue default,bulk",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		if ofProject {
			return a.releaseProject(ctx, c)
		}
		d, err := c.ReleaseDispatch(ctx, hostler.ReleaseRequest{Queues: queues})
		if err != nil {
			return err
		}
		return a.printDispatch(d)
	})
	cmd.Flags().StringSliceVar(&queues, "queue", nil,
		a.t("queues that go on; the others are paused", "要恢复的队列；其余队列将暂停"))
	a.ofProjectFlag(cmd, &ofProject)
	cmd.MarkFlagsMutuallyExclusive("queue", "of-project")
	a.complete(cmd, "queue", queueNames)
	return cmd
}

// printDispatch prints the state and what waits; as JSON, all of it.
func (a *app) printDispatch(d hostler.Dispatch) error {
	if a.output != "table" {
		return one(a, d, []column[hostler.Dispatch]{})
	}
	if !d.Held {
		a.note("Dispatch is not held: jobs start.", "作业分派正常：作业可以开始。")
		if len(d.Holds) == 0 {
			return nil
		}
		a.note("Held of this project:", "本项目的暂停：")
		return list(a, d.Holds, a.holdColumns())
	}
	a.note("%s", "%s", d.Text.In(a.lang))
	if d.More {
		a.note("Only the oldest jobs are counted.", "只统计了最早的作业。")
	}
	return list(a, d.Waiting, []column[hostler.HeldJobs]{
		col("project", "项目", func(h hostler.HeldJobs) string { return h.Project }),
		col("queue", "队列", func(h hostler.HeldJobs) string { return h.Queue }),
		col("jobs", "作业", func(h hostler.HeldJobs) string { return fmt.Sprint(h.Jobs) }),
		col("due", "已到期", func(h hostler.HeldJobs) string { return fmt.Sprint(h.Due) }),
		col("oldest", "最早创建", func(h hostler.HeldJobs) string { return localTime(h.Oldest) }),
	})
}

// noteHeld tells below a list that shows waiting jobs why none of them starts. It asks
// once, and is silent with a server that does not know.
func (a *app) noteHeld(ctx context.Context, c *client.Client) {
	if d, err := c.Dispatch(ctx); err == nil && d.Held {
		a.note("%s", "%s", d.Text.In(a.lang))
	}
}
