package cli

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// roleCmd is 'hostler role'. A role is given to a user with 'user set', and to a key with
// 'key create'.
func (a *app) roleCmd() *cobra.Command {
	return a.group("role", doc{
		short: txt("manage the roles of a project", "管理项目自定义的角色"),
		long: txt(`Manage the roles of a project. Such a role is a built-in one that is limited to
actions, to assets with certain labels, or to both. Give it to a user with
'hostler user set USER --role PROJECT=ROLE', or to a key with 'hostler key create'.`,
			`管理项目自定义的角色。自定义角色是限定了动作、资产标签或两者的内置角色。用
'hostler user set 用户 --role 项目=角色' 授予用户，或在 'hostler key create' 时授予密钥。`),
		example: `hostler role create web-ops --base operator --label env=test --action 'ssh_*' --action check_port
hostler user set alice --role default=web-ops
hostler role list`,
	}, a.roleList(), a.roleShow(), a.roleCreate(), a.roleUpdate(), a.roleDelete())
}

func roleColumns() []column[hostler.CustomRole] {
	return []column[hostler.CustomRole]{
		col("name", "名称", func(r hostler.CustomRole) string { return r.Name }),
		col("base", "基于", func(r hostler.CustomRole) string { return string(r.Base) }),
		col("actions", "动作", func(r hostler.CustomRole) string { return dash(strings.Join(r.Actions, ",")) }),
		col("labels", "标签", func(r hostler.CustomRole) string { return dash(labelValues(r.Labels)) }),
		col("description", "说明", func(r hostler.CustomRole) string { return dash(r.Description) }),
	}
}

// labelValues shows the values that labels may have, such as env=dev|test.
func labelValues(labels map[string][]string) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, key+"="+strings.Join(labels[key], "|"))
	}
	return strings.Join(out, ",")
}

// roleNames completes the names of the project's roles.
func roleNames() completer {
	return named(func(c *client.Client) client.Lister[hostler.CustomRole] { return c.CustomRoles },
		func(r hostler.CustomRole) string { return r.Name })
}

func (a *app) roleList() *cobra.Command {
	return a.cmd("list", doc{
		short:   txt("list the roles of the project", "列出项目自定义的角色"),
		long:    txt("List the roles of the project with their limits.", "列出项目自定义的角色及其限制。"),
		example: "hostler role list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, _, err := collect(ctx, c.CustomRoles, 0)
		if err != nil {
			return err
		}
		return list(a, items, roleColumns())
	})
}

func (a *app) roleShow() *cobra.Command {
	cmd := a.cmd("show ROLE", doc{
		short:   txt("show a role", "查看角色"),
		long:    txt("Show a role of the project and its limits.", "查看项目自定义的角色及其限制。"),
		example: "hostler role show web-ops",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		r, err := c.CustomRole(ctx, args[0])
		if err != nil {
			return err
		}
		return one(a, r, roleColumns())
	})
	a.complete(cmd, "", roleNames())
	return cmd
}

// roleFlags are the limits of a role.
type roleFlags struct {
	base, description string
	actions, labels   []string
}

func (a *app) roleFlags(cmd *cobra.Command, f *roleFlags) {
	fs := cmd.Flags()
	fs.StringVar(&f.base, "base", string(hostler.RoleOperator),
		a.t("built-in role that it limits: viewer, operator or approver", "所限制的内置角色：viewer、operator 或 approver"))
	fs.StringArrayVar(&f.actions, "action", nil,
		a.t("action that it may run, or a prefix such as ssh_*; may be repeated (default: all)",
			"允许的动作，或前缀如 ssh_*；可重复（默认全部）"))
	fs.StringArrayVar(&f.labels, "label", nil,
		a.t("label of the assets that it includes, as key=value; repeat a key to allow several values (default: all assets)",
			"所含资产的标签 key=value；重复同一个键表示多个可选值（默认全部资产）"))
	fs.StringVar(&f.description, "description", "", a.t("what the role is for", "角色的用途"))
	a.complete(cmd, "base", fixed("viewer", "operator", "approver"))
	a.complete(cmd, "action", actionNames)
}

func (f roleFlags) input(name string) (hostler.CustomRoleInput, error) {
	in := hostler.CustomRoleInput{
		Name: name, Base: hostler.Role(f.base), Actions: f.actions, Description: f.description,
		Labels: map[string][]string{},
	}
	for _, l := range f.labels {
		key, value, ok := strings.Cut(l, "=")
		if !ok || key == "" {
			return in, hostler.Errorf(hostler.CodeInvalid, "write --label as key=value", "--label 请写成 key=value")
		}
		in.Labels[key] = append(in.Labels[key], value)
	}
	return in, nil
}

func (a *app) roleCreate() *cobra.Command {
	var f roleFlags
	cmd := a.cmd("create ROLE [flags]", doc{
		short: txt("create a role", "创建角色"),
		long: txt(`Create a role of the project. Assets outside its labels do not exist for it, and
neither do their jobs; it cannot change assets, and runs no job without an asset.`,
			`创建项目自定义的角色。对该角色而言，标签之外的资产及其作业不存在；它不能修改资产，也不能运行不针对资产的作业。`),
		example: "hostler role create web-ops --base operator --label env=dev --label env=test --action 'ssh_*'",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		in, err := f.input(args[0])
		if err != nil {
			return err
		}
		r, err := c.CreateCustomRole(ctx, in)
		if err != nil {
			return err
		}
		return one(a, r, roleColumns())
	})
	a.roleFlags(cmd, &f)
	return cmd
}

