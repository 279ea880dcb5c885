package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/server"
)

func (a *app) keyCmd() *cobra.Command {
	return a.group("key", doc{
		short:   txt("manage API keys", "管理 API 密钥"),
		long:    txt("An API key belongs to a user and acts in one project. Its secret is shown once,\nwhen it is made.", "API 密钥属于一个用户，作用于一个项目。其内容只在创建时显示一次。"),
		example: "hostler key create ci --role operator --expires-in 90d\nhostler key list\nhostler key rotate key_0001a2b3c4d",
	}, a.keyList(), a.keyCreate(), a.keyRotate(), a.keyRevoke())
}

func keyColumns() []column[hostler.Key] {
	return []column[hostler.Key]{
		col("id", "ID", func(k hostler.Key) string { return k.ID.String() }),
		col("name", "名称", func(k hostler.Key) string { return k.Name }),
		col("user", "用户", func(k hostler.Key) string { return k.User }),
		col("project", "项目", func(k hostler.Key) string { return k.Project }),
		col("role", "角色", func(k hostler.Key) string { return string(k.Role) }),
		col("prefix", "前缀", func(k hostler.Key) string { return k.Prefix }),
		col("expires", "过期时间", func(k hostler.Key) string { return whenPtr(k.ExpiresAt) }),
		col("revoked", "吊销时间", func(k hostler.Key) string { return whenPtr(k.RevokedAt) }),
		col("last used", "最近使用", func(k hostler.Key) string { return whenPtr(k.LastUsed) }),
	}
}

func (a *app) keyList() *cobra.Command {
	return a.cmd("list", doc{
		short:   txt("list keys", "列出密钥"),
		long:    txt("Lists your keys; an admin sees all. Secrets are never shown.", "列出您的密钥；管理员可见全部。内容永不显示。"),
		example: "hostler key list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, _, err := collect(ctx, c.Keys, 0)
		if err != nil {
			return err
		}
		return list(a, items, keyColumns())
	})
}

func (a *app) keyCreate() *cobra.Command {
	var in hostler.KeyInput
	var role string
	var local bool
	var load func() (config.Config, error)
	cmd := a.localCmd("create NAME [flags]", doc{
		short:   txt("create a key and show it once", "创建密钥并显示一次"),
		long:    txt("Creates a key and writes its secret to standard output, this once.\n\nWith --local it makes an admin key by way of the data folder, for when every admin\nkey is lost; a running server takes it at once.", "创建密钥，并将其内容写到标准输出，仅此一次。\n\n带 --local 时直接通过数据目录创建管理员密钥，用于管理员密钥全部丢失的情况；运行中的服务立即生效。"),
		example: "hostler key create ci --role operator --expires-in 90d\nhostler key create laptop --user alice\nhostler key create rescue --local --role admin --data /var/lib/hostler",
	}, func(ctx context.Context, args []string) error {
		if local {
			return a.localKey(ctx, load, args[0], role)
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		in.Name, in.Role, in.Project = args[0], hostler.Role(role), a.project
		made, err := c.CreateKey(ctx, in)
		if err != nil {
			return err
		}
		return a.sayKey(made)
	})
	f := cmd.Flags()
	f.StringVar(&in.User, "user", "", a.t("its owner (default: you)", "所属用户（默认为您自己）"))
	f.StringVar(&role, "role", "", a.t("the most it may do: viewer, operator, approver or admin", "最高权限：viewer、operator、approver 或 admin"))
	f.Var(durationFlag{&in.ExpiresIn}, "expires-in", a.t("how long it is valid, such as 90d (default: for ever)", "有效期，如 90d（默认永久）"))
	f.BoolVar(&local, "local", false, a.t("by way of the data folder, without a key", "直接通过数据目录创建，无需密钥"))
	load = a.configFlags(cmd, "data", "db")
	a.complete(cmd, "role", fixed(names(hostler.Roles(), func(r hostler.Role) string { return string(r) })...))
	return cmd
}

// sayKey writes the secret to standard output and all else to standard error, so
// that $(hostler key create …) is the key.
func (a *app) sayKey(made hostler.KeyCreated) error {
	if a.output != "table" {
		return a.structured(made)
	}
	a.note("key %s for %s in %s; keep it now, it is not shown again",
		"密钥 %s，用户 %s，项目 %s；请立即保存，不会再次显示", made.Key.ID, made.Key.User, made.Key.Project)
	_, err := fmt.Fprintln(a.out, made.Secret)
	return err
}

// keyAction is a command on one key.
func (a *app) keyAction(use string, d doc, do func(ctx context.Context, c *client.Client, id hostler.KeyID) error) *cobra.Command {
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

func (a *app) keyRotate() *cobra.Command {
	return a.keyAction("rotate KEY", doc{
		short:   txt("make a key's successor and show it once", "轮换密钥并显示新密钥一次"),
		long:    txt("Makes a key like the given one. The old key stays valid for a while, so that its\nusers can change over.", "创建一个相同权限的新密钥。旧密钥会继续有效一段时间，以便切换。"),
		example: "hostler key rotate key_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, id hostler.KeyID) error {
		made, err := c.RotateKey(ctx, id)
		if err != nil {
			return err
		}
		return a.sayKey(made)
	})
}

func (a *app) keyRevoke() *cobra.Command {
	return a.keyAction("revoke KEY", doc{
		short:   txt("end a key at once", "立即吊销密钥"),
		long:    txt("Ends a key: it is refused from now on.", "吊销密钥：从现在起被拒绝。"),
		example: "hostler key revoke key_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, id hostler.KeyID) error {
		if err := c.RevokeKey(ctx, id); err != nil {
			return err
		}
		a.note("revoked the key %s", "已吊销密钥 %s", id)
		return nil
	})
}

// localKey makes an admin key by way of the data folder.
func (a *app) localKey(ctx context.Context, load func() (config.Config, error), name, role string) error {
	if role != "" && hostler.Role(role) != hostler.RoleAdmin {
		return hostler.Errorf(hostler.CodeInvalid,
			"--local makes admin keys only; make others with 'hostler key create'", "--local 只能创建 admin 密钥；其他密钥请用 'hostler key create' 创建")
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	secret, err := server.LocalAdminKey(ctx, cfg, name)
	if err != nil {
		return err
	}
	a.note("admin key %s; keep it now, it is not shown again", "管理员密钥 %s；请立即保存，不会再次显示", name)
	_, err = fmt.Fprintln(a.out, secret)
	return err
}
