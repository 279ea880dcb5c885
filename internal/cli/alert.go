package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// alertCmd is 'hostler alert'.
func (a *app) alertCmd() *cobra.Command {
	return a.group("alert", doc{
		short: txt("watch for failures, slow jobs and more, and notify people", "监控失败、变慢等情况并通知相关人员"),
		long: txt(`Watch for what a person should look at: failures in a row, low success rates, jobs
that run much longer than usual, fires that did not run, queues that do not move, lost
workers, and jobs with an unknown outcome. Notification channels are told when alerts
begin to fire and when they are resolved, unless they are silenced.`,
			`监控需要人工关注的情况：连续失败、成功率过低、运行时间远超平常、计划未触发、队列积压、
工作节点失联、结果未知的作业。告警触发和恢复时会通知各渠道，静默期间除外。`),
		example: `hostler alert rule create failures --kind failures --by schedule --threshold 3 --channel ops
hostler alert list
hostler alert silence failures --target nightly --for 2h --reason 'disk is being replaced'`,
	}, a.alertList(), a.alertRuleCmd(), a.alertSilence(), a.alertUnsilence(), a.alertSilences())
}

func alertRuleNames(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.AlertRules(ctx)
	return names(all, func(x hostler.AlertRule) string { return x.Name }), err
}

func (a *app) alertList() *cobra.Command {
	var f hostler.AlertFilter
	var limit int
	cmd := a.cmd("list [flags]", doc{
		short: txt("list alerts", "列出告警"),
		long: txt("List the alerts that fire, and those that were resolved in the last 30 days.",
			"列出正在触发的告警，以及最近 30 天内恢复的告警。"),
		example: "hostler alert list --state firing",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, more, err := collect(ctx, func(ctx context.Context, p hostler.Page) (hostler.List[hostler.Alert], error) {
			return c.Alerts(ctx, f, p)
		}, limit)
		if err != nil {
			return err
		}
		a.noteMore(more, limit)
		return list(a, items, a.alertColumns())
	})
	fs := cmd.Flags()
	fs.Var(stringFlag[hostler.AlertState]{&f.State}, "state", a.t("only firing or resolved ones", "仅列出 firing（触发）或 resolved（恢复）"))
	fs.StringVar(&f.Rule, "rule", "", a.t("of this rule only", "仅列出此规则的告警"))
	a.limitFlag(cmd, &limit)
	a.complete(cmd, "state", fixed("firing", "resolved"))
	a.complete(cmd, "rule", alertRuleNames)
	return cmd
}

func (a *app) alertColumns() []column[hostler.Alert] {
	return []column[hostler.Alert]{
		col("state", "状态", func(x hostler.Alert) string { return string(x.State) }),
		col("rule", "规则", func(x hostler.Alert) string { return x.Rule }),
		col("target", "对象", func(x hostler.Alert) string { return dash(x.Target) }),
		col("text", "说明", func(x hostler.Alert) string { return x.Text.In(a.lang) }),
		col("since", "开始", func(x hostler.Alert) string { return localTime(x.Since) }),
		col("notified", "通知时间", func(x hostler.Alert) string { return optionalTime(x.Notified) }),
		col("silenced", "静默", func(x hostler.Alert) string {
			if x.Silenced == nil {
				return "-"
			}
			return x.Silenced.In(a.lang)
		}),
	}
}

