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
'default' always exists.`,
			"管理项目。项目隔离资产、凭据和作业；default 项目始终存在。"),
		example: "hostler project create lab\nhostler asset list --project lab",
	}, a.projectList(), a.projectCreate())
}

func projectColumns() []column[hostler.Project] {
	return []column[hostler.Project]{
		col("name", "名称", func(p hostler.Project) string { return p.Name }),
		col("id", "ID", func(p hostler.Project) string { return p.ID.String() }),
		col("created", "创建时间", func(p hostler.Project) string { return localTime(p.CreatedAt) }),
	}
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
