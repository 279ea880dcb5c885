package cli

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// credentialCmd is 'hostler credential'. Secrets are write-only: no command shows one.
func (a *app) credentialCmd() *cobra.Command {
	return a.group("credential", doc{
		short: txt("manage credentials: keys, passwords and tokens for assets",
			"管理凭据：登录资产的密钥、密码和令牌"),
		long: txt(`Manage credentials. A credential is an SSH key, a password or a token. Its secret
is encrypted when it is stored and can never be read back. It is used only where an
admin has used it before, or where a rule allows it: see credential allow.`,
			`管理凭据。凭据是 SSH 密钥、密码或令牌，其内容在存储时加密，且无法再读出。
凭据只能用于管理员用过之处，或规则放行之处：参见 credential allow。`),
		example: `hostler credential add ops --kind ssh_key --username ops --file ~/.ssh/id_ed25519
hostler credential list`,
	}, a.credentialList(), a.credentialGet(), a.credentialAdd(), a.credentialSet(), a.credentialDelete(),
		a.credentialAllow(), a.credentialUses(), a.credentialForbid())
}

// credentialColumns show the version, which tells whether a new secret is in place.
func credentialColumns() []column[hostler.Credential] {
	return []column[hostler.Credential]{
		col("name", "名称", func(x hostler.Credential) string { return x.Name }),
		col("kind", "类型", func(x hostler.Credential) string { return x.Kind }),
		col("username", "用户名", func(x hostler.Credential) string { return dash(x.Username) }),
		col("host key", "主机密钥策略", func(x hostler.Credential) string { return dash(x.HostKey) }),
		col("version", "版本", func(x hostler.Credential) string { return number(x.Version) }),
		col("changed", "修改时间", func(x hostler.Credential) string { return localTime(x.UpdatedAt) }),
	}
}

// credentialNames completes the names of credentials.
func credentialNames() completer {
	return named(func(c *client.Client) client.Lister[hostler.Credential] { return c.Credentials },
		func(x hostler.Credential) string { return x.Name })
}