// alertRuleCmd is 'hostler alert rule'.
func (a *app) alertRuleCmd() *cobra.Command {
	return a.group("rule", doc{
		short: txt("manage alert rules", "管理告警规则"),
		long: txt(`Manage alert rules. The threshold of a rule depends on its kind:

failures      so many failures in a row (3)
success_rate  a lower part of the jobs of the window succeeded (0.9)
slow          a job ran, or runs, longer than so many times the p95 of the week before (3)
missed        so many fires of a schedule did not run (1)
queue_age     the oldest ready job of a queue waits this long (10m)
worker_lost   a worker is lost this long (0)
unknown       so many jobs wait for a person to resolve them (1)`,
			`管理告警规则。阈值的含义取决于类型：

failures      连续失败次数（3）
success_rate  时间窗口内成功率低于此值（0.9）
slow          作业运行时间超过前一周 p95 的倍数（3）
missed        计划未执行的触发次数（1）
queue_age     队列中最早的就绪作业已等待此时长（10m）
worker_lost   工作节点失联此时长（0）
unknown       等待人工确认结果的作业数（1）`),
		example: "hostler alert rule list",
	}, a.alertRuleList(), a.alertRuleShow(), a.alertRuleCreate(), a.alertRuleDelete(), a.alertRuleTest())
}

func (a *app) alertRuleColumns() []column[hostler.AlertRule] {
	return []column[hostler.AlertRule]{
		col("name", "名称", func(x hostler.AlertRule) string { return x.Name }),
		col("kind", "类型", func(x hostler.AlertRule) string { return string(x.Kind) }),
		col("threshold", "阈值", func(x hostler.AlertRule) string {
			return strconv.FormatFloat(*x.Threshold, 'f', -1, 64)
		}),
		col("by", "统计方式", func(x hostler.AlertRule) string { return dash(string(x.By)) }),
		col("target", "对象", func(x hostler.AlertRule) string { return dash(x.Target) }),
		col("window", "窗口", func(x hostler.AlertRule) string {
			if x.Window == 0 {
				return "-"
			}
			return x.Window.String()
		}),
		col("channels", "渠道", func(x hostler.AlertRule) string { return dash(strings.Join(x.Channels, ",")) }),
		col("enabled", "启用", func(x hostler.AlertRule) string { return a.yesNo(x.Enabled == nil || *x.Enabled) }),
		col("firing", "触发中", func(x hostler.AlertRule) string { return fmt.Sprint(x.Firing) }),
	}
}

func (a *app) alertRuleList() *cobra.Command {
	return a.cmd("list", doc{
		short:   txt("list alert rules", "列出告警规则"),
		long:    txt("List the alert rules of the project, and how many alerts of each fire.", "列出项目的告警规则及正在触发的告警数。"),
		example: "hostler alert rule list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		all, err := c.AlertRules(ctx)
		if err != nil {
			return err
		}
		return list(a, all, a.alertRuleColumns())
	})
}

func (a *app) alertRuleShow() *cobra.Command {
	cmd := a.cmd("show RULE", doc{
		short:   txt("show an alert rule", "查看告警规则"),
		long:    txt("Show an alert rule.", "查看告警规则。"),
		example: "hostler alert rule show failures -o yaml",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		x, err := c.AlertRule(ctx, args[0])
		if err != nil {
			return err
		}
		return one(a, x, a.alertRuleColumns())
	})
	a.complete(cmd, "", alertRuleNames)
	return cmd
}

