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
		var l client.QueueLimits
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

func (a *app) userCmd() *cobra.Command {
	return a.group("user", doc{
		short:   txt("manage users and their roles", "管理用户及其角色"),
		long:    txt("A user is a person or a service. In each project it has one role: viewer,\noperator, approver or admin; each includes the ones before it.", "用户是人或服务。在每个项目中有一个角色：viewer（查看）、operator（操作）、\napprover（审批）或 admin（管理），后者包含前者。"),
		example: "hostler user create alice --role default=operator\nhostler user set alice --role lab=admin\nhostler user disable alice",
	}, a.userList(), a.userCreate(), a.userSet(),
		a.userSwitch("disable", true, doc{
			short:   txt("disable a user and its keys", "停用用户及其密钥"),
			long:    txt("Disables a user: its keys stop working at once.", "停用用户：其密钥立即失效。"),
			example: "hostler user disable alice",
		}),
		a.userSwitch("enable", false, doc{
			short:   txt("enable a disabled user", "启用用户"),
			long:    txt("Lets a disabled user in again.", "重新启用已停用的用户。"),
			example: "hostler user enable alice",
		}))
}

func (a *app) userColumns() []column[hostler.User] {
	return []column[hostler.User]{
		col("name", "名称", func(u hostler.User) string { return u.Name }),
		col("roles", "角色", func(u hostler.User) string { return dash(keyValues(u.Roles)) }),
		col("disabled", "已停用", func(u hostler.User) string { return a.yesNo(u.Disabled) }),
		col("created", "创建时间", func(u hostler.User) string { return when(u.CreatedAt) }),
	}
}

func (a *app) userList() *cobra.Command {
	return a.cmd("list", doc{
		short:   txt("list users", "列出用户"),
		long:    txt("Lists the users with their role in each project.", "列出用户及其在各项目中的角色。"),
		example: "hostler user list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, _, err := collect(ctx, c.Users, 0)
		if err != nil {
			return err
		}
		return list(a, items, a.userColumns())
	})
}

func (a *app) userCreate() *cobra.Command {
	var roles map[string]string
	cmd := a.cmd("create NAME [flags]", doc{
		short:   txt("create a user", "创建用户"),
		long:    txt("Creates a user with a role in each given project. Give it a key with\n'hostler key create --user NAME'.", "创建用户，并授予其在各项目中的角色。用 'hostler key create --user NAME' 为其创建密钥。"),
		example: "hostler user create alice --role default=operator --role lab=admin",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		u, err := c.CreateUser(ctx, args[0], asRoles(roles))
		if err != nil {
			return err
		}
		return one(a, u, a.userColumns())
	})
	a.roleFlag(cmd, &roles)
	return cmd
}

func (a *app) userSet() *cobra.Command {
	var roles map[string]string
	cmd := a.cmd("set NAME [flags]", doc{
		short:   txt("change a user's roles", "修改用户的角色"),
		long:    txt("Changes the role of a user in the given projects; an empty role takes it away.", "修改用户在给定项目中的角色；角色为空表示收回。"),
		example: "hostler user set alice --role lab=admin\nhostler user set alice --role lab=",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		u, err := c.ChangeUser(ctx, args[0], client.UserChange{Roles: asRoles(roles)})
		if err != nil {
			return err
		}
		return one(a, u, a.userColumns())
	})
	a.roleFlag(cmd, &roles)
	return cmd
}

func (a *app) roleFlag(cmd *cobra.Command, roles *map[string]string) {
	cmd.Flags().Var(pairs{roles}, "role", a.t("project=role; repeat for more", "项目=角色；可重复"))
}

func asRoles(m map[string]string) map[string]hostler.Role {
	roles := map[string]hostler.Role{}
	for project, role := range m {
		roles[project] = hostler.Role(role)
	}
	return roles
}

func (a *app) userSwitch(verb string, disabled bool, d doc) *cobra.Command {
	return a.cmd(verb+" NAME", d, func(ctx context.Context, c *client.Client, args []string) error {
		u, err := c.ChangeUser(ctx, args[0], client.UserChange{Disabled: &disabled})
		if err != nil {
			return err
		}
		return one(a, u, a.userColumns())
	})
}

func (a *app) projectCmd() *cobra.Command {
	columns := []column[hostler.Project]{
		col("name", "名称", func(p hostler.Project) string { return p.Name }),
		col("id", "ID", func(p hostler.Project) string { return p.ID.String() }),
		col("created", "创建时间", func(p hostler.Project) string { return when(p.CreatedAt) }),
	}
	return a.group("project", doc{
		short:   txt("manage projects", "管理项目"),
		long:    txt("A project isolates assets, credentials and jobs. 'default' always exists.", "项目隔离资产、凭据和作业；default 项目始终存在。"),
		example: "hostler project create lab\nhostler asset list --project lab",
	}, a.cmd("list", doc{
		short:   txt("list the projects you may see", "列出可见的项目"),
		long:    txt("Lists the projects in which you have a role.", "列出您拥有角色的项目。"),
		example: "hostler project list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, _, err := collect(ctx, c.Projects, 0)
		if err != nil {
			return err
		}
		return list(a, items, columns)
	}), a.cmd("create NAME", doc{
		short:   txt("create a project", "创建项目"),
		long:    txt("Creates a project; needs an admin of 'default'.", "创建项目；需要 default 项目的管理员。"),
		example: "hostler project create lab",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		p, err := c.CreateProject(ctx, args[0])
		if err != nil {
			return err
		}
		return one(a, p, columns)
	}))
}

func (a *app) auditCmd() *cobra.Command {
	var limit int
	ls := a.cmd("list [flags]", doc{
		short:   txt("list what people and keys changed, newest first", "列出变更记录，最新在前"),
		long:    txt("Lists the audit: every change that a person or a key made.", "列出审计记录：人和密钥所做的每一次变更。"),
		example: "hostler audit list --limit 20",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, more, err := collect(ctx, c.Audit, limit)
		if err != nil {
			return err
		}
		a.noteMore(more)
		return list(a, items, []column[hostler.Audit]{
			col("time", "时间", func(x hostler.Audit) string { return when(x.At) }),
			col("user", "用户", func(x hostler.Audit) string { return x.User }),
			col("project", "项目", func(x hostler.Audit) string { return dash(x.Project) }),
			col("verb", "操作", func(x hostler.Audit) string { return x.Verb }),
			col("object", "对象", func(x hostler.Audit) string { return x.Object }),
			col("from", "来源", func(x hostler.Audit) string { return dash(x.Remote) }),
			col("detail", "详情", func(x hostler.Audit) string { return cut(string(x.Detail), 60) }),
		})
	})
	ls.Flags().IntVar(&limit, "limit", 100, a.t("at most this many; 0 for all", "最多条数；0 表示全部"))
	return a.group("audit", doc{
		short:   txt("see who changed what", "查看谁改了什么"),
		long:    txt("The audit is the append-only record of every change.", "审计是所有变更的只增记录。"),
		example: "hostler audit list",
	}, ls)
}

// noteMore says that a limit cut a listing.
func (a *app) noteMore(more bool) {
	if more {
		a.note("there are more; raise --limit, or 0 for all", "还有更多；请增大 --limit，0 表示全部")
	}
}
