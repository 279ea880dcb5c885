package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// hostKeyCmd is 'hostler asset hostkey'. Only admins accept or revoke keys.
func (a *app) hostKeyCmd() *cobra.Command {
	return a.group("hostkey", doc{
		short: txt("manage the SSH host keys of an asset", "管理资产的 SSH 主机密钥"),
		long: txt(`Manage the SSH host keys of an asset. Hostler pins the key of each host. When a
host presents another key, the job fails before any credential is sent, and the new
key is listed as 'offered' until an admin accepts it.`,
			`管理资产的 SSH 主机密钥。Hostler 会固定每台主机的密钥。主机出示其他密钥时，
作业在发送任何凭据之前失败，新密钥列为“待接受”（offered），等待管理员接受。`),
		example: "hostler asset hostkey list web1\nhostler asset hostkey accept web1 hky_0001a2b3c4d",
	},
		a.hostKeyList(),
		a.hostKeyDecision("accept", doc{
			short: txt("trust an offered host key", "信任一个待接受的主机密钥"),
			long: txt(`Pin an offered host key. Compare its fingerprint with the host's first; on the host,
run: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`,
				`固定一个待接受的主机密钥。请先与主机上的指纹核对；
在主机上执行：ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`),
			example: "hostler asset hostkey accept web1 hky_0001a2b3c4d",
		}, (*client.Client).AcceptHostKey),
		a.hostKeyDecision("revoke", doc{
			short: txt("stop trusting a host key", "不再信任一个主机密钥"),
			long: txt("Stop trusting a host key. Jobs on a host that presents it fail.",
				"撤销对主机密钥的信任：主机出示该密钥时，作业会失败。"),
			example: "hostler asset hostkey revoke web1 hky_0001a2b3c4d",
		}, (*client.Client).RevokeHostKey),
	)
}

func (a *app) hostKeyColumns() []column[hostler.HostKey] {
	return []column[hostler.HostKey]{
		col("id", "ID", func(k hostler.HostKey) string { return k.ID.String() }),
		col("address", "地址", func(k hostler.HostKey) string { return k.Address }),
		col("type", "类型", func(k hostler.HostKey) string { return k.Type }),
		col("fingerprint", "指纹", func(k hostler.HostKey) string { return k.Fingerprint }),
		col("state", "状态", func(k hostler.HostKey) string { return a.hostKeyState(k.State) }),
		col("first seen", "首次出现", func(k hostler.HostKey) string { return localTime(k.FirstSeen) }),
		col("decided by", "决定者", func(k hostler.HostKey) string { return dash(k.DecidedBy) }),
	}
}

// hostKeyState names the state of a key in the language of the invocation.
func (a *app) hostKeyState(state string) string {
	switch state {
	case hostler.HostKeyPinned:
		return a.t("pinned", "已固定")
	case hostler.HostKeyOffered:
		return a.t("offered", "待接受")
	case hostler.HostKeyRevoked:
		return a.t("revoked", "已吊销")
	}
	return state
}

func (a *app) hostKeyList() *cobra.Command {
	cmd := a.cmd("list ASSET", doc{
		short: txt("list the host keys of an asset", "列出资产的主机密钥"),
		long: txt("List the host keys that the asset's address has presented, with their state.",
			"列出资产地址出示过的主机密钥及其状态。"),
		example: "hostler asset hostkey list web1",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		keys, err := c.HostKeys(ctx, args[0])
		if err != nil {
			return err
		}
		return list(a, keys, a.hostKeyColumns())
	})
	a.complete(cmd, "", assetNames())
	return cmd
}

// decideHostKey is a client call that accepts or revokes a host key.
type decideHostKey func(*client.Client, context.Context, string, hostler.HostKeyID) (hostler.HostKey, error)

// hostKeyDecision makes the command that accepts or revokes a key.
func (a *app) hostKeyDecision(verb string, d doc, decide decideHostKey) *cobra.Command {
	cmd := a.cmd(verb+" ASSET KEY", d, func(ctx context.Context, c *client.Client, args []string) error {
		var id hostler.HostKeyID
		if err := id.UnmarshalText([]byte(args[1])); err != nil {
			return err
		}
		k, err := decide(c, ctx, args[0], id)
		if err != nil {
			return err
		}
		return one(a, k, a.hostKeyColumns())
	})
	a.complete(cmd, "", assetNames())
	return cmd
}
