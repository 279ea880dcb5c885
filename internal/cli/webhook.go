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

func (a *app) webhookCmd() *cobra.Command {
	return a.group("webhook", doc{
		short:   txt("manage webhooks: who is told of events", "管理回调：向谁通知事件"),
		long:    txt("A webhook is a subscription of a URL to events. Each event is delivered at least\nonce, with a stable id; 'hostler delivery list' shows what became of it.", "回调是 URL 对事件的订阅。每个事件至少投递一次，ID 不变；\n用 'hostler delivery list' 查看投递结果。"),
		example: "hostler webhook create ops https://ops.example.com/hooks --event job.failed --generate-secret\nhostler webhook test ops",
	},
		a.webhookList(), a.webhookGet(), a.webhookCreate(), a.webhookUpdate(), a.webhookDelete(),
		a.webhookSwitch(true), a.webhookSwitch(false), a.webhookTest(), a.webhookRotate(),
	)
}

func (a *app) webhookColumns() []column[hostler.Webhook] {
	return []column[hostler.Webhook]{
		col("name", "名称", func(w hostler.Webhook) string { return w.Name }),
		col("url", "URL", func(w hostler.Webhook) string { return w.URL }),
		col("format", "格式", func(w hostler.Webhook) string { return string(w.Format) }),
		col("events", "事件", func(w hostler.Webhook) string {
			return cmp.Or(strings.Join(w.Events, ","), a.t("ends of jobs", "作业结束"))
		}),
		col("enabled", "启用", func(w hostler.Webhook) string { return a.yesNo(w.Enabled) }),
		col("pending", "待投递", func(w hostler.Webhook) string { return fmt.Sprint(w.Counts.Pending) }),
		col("delivered", "已投递", func(w hostler.Webhook) string { return fmt.Sprint(w.Counts.Delivered) }),
		col("failed", "失败", func(w hostler.Webhook) string { return fmt.Sprint(w.Counts.Failed) }),
	}
}

func (a *app) webhookDetails() []column[hostler.Webhook] {
	text := func(w hostler.Webhook) string {
		if w.Reason == nil {
			return "-"
		}
		return w.Reason.In(a.lang)
	}
	return append([]column[hostler.Webhook]{col("id", "ID", func(w hostler.Webhook) string { return w.ID.String() })},
		append(a.webhookColumns(),
			col("disabled because", "停用原因", text),
			col("actions", "动作", func(w hostler.Webhook) string { return dash(strings.Join(w.Filter.Actions, ",")) }),
			col("queues", "队列", func(w hostler.Webhook) string { return dash(strings.Join(w.Filter.Queues, ",")) }),
			col("assets", "资产", func(w hostler.Webhook) string { return dash(strings.Join(w.Filter.Assets, ",")) }),
			col("method", "方法", func(w hostler.Webhook) string { return w.Method }),
			col("headers", "请求头", func(w hostler.Webhook) string { return dash(strings.Join(w.Headers, ",")) }),
			col("signed", "签名", func(w hostler.Webhook) string { return a.yesNo(w.Signed) }),
			col("token", "令牌", func(w hostler.Webhook) string { return a.yesNo(w.Token) }),
			col("timeout", "超时", func(w hostler.Webhook) string { return w.Timeout.String() }),
			col("rate", "每分钟上限", func(w hostler.Webhook) string { return number(w.Rate) }),
			col("at once", "并发上限", func(w hostler.Webhook) string { return number(w.Limit) }),
			col("changed", "修改时间", func(w hostler.Webhook) string { return when(w.Updated) }),
		)...)
}

func webhookNames() completer {
	return named(func(c *client.Client) client.Lister[hostler.Webhook] { return c.Webhooks },
		func(w hostler.Webhook) string { return w.Name })
}

