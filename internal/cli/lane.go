package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// laneCmd is 'hostler lane'.
func (a *app) laneCmd() *cobra.Command {
	return a.group("lane", doc{
		short: txt("show and release the lanes of devices", "查看和释放设备的通道"),
		long: txt(`Show which jobs hold a lane, and take it from them. Jobs of one lane run one after the
other; the lane of a device is the same for all projects. 'hostler job why' names the
lane that a job waits for.`,
			`查看哪些作业占用通道，并从它们收回。同一通道的作业依次执行；设备的通道由所有项目共用。
'hostler job why' 会显示作业等待的通道。`),
		example: "hostler lane show sw1.example.com\nhostler lane release sw1.example.com",
	}, a.laneShow(), a.laneRelease())
}

func (a *app) laneShow() *cobra.Command {
	return a.cmd("show LANE", doc{
		short: txt("show the jobs that hold a lane", "查看占用通道的作业"),
		long: txt(`Show the jobs that hold a lane. Of jobs of other projects, only their state is shown;
an admin of the project 'default' sees them all.`,
			`查看占用通道的作业。其他项目的作业只显示状态；default 项目的管理员可查看全部。`),
		example: "hostler lane show sw1.example.com",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		l, err := c.Lane(ctx, args[0])
		if err != nil {
			return err
		}
		return a.printLane(l)
	})
}

func (a *app) laneRelease() *cobra.Command {
	var in hostler.LaneRelease
	var jobs []string
	cmd := a.cmd("release LANE [flags]", doc{
		short: txt("take a lane from the jobs that hold it", "从占用通道的作业收回通道"),
		long: txt(`Take a lane from the jobs that hold it, of whatever project, so that others can run.
Jobs whose outcome is unknown, and those that wait for a retry, no longer hold it; their
state stays. With --cancel, queued jobs are cancelled and running ones asked to stop.
Requires the role admin in the project 'default'.`,
			`从占用通道的作业（不限项目）收回通道，使其他作业可以执行。结果未知和等待重试的作业不再占用通道，
其状态不变。使用 --cancel 时，排队的作业被取消，运行中的作业被要求停止。
需要 default 项目的 admin 角色。`),
		example: "hostler lane release sw1.example.com\nhostler lane release sw1.example.com --job job_0123456789A --cancel",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		for _, j := range jobs {
			var id hostler.JobID
			if err := id.UnmarshalText([]byte(j)); err != nil {
				return err
			}
			in.Jobs = append(in.Jobs, id)
		}
		r, err := c.ReleaseLane(ctx, args[0], in)
		if err != nil {
			return err
		}
		if a.output != "table" {
			return a.structured(r)
		}
		a.note("%d jobs released the lane, %d were cancelled or asked to stop.", "%d 个作业释放了通道，%d 个被取消或要求停止。",
			r.Released, r.Cancelled)
		return a.printLane(r.Lane)
	})
	fs := cmd.Flags()
	fs.StringSliceVar(&jobs, "job", nil, a.t("only these jobs", "仅限这些作业"))
	fs.BoolVar(&in.Cancel, "cancel", false, a.t("cancel those that are queued or running", "取消排队或运行中的作业"))
	return cmd
}

// printLane prints the holders of a lane; as JSON, all of it.
func (a *app) printLane(l hostler.Lane) error {
	if a.output != "table" {
		return one(a, l, []column[hostler.Lane]{})
	}
	a.note("%d of %d hold the lane %s, %d jobs wait for it.", "通道 %[3]s 的占用数 %[1]d/%[2]d，等待的作业 %[4]d 个。",
		len(l.Holders), l.Limit, l.Lane, l.Waiting)
	return list(a, l.Holders, []column[hostler.LaneHolder]{
		col("job", "作业", func(h hostler.LaneHolder) string {
			if h.Job == 0 {
				return "-"
			}
			return h.Job.String()
		}),
		col("project", "项目", func(h hostler.LaneHolder) string {
			if h.Foreign && h.Project == "" {
				return a.t("another project", "其他项目")
			}
			return dash(h.Project)
		}),
		col("state", "状态", func(h hostler.LaneHolder) string { return string(h.State) }),
		col("since", "自", func(h hostler.LaneHolder) string { return localTime(h.Since) }),
		col("action", "动作", func(h hostler.LaneHolder) string { return dash(h.Action) }),
		col("queue", "队列", func(h hostler.LaneHolder) string { return dash(h.Queue) }),
		col("created by", "创建者", func(h hostler.LaneHolder) string { return dash(h.CreatedBy) }),
	})
}
