package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// webhookCmd is 'hostler webhook'. webhook_secret.go reads the secret parts.
func (a *app) webhookCmd() *cobra.Command {
	return a.group("webhook", doc{
		short: txt("manage webhooks: URLs that are notified of events", "管理回调：接收事件通知的 URL"),
		long: txt(`Manage webhooks. A webhook is a subscription of a URL to events. Each event is
delivered at least once, with a stable id; see 'hostler delivery list' for the
results.`,
			`管理回调。回调是 URL 对事件的订阅，每个事件至少投递一次，ID 不变；
用 'hostler delivery list' 查看投递结果。`),
		example: `hostler webhook create ops https://ops.example.com/hooks --event job.failed --generate-secret
hostler webhook test ops`,
	},
		a.webhookList(), a.webhookGet(), a.webhookCreate(), a.webhookUpdate(), a.webhookDelete(),
		a.webhookSwitch(true), a.webhookSwitch(false), a.webhookTest(), a.webhookRotate(),
	)
}

// webhookColumns count the deliveries, so that a listing shows a webhook that fails.
func (a *app) webhookColumns() []column[hostler.Webhook] {
	return []column[hostler.Webhook]{
		col("name", "名称", func(w hostler.Webhook) string { return w.Name }),
		col("url", "URL", func(w hostler.Webhook) string { return w.URL }),
		col("format", "格式", func(w hostler.Webhook) string { return string(w.Format) }),
		col("events", "事件", func(w hostler.Webhook) string {
			return cmp.Or(strings.Join(w.Events, ","), a.t("finished jobs", "作业结束"))
		}),
		col("enabled", "启用", func(w hostler.Webhook) string { return a.yesNo(w.Enabled) }),
		col("pending", "待投递", func(w hostler.Webhook) string { return fmt.Sprint(w.Counts.Pending) }),
		col("delivered", "已投递", func(w hostler.Webhook) string { return fmt.Sprint(w.Counts.Delivered) }),
		col("failed", "失败", func(w hostler.Webhook) string { return fmt.Sprint(w.Counts.Failed) }),
	}
}

// webhookDetails are the columns of a single webhook.
func (a *app) webhookDetails() []column[hostler.Webhook] {
	id := col("id", "ID", func(w hostler.Webhook) string { return w.ID.String() })
	return append(append([]column[hostler.Webhook]{id}, a.webhookColumns()...),
		col("disabled because", "停用原因", func(w hostler.Webhook) string {
			if w.Reason == nil {
				return "-"
			}
			return w.Reason.In(a.lang)
		}),
		col("actions", "动作", func(w hostler.Webhook) string { return dash(strings.Join(w.Filter.Actions, ",")) }),
		col("queues", "队列", func(w hostler.Webhook) string { return dash(strings.Join(w.Filter.Queues, ",")) }),
		col("assets", "资产", func(w hostler.Webhook) string { return dash(strings.Join(w.Filter.Assets, ",")) }),
		col("method", "方法", func(w hostler.Webhook) string { return w.Method }),
		col("headers", "请求头", func(w hostler.Webhook) string { return dash(strings.Join(w.Headers, ",")) }),
		col("signed", "签名", func(w hostler.Webhook) string { return a.yesNo(w.Signed) }),
		col("token", "令牌", func(w hostler.Webhook) string { return a.yesNo(w.Token) }),
		col("timeout", "超时", func(w hostler.Webhook) string { return w.Timeout.String() }),
		col("requests per minute", "每分钟上限", func(w hostler.Webhook) string { return number(w.Rate) }),
		col("concurrent requests", "并发上限", func(w hostler.Webhook) string { return number(w.Limit) }),
		col("changed", "修改时间", func(w hostler.Webhook) string { return localTime(w.Updated) }),
	)
}

// webhookNames completes the names of webhooks.
func webhookNames() completer {
	return named(func(c *client.Client) client.Lister[hostler.Webhook] { return c.Webhooks },
		func(w hostler.Webhook) string { return w.Name })
}

func (a *app) webhookList() *cobra.Command {
	return a.cmd("list", doc{
		short: txt("list webhooks", "列出回调"),
		long: txt(`List the webhooks of the project and count their deliveries. Parts of a URL that may
be secret are masked.`,
			`列出项目中的回调及其投递计数；URL 中可能敏感的部分已隐藏。`),
		example: "hostler webhook list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, _, err := collect(ctx, c.Webhooks, 0)
		if err != nil {
			return err
		}
		return list(a, items, a.webhookColumns())
	})
}

