package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// userCmd is 'hostler user'. Users are disabled, never deleted: the audit names them.
func (a *app) userCmd() *cobra.Command {
	return a.group("user", doc{
		short: txt("manage users and their roles", "管理用户及其角色"),
		long: txt(`Manage users and their roles. A user is a person or a service, with one role in each
project: viewer, operator, approver or admin, each of which includes the ones before it,
or a role that the project defines (see 'hostler role').`,
			`管理用户及其角色。用户是人或服务，在每个项目中有一个角色：viewer（查看）、operator（操作）、
approver（审批）或 admin（管理），后者包含前者；也可以是项目自定义的角色（参见 'hostler role'）。`),
		example: `hostler user create alice --role default=operator
hostler user set alice --role lab=admin
hostler user disable alice`,
	}, a.userList(), a.userCreate(), a.userSet(),
		a.userDisable(),
		a.userSwitch("enable", false, doc{
			short: txt("enable a disabled user", "启用用户"),
			long: txt("Enable a disabled user. Its keys work again.",
				"重新启用已停用的用户，其密钥恢复有效。"),
			example: "hostler user enable alice",
		}))
}

func (a *app) userColumns() []column[hostler.User] {
	return []column[hostler.User]{
		col("name", "名称", func(u hostler.User) string { return u.Name }),
		col("roles", "角色", func(u hostler.User) string { return dash(keyValues(u.Roles)) }),
		col("disabled", "已停用", func(u hostler.User) string { return a.yesNo(u.Disabled) }),
		col("created", "创建时间", func(u hostler.User) string { return localTime(u.CreatedAt) }),
	}
}

func (a *app) userList() *cobra.Command {
	return a.cmd("list", doc{
		short: txt("list users", "列出用户"),
		long: txt("List the users with their role in each project.",
			"列出用户及其在各项目中的角色。"),
		example: "hostler user list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, _, err := collect(ctx, c.Users, 0)
		if err != nil {
			return err
		}
		return list(a, items, a.userColumns())
	})
}

// userCreate is 'hostler user create'. A user without a key cannot log in yet.
func (a *app) userCreate() *cobra.Command {
	var roles map[string]string
	cmd := a.cmd("create NAME [flags]", doc{
		short: txt("create a user", "创建用户"),
		long: txt(`Create a user with a role in each given project. Then create a key for the user with
'hostler key create --user NAME'.`,
			`创建用户，并授予其在各项目中的角色。随后用 'hostler key create --user 名称' 为其创建密钥。`),
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

// userSet is 'hostler user set'. Projects that are not given keep their role.
func (a *app) userSet() *cobra.Command {
	var roles map[string]string
	cmd := a.cmd("set NAME [flags]", doc{
		short: txt("change the roles of a user", "修改用户的角色"),
		long: txt("Change the role of a user in the given projects. An empty role removes the user from the project.",
			"修改用户在给定项目中的角色；角色为空表示移出该项目。"),
		example: "hostler user set alice --role lab=admin\nhostler user set alice --role lab=",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		u, err := c.ChangeUser(ctx, args[0], hostler.UserChange{Roles: asRoles(roles)})
		if err != nil {
			return err
		}
		return one(a, u, a.userColumns())
	})
	a.roleFlag(cmd, &roles)
	return cmd
}

// roleFlag adds --role project=role.
func (a *app) roleFlag(cmd *cobra.Command, roles *map[string]string) {
	cmd.Flags().Var(rolesFlag{pairsFlag{roles}}, "role", a.t("project=role; may be repeated", "项目=角色；可重复"))
}

// asRoles converts the values of --role; the server checks them.
func asRoles(m map[string]string) map[string]hostler.Role {
	roles := map[string]hostler.Role{}
	for project, role := range m {
		roles[project] = hostler.Role(role)
	}
	return roles
}

// userDisable is 'hostler user disable'.
func (a *app) userDisable() *cobra.Command {
	var cancel bool
	cmd := a.cmd("disable NAME [flags]", doc{
		short: txt("disable a user and its keys", "停用用户及其密钥"),
		long: txt(`Disable a user. The server rejects all its keys at once, and its waiting jobs do not
start until the user is enabled again. With --cancel-jobs they are cancelled, and its
running jobs are stopped.`,
			`停用用户。其密钥立即失效，等待中的作业在重新启用之前不会开始。--cancel-jobs 会取消这些作业并停止运行中的作业。`),
		example: "hostler user disable alice --cancel-jobs",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		disabled := true
		u, err := c.ChangeUser(ctx, args[0], hostler.UserChange{Disabled: &disabled})
		if err != nil {
			return err
		}
		if cancel {
			if err := a.cancelJobsOf(ctx, c, args[0]); err != nil {
				return err
			}
		}
		return one(a, u, a.userColumns())
	})
	cmd.Flags().BoolVar(&cancel, "cancel-jobs", false,
		a.t("also cancel the user's jobs in all projects", "同时取消该用户在所有项目中的作业"))
	return cmd
}

// cancelJobsOf cancels all jobs of a user.
func (a *app) cancelJobsOf(ctx context.Context, c *client.Client, name string) error {
	for total := 0; ; {
		res, err := c.CancelJobsOfUser(ctx, name)
		if err != nil {
			return err
		}
		total += res.Cancelled
		if !res.More || res.Cancelled == 0 {
			a.note("cancelled %d jobs of %s", "已取消 %[2]s 的 %[1]d 个作业", total, name)
			return nil
		}
	}
}

// userSwitch makes the command enable.
func (a *app) userSwitch(verb string, disabled bool, d doc) *cobra.Command {
	return a.cmd(verb+" NAME", d, func(ctx context.Context, c *client.Client, args []string) error {
		u, err := c.ChangeUser(ctx, args[0], hostler.UserChange{Disabled: &disabled})
		if err != nil {
			return err
		}
		return one(a, u, a.userColumns())
	})
}
