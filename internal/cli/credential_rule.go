package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// credentialAllow is 'hostler credential allow'.
func (a *app) credentialAllow() *cobra.Command {
	var in hostler.CredentialRuleInput
	cmd := a.cmd("allow NAME [flags]", doc{
		short: txt("allow uses of a credential", "放行凭据的用途"),
		long: txt(`Allow uses of a credential by a rule. Operators can then use it wherever the rule
applies: bind it to assets, and name it in jobs. Without a rule, each new use needs
an admin. A label counts only when an admin set or confirmed it: see asset confirm.`,
			`通过规则放行凭据的用途。规则适用之处，操作员即可使用该凭据：绑定到资产，或在作业中引用。
没有规则时，每个新用途都需要管理员。标签须由管理员设置或确认才有效：参见 asset confirm。`),
		example: `hostler credential allow ops --use ssh --address 10.0.0.0/8 --port 22
hostler credential allow root-pw --use sudo --label role=web
hostler credential allow api --use http --origin https://api.corp.example`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		x, err := c.AddCredentialRule(ctx, args[0], in)
		if err != nil {
			return err
		}
		return one(a, x, ruleColumns())
	})
	fs := cmd.Flags()
	fs.StringSliceVar(&in.Uses, "use", nil,
		a.t("kind of use: ssh, sudo, enable, http or script; may be repeated",
			"用途：ssh、sudo、enable、http 或 script；可重复"))
	fs.StringSliceVar(&in.Addresses, "address", nil,
		a.t("address, network or host name, such as *.corp.example; may be repeated",
			"地址、网段或主机名，例如 *.corp.example；可重复"))
	fs.IntSliceVar(&in.Ports, "port", nil, a.t("port (default: any); may be repeated", "端口（默认任意）；可重复"))
	fs.StringSliceVar(&in.Origins, "origin", nil,
		a.t("origin of URLs, such as https://api.corp.example; may be repeated",
			"URL 的源，例如 https://api.corp.example；可重复"))
	fs.Var(pairsFlag{&in.Labels}, "label", a.t("only assets with this label; may be repeated",
		"仅限带此标签的资产；可重复"))
	a.complete(cmd, "", credentialNames())
	a.complete(cmd, "use", fixed(hostler.CredentialUses()...))
	return cmd
}

// ruleColumns are the columns of a new rule.
func ruleColumns() []column[hostler.CredentialRule] {
	return []column[hostler.CredentialRule]{
		col("rule", "规则", func(x hostler.CredentialRule) string { return strconv.Itoa(x.ID) }),
		col("use", "用途", func(x hostler.CredentialRule) string { return strings.Join(x.Uses, ",") }),
		col("target", "目标", func(x hostler.CredentialRule) string { return ruleTarget(x) }),
		col("by", "操作者", func(x hostler.CredentialRule) string { return dash(x.CreatedBy) }),
	}
}

// ruleTarget is where a rule applies, in one line.
func ruleTarget(r hostler.CredentialRule) string {
	parts := append([]string{}, r.Addresses...)
	parts = append(parts, r.Origins...)
	if len(r.Labels) > 0 {
		parts = append(parts, keyValues(r.Labels))
	}
	for _, p := range r.Ports {
		parts = append(parts, ":"+strconv.Itoa(p))
	}
	return strings.Join(parts, " ")
}

// allowedUse is a rule or a single use, as the listing shows both.
type allowedUse struct {
	Ref    string `json:"ref"`
	Use    string `json:"use"`
	Target string `json:"target"`
	Jump   string `json:"jump,omitempty"`
	By     string `json:"created_by,omitempty"`
}

// credentialUses is 'hostler credential uses'.
func (a *app) credentialUses() *cobra.Command {
	cmd := a.cmd("uses NAME", doc{
		short: txt("list what a credential may be used for", "列出凭据可用于何处"),
		long: txt(`List what a credential may be used for: its rules, by number, and the single uses
that actions of admins have allowed, by id.`,
			`列出凭据可用于何处：规则（编号），以及管理员操作所放行的单个用途（ID）。`),
		example: "hostler credential uses root-pw",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		cred, err := c.Credential(ctx, args[0])
		if err != nil {
			return err
		}
		var all []allowedUse
		for _, r := range cred.Rules {
			all = append(all, allowedUse{strconv.Itoa(r.ID), strings.Join(r.Uses, ","), ruleTarget(r), "", r.CreatedBy})
		}
		uses, _, err := collect(ctx, func(
			ctx context.Context, p hostler.Page,
		) (hostler.List[hostler.CredentialUse], error) {
			return c.CredentialUses(ctx, args[0], p)
		}, 0)
		if err != nil {
			return err
		}
		for _, u := range uses {
			target := u.Target
			if u.Port != 0 {
				target = hostler.SSHAddress(u.Target, u.Port)
			}
			all = append(all, allowedUse{u.ID.String(), u.Use, target, u.Jump, u.CreatedBy})
		}
		return list(a, all, []column[allowedUse]{
			col("ref", "编号", func(x allowedUse) string { return x.Ref }),
			col("use", "用途", func(x allowedUse) string { return x.Use }),
			col("target", "目标", func(x allowedUse) string { return x.Target }),
			col("jump", "跳板资产", func(x allowedUse) string { return dash(x.Jump) }),
			col("by", "操作者", func(x allowedUse) string { return dash(x.By) }),
		})
	})
	a.complete(cmd, "", credentialNames())
	return cmd
}

// credentialForbid is 'hostler credential forbid'.
func (a *app) credentialForbid() *cobra.Command {
	cmd := a.cmd("forbid NAME REF...", doc{
		short: txt("remove rules or uses of a credential", "移除凭据的规则或用途"),
		long: txt(`Remove rules of a credential, by number, or allowed uses, by id; see credential uses.
Waiting jobs that need them fail when they start.`,
			`按编号移除凭据的规则，或按 ID 移除已放行的用途；参见 credential uses。
需要它们的等待中作业会在启动时失败。`),
		example: "hostler credential forbid root-pw 2",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		for _, ref := range args[1:] {
			if err := c.ForbidCredential(ctx, args[0], ref); err != nil {
				return err
			}
			a.noteDeleted(txt("use", "用途"), ref)
		}
		return nil
	})
	a.complete(cmd, "", credentialNames())
	return cmd
}

// assetConfirm is 'hostler asset confirm'.
func (a *app) assetConfirm() *cobra.Command {
	cmd := a.cmd("confirm ASSET...", doc{
		short: txt("confirm what an operator changed", "确认操作员所做的更改"),
		long: txt(`Confirm the address, port, jump host and labels of assets as they are, and the use
of their credential there. Needed by an admin after an operator has moved a jump
host, or added an asset that rules with labels should cover.`,
			`确认资产当前的地址、端口、跳板机和标签，以及其凭据在此处的使用。
操作员移动跳板机，或添加应由标签规则覆盖的资产后，需管理员执行。`),
		example: "hostler asset confirm bastion",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var all []hostler.Asset
		for _, name := range args {
			x, err := c.ConfirmAsset(ctx, name)
			if err != nil {
				return err
			}
			all = append(all, x)
		}
		return list(a, all, assetColumns())
	})
	a.complete(cmd, "", assetNames())
	return cmd
}