func (a *app) webhookGet() *cobra.Command {
	cmd := a.cmd("get WEBHOOK", doc{
		short: txt("show a webhook", "查看回调"),
		long: txt("Show a webhook by name or id, without its secrets.",
			"按名称或 ID 查看回调（不含机密内容）。"),
		example: "hostler webhook get ops",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		w, err := c.Webhook(ctx, args[0])
		if err != nil {
			return err
		}
		return one(a, w, a.webhookDetails())
	})
	a.complete(cmd, "", webhookNames())
	return cmd
}

// webhookFlags are the flags of create and update.
type webhookFlags struct {
	in       hostler.WebhookInput
	format   string
	lang     string
	filter   hostler.WebhookFilter
	disabled bool
	secrets  webhookSecrets
	remove   []string
}

// webhookFlags add the flags that create and update have in common.
func (a *app) webhookFlags(cmd *cobra.Command, f *webhookFlags) {
	fs := cmd.Flags()
	fs.StringVar(&f.format, "format", "",
		a.t("standard, task, netpulse, dingtalk, wecom or feishu (default: by the URL)",
			"格式：standard、task、netpulse、dingtalk、wecom 或 feishu（默认按 URL 识别）"))
	fs.StringSliceVar(&f.in.Events, "event", nil,
		a.t("event type, or a pattern such as job.*; may be repeated (default: finished jobs)",
			"事件类型，或 job.* 等模式；可重复（默认：作业结束）"))
	fs.StringSliceVar(&f.filter.Actions, "action", nil,
		a.t("only jobs of this action; may be repeated", "只通知此动作的作业；可重复"))
	fs.StringSliceVar(&f.filter.Queues, "queue", nil,
		a.t("only jobs of this queue; may be repeated", "只通知此队列的作业；可重复"))
	fs.StringSliceVar(&f.filter.Assets, "asset", nil,
		a.t("only jobs on this asset; may be repeated", "只通知此资产的作业；可重复"))
	fs.StringVar(&f.in.Method, "method", "",
		a.t("POST, PUT, PATCH or GET (default: POST)", "请求方法：POST、PUT、PATCH 或 GET（默认 POST）"))
	fs.StringVar(&f.lang, "lang", "", a.t("language of messages for people: en or zh", "消息语言：en 或 zh"))
	fs.Var(durationFlag{&f.in.Timeout}, "timeout", a.t("timeout of a request; at most 10s",
		"单次请求的超时；最长 10s"))
	fs.IntVar(&f.in.Rate, "rate", 0, a.t("maximum requests per minute", "每分钟最多请求数"))
	fs.IntVar(&f.in.Limit, "limit", 0, a.t("maximum concurrent requests", "最多同时请求数"))
	a.webhookSecretFlags(cmd, &f.secrets)
	a.complete(cmd, "format",
		fixed(names(hostler.WebhookFormats(), func(f hostler.WebhookFormat) string { return string(f) })...))
	a.complete(cmd, "event", fixed(eventPatterns()...))
	a.complete(cmd, "method", fixed("POST", "PUT", "PATCH", "GET"))
	a.complete(cmd, "lang", fixed("en", "zh"))
	a.complete(cmd, "action", actionNames)
	a.complete(cmd, "queue", queueNames)
	a.complete(cmd, "asset", assetNames())
}

// webhookCreate is 'hostler webhook create'.
func (a *app) webhookCreate() *cobra.Command {
	var f webhookFlags
	cmd := a.cmd("create NAME [URL] [flags]", doc{
		short: txt("create a webhook", "创建回调"),
		long: txt(`Create a webhook. Secrets are never read from the command line itself: give a URL
with a secret (such as that of a chat bot), a token, a signing secret and headers in
files (- is standard input), or use --ask to type them without echo.`,
			`创建回调。机密内容绝不从命令行参数读取：含机密的 URL（如聊天机器人地址）、令牌、签名密钥和
请求头请用文件提供（- 表示标准输入），或用 --ask 在终端无回显地输入。`),
		example: `hostler webhook create ops https://ops.example.com/hooks --event job.failed --generate-secret
hostler webhook create chat --url-file bot-url.txt --secret-file bot-secret.txt
hostler webhook create ci https://ci.example.com/done --ask token --action ssh_script`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		in := f.in
		in.Name, in.Format, in.Lang = args[0], hostler.WebhookFormat(f.format), hostler.Lang(f.lang)
		in.Filter = &f.filter
		if f.disabled {
			in.Enabled = new(bool)
		}
		if err := a.readWebhookSecrets(&in, f.secrets, args[1:], true); err != nil {
			return err
		}
		created, err := c.CreateWebhook(ctx, in)
		if err != nil {
			return err
		}
		return a.printNewWebhook(created)
	})
	a.webhookFlags(cmd, &f)
	cmd.Flags().BoolVar(&f.in.GenerateSecret, "generate-secret", false,
		a.t("generate a signing secret and show it once", "生成签名密钥并显示一次"))
	cmd.Flags().BoolVar(&f.disabled, "disabled", false, a.t("create it disabled", "创建后不启用"))
	return cmd
}