// roleUpdate is 'hostler role update'. A flag that is not given leaves its limit as it is.
func (a *app) roleUpdate() *cobra.Command {
	var f roleFlags
	var cmd *cobra.Command
	cmd = a.cmd("update ROLE [flags]", doc{
		short: txt("change the limits of a role", "修改角色的限制"),
		long: txt(`Change the given limits of a role; the others stay. It holds for its users and keys
within a second, and for their waiting jobs too.`,
			`修改角色给出的限制，其余不变。对其用户和密钥一秒内生效，对其等待中的作业同样有效。`),
		example: "hostler role update web-ops --action 'ssh_*' --action check_port",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		in, err := f.input("")
		if err != nil {
			return err
		}
		old, err := c.CustomRole(ctx, args[0])
		if err != nil {
			return err
		}
		given := cmd.Flags().Changed
		if !given("base") {
			in.Base = old.Base
		}
		if !given("action") {
			in.Actions = old.Actions
		}
		if !given("label") {
			in.Labels = old.Labels
		}
		if !given("description") {
			in.Description = old.Description
		}
		r, err := c.PutCustomRole(ctx, args[0], in)
		if err != nil {
			return err
		}
		return one(a, r, roleColumns())
	})
	a.roleFlags(cmd, &f)
	a.complete(cmd, "", roleNames())
	return cmd
}

func (a *app) roleDelete() *cobra.Command {
	cmd := a.cmd("delete ROLE", doc{
		short:   txt("delete a role", "删除角色"),
		long:    txt("Delete a role that no user and no valid key has.", "删除未授予任何用户和有效密钥的角色。"),
		example: "hostler role delete web-ops",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if err := c.DeleteCustomRole(ctx, args[0]); err != nil {
			return err
		}
		a.note("deleted the role %s", "已删除角色 %s", args[0])
		return nil
	})
	a.complete(cmd, "", roleNames())
	return cmd
}

// whoamiCmd is 'hostler whoami'.
func (a *app) whoamiCmd() *cobra.Command {
	return a.cmd("whoami", doc{
		short: txt("show your user, key and role", "查看当前用户、密钥和角色"),
		long: txt("Show the user and the key of the current context, the role in each project, and its limits.",
			"查看当前上下文的用户和密钥、在各项目中的角色及其限制。"),
		example: "hostler whoami",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		me, err := c.Me(ctx)
		if err != nil {
			return err
		}
		return one(a, me, []column[hostler.Me]{
			col("user", "用户", func(m hostler.Me) string { return m.User }),
			col("key", "密钥", func(m hostler.Me) string { return m.Key.String() }),
			col("expires", "过期时间", func(m hostler.Me) string { return optionalTime(m.ExpiresAt) }),
			col("project", "项目", func(m hostler.Me) string { return m.Project }),
			col("role", "角色", func(m hostler.Me) string { return dash(string(m.Role)) }),
			col("actions", "动作", func(m hostler.Me) string { return dash(strings.Join(m.Actions, ",")) }),
			col("labels", "标签", func(m hostler.Me) string { return dash(labelValues(m.Labels)) }),
			col("projects", "各项目", func(m hostler.Me) string { return dash(keyValues(m.Projects)) }),
		})
	})
}

// canCmd is 'hostler can'. Like a test, it exits with 4 for no.
func (a *app) canCmd() *cobra.Command {
	return a.group("can", doc{
		short: txt("check what you may do", "检查当前权限"),
		long: txt("Check what the key of the current context permits, without doing it.",
			"检查当前上下文的密钥允许什么，而不实际执行。"),
		example: "hostler can run ssh_command --asset web1",
	}, a.canRun())
}

func (a *app) canRun() *cobra.Command {
	var asset string
	cmd := a.cmd("run ACTION [flags]", doc{
		short: txt("check whether you may run an action", "检查能否执行某动作"),
		long: txt(`Check whether you may run an action, on an asset with --asset. The answer has the
reason, and who can allow it. The exit code is 0 for yes and 4 for no.`,
			`检查能否执行某动作（用 --asset 指定资产）。回答包含原因和可授权的人；可以时退出码为 0，不可以时为 4。`),
		example: "hostler can run ssh_command --asset web1",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		can, err := c.Can(ctx, args[0], asset)
		if err != nil {
			return err
		}
		err = one(a, can, []column[hostler.Can]{
			col("allowed", "允许", func(x hostler.Can) string { return a.yesNo(x.Allowed) }),
			col("reason", "原因", func(x hostler.Can) string { return x.Reason.In(a.lang) }),
			col("allowed by", "可授权者", func(x hostler.Can) string { return dash(strings.Join(x.AllowedBy, ",")) }),
		})
		if err == nil && !can.Allowed {
			return &outcomeError{hostler.CodeForbidden.ExitCode()}
		}
		return err
	})
	cmd.Flags().StringVar(&asset, "asset", "", a.t("name or id of the asset", "资产的名称或 ID"))
	a.complete(cmd, "", actionNames)
	a.complete(cmd, "asset", assetNames())
	return cmd
}
