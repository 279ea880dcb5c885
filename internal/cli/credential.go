package cli

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

func (a *app) credentialCmd() *cobra.Command {
	return a.group("credential", doc{
		short:   txt("manage credentials: what opens an asset", "管理凭据：用于登录资产"),
		long:    txt("A credential is an SSH key, a password or a token. Its secret is sealed when it\nis stored and can never be read back.", "凭据是 SSH 密钥、密码或令牌。其内容在存储时加密，且无法再读出。"),
		example: "hostler credential add ops --kind ssh_key --username ops --file ~/.ssh/id_ed25519\nhostler credential list",
	}, a.credentialList(), a.credentialGet(), a.credentialAdd(), a.credentialSet(), a.credentialDelete())
}

func credentialColumns() []column[hostler.Credential] {
	return []column[hostler.Credential]{
		col("name", "名称", func(x hostler.Credential) string { return x.Name }),
		col("kind", "类型", func(x hostler.Credential) string { return x.Kind }),
		col("username", "用户名", func(x hostler.Credential) string { return dash(x.Username) }),
		col("version", "版本", func(x hostler.Credential) string { return number(x.Version) }),
		col("changed", "修改时间", func(x hostler.Credential) string { return when(x.UpdatedAt) }),
	}
}

func (a *app) credentialList() *cobra.Command {
	return a.cmd("list", doc{
		short:   txt("list credentials, without their secrets", "列出凭据（不含内容）"),
		long:    txt("Lists the credentials of the project. Secrets are never shown.", "列出项目中的凭据；内容永不显示。"),
		example: "hostler credential list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, _, err := collect(ctx, c.Credentials, 0)
		if err != nil {
			return err
		}
		return list(a, items, credentialColumns())
	})
}

func (a *app) credentialGet() *cobra.Command {
	cmd := a.cmd("get NAME", doc{
		short:   txt("show a credential, without its secret", "查看凭据（不含内容）"),
		long:    txt("Shows a credential. Its secret is never shown.", "查看凭据；内容永不显示。"),
		example: "hostler credential get ops",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		x, err := c.Credential(ctx, args[0])
		if err != nil {
			return err
		}
		return one(a, x, credentialColumns())
	})
	a.complete(cmd, "", credentialNames())
	return cmd
}

// fill reads the secret parts that the kind has.
func (a *app) fill(in *hostler.CredentialInput, s *secretFlags) error {
	switch in.Kind {
	case hostler.CredentialSSHKey:
		if s.file == "" && !s.stdin {
			return hostler.Errorf(hostler.CodeInvalid,
				"give the private key with --file or --stdin", "请用 --file 或 --stdin 提供私钥")
		}
		var err error
		if in.PrivateKey, err = a.secret(s.file, s.stdin, "private key", "私钥", false); err != nil {
			return err
		}
		if !s.passphrase && s.passphraseFile == "" {
			return nil
		}
		in.Passphrase, err = a.secret(s.passphraseFile, false, "passphrase", "私钥口令", true)
		return err
	case hostler.CredentialPassword:
		var err error
		in.Password, err = a.secret(s.file, s.stdin, "password", "密码", true)
		return err
	case hostler.CredentialToken:
		var err error
		in.Token, err = a.secret(s.file, s.stdin, "token", "令牌", true)
		return err
	}
	return hostler.Invalid("kind", "must be ssh_key, password or token", "应为 ssh_key、password 或 token")
}

func (a *app) credentialAdd() *cobra.Command {
	var in hostler.CredentialInput
	var s *secretFlags
	cmd := a.cmd("add NAME [flags]", doc{
		short:   txt("store a credential", "保存凭据"),
		long:    txt("Stores a credential. The secret comes from --file, from --stdin, or is asked for\nwithout echo; it is never taken from the command line itself.", "保存凭据。内容来自 --file、--stdin，或在终端无回显地询问；绝不从命令行参数读取。"),
		example: "hostler credential add ops --kind ssh_key --username ops --file ~/.ssh/id_ed25519\nhostler credential add sudo --kind password --username ops",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		in.Name = args[0]
		if err := a.fill(&in, s); err != nil {
			return err
		}
		x, err := c.CreateCredential(ctx, in)
		if err != nil {
			return err
		}
		return one(a, x, credentialColumns())
	})
	s = a.secretFlags(cmd)
	cmd.Flags().StringVar(&in.Kind, "kind", hostler.CredentialSSHKey, a.t("ssh_key, password or token", "类型：ssh_key、password 或 token"))
	cmd.Flags().StringVar(&in.Username, "username", "", a.t("login name", "登录名"))
	a.complete(cmd, "kind", fixed(hostler.CredentialSSHKey, hostler.CredentialPassword, hostler.CredentialToken))
	return cmd
}

func (a *app) credentialSet() *cobra.Command {
	var username string
	var s *secretFlags
	cmd := a.cmd("set NAME [flags]", doc{
		short:   txt("replace a credential's secret", "更换凭据内容"),
		long:    txt("Replaces the secret of a credential; its version grows, and new connections use\nthe new one.", "更换凭据内容；版本号增加，新连接使用新内容。"),
		example: "hostler credential set ops --file ~/.ssh/id_new",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		old, err := c.Credential(ctx, args[0])
		if err != nil {
			return err
		}
		in := hostler.CredentialInput{Name: old.Name, Kind: old.Kind, Username: cmp.Or(username, old.Username)}
		if err := a.fill(&in, s); err != nil {
			return err
		}
		x, err := c.PutCredential(ctx, args[0], in)
		if err != nil {
			return err
		}
		return one(a, x, credentialColumns())
	})
	s = a.secretFlags(cmd)
	cmd.Flags().StringVar(&username, "username", "", a.t("new login name", "新登录名"))
	a.complete(cmd, "", credentialNames())
	return cmd
}

func (a *app) credentialDelete() *cobra.Command {
	cmd := a.cmd("delete NAME...", doc{
		short:   txt("delete credentials", "删除凭据"),
		long:    txt("Deletes credentials that no asset uses.", "删除没有资产使用的凭据。"),
		example: "hostler credential delete ops",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		for _, name := range args {
			if err := c.DeleteCredential(ctx, name); err != nil {
				return err
			}
			a.deleted(txt("credential", "凭据"), name)
		}
		return nil
	})
	a.complete(cmd, "", credentialNames())
	return cmd
}
