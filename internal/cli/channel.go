package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// channelCmd is 'hostler channel'.
func (a *app) channelCmd() *cobra.Command {
	return a.group("channel", doc{
		short: txt("manage notification channels: chats and mail", "管理通知渠道：聊天与邮件"),
		long: txt(`Manage notification channels: DingTalk, Feishu, WeCom, Slack, Teams, mail, or a
webhook of your own. A channel sends events to people as text, and steps of runs name
it. What exceeds its rate is merged into one message; 'hostler delivery list --channel'
shows what was sent.`,
			`管理通知渠道：钉钉、飞书、企业微信、Slack、Teams、邮件，或自有的回调。渠道以文本形式向人员
发送事件，执行的步骤也可指定它。超出频率的内容合并为一条消息；
用 'hostler delivery list --channel' 查看发送结果。`),
		example: `hostler channel create dingtalk ops --url-file bot-url.txt --secret-file bot-secret.txt --event job.failed --lang zh
hostler channel test ops`,
	},
		a.channelList(), a.channelGet(), a.channelCreate(), a.channelUpdate(), a.channelDelete(),
		a.channelTest(), a.channelPreview(),
	)
}

func (a *app) channelColumns() []column[hostler.Channel] {
	return []column[hostler.Channel]{
		col("name", "名称", func(c hostler.Channel) string { return c.Name }),
		col("kind", "类型", func(c hostler.Channel) string { return string(c.Kind) }),
		col("url", "URL", func(c hostler.Channel) string { return c.URL }),
		col("events", "事件", func(c hostler.Channel) string {
			return cmp.Or(strings.Join(c.Events, ","), a.t("messages of runs", "执行的消息"))
		}),
		col("enabled", "启用", func(c hostler.Channel) string { return a.yesNo(c.Enabled) }),
		col("pending", "待投递", func(c hostler.Channel) string { return fmt.Sprint(c.Counts.Pending) }),
		col("delivered", "已投递", func(c hostler.Channel) string { return fmt.Sprint(c.Counts.Delivered) }),
		col("failed", "失败", func(c hostler.Channel) string { return fmt.Sprint(c.Counts.Failed) }),
	}
}

// channelDetails are the columns of a single channel.
func (a *app) channelDetails() []column[hostler.Channel] {
	id := col("id", "ID", func(c hostler.Channel) string { return c.ID.String() })
	return append(append([]column[hostler.Channel]{id}, a.channelColumns()...),
		col("disabled because", "停用原因", func(c hostler.Channel) string {
			if c.Reason == nil {
				return "-"
			}
			return c.Reason.In(a.lang)
		}),
		col("from", "发件人", func(c hostler.Channel) string { return dash(c.From) }),
		col("to", "收件人", func(c hostler.Channel) string { return dash(strings.Join(c.To, ",")) }),
		col("actions", "动作", func(c hostler.Channel) string { return dash(strings.Join(c.Filter.Actions, ",")) }),
		col("queues", "队列", func(c hostler.Channel) string { return dash(strings.Join(c.Filter.Queues, ",")) }),
		col("assets", "资产", func(c hostler.Channel) string { return dash(strings.Join(c.Filter.Assets, ",")) }),
		col("language", "语言", func(c hostler.Channel) string { return string(c.Lang) }),
		col("title", "标题", func(c hostler.Channel) string { return cmp.Or(c.Title, a.t("default", "默认")) }),
		col("text", "正文", func(c hostler.Channel) string { return cmp.Or(c.Text, a.t("default", "默认")) }),
		col("secret", "密钥", func(c hostler.Channel) string { return a.yesNo(c.Secret) }),
		col("messages per minute", "每分钟上限", func(c hostler.Channel) string { return number(c.Rate) }),
		col("changed", "修改时间", func(c hostler.Channel) string { return localTime(c.Updated) }),
	)
}

// channelNames completes the names of channels.
func channelNames() completer {
	return named(func(c *client.Client) client.Lister[hostler.Channel] { return c.Channels },
		func(c hostler.Channel) string { return c.Name })
}

func (a *app) channelList() *cobra.Command {
	return a.cmd("list", doc{
		short: txt("list channels", "列出通知渠道"),
		long: txt("List the notification channels of the project and count their deliveries.",
			"列出项目中的通知渠道及其投递计数。"),
		example: "hostler channel list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, _, err := collect(ctx, c.Channels, 0)
		if err != nil {
			return err
		}
		return list(a, items, a.channelColumns())
	})
}

