package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// triggerCmd is 'hostler trigger'.
func (a *app) triggerCmd() *cobra.Command {
	return a.group("trigger", doc{
		short: txt("run tasks when Git hosts or alerts send a signed request", "由 Git 平台、告警或其他程序的签名请求触发任务"),
		long: txt(`Manage inbound triggers. Each is a URL of its own for one task: a request to it that is
signed with the secret of the trigger runs the task, with the rights of the user who
created the trigger. A request that is sent again starts nothing.`,
			`管理入站触发器。每个触发器是一个任务专用的 URL：用该触发器的密钥签名的请求会执行任务，
权限为创建触发器的用户。重复发送的请求不会启动任何执行。`),
		example: `hostler trigger create deploy --kind github --task deploy-web --when "push.branch == 'main'" --param version='${{ push.commit }}'
hostler trigger log deploy`,
	}, a.triggerList(), a.triggerShow(), a.triggerCreate(), a.triggerLog(),
		a.triggerSwitch("pause", doc{
			short:   txt("refuse all requests to a trigger", "暂停触发器，拒绝所有请求"),
			long:    txt("Refuse all requests to a trigger until it is resumed.", "拒绝发往触发器的所有请求，直至恢复。"),
			example: "hostler trigger pause deploy",
		}, (*client.Client).PauseInbound),
		a.triggerSwitch("resume", doc{
			short:   txt("accept requests to a paused trigger again", "恢复已暂停的触发器"),
			long:    txt("Accept requests to a paused trigger again.", "恢复已暂停的触发器，重新接受请求。"),
			example: "hostler trigger resume deploy",
		}, (*client.Client).ResumeInbound),
		a.triggerRotate(), a.triggerDelete())
}

// triggerNames completes the names of inbound triggers.
func triggerNames() completer {
	return named(func(c *client.Client) client.Lister[hostler.Inbound] { return c.Inbounds },
		func(i hostler.Inbound) string { return i.Name })
}

func (a *app) triggerColumns() []column[hostler.Inbound] {
	return []column[hostler.Inbound]{
		col("name", "名称", func(i hostler.Inbound) string { return i.Name }),
		col("kind", "来源", func(i hostler.Inbound) string { return string(i.Kind) }),
		col("task", "任务", func(i hostler.Inbound) string { return i.Task }),
		col("when", "条件", func(i hostler.Inbound) string { return dash(i.When) }),
		col("enabled", "启用", func(i hostler.Inbound) string { return a.yesNo(i.Enabled) }),
		col("requests per minute", "每分钟上限", func(i hostler.Inbound) string { return number(i.Rate) }),
		col("owner", "所有者", func(i hostler.Inbound) string { return i.Owner }),
	}
}

func (a *app) triggerList() *cobra.Command {
	return a.cmd("list", doc{
		short:   txt("list triggers", "列出触发器"),
		long:    txt("List the inbound triggers of the project, without URLs and secrets.", "列出项目的入站触发器（不含 URL 和密钥）。"),
		example: "hostler trigger list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, _, err := collect(ctx, c.Inbounds, 0)
		if err != nil {
			return err
		}
		return list(a, items, a.triggerColumns())
	})
}

func (a *app) triggerShow() *cobra.Command {
	cmd := a.cmd("show TRIGGER", doc{
		short:   txt("show a trigger", "查看触发器"),
		long:    txt("Show an inbound trigger, without its URL and its secret.", "查看入站触发器（不含 URL 和密钥）。"),
		example: "hostler trigger show deploy -o yaml",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		i, err := c.Inbound(ctx, args[0])
		if err != nil {
			return err
		}
		return a.printTrigger(i)
	})
	a.complete(cmd, "", triggerNames())
	return cmd
}

func (a *app) printTrigger(i hostler.Inbound) error {
	return one(a, i, append(a.triggerColumns(),
		col("params", "参数", func(i hostler.Inbound) string { return dash(string(i.Params)) }),
		col("old secret until", "旧密钥有效至", func(i hostler.Inbound) string { return optionalTime(i.OldSecret) }),
		col("changed", "修改时间", func(i hostler.Inbound) string { return localTime(i.UpdatedAt) }),
	))
}

