package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/server"
)

// keyCmd is 'hostler key'.
func (a *app) keyCmd() *cobra.Command {
	return a.group("key", doc{
		short: txt("manage API keys", "管理 API 密钥"),
		long: txt(`Manage API keys. A key belongs to a user and acts in one project. Its secret is
shown once, when the key is created.`,
			`管理 API 密钥。密钥属于一个用户，作用于一个项目，其内容只在创建时显示一次。`),
		example: `hostler key create ci --role operator --expires-in 90d
hostler key list
hostler key rotate key_0001a2b3c4d`,
	}, a.keyList(), a.keyCreate(), a.keyRotate(), a.keyRevoke(), a.keyRotateMaster())
}

// keyColumns show the prefix of the secret, by which a key in a script is recognised.
func keyColumns() []column[hostler.Key] {
	return []column[hostler.Key]{
		col("id", "ID", func(k hostler.Key) string { return k.ID.String() }),
		col("name", "名称", func(k hostler.Key) string { return k.Name }),
		col("user", "用户", func(k hostler.Key) string { return k.User }),
		col("project", "项目", func(k hostler.Key) string { return k.Project }),
		col("role", "角色", func(k hostler.Key) string { return string(k.Role) }),
		col("effective", "有效角色", func(k hostler.Key) string { return dash(string(k.EffectiveRole)) }),
		col("only", "限于", func(k hostler.Key) string { return dash(keyScope(k)) }),
		col("prefix", "前缀", func(k hostler.Key) string { return k.Prefix }),
		col("expires", "过期时间", func(k hostler.Key) string { return optionalTime(k.ExpiresAt) }),
		col("revoked", "吊销时间", func(k hostler.Key) string { return optionalTime(k.RevokedAt) }),
		col("last used", "最近使用", func(k hostler.Key) string { return optionalTime(k.LastUsed) }),
	}
}

// keyScope shows the projects and actions that a key is restricted to.
func keyScope(k hostler.Key) string {
	return strings.Join(append(slices.Clone(k.Projects), k.Actions...), ",")
}

func (a *app) keyList() *cobra.Command {
	return a.cmd("list", doc{
		short: txt("list keys", "列出密钥"),
		long: txt(`List your keys, without their secrets; an admin sees the keys of all users. The
effective role is what the key permits now: the lower one of its role and its user's.`,
			`列出您的密钥（不含内容）；管理员可见所有用户的密钥。有效角色是密钥目前实际允许的：其自身角色与用户角色中较低者。`),
		example: "hostler key list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, _, err := collect(ctx, c.Keys, 0)
		if err != nil {
			return err
		}
		return list(a, items, keyColumns())
	})
}