func (a *app) channelGet() *cobra.Command {
	cmd := a.cmd("get CHANNEL", doc{
		short: txt("show a channel", "查看通知渠道"),
		long: txt("Show a channel by name or id, without its secret.",
			"按名称或 ID 查看通知渠道（不含机密内容）。"),
		example: "hostler channel get ops",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		ch, err := c.Channel(ctx, args[0])
		if err != nil {
			return err
		}
		return one(a, ch, a.channelDetails())
	})
	a.complete(cmd, "", channelNames())
	return cmd
}

// channelFlags are the flags of create and update.
type channelFlags struct {
	in      hostler.ChannelInput
	lang    string
	filter  hostler.WebhookFilter
	secrets webhookSecrets
	enable  bool
	disable bool
}

// noEvents is the word for a channel that gets messages of runs only.
const noEvents = "none"

func (a *app) channelFlags(cmd *cobra.Command, f *channelFlags) {
	fs := cmd.Flags()
	fs.StringSliceVar(&f.in.Events, "event", nil,
		a.t("event type, or a pattern such as job.*; may be repeated; none: only messages of runs (default: what people should look at)",
			"事件类型，或 job.* 等模式；可重复；none 表示仅接收执行的消息（默认：需要人员关注的事件）"))
	fs.StringSliceVar(&f.filter.Actions, "action", nil,
		a.t("only jobs of this action; may be repeated", "只通知此动作的作业；可重复"))
	fs.StringSliceVar(&f.filter.Queues, "queue", nil,
		a.t("only jobs of this queue; may be repeated", "只通知此队列的作业；可重复"))
	fs.StringSliceVar(&f.filter.Assets, "asset", nil,
		a.t("only jobs on this asset; may be repeated", "只通知此资产的作业；可重复"))
	fs.StringVar(&f.lang, "lang", "", a.t("language of the texts: en or zh", "文本语言：en 或 zh"))
	fs.StringVar(&f.in.Title, "title", "",
		a.t("template of the title, such as '${{ job.action }} on ${{ job.asset }}'",
			"标题模板，如 '${{ job.asset }} 上的 ${{ job.action }}'"))
	fs.StringVar(&f.in.Text, "text", "",
		a.t("template of the text", "正文模板"))
	fs.IntVar(&f.in.Rate, "rate", 0, a.t("maximum messages per minute; more are merged", "每分钟最多消息数；超出的合并"))
	fs.StringVar(&f.in.From, "from", "", a.t("mail: address of the sender", "邮件：发件人地址"))
	fs.StringSliceVar(&f.in.To, "to", nil, a.t("mail: address of a recipient; may be repeated",
		"邮件：收件人地址；可重复"))
	fs.StringVar(&f.secrets.url, "url-file", "", a.t("file with the URL; - is standard input",
		"URL 所在文件；- 表示标准输入"))
	fs.StringVar(&f.secrets.secret, "secret-file", "",
		a.t("file with the signing secret or the password; - is standard input",
			"签名密钥或密码所在文件；- 表示标准输入"))
	fs.StringSliceVar(&f.secrets.ask, "ask", nil,
		a.t("ask for it without echo: url or secret", "在终端无回显地询问：url 或 secret"))
	a.complete(cmd, "ask", fixed("url", "secret"))
	a.complete(cmd, "event", fixed(append(eventPatterns(), noEvents)...))
	a.complete(cmd, "lang", fixed("en", "zh"))
	a.complete(cmd, "action", actionNames)
	a.complete(cmd, "queue", queueNames)
	a.complete(cmd, "asset", assetNames())
}

// events returns the events of the flag --event: an empty list for none.
func (f *channelFlags) events() []string {
	if slices.Equal(f.in.Events, []string{noEvents}) {
		return []string{}
	}
	return f.in.Events
}

// readSecrets reads URL and secret from an argument, files or the terminal.
func (a *app) readChannelSecrets(in *hostler.ChannelInput, f *channelFlags, args []string, isNew bool) error {
	var hook hostler.WebhookInput
	if err := a.readWebhookSecrets(&hook, f.secrets, args, isNew); err != nil {
		return err
	}
	in.URL, in.Secret = hook.URL, hook.Secret
	return nil
}