func (a *app) triggerCreate() *cobra.Command {
	var f startFlags // of its params and targets
	var in hostler.InboundInput
	var kind string
	cmd := a.cmd("create NAME [flags]", doc{
		short: txt("create a trigger, and show its URL and its secret once", "创建触发器，并一次性显示其 URL 和密钥"),
		long: txt(`Create an inbound trigger. Enter its URL and its secret at the sender:
  github        Payload URL and Secret, content type application/json
  gitlab        URL and Secret token
  gitea         Target URL and Secret
  alertmanager  url, and the secret as http_config.authorization.credentials
  standard      Standard Webhooks: the secret signs (whsec_…)
Conditions and params see: request.event; push.branch, push.tag, push.commit,
push.repository, push.user, push.deleted; alert.status, alert.name, alert.severity,
alert.instance, alert.labels; and payload, the body as it was sent.`,
			`创建入站触发器。请在发送方填写其 URL 和密钥：
  github        Payload URL 和 Secret，内容类型为 application/json
  gitlab        URL 和 Secret token
  gitea         目标 URL 和密钥
  alertmanager  url，密钥填入 http_config.authorization.credentials
  standard      Standard Webhooks：用该密钥签名（whsec_…）
条件和参数可使用：request.event；push.branch、push.tag、push.commit、push.repository、push.user、push.deleted；
alert.status、alert.name、alert.severity、alert.instance、alert.labels；以及请求体 payload。`),
		example: `hostler trigger create deploy --kind gitlab --task deploy-web --when "push.branch == 'main'" --param version='${{ push.commit }}'
hostler trigger create heal --kind alertmanager --task restart-web --when "alert.status == 'firing'" --asset '${{ alert.labels.host }}'`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if err := a.readStartFlags(&f, in.Task); err != nil {
			return err
		}
		in.Name, in.Kind, in.Params, in.Targets = args[0], hostler.InboundKind(kind), f.in.Params, f.in.Targets
		made, err := c.CreateInbound(ctx, in)
		if err != nil {
			return err
		}
		if made.URL == "" {
			made.URL = strings.TrimSuffix(c.URL(), "/") + made.Path
		}
		return a.printTriggerSecret(made)
	})
	fs := cmd.Flags()
	kinds := names(hostler.InboundKinds(), func(k hostler.InboundKind) string { return string(k) })
	fs.StringVar(&kind, "kind", "", a.t("who sends: ", "发送方：")+strings.Join(kinds, ", "))
	fs.StringVar(&in.Task, "task", "", a.t("task that it runs", "要执行的任务"))
	fs.StringVar(&in.Title, "title", "", a.t("title", "标题"))
	fs.StringVar(&in.When, "when", "", a.t("expression that must hold, such as \"push.branch == 'main'\"",
		"须成立的条件，如 \"push.branch == 'main'\""))
	fs.IntVar(&in.Rate, "rate", 0, a.t("maximum requests per minute (default 60)", "每分钟最多请求数（默认 60）"))
	a.paramFlags(cmd, &f)
	a.complete(cmd, "kind", fixed(kinds...))
	a.complete(cmd, "task", taskNames())
	return cmd
}

// printTriggerSecret prints what is shown once.
func (a *app) printTriggerSecret(made hostler.InboundSecret) error {
	if a.output != "table" {
		return a.structured(made)
	}
	a.note("the URL and the secret of the trigger %s; save them now, they are not shown again",
		"触发器 %s 的 URL 和密钥；请立即保存，之后不再显示", made.Trigger.Name)
	return one(a, made, []column[hostler.InboundSecret]{
		col("url", "URL", func(m hostler.InboundSecret) string { return dash(m.URL) }),
		col("secret", "密钥", func(m hostler.InboundSecret) string { return m.Secret }),
		col("old secret until", "旧密钥有效至", func(m hostler.InboundSecret) string { return optionalTime(m.Trigger.OldSecret) }),
	})
}