func (a *app) alertRuleCreate() *cobra.Command {
	var in hostler.AlertRuleInput
	var threshold, every string
	var window, repeat hostler.Duration
	var disabled bool
	cmd := a.cmd("create RULE [flags]", doc{
		short: txt("create or replace an alert rule", "创建或替换告警规则"),
		long: txt(`Create an alert rule, or replace the one of this name. 'hostler alert rule --help'
explains the kinds and their thresholds. An alert is of one target, such as one action
or one queue. Without --channel, the channels are notified that subscribe to
alert.firing and alert.resolved.`,
			`创建告警规则，或替换同名规则。类型和阈值见 'hostler alert rule --help'。每个告警针对一个对象，
如一个动作或一个队列。不指定 --channel 时，通知订阅了 alert.firing 和 alert.resolved 的渠道。`),
		example: `hostler alert rule create failures --kind failures --by schedule --threshold 3 --channel ops
hostler alert rule create slow --kind slow --threshold 3 --note 'see the runbook'
hostler alert rule create stuck --kind queue_age --threshold 10m --repeat 4h`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if threshold != "" {
			t, err := parseThreshold(in.Kind, threshold)
			if err != nil {
				return err
			}
			in.Threshold = &t
		}
		if every != "" {
			d, err := hostler.ParseDuration(every)
			if err != nil {
				return err
			}
			limit := hostler.Duration(d)
			in.Every = &limit
		}
		enabled := !disabled
		in.Window, in.Repeat, in.Enabled = window, repeat, &enabled
		x, err := c.PutAlertRule(ctx, args[0], in)
		if err != nil {
			return err
		}
		return one(a, x, a.alertRuleColumns())
	})
	fs := cmd.Flags()
	fs.Var(stringFlag[hostler.AlertKind]{&in.Kind}, "kind", a.t("what to watch", "监控类型"))
	fs.StringVar(&threshold, "threshold", "", a.t("a number, or a duration for queue_age and worker_lost", "阈值：数字；queue_age 和 worker_lost 可用时长"))
	fs.Var(stringFlag[hostler.StatsBy]{&in.By}, "by", a.t("an alert for each action (default), queue, user, asset, schedule or task",
		"按 action（默认）、queue、user、asset、schedule 或 task 分别告警"))
	fs.StringVar(&in.Target, "target", "", a.t("only this action, queue, schedule, …", "仅此动作、队列、计划等"))
	fs.Var(durationFlag{&window}, "window", a.t("look at the last hours or days; default 1h, failures 24h", "统计窗口；默认 1h，failures 为 24h"))
	fs.IntVar(&in.Min, "min", 0, a.t("jobs that are needed to tell: success_rate 5, slow 20", "判断所需的最少作业数：success_rate 为 5，slow 为 20"))
	fs.StringSliceVar(&in.Channels, "channel", nil, a.t("notification channel; may be repeated", "通知渠道；可重复"))
	fs.StringVar(&every, "every", "", a.t("one notification at most in this time; default 5m", "此时间内最多通知一次；默认 5m"))
	fs.Var(durationFlag{&repeat}, "repeat", a.t("notify again while it fires, after this time", "持续触发时按此间隔重复通知"))
	fs.StringVar(&in.Note, "note", "", a.t("shown in the notifications: what to do", "通知中显示的说明，如处理办法"))
	fs.BoolVar(&disabled, "disabled", false, a.t("do not evaluate it yet", "暂不启用"))
	kinds := make([]string, 0, 7)
	for _, k := range hostler.AlertKinds() {
		kinds = append(kinds, string(k))
	}
	a.complete(cmd, "", alertRuleNames)
	a.complete(cmd, "kind", fixed(kinds...))
	a.complete(cmd, "by", fixed("action", "queue", "user", "asset", "schedule", "task"))
	a.complete(cmd, "channel", channelNames())
	return cmd
}

// parseThreshold reads a number, or a duration as seconds where these are meant.
func parseThreshold(kind hostler.AlertKind, s string) (float64, error) {
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		return v, nil
	}
	d, err := hostler.ParseDuration(s)
	if err != nil || kind != hostler.AlertQueueAge && kind != hostler.AlertWorkerLost {
		return 0, hostler.Errorf(hostler.CodeInvalid, "--threshold takes a number, or a duration for queue_age and worker_lost",
			"--threshold 须为数字；queue_age 和 worker_lost 可用时长")
	}
	return d.Seconds(), nil
}

func (a *app) alertRuleDelete() *cobra.Command {
	cmd := a.cmd("delete RULE", doc{
		short:   txt("delete an alert rule", "删除告警规则"),
		long:    txt("Delete an alert rule with its alerts and silences.", "删除告警规则及其告警和静默。"),
		example: "hostler alert rule delete slow",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if err := c.DeleteAlertRule(ctx, args[0]); err != nil {
			return err
		}
		a.noteDeleted(txt("alert rule", "告警规则"), args[0])
		return nil
	})
	a.complete(cmd, "", alertRuleNames)
	return cmd
}

