package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

func (a *app) hostKeyCmd() *cobra.Command {
	return a.group("hostkey", doc{
		short:   txt("manage the SSH host keys of an asset", "管理资产的 SSH 主机密钥"),
		long:    txt("Hostler pins the SSH host key of an asset. A changed key fails the job before\nany credential is sent, and waits here as 'offered' until an admin accepts it.", "Hostler 会固定资产的 SSH 主机密钥。密钥改变时，作业在发送任何凭据之前失败，\n新密钥以 offered 状态等待管理员接受。"),
		example: "hostler asset hostkey list web1\nhostler asset hostkey accept web1 hky_0001a2b3c4d",
	},
		a.hostKeyList(),
		a.hostKeyDecide("accept", doc{
			short:   txt("trust an offered host key", "信任一个待接受的主机密钥"),
			long:    txt("Pins a host key. Compare its fingerprint with the host's first\n(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub, on the host).", "固定一个主机密钥。请先与主机上的指纹核对\n（在主机上执行 ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub）。"),
			example: "hostler asset hostkey accept web1 hky_0001a2b3c4d",
		}, (*client.Client).AcceptHostKey),
		a.hostKeyDecide("revoke", doc{
			short:   txt("stop trusting a host key", "不再信任一个主机密钥"),
			long:    txt("Takes the trust in a host key away: jobs that meet it fail.", "撤销对主机密钥的信任：遇到它的作业会失败。"),
			example: "hostler asset hostkey revoke web1 hky_0001a2b3c4d",
		}, (*client.Client).RevokeHostKey),
	)
}

func hostKeyColumns() []column[hostler.HostKey] {
	return []column[hostler.HostKey]{
		col("id", "ID", func(k hostler.HostKey) string { return k.ID.String() }),
		col("address", "地址", func(k hostler.HostKey) string { return k.Address }),
		col("type", "类型", func(k hostler.HostKey) string { return k.Type }),
		col("fingerprint", "指纹", func(k hostler.HostKey) string { return k.Fingerprint }),
		col("state", "状态", func(k hostler.HostKey) string { return k.State }),
		col("first seen", "首次出现", func(k hostler.HostKey) string { return when(k.FirstSeen) }),
		col("decided by", "决定者", func(k hostler.HostKey) string { return dash(k.DecidedBy) }),
	}
}

func (a *app) hostKeyList() *cobra.Command {
	cmd := a.cmd("list ASSET", doc{
		short:   txt("list the host keys seen at an asset's address", "列出在资产地址上见过的主机密钥"),
		long:    txt("Lists the host keys of an asset with what was decided about each.", "列出资产的主机密钥及对每个密钥的决定。"),
		example: "hostler asset hostkey list web1",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		keys, err := c.HostKeys(ctx, args[0])
		if err != nil {
			return err
		}
		return list(a, keys, hostKeyColumns())
	})
	a.complete(cmd, "", assetNames())
	return cmd
}

func (a *app) hostKeyDecide(verb string, d doc, decide func(*client.Client, context.Context, string, hostler.HostKeyID) (hostler.HostKey, error)) *cobra.Command {
	cmd := a.cmd(verb+" ASSET KEY", d, func(ctx context.Context, c *client.Client, args []string) error {
		var id hostler.HostKeyID
		if err := id.UnmarshalText([]byte(args[1])); err != nil {
			return err
		}
		k, err := decide(c, ctx, args[0], id)
		if err != nil {
			return err
		}
		return one(a, k, hostKeyColumns())
	})
	a.complete(cmd, "", assetNames())
	return cmd
}
