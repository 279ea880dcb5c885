package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// projectCmd is 'hostler project'. Projects are not deleted: their history stays.
func (a *app) projectCmd() *cobra.Command {
	return a.group("project", doc{
		short: txt("manage projects", "管理项目"),
		long: txt(`Manage projects. A project isolates assets, credentials and jobs. The project
'default' always exists. Workers are shared by all projects; an admin of 'default' sets
the share of each with 'hostler project set'.`,
			`管理项目。项目隔离资产、凭据和作业；default 项目始终存在。工作节点由所有项目共用；
default 项目的管理员可用 'hostler project set' 设置各项目的份额。`),
		example: "hostler project create lab\nhostler project set lab --max-running 20\nhostler asset list --project lab",
	}, a.projectList(), a.projectShow(), a.projectCreate(), a.projectSet())
}

func projectColumns() []column[hostler.Project] {
	return []column[hostler.Project]{
		col("name", "名称", func(p hostler.Project) string { return p.Name }),
		col("id", "ID", func(p hostler.Project) string { return p.ID.String() }),
		col("weight", "权重", func(p hostler.Project) string { return number(p.Weight) }),
		col("max running", "运行上限", func(p hostler.Project) string { return number(p.MaxRunning) }),
		col("max queued", "等待上限", func(p hostler.Project) string { return number(p.MaxQueued) }),
		col("max timeout", "超时上限", func(p hostler.Project) string { return span(p.MaxTimeout) }),
		col("max backoff", "重试间隔上限", func(p hostler.Project) string { return span(p.MaxBackoff) }),
		col("four eyes", "四眼原则", func(p hostler.Project) string {
			if p.FourEyes {
				return "on"
			}
			return "-"
		}),
		col("created", "创建时间", func(p hostler.Project) string { return localTime(p.CreatedAt) }),
	}
}

// span is a cell with a duration, "-" for none.
func span(d hostler.Duration) string {
	if d == 0 {
		return "-"
	}
	return d.String()
}

// projectNames completes the names of projects.
func (a *app) projectNames() completer {
	return named(
		func(c *client.Client) client.Lister[hostler.Project] { return c.Projects },
		func(p hostler.Project) string { return p.Name })
}

func (a *app) projectShow() *cobra.Command {
	cmd := a.cmd("show NAME", doc{
		short:   txt("show a project and its limits", "查看项目及其上限"),
		long:    txt("Show a project with its weight and limits; - means no limit.", "查看项目及其权重和上限；- 表示不限。"),
		example: "hostler project show lab",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		p, err := c.Project(ctx, args[0])
		if err != nil {
			return err
		}
		return one(a, p, projectColumns())
	})
	a.complete(cmd, "", a.projectNames())
	return cmd
}

// projectSet is 'hostler project set'. Only limits whose flags were given change.
func (a *app) projectSet() *cobra.Command {
	var weight, running, queued int
	var fourEyes bool
	var timeout, backoff hostler.Duration
	var cmd *cobra.Command
	cmd = a.cmd("set NAME [flags]", doc{
		short: txt("set the weight and the limits of a project", "设置项目的权重和上限"),
		long: txt(`Set the share of a project in what all projects use together. Only what is given
changes; 0 removes a limit. Limits on the timeout and the backoff apply to new jobs.
Requires the role admin in the project 'default'.`,
			`设置项目在共用资源中的份额。只修改给出的项；0 表示不限。超时和重试间隔的上限适用于新作业。
需要 default 项目的 admin 角色。`),
		example: "hostler project set lab --weight 2 --max-running 20\nhostler project set lab --max-timeout 1h --max-queued 0",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		given := cmd.Flags().Changed
		p, err := c.ChangeProject(ctx, args[0], hostler.ProjectChange{
			Weight: ifGiven(given("weight"), &weight), MaxRunning: ifGiven(given("max-running"), &running),
			MaxQueued:  ifGiven(given("max-queued"), &queued),
			MaxTimeout: ifGiven(given("max-timeout"), &timeout), MaxBackoff: ifGiven(given("max-backoff"), &backoff),
			FourEyes: ifGiven(given("four-eyes"), &fourEyes),
		})
		if err != nil {
			return err
		}
		return one(a, p, projectColumns())
	})
	fs := cmd.Flags()
	fs.IntVar(&weight, "weight", 0, a.t("share of the slots, 1 to 1000, compared with other projects (initially 1)",
		"与其他项目相比的并发份额，1 到 1000（初始为 1）"))
	fs.IntVar(&running, "max-running", 0, a.t("maximum jobs running at once", "可同时运行的作业数"))
	fs.IntVar(&queued, "max-queued", 0, a.t("maximum jobs waiting, delayed ones included; more are rejected",
		"可等待的作业数（含延迟作业）；超出的会被拒绝"))
	fs.Var(durationFlag{&timeout}, "max-timeout", a.t("longest timeout of a job", "作业超时时间的上限"))
	fs.BoolVar(&fourEyes, "four-eyes", false, a.t("another person than its requester resolves an unknown job as succeeded",
		"结果未知的作业须由发起人以外的人确认成功"))
	fs.Var(durationFlag{&backoff}, "max-backoff", a.t("longest delay before a retry", "重试间隔的上限"))
	a.complete(cmd, "", a.projectNames())
	return cmd
}

// ifGiven returns v for a flag that was given, and nil otherwise.
func ifGiven[T any](given bool, v *T) *T {
	if given {
		return v
	}
	return nil
}

func (a *app) projectList() *cobra.Command {
	return a.cmd("list", doc{
		short:   txt("list your projects", "列出您的项目"),
		long:    txt("List the projects in which you have a role.", "列出您拥有角色的项目。"),
		example: "hostler project list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, _, err := collect(ctx, c.Projects, 0)
		if err != nil {
			return err
		}
		return list(a, items, projectColumns())
	})
}

func (a *app) projectCreate() *cobra.Command {
	return a.cmd("create NAME", doc{
		short: txt("create a project", "创建项目"),
		long: txt("Create a project. Requires the role admin in the project 'default'.",
			"创建项目；需要 default 项目的 admin 角色。"),
		example: "hostler project create lab",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		p, err := c.CreateProject(ctx, args[0])
		if err != nil {
			return err
		}
		return one(a, p, projectColumns())
	})
}