// printNewWebhook prints a new signing secret to standard output and everything
// else to standard error, so that $(hostler webhook rotate …) is the secret.
func (a *app) printNewWebhook(created hostler.WebhookCreated) error {
	switch {
	case a.output != "table":
		return a.structured(created)
	case created.Secret == "":
		return one(a, created.Webhook, a.webhookDetails())
	}
	a.note("signing secret of the webhook %s; save it now, it is not shown again",
		"回调 %s 的签名密钥；请立即保存，不会再次显示", created.Webhook.Name)
	_, err := fmt.Fprintln(a.out, created.Secret)
	return err
}

// webhookUpdate is 'hostler webhook update'. The API replaces a webhook as a whole, and
// keeps the secrets that are not given.
func (a *app) webhookUpdate() *cobra.Command {
	var f webhookFlags
	var name string
	var cmd *cobra.Command
	cmd = a.cmd("update WEBHOOK [URL] [flags]", doc{
		short: txt("change a webhook", "修改回调"),
		long: txt(`Change the given fields of a webhook; the others stay. When the URL changes to
another host, give the token, the signing secret and the headers again, or remove
them with --remove.`,
			`修改给出的内容，其余保持不变。若 URL 改为另一主机，令牌、签名密钥和请求头必须重新提供，
或用 --remove 去除。`),
		example: `hostler webhook update ops --event 'job.*' --rate 60
hostler webhook update ops https://new.example.com/hooks --ask token --remove secret`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		old, err := c.Webhook(ctx, args[0])
		if err != nil {
			return err
		}
		in := old.Input()
		in.Name = cmp.Or(name, in.Name)
		f.apply(&in, cmd.Flags().Changed)
		if err := f.removeFrom(&in); err != nil {
			return err
		}
		if err := a.readWebhookSecrets(&in, f.secrets, args[1:], false); err != nil {
			return err
		}
		w, err := c.PutWebhook(ctx, args[0], in)
		if err != nil {
			return err
		}
		return one(a, w, a.webhookDetails())
	})
	a.webhookFlags(cmd, &f)
	cmd.Flags().StringVar(&name, "name", "", a.t("new name", "新名称"))
	cmd.Flags().StringSliceVar(&f.remove, "remove", nil,
		a.t("remove token, secret or headers", "去除：token、secret 或 headers"))
	a.complete(cmd, "remove", fixed("token", "secret", "headers"))
	a.complete(cmd, "", webhookNames())
	return cmd
}

// apply sets the fields of in whose flags were given.
func (f *webhookFlags) apply(in *hostler.WebhookInput, given func(string) bool) {
	for flag, set := range map[string]func(){
		"format":  func() { in.Format = hostler.WebhookFormat(f.format) },
		"lang":    func() { in.Lang = hostler.Lang(f.lang) },
		"event":   func() { in.Events = f.in.Events },
		"action":  func() { in.Filter.Actions = f.filter.Actions },
		"queue":   func() { in.Filter.Queues = f.filter.Queues },
		"asset":   func() { in.Filter.Assets = f.filter.Assets },
		"method":  func() { in.Method = f.in.Method },
		"timeout": func() { in.Timeout = f.in.Timeout },
		"rate":    func() { in.Rate = f.in.Rate },
		"limit":   func() { in.Limit = f.in.Limit },
	} {
		if given(flag) {
			set()
		}
	}
}

// removeFrom clears the parts that --remove names: an empty value deletes a secret.
func (f *webhookFlags) removeFrom(in *hostler.WebhookInput) error {
	for _, part := range f.remove {
		switch part {
		case "token":
			in.Token = new(string)
		case "secret":
			in.Secret = new(string)
		case "headers":
			in.Headers = map[string]string{}
		default:
			return hostler.Errorf(hostler.CodeInvalid,
				"--remove takes token, secret or headers", "--remove 只能是 token、secret 或 headers")
		}
	}
	return nil
}