// channelKinds completes the kinds for the first argument.
var channelKinds = fixed(names(hostler.ChannelKinds(), func(k hostler.ChannelKind) string { return string(k) })...)

func (a *app) channelCreate() *cobra.Command {
	var f channelFlags
	cmd := a.cmd("create KIND NAME [URL] [flags]", doc{
		short: txt("create a channel", "创建通知渠道"),
		long: txt(`Create a notification channel of a kind: dingtalk, feishu, wecom, slack, teams, mail or
webhook. The URL of a chat bot is a secret: give it in a file (- is standard input), or
use --ask to type it without echo. That of mail is smtp://user@host:587 (STARTTLS),
smtps://user@host:465, or smtp+plain://host:25 without TLS and login.`,
			`创建通知渠道，类型为 dingtalk、feishu、wecom、slack、teams、mail 或 webhook。聊天机器人的 URL
即为机密：请用文件提供（- 表示标准输入），或用 --ask 在终端无回显地输入。邮件的 URL 为
smtp://user@host:587（STARTTLS）、smtps://user@host:465，或不加密且不登录的 smtp+plain://host:25。`),
		example: `hostler channel create dingtalk ops --url-file bot-url.txt --secret-file bot-secret.txt --event job.failed --lang zh
hostler channel create mail oncall smtp://hostler@mail.example.com:587 --secret-file password.txt --from hostler@example.com --to oncall@example.com
hostler channel create slack deploys --ask url --event none`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		in := f.in
		in.Kind, in.Name = hostler.ChannelKind(args[0]), args[1]
		in.Events, in.Lang, in.Filter = f.events(), hostler.Lang(f.lang), &f.filter
		if f.disable {
			in.Enabled = new(bool)
		}
		if err := a.readChannelSecrets(&in, &f, args[2:], true); err != nil {
			return err
		}
		ch, err := c.CreateChannel(ctx, in)
		if err != nil {
			return err
		}
		return one(a, ch, a.channelDetails())
	})
	a.channelFlags(cmd, &f)
	cmd.Flags().BoolVar(&f.disable, "disabled", false, a.t("create it disabled", "创建后不启用"))
	a.complete(cmd, "", channelKinds)
	return cmd
}

// channelUpdate is 'hostler channel update'. The API replaces a channel as a whole, and
// keeps the secret that is not given.
func (a *app) channelUpdate() *cobra.Command {
	var f channelFlags
	var name string
	var removeSecret bool
	var cmd *cobra.Command
	cmd = a.cmd("update CHANNEL [URL] [flags]", doc{
		short: txt("change a channel", "修改通知渠道"),
		long: txt(`Change the given fields of a channel; the others stay. When the URL changes to another
host, give the secret again, or remove it with --remove-secret.`,
			`修改给出的内容，其余保持不变。若 URL 改为另一主机，须重新提供密钥，或用 --remove-secret 去除。`),
		example: `hostler channel update ops --event 'run.*' --rate 10
hostler channel update ops --title '${{ job.action }}: ${{ job.state }}'
hostler channel update ops --disable`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		old, err := c.Channel(ctx, args[0])
		if err != nil {
			return err
		}
		in := old.Input()
		in.Name = cmp.Or(name, in.Name)
		f.apply(&in, cmd.Flags().Changed)
		if err := a.readChannelSecrets(&in, &f, args[1:], false); err != nil {
			return err
		}
		if removeSecret {
			in.Secret = new(string)
		}
		if f.enable || f.disable {
			in.Enabled = &f.enable
		}
		ch, err := c.PutChannel(ctx, args[0], in)
		if err != nil {
			return err
		}
		return one(a, ch, a.channelDetails())
	})
	a.channelFlags(cmd, &f)
	fs := cmd.Flags()
	fs.StringVar(&name, "name", "", a.t("new name", "新名称"))
	fs.BoolVar(&removeSecret, "remove-secret", false, a.t("remove the secret", "去除密钥"))
	fs.BoolVar(&f.enable, "enable", false, a.t("send new events and pending deliveries", "启用：发送新事件和待投递的内容"))
	fs.BoolVar(&f.disable, "disable", false, a.t("send nothing until it is enabled", "停用：启用前不再发送"))
	cmd.MarkFlagsMutuallyExclusive("enable", "disable")
	a.complete(cmd, "", channelNames())
	return cmd
}