func (a *app) webhookList() *cobra.Command {
	return a.cmd("list", doc{
		short:   txt("list webhooks", "列出回调"),
		long:    txt("Lists the webhooks of the project with the counts of their deliveries. What may\nbe secret in a URL is masked.", "列出项目中的回调及其投递计数；URL 中可能敏感的部分已隐藏。"),
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
		short:   txt("show a webhook", "查看回调"),
		long:    txt("Shows a webhook by name or id. Its secrets are never shown.", "按名称或 ID 查看回调；机密内容永不显示。"),
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

func (a *app) webhookFlags(cmd *cobra.Command, f *webhookFlags) {
	fs := cmd.Flags()
	fs.StringVar(&f.format, "format", "", a.t("standard, task, netpulse, dingtalk, wecom or feishu (default: by the URL)", "格式：standard、task、netpulse、dingtalk、wecom 或 feishu（默认按 URL 识别）"))
	fs.StringSliceVar(&f.in.Events, "event", nil, a.t("type of event, or a pattern such as job.*; repeat for more (default: ends of jobs)", "事件类型，或 job.* 等模式；可重复（默认：作业结束）"))
	fs.StringSliceVar(&f.filter.Actions, "action", nil, a.t("only jobs of this action; repeat for more", "只通知此动作的作业；可重复"))
	fs.StringSliceVar(&f.filter.Queues, "queue", nil, a.t("only jobs of this queue; repeat for more", "只通知此队列的作业；可重复"))
	fs.StringSliceVar(&f.filter.Assets, "asset", nil, a.t("only jobs on this asset; repeat for more", "只通知此资产的作业；可重复"))
	fs.StringVar(&f.in.Method, "method", "", a.t("POST, PUT, PATCH or GET (default: POST)", "请求方法：POST、PUT、PATCH 或 GET（默认 POST）"))
	fs.StringVar(&f.lang, "lang", "", a.t("language of texts for people: en or zh", "文本语言：en 或 zh"))
	fs.Var(durationFlag{&f.in.Timeout}, "timeout", a.t("of one request; at most 10s", "单次请求的超时；最长 10s"))
	fs.IntVar(&f.in.Rate, "rate", 0, a.t("requests per minute at most", "每分钟最多请求数"))
	fs.IntVar(&f.in.Limit, "limit", 0, a.t("requests at once at most", "最多同时请求数"))
	a.webhookSecretFlags(cmd, &f.secrets)
	a.complete(cmd, "format", fixed(names(hostler.WebhookFormats(), func(f hostler.WebhookFormat) string { return string(f) })...))
	a.complete(cmd, "event", fixed(eventPatterns()...))
	a.complete(cmd, "method", fixed("POST", "PUT", "PATCH", "GET"))
	a.complete(cmd, "lang", fixed("en", "zh"))
	a.complete(cmd, "action", actionNames)
	a.complete(cmd, "queue", queueNames)
	a.complete(cmd, "asset", assetNames())
}

func (a *app) webhookCreate() *cobra.Command {
	var f webhookFlags
	cmd := a.cmd("create NAME [URL] [flags]", doc{
		short: txt("make a webhook", "创建回调"),
		long: txt("Makes a webhook. A URL that holds a secret, such as that of a robot, a token, a\nsigning secret and headers come from a file (- is standard input), or are asked for\nwithout echo; they are never taken from the command line itself.",
			"创建回调。含机密的 URL（如机器人地址）、令牌、签名密钥和请求头来自文件（- 表示标准输入），\n或在终端无回显地询问；绝不从命令行参数读取。"),
		example: "hostler webhook create ops https://ops.example.com/hooks --event job.failed --generate-secret\nhostler webhook create chat --url-file robot-url.txt --secret-file robot-secret.txt\nhostler webhook create ci https://ci.example.com/done --ask token --action ssh_script",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		in := f.in
		in.Name, in.Format, in.Lang = args[0], hostler.WebhookFormat(f.format), hostler.Lang(f.lang)
		in.Filter = &f.filter
		if f.disabled {
			in.Enabled = new(bool)
		}
		if err := a.fillWebhook(&in, f.secrets, args[1:], true); err != nil {
			return err
		}
		made, err := c.CreateWebhook(ctx, in)
		if err != nil {
			return err
		}
		return a.sayWebhook(made)
	})
	a.webhookFlags(cmd, &f)
	cmd.Flags().BoolVar(&f.in.GenerateSecret, "generate-secret", false, a.t("have a signing secret made and show it once", "生成签名密钥并显示一次"))
	cmd.Flags().BoolVar(&f.disabled, "disabled", false, a.t("send nothing to it yet", "暂不启用"))
	return cmd
}

// sayWebhook writes a fresh signing secret to standard output and all else to
// standard error, so that $(hostler webhook rotate …) is the secret.
func (a *app) sayWebhook(made hostler.WebhookCreated) error {
	switch {
	case a.output != "table":
		return a.structured(made)
	case made.Secret == "":
		return one(a, made.Webhook, a.webhookDetails())
	}
	a.note("webhook %s; its signing secret follows: keep it now, it is not shown again",
		"回调 %s 的签名密钥如下；请立即保存，不会再次显示", made.Webhook.Name)
	_, err := fmt.Fprintln(a.out, made.Secret)
	return err
}

func (a *app) webhookUpdate() *cobra.Command {
	var f webhookFlags
	var name string
	var cmd *cobra.Command
	cmd = a.cmd("update WEBHOOK [URL] [flags]", doc{
		short: txt("change a webhook", "修改回调"),
		long: txt("Changes what the flags name and keeps the rest. When the URL leads to another host,\nthe token, the signing secret and the headers must be given again, or taken away\nwith --remove.",
			"修改选项所指定的内容，其余保持不变。若 URL 指向另一主机，令牌、签名密钥和请求头必须重新提供，\n或用 --remove 去除。"),
		example: "hostler webhook update ops --event 'job.*' --rate 60\nhostler webhook update ops https://new.example.com/hooks --ask token --remove secret",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		old, err := c.Webhook(ctx, args[0])
		if err != nil {
			return err
		}
		in := old.Input()
		in.Name = cmp.Or(name, in.Name)
		f.change(&in, cmd.Flags().Changed)
		if err := f.removeFrom(&in); err != nil {
			return err
		}
		if err := a.fillWebhook(&in, f.secrets, args[1:], false); err != nil {
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
	cmd.Flags().StringSliceVar(&f.remove, "remove", nil, a.t("take away: token, secret or headers", "去除：token、secret 或 headers"))
	a.complete(cmd, "remove", fixed("token", "secret", "headers"))
	a.complete(cmd, "", webhookNames())
	return cmd
}

// change puts the flags that were given over the webhook as it is.
func (f *webhookFlags) change(in *hostler.WebhookInput, given func(string) bool) {
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
			return hostler.Errorf(hostler.CodeInvalid, "--remove takes token, secret or headers", "--remove 只能是 token、secret 或 headers")
		}
	}
	return nil
}

func (a *app) webhookDelete() *cobra.Command {
	cmd := a.cmd("delete WEBHOOK...", doc{
		short:   txt("delete webhooks with their deliveries", "删除回调及其投递记录"),
		long:    txt("Deletes webhooks. What was not delivered yet is not sent any more.", "删除回调；尚未投递的内容不再发送。"),
		example: "hostler webhook delete ops",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		for _, name := range args {
			if err := c.DeleteWebhook(ctx, name); err != nil {
				return err
			}
			a.deleted(txt("webhook", "回调"), name)
		}
		return nil
	})
	a.complete(cmd, "", webhookNames())
	return cmd
}

func (a *app) webhookSwitch(on bool) *cobra.Command {
	use, d, call := "disable WEBHOOK", doc{
		short:   txt("have nothing sent to a webhook", "停用回调"),
		long:    txt("Has nothing sent to a webhook until it is enabled again.", "停用回调，直到再次启用。"),
		example: "hostler webhook disable ops",
	}, (*client.Client).DisableWebhook
	if on {
		use, d, call = "enable WEBHOOK", doc{
			short:   txt("have events sent to a webhook again", "启用回调"),
			long:    txt("Has events sent to a webhook again, from now on, and what still waits for it.", "重新启用回调：从现在起发送事件，并发送仍在等待的投递。"),
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

func (a *app) webhookTest() *cobra.Command {
	cmd := a.cmd("test WEBHOOK", doc{
		short:   txt("send a test and see what comes back", "发送测试并查看应答"),
		long:    txt("Sends the event webhook.ping, waits up to 12 s, and shows the request and the\nanswer. The exit code is 1 when the receiver did not take it.", "发送 webhook.ping 事件，最多等待 12 秒，并显示请求与应答。接收方未接受时退出码为 1。"),
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

func (a *app) webhookRotate() *cobra.Command {
	var in hostler.WebhookRotation
	var overlap hostler.Duration
	var file string
	var cmd *cobra.Command
	cmd = a.cmd("rotate WEBHOOK [flags]", doc{
		short:   txt("give a webhook a new signing secret", "更换回调的签名密钥"),
		long:    txt("Gives a webhook a new signing secret, made by the server unless --secret-file has\none, and shows it once. The old one signs too for a while, so that the receiver can\nchange over.", "为回调更换签名密钥：默认由服务器生成并显示一次，也可用 --secret-file 提供。\n旧密钥会继续签名一段时间，以便接收方切换。"),
		example: "hostler webhook rotate ops\nhostler webhook rotate ops --overlap 7d",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if cmd.Flags().Changed("overlap") {
			in.Overlap = &overlap
		}
		if file != "" {
			var err error
			if in.Secret, err = a.secretFrom(file, txt("signing secret", "签名密钥")); err != nil {
				return err
			}
		}
		made, err := c.RotateWebhook(ctx, args[0], in)
		if err != nil {
			return err
		}
		return a.sayWebhook(made)
	})
	cmd.Flags().Var(durationFlag{&overlap}, "overlap", a.t("how long the old secret signs too (default 24h)", "旧密钥继续签名的时间（默认 24h）"))
	cmd.Flags().StringVar(&file, "secret-file", "", a.t("a file with the new secret; - is standard input", "新密钥所在文件；- 表示标准输入"))
	a.complete(cmd, "", webhookNames())
	return cmd
}
