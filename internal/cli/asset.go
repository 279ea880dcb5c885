package cli

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// assetCmd is 'hostler asset'. Import and export are in asset_csv.go, host keys in
// hostkey.go.
func (a *app) assetCmd() *cobra.Command {
	return a.group("asset", doc{
		short: txt("manage assets: the hosts and devices that jobs run on",
			"管理资产：作业所操作的主机和设备"),
		long: txt(`Manage assets. An asset is a host, device or endpoint: a name, an address, labels,
and the credential to log in with.`,
			`管理资产。资产是主机、设备或端点：名称、地址、标签，以及登录所用的凭据。`),
		example: `hostler asset add web1 --address 192.0.2.10 --label role=web --credential ops
hostler asset list --label role=web`,
	}, a.assetList(), a.assetGet(), a.assetAdd(), a.assetSet(), a.assetDelete(), a.assetConfirm(),
		a.assetImport(), a.assetExport(), a.hostKeyCmd())
}

// assetColumns are the columns of a listing: what tells assets apart.
func assetColumns() []column[hostler.Asset] {
	return []column[hostler.Asset]{
		col("name", "名称", func(x hostler.Asset) string { return x.Name }),
		col("address", "地址", func(x hostler.Asset) string { return x.Address }),
		col("port", "端口", func(x hostler.Asset) string { return number(x.Port) }),
		col("kind", "类型", func(x hostler.Asset) string { return x.Kind }),
		col("platform", "平台", func(x hostler.Asset) string { return dash(x.Platform) }),
		col("credential", "凭据", func(x hostler.Asset) string { return dash(x.Credential) }),
		col("labels", "标签", func(x hostler.Asset) string { return dash(keyValues(x.Labels)) }),
	}
}

// assetDetails are the columns of a single asset.
func (a *app) assetDetails() []column[hostler.Asset] {
	return append(assetColumns(),
		col("variables", "变量", func(x hostler.Asset) string { return dash(keyValues(x.Vars)) }),
		col("device key", "设备标识", func(x hostler.Asset) string { return x.DeviceKey }),
		col("host key", "主机密钥策略", func(x hostler.Asset) string { return x.HostKey }),
		col("jump", "跳板资产", func(x hostler.Asset) string { return dash(x.Jump) }),
		col("confirmed", "已确认", func(x hostler.Asset) string { return a.yesNo(!x.Unconfirmed) }),
		col("id", "ID", func(x hostler.Asset) string { return x.ID.String() }),
		col("created", "创建时间", func(x hostler.Asset) string { return localTime(x.CreatedAt) }),
		col("changed", "修改时间", func(x hostler.Asset) string { return localTime(x.UpdatedAt) }),
	)
}

// assetNames completes the names of assets.
func assetNames() completer {
	return named(func(c *client.Client) client.Lister[hostler.Asset] { return c.Assets },
		func(x hostler.Asset) string { return x.Name })
}

// assetLabels completes labels of assets, as key=value.
func assetLabels(ctx context.Context, c *client.Client) ([]string, error) {
	l, err := c.Assets(ctx, hostler.Page{Limit: completionPage})
	seen := map[string]bool{}
	for _, x := range l.Items {
		for k, v := range x.Labels {
			seen[k+"="+v] = true
		}
	}
	return slices.Sorted(maps.Keys(seen)), err
}

// assetList is 'hostler asset list'. It has no limit: scripts rely on the full list.
func (a *app) assetList() *cobra.Command {
	var labels string
	cmd := a.cmd("list [flags]", doc{
		short: txt("list assets", "列出资产"),
		long: txt("List the assets of the project: all, or those that have every given label.",
			"列出项目中的资产：全部，或具有所有给定标签的资产。"),
		example: "hostler asset list\nhostler asset list --label role=web -o yaml",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, _, err := collect(ctx, c.AssetsMatching(labels), 0)
		if err != nil {
			return err
		}
		return list(a, items, assetColumns())
	})
	a.selectorFlag(cmd, &labels)
	return cmd
}

func (a *app) assetGet() *cobra.Command {
	cmd := a.cmd("get ASSET", doc{
		short:   txt("show an asset", "查看资产"),
		long:    txt("Show all fields of an asset, by name or id.", "按名称或 ID 查看资产的全部字段。"),
		example: "hostler asset get web1",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		x, err := c.Asset(ctx, args[0])
		if err != nil {
			return err
		}
		return one(a, x, a.assetDetails())
	})
	a.complete(cmd, "", assetNames())
	return cmd
}