func (a *app) alertRuleTest() *cobra.Command {
	cmd := a.cmd("test RULE", doc{
		short: txt("send a test to the channels of a rule", "向规则的通知渠道发送测试"),
		long: txt(`Send a test notification to the channels of a rule. 'hostler delivery list' shows
what became of it; 'hostler channel preview' shows the text of a notification.`,
			`向规则的通知渠道发送测试通知。结果见 'hostler delivery list'；通知文本见 'hostler channel preview'。`),
		example: "hostler alert rule test failures\nhostler channel preview ops --event alert.firing --lang zh",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		x, err := c.TestAlertRule(ctx, args[0])
		if err != nil {
			return err
		}
		a.note("sent a test of the alert rule %s", "已发送告警规则 %s 的测试", x.Name)
		return nil
	})
	a.complete(cmd, "", alertRuleNames)
	return cmd
}

func (a *app) alertSilence() *cobra.Command {
	var in hostler.AlertSilenceInput
	cmd := a.cmd("silence RULE [flags]", doc{
		short: txt("stop the notifications of a rule for a time", "在一段时间内停止规则的通知"),
		long: txt(`Stop the notifications of an alert rule, or of one target of it, for a time. Its
alerts are still listed. What fires when the silence ends is notified of then.`,
			`在一段时间内停止告警规则（或其中一个对象）的通知。告警仍会列出；静默结束时仍在触发的告警会再通知。`),
		example: "hostler alert silence failures --target nightly --for 2h --reason 'disk is being replaced'",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		x, err := c.SilenceAlerts(ctx, args[0], in)
		if err != nil {
			return err
		}
		return one(a, x, silenceColumns())
	})
	fs := cmd.Flags()
	fs.StringVar(&in.Target, "target", "", a.t("of this target only", "仅此对象"))
	fs.StringVar(&in.Reason, "reason", "", a.t("why; required", "原因；必填"))
	fs.Var(durationFlag{&in.For}, "for", a.t("how long, such as 2h", "时长，如 2h"))
	fs.Var(laterFlag{timeFlag{&in.Until, a.now}}, "until", a.t("instead of --for: until this time", "代替 --for：截止时间"))
	a.complete(cmd, "", alertRuleNames)
	return cmd
}

func silenceColumns() []column[hostler.AlertSilence] {
	return []column[hostler.AlertSilence]{
		col("rule", "规则", func(x hostler.AlertSilence) string { return x.Rule }),
		col("target", "对象", func(x hostler.AlertSilence) string { return dash(x.Target) }),
		col("until", "直至", func(x hostler.AlertSilence) string { return localTime(x.Until) }),
		col("by", "设置者", func(x hostler.AlertSilence) string { return x.By }),
		col("reason", "原因", func(x hostler.AlertSilence) string { return x.Reason }),
	}
}

func (a *app) alertUnsilence() *cobra.Command {
	var in hostler.AlertTarget
	cmd := a.cmd("unsilence RULE [flags]", doc{
		short: txt("end a silence", "结束静默"),
		long: txt("End the silence of an alert rule, or of one target of it. What fires is notified of.",
			"结束告警规则（或其中一个对象）的静默。正在触发的告警会随即通知。"),
		example: "hostler alert unsilence failures --target nightly",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		return c.UnsilenceAlerts(ctx, args[0], in)
	})
	cmd.Flags().StringVar(&in.Target, "target", "", a.t("the silence of this target", "此对象的静默"))
	a.complete(cmd, "", alertRuleNames)
	return cmd
}

func (a *app) alertSilences() *cobra.Command {
	return a.cmd("silences", doc{
		short:   txt("list silences", "列出静默"),
		long:    txt("List who silenced which alerts, why and until when.", "列出静默：由谁设置、原因、截止时间。"),
		example: "hostler alert silences",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		all, err := c.AlertSilences(ctx)
		if err != nil {
			return err
		}
		return list(a, all, silenceColumns())
	})
}