func (a *app) webhookDelete() *cobra.Command {
	cmd := a.cmd("delete WEBHOOK...", doc{
		short: txt("delete webhooks and their deliveries", "删除回调及其投递记录"),
		long: txt("Delete webhooks. Pending deliveries are not sent.",
			"删除回调；待投递的内容不再发送。"),
		example: "hostler webhook delete ops",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		for _, name := range args {
			if err := c.DeleteWebhook(ctx, name); err != nil {
				return err
			}
			a.noteDeleted(txt("webhook", "回调"), name)
		}
		return nil
	})
	a.complete(cmd, "", webhookNames())
	return cmd
}

// webhookSwitch makes the commands enable and disable.
func (a *app) webhookSwitch(on bool) *cobra.Command {
	use, d, call := "disable WEBHOOK", doc{
		short: txt("stop sending events to a webhook", "停用回调"),
		long: txt("Stop sending events to a webhook until it is enabled again.",
			"停止向回调发送事件，直到再次启用。"),
		example: "hostler webhook disable ops",
	}, (*client.Client).DisableWebhook
	if on {
		use, d, call = "enable WEBHOOK", doc{
			short: txt("resume sending events to a webhook", "启用回调"),
			long: txt("Resume sending events to a webhook: new events, and the deliveries that are pending.",
				"重新启用回调：发送新事件和待投递的内容。"),
			example: "hostler webhook enable ops",
		}, (*client.Client).EnableWebhook
	}
	cmd := a.cmd(use, d, func(ctx context.Context, c *client.Client, args []string) error {
		w, err := call(c, ctx, args[0])
		if err != nil {
			return err
		}
		return one(a, w, a.webhookDetails())
	})
	a.complete(cmd, "", webhookNames())
	return cmd
}

// webhookTest is 'hostler webhook test'. It shows the delivery like 'delivery get'.
func (a *app) webhookTest() *cobra.Command {
	cmd := a.cmd("test WEBHOOK", doc{
		short: txt("send a test event and show the response", "发送测试事件并显示应答"),
		long: txt(`Send the event webhook.ping, wait up to 12 s, and show the request and the response.
The exit code is 1 when the receiver did not accept it.`,
			`发送 webhook.ping 事件，最多等待 12 秒，并显示请求与应答。接收方未接受时退出码为 1。`),
		example: "hostler webhook test ops",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		d, err := c.TestWebhook(ctx, args[0])
		if err != nil {
			return err
		}
		if err := a.showDelivery(d); err != nil {
			return err
		}
		if d.State != hostler.DeliveryDelivered {
			return &outcomeError{exitNotSucceeded}
		}
		return nil
	})
	a.complete(cmd, "", webhookNames())
	return cmd
}

// webhookRotate is 'hostler webhook rotate'. Without --overlap the server's default
// applies.
func (a *app) webhookRotate() *cobra.Command {
	var in hostler.WebhookRotation
	var overlap hostler.Duration
	var file string
	var cmd *cobra.Command
	cmd = a.cmd("rotate WEBHOOK [flags]", doc{
		short: txt("replace the signing secret of a webhook", "更换回调的签名密钥"),
		long: txt(`Replace the signing secret of a webhook, and show the new one once. The server
generates it, unless --secret-file provides one. For a while requests are signed with
both, so that the receiver can switch.`,
			`更换回调的签名密钥，并显示新密钥一次。默认由服务器生成，也可用 --secret-file 提供。
一段时间内请求同时用新旧密钥签名，以便接收方切换。`),
		example: "hostler webhook rotate ops\nhostler webhook rotate ops --overlap 7d",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if cmd.Flags().Changed("overlap") {
			in.Overlap = &overlap
		}
		if file != "" {
			var err error
			if in.Secret, err = a.secretLine(signingSecret, fileSource("--secret-file", file)); err != nil {
				return err
			}
		}
		created, err := c.RotateWebhook(ctx, args[0], in)
		if err != nil {
			return err
		}
		return a.printNewWebhook(created)
	})
	fs := cmd.Flags()
	fs.Var(durationFlag{&overlap}, "overlap",
		a.t("how long to sign with both secrets (default 24h)", "同时用新旧密钥签名的时间（默认 24h）"))
	fs.StringVar(&file, "secret-file", "",
		a.t("file with the new secret; - is standard input", "新密钥所在文件；- 表示标准输入"))
	a.complete(cmd, "", webhookNames())
	return cmd
}