// assetFlags binds the flags of an asset to in.
func (a *app) assetFlags(cmd *cobra.Command, in *hostler.AssetInput) {
	fs := cmd.Flags()
	fs.StringVar(&in.Address, "address", "", a.t("host name or IP address", "主机名或 IP 地址"))
	fs.IntVar(&in.Port, "port", 0, a.t("port for check_port and SSH (default: the action's)",
		"check_port 和 SSH 使用的端口（默认由动作决定）"))
	fs.StringVar(&in.Kind, "kind", "", a.t("host, device or endpoint (default: host)",
		"类型：host、device 或 endpoint（默认 host）"))
	fs.StringVar(&in.Platform, "platform", "", a.t("platform, such as linux or huawei_vrp",
		"平台，例如 linux 或 huawei_vrp"))
	fs.StringVar(&in.Credential, "credential", "", a.t("name of the credential to log in with",
		"登录所用凭据的名称"))
	fs.StringVar(&in.DeviceKey, "device-key", "",
		a.t("assets with the same key share one lane (default: the address)",
			"标识相同的资产共用一条通道（默认为地址）"))
	fs.StringVar(&in.HostKey, "host-key", "", a.t("SSH host key policy: accept-new or strict (default: accept-new)",
		"主机密钥策略：accept-new 或 strict（默认 accept-new）"))
	fs.StringVar(&in.Jump, "jump", "", a.t("name of the asset to connect through", "作为跳板的资产名称"))
	fs.Var(pairsFlag{&in.Labels}, "label", a.t("a label; may be repeated", "标签；可重复"))
	fs.Var(pairsFlag{&in.Vars}, "var", a.t("a variable; may be repeated", "变量；可重复"))
	a.complete(cmd, "credential", credentialNames())
	a.complete(cmd, "jump", assetNames())
	a.complete(cmd, "kind", fixed("host", "device", "endpoint"))
	a.complete(cmd, "host-key", fixed(hostler.HostKeyAcceptNew, hostler.HostKeyStrict))
}

// assetAdd is 'hostler asset add'. The server fills the fields that are not given, except
// the kind.
func (a *app) assetAdd() *cobra.Command {
	var in hostler.AssetInput
	cmd := a.cmd("add NAME [flags]", doc{
		short:   txt("add an asset", "添加资产"),
		long:    txt("Add an asset. Its name is unique in the project.", "添加资产；名称在项目内唯一。"),
		example: "hostler asset add web1 --address 192.0.2.10 --label role=web --credential ops",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		in.Name = args[0]
		if in.Kind == "" {
			in.Kind = "host"
		}
		x, err := c.CreateAsset(ctx, in)
		if err != nil {
			return err
		}
		return one(a, x, a.assetDetails())
	})
	a.assetFlags(cmd, &in)
	return cmd
}

// assetSet is 'hostler asset set'. The API replaces an asset as a whole, so the command
// reads it first and changes the given fields.
func (a *app) assetSet() *cobra.Command {
	var in hostler.AssetInput
	var cmd *cobra.Command
	where, yes := "", false
	cmd = a.cmd("set [ASSET...] [flags]", doc{
		short: txt("change assets", "修改资产"),
		long: txt(`Change the given fields of an asset, of several, or with -l of all with some labels; the
other fields stay. An empty value deletes a label or variable.`,
			`修改一个或多个资产（或用 -l 选择带某些标签的所有资产）的给定字段，其余不变。值为空的标签或变量会被删除。`),
		example: `hostler asset set web1 --port 2222 --label role=db
hostler asset set web1 --label role=
hostler asset set -l app=web --credential ops`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if (len(args) == 0) == (where == "") {
			return hostler.Errorf(hostler.CodeInvalid, "name assets, or select them with -l", "请给出资产名称，或用 -l 选择")
		}
		if where == "" && len(args) == 1 {
			x, err := a.setAsset(ctx, c, args[0], in, cmd.Flags())
			if err != nil {
				return err
			}
			return one(a, x, a.assetDetails())
		}
		if where != "" {
			items, _, err := collect(ctx, c.AssetsMatching(where), 0)
			if err != nil {
				return err
			}
			args = names(items, func(x hostler.Asset) string { return x.Name })
		}
		return a.setAssets(ctx, c, args, in, cmd.Flags(), yes)
	})
	a.assetFlags(cmd, &in)
	cmd.Flags().StringVar(&in.Name, "name", "", a.t("new name", "新名称"))
	cmd.Flags().VarP(selectorFlag{&where}, "selector", "l", a.t("change all assets with these labels, such as app=web,env!=test",
		"修改带这些标签的所有资产，如 app=web,env!=test"))
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, a.t("do not ask before several assets are changed", "修改多个资产前不询问"))
	a.complete(cmd, "selector", assetLabels)
	a.complete(cmd, "", assetNames())
	return cmd
}