func (a *app) triggerLog() *cobra.Command {
	var limit int
	cmd := a.cmd("log TRIGGER [flags]", doc{
		short: txt("list the requests to a trigger, newest first", "列出触发器收到的请求，最新在前"),
		long: txt(`List the requests to a trigger, newest first: accepted, filtered, repeated (received
before) or refused, with the reason. The newest 5,000, and 500 refused ones, are kept.`,
			`列出触发器收到的请求，最新在前：已接受、被过滤、重复（此前已收到）或被拒绝及其原因。
保留最新 5,000 个请求，以及 500 个被拒绝的请求。`),
		example: "hostler trigger log deploy --limit 20",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		lister := func(ctx context.Context, p hostler.Page) (hostler.List[hostler.InboundCall], error) {
			return c.InboundCalls(ctx, args[0], p)
		}
		items, more, err := collect(ctx, lister, limit)
		if err != nil {
			return err
		}
		a.noteMore(more, limit)
		return list(a, items, []column[hostler.InboundCall]{
			col("time", "时间", func(x hostler.InboundCall) string { return localTime(x.At) }),
			col("state", "结果", func(x hostler.InboundCall) string { return string(x.State) }),
			col("event", "事件", func(x hostler.InboundCall) string { return dash(x.Event) }),
			col("run", "执行", func(x hostler.InboundCall) string {
				if x.Run == 0 {
					return "-"
				}
				return x.Run.String()
			}),
			col("from", "来自", func(x hostler.InboundCall) string { return dash(x.Remote) }),
			col("delivery", "投递", func(x hostler.InboundCall) string { return dash(x.Delivery) }),
			col("reason", "原因", func(x hostler.InboundCall) string {
				if x.Reason == nil {
					return "-"
				}
				return x.Reason.In(a.lang)
			}),
		})
	})
	cmd.Flags().IntVar(&limit, "limit", 50, a.t("how many to list", "列出多少个"))
	a.complete(cmd, "", triggerNames())
	return cmd
}

func (a *app) triggerSwitch(
	verb string, d doc, call func(*client.Client, context.Context, string) (hostler.Inbound, error),
) *cobra.Command {
	cmd := a.cmd(verb+" TRIGGER", d, func(ctx context.Context, c *client.Client, args []string) error {
		i, err := call(c, ctx, args[0])
		if err != nil {
			return err
		}
		return a.printTrigger(i)
	})
	a.complete(cmd, "", triggerNames())
	return cmd
}

func (a *app) triggerRotate() *cobra.Command {
	var overlap hostler.Duration
	cmd := a.cmd("rotate TRIGGER [flags]", doc{
		short: txt("set a new secret, and show it once", "更换密钥，并显示一次"),
		long: txt(`Set a new secret of a trigger; its URL stays. You become its owner: the task runs with
your rights then. With --overlap, the old secret is accepted for that long too.`,
			`更换触发器的密钥，URL 不变。您将成为其所有者：任务以您的权限执行。
加 --overlap 则旧密钥在该时长内仍被接受。`),
		example: "hostler trigger rotate deploy --overlap 24h",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		made, err := c.RotateInbound(ctx, args[0], hostler.InboundRotation{Overlap: &overlap})
		if err != nil {
			return err
		}
		return a.printTriggerSecret(made)
	})
	cmd.Flags().Var(durationFlag{&overlap}, "overlap", a.t("how long the old secret is accepted too", "旧密钥继续有效的时长"))
	a.complete(cmd, "", triggerNames())
	return cmd
}

func (a *app) triggerDelete() *cobra.Command {
	cmd := a.cmd("delete TRIGGER", doc{
		short:   txt("delete a trigger", "删除触发器"),
		long:    txt("Delete a trigger with its log. Its URL does not exist any more.", "删除触发器及其日志。其 URL 不再存在。"),
		example: "hostler trigger delete deploy",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if err := c.DeleteInbound(ctx, args[0]); err != nil {
			return err
		}
		a.noteDeleted(hostler.Text{EN: "trigger", ZH: "触发器"}, args[0])
		return nil
	})
	a.complete(cmd, "", triggerNames())
	return cmd
}