func (a *app) credentialList() *cobra.Command {
	return a.cmd("list", doc{
		short: txt("list credentials, without their secrets", "列出凭据（不含内容）"),
		long: txt("List the credentials of the project, without their secrets.",
			"列出项目中的凭据（不含内容）。"),
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
		long:    txt("Show a credential, without its secret.", "查看凭据（不含内容）。"),
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

// credentialSecrets are the flags that name the sources of a credential's secrets.
type credentialSecrets struct {
	secret         secretSource
	passphraseFile string
	askPassphrase  bool
}

// credentialSecretFlags add the flags for secrets. Each secret has one source, so pairs of
// flags exclude each other.
func (a *app) credentialSecretFlags(cmd *cobra.Command) *credentialSecrets {
	s := credentialSecrets{secret: secretSource{flags: a.t("--file or --stdin", "--file 或 --stdin")}}
	fs := cmd.Flags()
	fs.StringVar(&s.secret.file, "file", "", a.t("read the secret from this file", "从文件读取内容"))
	fs.BoolVar(&s.secret.stdin, "stdin", false, a.t("read the secret from standard input",
		"从标准输入读取内容"))
	fs.BoolVar(&s.askPassphrase, "passphrase", false,
		a.t("ask for the passphrase of the private key", "询问私钥口令"))
	fs.StringVar(&s.passphraseFile, "passphrase-file", "",
		a.t("read the passphrase of the private key from this file", "从文件读取私钥口令"))
	cmd.MarkFlagsMutuallyExclusive("file", "stdin")
	cmd.MarkFlagsMutuallyExclusive("passphrase", "passphrase-file")
	return &s
}

// readCredentialSecrets reads the secrets that the kind of the credential has.
func (a *app) readCredentialSecrets(in *hostler.CredentialInput, s *credentialSecrets) (err error) {
	switch in.Kind {
	case hostler.CredentialSSHKey:
		return a.readPrivateKey(in, s)
	case hostler.CredentialPassword:
		in.Password, err = a.secretLine(txt("password", "密码"), s.secret)
		return err
	case hostler.CredentialToken:
		in.Token, err = a.secretLine(txt("token", "令牌"), s.secret)
		return err
	}
	return hostler.Invalid("kind", "must be ssh_key, password or token", "应为 ssh_key、password 或 token")
}

// readPrivateKey reads a private key, which is too long to be asked for, and its
// passphrase.
func (a *app) readPrivateKey(in *hostler.CredentialInput, s *credentialSecrets) (err error) {
	if s.secret.file == "" && !s.secret.stdin {
		return hostler.Errorf(hostler.CodeInvalid,
			"name the private key with --file or --stdin", "请用 --file 或 --stdin 提供私钥")
	}
	if in.PrivateKey, err = a.secretText(txt("private key", "私钥"), s.secret); err != nil {
		return err
	}
	if s.askPassphrase || s.passphraseFile != "" {
		in.Passphrase, err = a.secretLine(txt("passphrase",
			"私钥口令"), fileSource("--passphrase-file", s.passphraseFile))
	}
	return err
}

// strictFlag adds the flag for the host key policy of a credential; without the flag the
// policy stays.
func (a *app) strictFlag(cmd *cobra.Command, in *hostler.CredentialInput) {
	cmd.Flags().Func("host-key",
		a.t("strict: send it only to hosts whose key a person accepted; accept-new: to any",
			"strict：仅发送给密钥已经人工接受的主机；accept-new：不限"),
		func(s string) error {
			policy := ""
			switch s {
			case hostler.HostKeyStrict:
				policy = s
			case hostler.HostKeyAcceptNew:
			default:
				return hostler.Invalid("host-key", "must be strict or accept-new", "应为 strict 或 accept-new")
			}
			in.HostKey = &policy
			return nil
		})
	a.complete(cmd, "host-key", fixed(hostler.HostKeyAcceptNew, hostler.HostKeyStrict))
}

func (a *app) credentialAdd() *cobra.Command {
	var in hostler.CredentialInput
	var s *credentialSecrets
	cmd := a.cmd("add NAME [flags]", doc{
		short: txt("store a credential", "保存凭据"),
		long: txt(`Store a credential. The secret is read from --file or from --stdin; without either
a password or token is asked for without echo. It is never read from the command
line itself.`,
			`保存凭据。内容从 --file 或 --stdin 读取；二者都没有时，在终端无回显地询问密码或令牌。
绝不从命令行参数读取。`),
		example: `hostler credential add ops --kind ssh_key --username ops --file ~/.ssh/id_ed25519
hostler credential add sudo --kind password --username ops`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		in.Name = args[0]
		if err := a.readCredentialSecrets(&in, s); err != nil {
			return err
		}
		x, err := c.CreateCredential(ctx, in)
		if err != nil {
			return err
		}
		return one(a, x, credentialColumns())
	})
	s = a.credentialSecretFlags(cmd)
	fs := cmd.Flags()
	fs.StringVar(&in.Kind, "kind", hostler.CredentialSSHKey,
		a.t("ssh_key, password or token", "类型：ssh_key、password 或 token"))
	fs.StringVar(&in.Username, "username", "", a.t("login name", "登录名"))
	a.strictFlag(cmd, &in)
	a.complete(cmd, "kind", fixed(hostler.CredentialSSHKey, hostler.CredentialPassword, hostler.CredentialToken))
	return cmd
}

// credentialSet is 'hostler credential set'. The kind stays; the user name stays unless it
// is given.
func (a *app) credentialSet() *cobra.Command {
	var username string
	var given hostler.CredentialInput
	var s *credentialSecrets
	cmd := a.cmd("set NAME [flags]", doc{
		short: txt("replace the secret of a credential", "更换凭据内容"),
		long: txt(`Replace the secret of a credential. Its version increases, and new connections
use the new secret.`,
			`更换凭据内容。版本号增加，新连接使用新内容。`),
		example: "hostler credential set ops --file ~/.ssh/id_new",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		old, err := c.Credential(ctx, args[0])
		if err != nil {
			return err
		}
		in := hostler.CredentialInput{
			Name: old.Name, Kind: old.Kind, Username: cmp.Or(username, old.Username), HostKey: given.HostKey,
		}
		if err := a.readCredentialSecrets(&in, s); err != nil {
			return err
		}
		x, err := c.PutCredential(ctx, args[0], in)
		if err != nil {
			return err
		}
		return one(a, x, credentialColumns())
	})
	s = a.credentialSecretFlags(cmd)
	cmd.Flags().StringVar(&username, "username", "", a.t("new login name", "新登录名"))
	a.strictFlag(cmd, &given)
	a.complete(cmd, "", credentialNames())
	return cmd
}

func (a *app) credentialDelete() *cobra.Command {
	cmd := a.cmd("delete NAME...", doc{
		short:   txt("delete credentials", "删除凭据"),
		long:    txt("Delete credentials that no asset uses.", "删除没有资产使用的凭据。"),
		example: "hostler credential delete ops",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		for _, name := range args {
			if err := c.DeleteCredential(ctx, name); err != nil {
				return err
			}
			a.noteDeleted(txt("credential", "凭据"), name)
		}
		return nil
	})
	a.complete(cmd, "", credentialNames())
	return cmd
}