// setAssets changes several assets, and asks first on a terminal. It stops at the first error.
func (a *app) setAssets(
	ctx context.Context, c *client.Client, assets []string, in hostler.AssetInput, flags *pflag.FlagSet, yes bool,
) error {
	if len(assets) == 0 {
		return hostler.Errorf(hostler.CodeNotFound, "no asset has these labels", "没有资产具有这些标签")
	}
	if flags.Changed("name") {
		return hostler.Invalid("name", "is of one asset: name a single one", "只能用于单个资产")
	}
	if !yes && a.interactive() {
		some := term.Escape(strings.Join(assets[:min(5, len(assets))], ", "))
		text := hostler.Textf("Change %d assets (%s, …)? [y/N] ", "修改 %d 个资产（%s 等）？[y/N] ", len(assets), some)
		if !a.confirm(text.EN, text.ZH) {
			a.note("nothing was changed", "未作更改")
			return &outcomeError{exitNotSucceeded}
		}
	}
	for i, name := range assets {
		if _, err := a.setAsset(ctx, c, name, in, flags); err != nil {
			a.note("%d of %d assets were changed; this one failed: %s", "已修改 %d 个（共 %d 个）；失败的资产：%s", i, len(assets), name)
			return err
		}
	}
	a.note("changed %d assets", "已修改 %d 个资产", len(assets))
	return nil
}

// setAsset changes the given fields of an asset.
func (a *app) setAsset(
	ctx context.Context, c *client.Client, name string, in hostler.AssetInput, flags *pflag.FlagSet,
) (hostler.Asset, error) {
	x, err := c.Asset(ctx, name)
	if err != nil {
		return x, err
	}
	change := mergeAsset(x.Input(), in, flags)
	if err := a.askCredentialAgain(x.Input(), change, flags.Changed("credential")); err != nil {
		return x, err
	}
	return c.PutAsset(ctx, x.ID.String(), change)
}

// askCredentialAgain asks before an asset takes its credential along to another place,
// unless --credential names it: the secret goes to another host. A script, which cannot be
// asked, is told.
func (a *app) askCredentialAgain(old, in hostler.AssetInput, named bool) error {
	moves := in.Address != old.Address || cmp.Or(in.Port, 22) != cmp.Or(old.Port, 22) || in.Jump != old.Jump ||
		old.HostKey == hostler.HostKeyStrict && in.HostKey != hostler.HostKeyStrict
	if !moves || named || in.Credential == "" {
		return nil
	}
	where := hostler.SSHAddress(in.Address, in.Port)
	if !a.interactive() {
		a.note("the credential %s of %s will be sent to %s", "%[2]s 的凭据 %[1]s 将发送到 %[3]s", in.Credential, in.Name, where)
		return nil
	}
	text := hostler.Textf("Send the credential %s to %s? [y/N] ", "将凭据 %s 发送到 %s？[y/N] ", in.Credential, where)
	if a.confirm(text.EN, text.ZH) {
		return nil
	}
	return hostler.Errorf(hostler.CodeInvalid,
		"nothing was changed; name the credential with --credential %s, or remove it with --credential ''",
		"未作更改；请用 --credential %s 指定凭据，或用 --credential '' 解除", in.Credential)
}

// mergeAsset returns old with the fields of in whose flags were given.
func mergeAsset(old, in hostler.AssetInput, flags *pflag.FlagSet) hostler.AssetInput {
	for flag, field := range map[string]struct{ to, from *string }{
		"name": {&old.Name, &in.Name}, "address": {&old.Address, &in.Address},
		"kind": {&old.Kind, &in.Kind}, "platform": {&old.Platform, &in.Platform},
		"credential": {&old.Credential, &in.Credential}, "device-key": {&old.DeviceKey, &in.DeviceKey},
		"host-key": {&old.HostKey, &in.HostKey}, "jump": {&old.Jump, &in.Jump},
	} {
		if flags.Changed(flag) {
			*field.to = *field.from
		}
	}
	if flags.Changed("port") {
		old.Port = in.Port
	}
	// The server derives an empty device key from the address.
	if flags.Changed("address") && !flags.Changed("device-key") {
		old.DeviceKey = ""
	}
	old.Labels = mergePairs(old.Labels, in.Labels)
	old.Vars = mergePairs(old.Vars, in.Vars)
	return old
}

// mergePairs returns old with the changes; an empty value deletes a key.
func mergePairs(old, changes map[string]string) map[string]string {
	merged := map[string]string{}
	for _, from := range []map[string]string{old, changes} {
		for k, v := range from {
			merged[k] = v
			if _, changed := changes[k]; changed && changes[k] == "" {
				delete(merged, k)
			}
		}
	}
	return merged
}

// assetDelete is 'hostler asset delete'. It stops at the first error, and has noted what
// was deleted before.
func (a *app) assetDelete() *cobra.Command {
	cmd := a.cmd("delete ASSET...", doc{
		short:   txt("delete assets", "删除资产"),
		long:    txt("Delete assets. The history of their jobs stays.", "删除资产；其作业历史会保留。"),
		example: "hostler asset delete web1 web2",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		for _, name := range args {
			if err := c.DeleteAsset(ctx, name); err != nil {
				return err
			}
			a.noteDeleted(txt("asset", "资产"), name)
		}
		return nil
	})
	a.complete(cmd, "", assetNames())
	return cmd
}