// keyCreate is 'hostler key create'. With --local it works without a server: the way back
// in when all admin keys are lost.
func (a *app) keyCreate() *cobra.Command {
	var in hostler.KeyInput
	var role string
	var local bool
	var load func() (config.Config, error)
	cmd := a.localCmd("create NAME [flags]", doc{
		short: txt("create a key and show it once", "创建密钥并显示一次"),
		long: txt(`Create a key and print its secret to standard output. It is shown only this once.
It never permits more than your own key: not a higher role, another project or action,
nor a later expiry; and it is revoked together with your key.

When every admin key is lost, create one with --local on the server's machine: it
uses the data folder and needs no key. A running server accepts the new key at once.`,
			`创建密钥，并将其内容输出到标准输出，仅此一次。新密钥的角色、项目、动作和有效期都不会超出当前密钥，
并随当前密钥一起吊销。

管理员密钥全部丢失时，可在服务器上用 --local 创建：它直接使用数据目录，无需密钥；
运行中的服务立即接受新密钥。`),
		example: `hostler key create ci --role operator --expires-in 90d
hostler key create deploy --role web-ops --only-action 'ssh_*' --only-project default
hostler key create laptop --user alice
hostler key create rescue --local --role admin --data /var/lib/hostler`,
	}, func(ctx context.Context, args []string) error {
		if local {
			return a.createLocalKey(ctx, load, args[0], role)
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		in.Name, in.Role, in.Project = args[0], hostler.Role(role), a.project
		created, err := c.CreateKey(ctx, in)
		if err != nil {
			return err
		}
		return a.printNewKey(created)
	})
	fs := cmd.Flags()
	fs.StringVar(&in.User, "user", "", a.t("owner of the key (default: you)", "所属用户（默认为您自己）"))
	fs.StringVar(&role, "role", "",
		a.t("highest role of the key: viewer, operator, approver, admin or a role of the project (default: that of your key)",
			"密钥的最高角色：viewer、operator、approver、admin 或项目自定义的角色（默认与您的密钥相同）"))
	fs.StringArrayVar(&in.Projects, "only-project", nil,
		a.t("project that the key may act in; may be repeated (default: all that your key may use)",
			"密钥可使用的项目；可重复（默认与您的密钥相同）"))
	fs.StringArrayVar(&in.Actions, "only-action", nil,
		a.t("action that the key may run, or a prefix such as ssh_*; may be repeated (default: all)",
			"密钥可执行的动作，或前缀如 ssh_*；可重复（默认全部）"))
	a.complete(cmd, "only-action", actionNames)
	a.complete(cmd, "only-project", named(func(c *client.Client) client.Lister[hostler.Project] { return c.Projects },
		func(p hostler.Project) string { return p.Name }))
	fs.Var(durationFlag{&in.ExpiresIn}, "expires-in",
		a.t("how long the key is valid, such as 90d (default: no limit)", "有效期，如 90d（默认永久）"))
	fs.BoolVar(&local, "local", false,
		a.t("create an admin key in the data folder, without a key",
			"直接在数据目录中创建管理员密钥，无需密钥"))
	load = a.serverFlags(cmd, "data", "db")
	a.complete(cmd, "role", fixed(names(hostler.Roles(), func(r hostler.Role) string { return string(r) })...))
	return cmd
}

// createLocalKey creates an admin key in the data folder, without a server.
func (a *app) createLocalKey(ctx context.Context, load func() (config.Config, error), name, role string) error {
	if role != "" && hostler.Role(role) != hostler.RoleAdmin {
		return hostler.Errorf(hostler.CodeInvalid,
			"--local creates admin keys only; for another role use 'hostler key create' without --local",
			"--local 只能创建 admin 密钥；其他角色请用不带 --local 的 'hostler key create'")
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	secret, err := server.LocalAdminKey(ctx, cfg, name)
	if err != nil {
		return err
	}
	a.note("created the admin key %s; save it now, it is not shown again",
		"已创建管理员密钥 %s；请立即保存，不会再次显示", name)
	_, err = fmt.Fprintln(a.out, secret)
	return err
}

// printNewKey prints the secret to standard output and everything else to standard
// error, so that $(hostler key create …) is the key.
func (a *app) printNewKey(created hostler.KeyCreated) error {
	if a.output != "table" {
		return a.structured(created)
	}
	a.note("created the key %s of user %s in project %s; save it now, it is not shown again",
		"已创建密钥 %s（用户 %s，项目 %s）；请立即保存，不会再次显示",
		created.Key.ID, created.Key.User, created.Key.Project)
	_, err := fmt.Fprintln(a.out, created.Secret)
	return err
}

// keyFunc is the body of a command on one key.
type keyFunc func(ctx context.Context, c *client.Client, id hostler.KeyID) error

// keyAction makes a command on one key.
func (a *app) keyAction(use string, d doc, do keyFunc) *cobra.Command {
	cmd := a.cmd(use, d, func(ctx context.Context, c *client.Client, args []string) error {
		var id hostler.KeyID
		if err := id.UnmarshalText([]byte(args[0])); err != nil {
			return err
		}
		return do(ctx, c, id)
	})
	a.complete(cmd, "", named(func(c *client.Client) client.Lister[hostler.Key] { return c.Keys },
		func(k hostler.Key) string { return k.ID.String() + "\t" + k.Name }))
	return cmd
}

// keyRotate is 'hostler key rotate'. The server decides how long the old key stays valid.
func (a *app) keyRotate() *cobra.Command {
	return a.keyAction("rotate KEY", doc{
		short: txt("replace a key and show the new one once", "轮换密钥并显示新密钥一次"),
		long: txt(`Create a key with the same rights. The old key stays valid for a while, so that its
users can switch. The new key does not outlive the one that you rotate it with: use
another one than the key itself to prolong a key that expires. A key cannot rotate one
that expires later than it does.`,
			`创建一个相同权限的新密钥。旧密钥会继续有效一段时间，以便切换。新密钥的有效期不超过执行轮换的密钥：
要延长会过期的密钥，请用另一个密钥来轮换。密钥不能轮换比自身过期更晚的密钥。`),
		example: "hostler key rotate key_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, id hostler.KeyID) error {
		created, err := c.RotateKey(ctx, id)
		if err != nil {
			return err
		}
		return a.printNewKey(created)
	})
}

// keyRevoke is 'hostler key revoke'. It cannot be undone.
func (a *app) keyRevoke() *cobra.Command {
	return a.keyAction("revoke KEY", doc{
		short: txt("revoke a key", "吊销密钥"),
		long: txt("Revoke a key, and the keys that it created. The server rejects them from now on.",
			"吊销密钥及由它创建的密钥，服务器立即拒绝它们。"),
		example: "hostler key revoke key_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, id hostler.KeyID) error {
		if err := c.RevokeKey(ctx, id); err != nil {
			return err
		}
		a.note("revoked the key %s", "已吊销密钥 %s", id)
		return nil
	})
}
