package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// maintenanceCmd is 'hostler maintenance': assets and labels on which no job starts.
func (a *app) maintenanceCmd() *cobra.Command {
	return a.group("maintenance", doc{
		short: txt("keep jobs off assets in maintenance", "维护期间阻止资产上的作业开始"),
		long: txt(`Put an asset, or all assets with some labels, into maintenance: no job on them starts.
Running jobs continue. New jobs wait until the maintenance ends, or are refused; those
that waited before wait. 'hostler job why' names the maintenance that a job waits for.
To hold all jobs of the project, use 'hostler dispatch hold --of-project'.`,
			`将资产或带某些标签的所有资产置于维护：其上的作业不再开始，正在运行的继续。新作业等待维护结束，
或被拒绝；之前等待的作业继续等待。'hostler job why' 显示作业等待的维护。要暂停本项目的全部作业，
请用 'hostler dispatch hold --of-project'。`),
		example: `hostler maintenance start web1 --for 2h --reason 'kernel update'
hostler maintenance start --label rack=7 --until '2027-01-31 18:00' --refuse --reason 'power'
hostler maintenance end web1`,
	}, a.maintenanceStart(), a.maintenanceList(), a.maintenanceEnd())
}

func (a *app) maintenanceStart() *cobra.Command {
	var in hostler.HoldInput
	refuse := false
	cmd := a.cmd("start [ASSET] [flags]", doc{
		short: txt("put an asset or a label into maintenance", "将资产或标签置于维护"),
		long: txt(`Put an asset or a label into maintenance. Without --for and --until it lasts until
'hostler maintenance end'. The same asset or label again replaces its maintenance: so it
is made longer.`,
			`将资产或标签置于维护。不带 --for 和 --until 时持续到 'hostler maintenance end'。
对同一资产或标签再次执行即替换，可用于延长。`),
		example: `hostler maintenance start web1 --for 2h --reason 'kernel update'
hostler maintenance start --label rack=7 --refuse --reason power`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if len(args) > 0 {
			in.Asset = args[0]
		}
		if (in.Asset == "") == (in.Select == "") {
			return hostler.Errorf(hostler.CodeInvalid, "give one asset, or --label", "请指定一个资产，或 --label")
		}
		if refuse {
			in.Mode = hostler.HoldRefuse
		}
		h, err := c.CreateHold(ctx, in)
		if err != nil {
			return err
		}
		return one(a, h, a.holdColumns())
	})
	a.selectorFlag(cmd, &in.Select)
	cmd.Flags().BoolVar(&refuse, "refuse", false, a.t("refuse new jobs instead of letting them wait", "拒绝新作业，而不是让其等待"))
	a.termFlags(cmd, &in.HoldTerms)
	a.complete(cmd, "", assetNames())
	return cmd
}

// termFlags add why and until when something is held.
func (a *app) termFlags(cmd *cobra.Command, t *hostler.HoldTerms) {
	cmd.Flags().StringVar(&t.Reason, "reason", "", a.t("why", "原因"))
	cmd.Flags().Var(durationFlag{&t.For}, "for", a.t("how long, such as 2h", "持续多久，如 2h"))
	cmd.Flags().Var(laterFlag{timeFlag{&t.Until, a.now}}, "until", a.t("until when", "持续到何时"))
	cmd.MarkFlagsMutuallyExclusive("for", "until")
}

// subject is what a hold is about.
func (a *app) holdSubject(h hostler.Hold) string {
	switch {
	case h.Asset != "":
		return h.Asset
	case len(h.Labels) > 0:
		return keyValues(h.Labels)
	case h.Select != "":
		return h.Select
	}
	return a.t("the project", "整个项目")
}

func (a *app) holdColumns() []column[hostler.Hold] {
	return []column[hostler.Hold]{
		col("id", "ID", func(h hostler.Hold) string { return h.ID.String() }),
		col("on", "对象", a.holdSubject),
		col("new jobs", "新作业", func(h hostler.Hold) string {
			if h.Mode == hostler.HoldRefuse {
				return a.t("refused", "拒绝")
			}
			return a.t("wait", "等待")
		}),
		col("waiting", "等待", func(h hostler.Hold) string { return number(h.Waiting) }),
		col("by", "设置者", func(h hostler.Hold) string { return h.By }),
		col("since", "开始", func(h hostler.Hold) string { return localTime(h.Since) }),
		col("until", "结束", func(h hostler.Hold) string {
			if h.Ended {
				return a.t("ending", "正在结束")
			}
			return optionalTime(h.Until)
		}),
		col("reason", "原因", func(h hostler.Hold) string { return h.Reason }),
	}
}

func (a *app) maintenanceList() *cobra.Command {
	return a.cmd("list", doc{
		short: txt("list assets and labels in maintenance", "列出维护中的资产和标签"),
		long: txt("List what is in maintenance, and the hold of the project, if any.",
			"列出维护中的资产和标签，以及本项目作业分派的暂停（如有）。"),
		example: "hostler maintenance list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, err := c.Holds(ctx)
		if err != nil {
			return err
		}
		return list(a, items, a.holdColumns())
	})
}

func (a *app) maintenanceEnd() *cobra.Command {
	cmd := a.cmd("end ASSET|LABEL|ID", doc{
		short: txt("end a maintenance", "结束维护"),
		long: txt("End the maintenance of an asset or of a label (key=value, several separated by commas), or by its id. What waited for it is queued.",
			"按资产、标签（键=值，多个用逗号分隔）或 ID 结束维护；等待的作业重新排队。"),
		example: "hostler maintenance end web1\nhostler maintenance end rack=7",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		items, err := c.Holds(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(items, func(h hostler.Hold) bool {
			named := h.Asset != "" || len(h.Labels) > 0 || h.Select != ""
			return !h.Ended && (h.ID.String() == args[0] || named && a.holdSubject(h) == args[0])
		})
		if i < 0 {
			return hostler.Errorf(hostler.CodeNotFound, "%q is not in maintenance; see 'hostler maintenance list'",
				"%q 不在维护中；请查看 'hostler maintenance list'", args[0])
		}
		if err := c.EndHold(ctx, items[i].ID); err != nil {
			return err
		}
		a.note("ended the maintenance of %s", "已结束 %s 的维护", strings.TrimSpace(a.holdSubject(items[i])))
		return nil
	})
	a.complete(cmd, "", assetNames())
	return cmd
}