// apply sets the fields of in whose flags were given.
func (f *channelFlags) apply(in *hostler.ChannelInput, given func(string) bool) {
	for flag, set := range map[string]func(){
		"event":  func() { in.Events = f.events() },
		"action": func() { in.Filter.Actions = f.filter.Actions },
		"queue":  func() { in.Filter.Queues = f.filter.Queues },
		"asset":  func() { in.Filter.Assets = f.filter.Assets },
		"lang":   func() { in.Lang = hostler.Lang(f.lang) },
		"title":  func() { in.Title = f.in.Title },
		"text":   func() { in.Text = f.in.Text },
		"rate":   func() { in.Rate = f.in.Rate },
		"from":   func() { in.From = f.in.From },
		"to":     func() { in.To = f.in.To },
	} {
		if given(flag) {
			set()
		}
	}
}

func (a *app) channelDelete() *cobra.Command {
	cmd := a.cmd("delete CHANNEL...", doc{
		short:   txt("delete channels and their deliveries", "删除通知渠道及其投递记录"),
		long:    txt("Delete channels. Pending deliveries are not sent.", "删除通知渠道；待投递的内容不再发送。"),
		example: "hostler channel delete ops",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		for _, name := range args {
			if err := c.DeleteChannel(ctx, name); err != nil {
				return err
			}
			a.noteDeleted(txt("channel", "通知渠道"), name)
		}
		return nil
	})
	a.complete(cmd, "", channelNames())
	return cmd
}

// channelTest is 'hostler channel test'. It shows the delivery like 'delivery get'.
func (a *app) channelTest() *cobra.Command {
	cmd := a.cmd("test CHANNEL", doc{
		short: txt("send a test message and show the response", "发送测试消息并显示应答"),
		long: txt(`Send a test message, wait up to 12 s, and show the message and the response. The exit
code is 1 when the receiver did not accept it.`,
			`发送测试消息，最多等待 12 秒，并显示消息与应答。接收方未接受时退出码为 1。`),
		example: "hostler channel test ops",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		d, err := c.TestChannel(ctx, args[0])
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
	a.complete(cmd, "", channelNames())
	return cmd
}

// channelPreview is 'hostler channel preview'.
func (a *app) channelPreview() *cobra.Command {
	var in hostler.ChannelPreview
	var event, lang, title, text string
	var cmd *cobra.Command
	cmd = a.cmd("preview CHANNEL [flags]", doc{
		short: txt("show the message for a sample event", "以示例事件预览消息"),
		long: txt(`Show the message that a channel would send for an event with sample values. Nothing is
sent. --title and --text try other templates.`,
			`以示例内容显示渠道将发送的消息，不会发送。--title 与 --text 可试用其他模板。`),
		example: `hostler channel preview ops --event job.unknown --lang zh
hostler channel preview ops --text 'Error: ${{ job.error }}'`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		in.Event, in.Lang = hostler.EventType(event), hostler.Lang(lang)
		if cmd.Flags().Changed("title") {
			in.Title = &title
		}
		if cmd.Flags().Changed("text") {
			in.Text = &text
		}
		m, err := c.PreviewChannel(ctx, args[0], in)
		if err != nil {
			return err
		}
		if a.output != "table" {
			return a.structured(m)
		}
		_, err = fmt.Fprintf(a.out, "%s\n\n%s\n", term.Escape(m.Title), term.EscapeLines(m.Text))
		return err
	})
	fs := cmd.Flags()
	fs.StringVar(&event, "event", "", a.t("type of event (default: job.failed)", "事件类型（默认：job.failed）"))
	fs.StringVar(&lang, "lang", "", a.t("language: en or zh", "语言：en 或 zh"))
	fs.StringVar(&title, "title", "", a.t("template of the title", "标题模板"))
	fs.StringVar(&text, "text", "", a.t("template of the text", "正文模板"))
	fs.IntVar(&in.Count, "count", 0, a.t("events that are merged into the message", "合并为一条消息的事件数"))
	a.complete(cmd, "event",
		fixed(names(hostler.EventCatalogue(), func(e hostler.EventInfo) string { return string(e.Type) })...))
	a.complete(cmd, "lang", fixed("en", "zh"))
	a.complete(cmd, "", channelNames())
	return cmd
}
