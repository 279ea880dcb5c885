package cli

import (
	"cmp"
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

func (a *app) auditCmd() *cobra.Command {
	return a.group("audit", doc{
		short: txt("show who changed what, and verify the record", "查看谁改了什么，并验证记录"),
		long: txt(`Show, export and verify the audit: an append-only record of every change. Its rows are
chained by hashes, and the chain is signed with a key that is not in the database.`,
			`查看、导出和验证审计：所有变更的只增记录。各条记录以哈希相连，并由不在数据库中的密钥签名。`),
		example: "hostler audit list --user li --since 24h\nhostler audit verify",
	}, a.auditList(), a.auditExport(), a.auditVerify())
}

// auditList is 'hostler audit list'; it needs the role admin.
func (a *app) auditList() *cobra.Command {
	var f hostler.AuditFilter
	var limit int
	cmd := a.cmd("list [flags]", doc{
		short: txt("list changes by users and keys, newest first", "列出变更记录，最新在前"),
		long: txt("List the changes that users and keys made, newest first. Filters are combined.",
			"列出用户和密钥所做的变更，最新在前；筛选条件可组合。"),
		example: "hostler audit list --limit 20\nhostler audit list --verb job.run --object run_01m8x4c7t2q",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, more, err := collect(ctx, c.AuditWith(f), limit)
		if err != nil {
			return err
		}
		a.noteMore(more, limit)
		return list(a, items, a.auditColumns())
	})
	a.auditFilter(cmd, &f)
	a.limitFlag(cmd, &limit)
	return cmd
}

// auditFilter binds the flags that select rows of the audit.
func (a *app) auditFilter(cmd *cobra.Command, f *hostler.AuditFilter) {
	fs := cmd.Flags()
	fs.StringVar(&f.User, "user", "", a.t("only changes by this user", "只选此用户的变更"))
	fs.StringVar(&f.Verb, "verb", "", a.t("only this kind of change, such as job.run",
		"只选此类变更，如 job.run"))
	fs.StringVar(&f.Object, "object", "", a.t("only changes of this object, by the name or id that the list shows",
		"只选对此对象的变更（列表中显示的名称或 ID）"))
	fs.Var(timeFlag{&f.Since, a.now}, "since",
		a.t("at or after this time, such as 2h or 2026-01-31", "在此时间之后，如 2h 或 2026-01-31"))
	fs.Var(timeFlag{&f.Until, a.now}, "until", a.t("before this time", "在此时间之前"))
	a.complete(cmd, "user", userNames)
	a.complete(cmd, "verb", fixed(auditVerbs...))
}

// auditVerbs are completed for --verb.
var auditVerbs = []string{
	"alert.rule_delete", "alert.rule_set", "alert.silence", "alert.test", "alert.unsilence", "approval.approve", "approval.reject", "approval.void", "artefact.delete", "asset.change", "asset.confirm",
	"asset.create", "asset.delete", "asset.import", "audit.broken", "auth.refuse",
	"calendar.delete", "calendar.set",
	"channel.create", "channel.delete", "channel.test", "channel.update", "credential.allow",
	"credential.change", "credential.create", "credential.delete", "credential.forbid",
	"delivery.aside.delete", "delivery.aside.retry", "delivery.resend", "dispatch.hold",
	"dispatch.release", "hold.end", "hold.set", "hostkey.accept", "hostkey.pin", "hostkey.revoke",
	"inbound.create", "inbound.delete", "inbound.pause", "inbound.resume", "inbound.rotate", "job.cancel",
	"job.cancel_all", "job.resolve", "job.retry", "job.run", "job.verify", "key.create", "key.revoke",
	"key.rotate", "lane.release", "project.change", "project.create", "queue.pause",
	"queue.resume", "queue.set", "role.change", "role.create", "role.delete", "rule.refuse",
	"rule.reset", "rule.set", "run.follow", "run.pause", "run.resume", "run.retry_failed", "run.skip",
	"run.start", "run.terminate", "schedule.change", "schedule.create", "schedule.delete",
	"schedule.pause", "schedule.resume", "task.apply", "task.delete", "template.publish",
	"template.restore", "template.retire", "user.change", "user.create", "webhook.create",
	"webhook.delete", "webhook.disable", "webhook.enable", "webhook.rotate", "webhook.test",
	"webhook.update", "worker.close_session", "worker.stop",
}

// auditExport is 'hostler audit export'.
func (a *app) auditExport() *cobra.Command {
	var f hostler.AuditFilter
	var file string
	cmd := a.cmd("export [flags]", doc{
		short: txt("write changes as JSON lines, oldest first", "将变更导出为 JSON 行，最早在前"),
		long: txt(`Write the changes that users and keys made as JSON lines, oldest first: a JSON object
per line, as in 'audit list -o json'. A file is replaced when the export is complete.`,
			`将用户和密钥所做的变更导出为 JSON 行，最早在前：每行一个 JSON 对象，与
'audit list -o json' 相同。导出完成后才会替换文件。`),
		example: "hostler audit export --since 30d > audit.jsonl\nhostler audit export --user li -f li.jsonl",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		if a.output != "table" {
			return hostler.Errorf(hostler.CodeInvalid, "an export is JSON lines: leave out -o",
				"导出格式为 JSON 行：请去掉 -o")
		}
		if file == "" {
			return c.ExportAudit(ctx, f, a.out)
		}
		return writeFile(file, func(w io.Writer) error { return c.ExportAudit(ctx, f, w) })
	})
	a.auditFilter(cmd, &f)
	cmd.Flags().StringVarP(&file, "file", "f", "", a.t("file to write (default: standard output)",
		"输出文件（默认：标准输出）"))
	return cmd
}

// auditColumns cut the details; -o json has all of them.
func (a *app) auditColumns() []column[hostler.Audit] {
	return []column[hostler.Audit]{
		col("time", "时间", func(x hostler.Audit) string { return localTime(x.At) }),
		col("user", "用户", func(x hostler.Audit) string { return x.User }),
		col("project", "项目", func(x hostler.Audit) string { return dash(x.Project) }),
		col("action", "操作", func(x hostler.Audit) string { return a.auditVerb(x.Verb) }),
		col("object", "对象", func(x hostler.Audit) string { return x.Object }),
		col("from", "来源", func(x hostler.Audit) string { return dash(x.Remote) }),
		col("details", "详情", func(x hostler.Audit) string { return term.Truncate(string(x.Detail), 60) }),
	}
}

// chineseObjects and chineseVerbs translate the parts of a verb such as job.cancel.
var (
	chineseObjects = map[string]string{
		"alert": "告警", "approval": "审批", "artefact": "产物", "asset": "资产", "audit": "审计", "auth": "请求", "calendar": "日历", "channel": "通知渠道",
		"credential": "凭据", "delivery": "投递", "dispatch": "作业分派", "hold": "暂停", "hostkey": "主机密钥", "inbound": "触发器",
		"job": "作业", "key": "密钥", "lane": "通道", "project": "项目", "queue": "队列",
		"role": "角色", "rule": "命令规则", "run": "执行", "schedule": "计划", "task": "任务",
		"template": "模板", "user": "用户", "webhook": "回调", "worker": "工作节点",
	}
	chineseVerbs = map[string]string{
		"rule_set": "设置规则", "rule_delete": "删除规则", "silence": "静默", "unsilence": "结束静默",
		"verify": "探测结果", "accept": "接受", "allow": "允许使用", "apply": "应用", "approve": "通过",
		"aside.delete": "删除被搁置的", "aside.retry": "重试被搁置的", "broken": "发现被改动的",
		"cancel": "取消", "cancel_all": "取消用户的全部", "change": "修改",
		"close_session": "关闭连接", "confirm": "确认", "create": "创建", "delete": "删除",
		"disable": "停用", "end": "结束", "enable": "启用", "forbid": "禁止使用", "hold": "暂停", "import": "导入",
		"pause": "暂停", "pin": "固定", "publish": "发布", "refuse": "拒绝", "reject": "拒绝",
		"release": "放行", "resend": "重发", "reset": "重置", "resolve": "确认结果",
		"restore": "恢复", "resume": "恢复", "retire": "停用", "retry": "重试",
		"retry_failed": "重试失败步骤的", "revoke": "吊销", "rotate": "轮换", "run": "执行",
		"set": "设置", "follow": "后续触发", "skip": "跳过步骤的", "start": "启动", "stop": "停止", "terminate": "终止",
		"test": "测试", "update": "修改", "void": "作废",
	}
)

// auditVerb names a verb in the language of the invocation: 取消作业 for job.cancel.
func (a *app) auditVerb(verb string) string {
	object, act, ok := strings.Cut(verb, ".")
	if a.lang != hostler.LangZH || !ok {
		return verb
	}
	return cmp.Or(chineseVerbs[act], act) + cmp.Or(chineseObjects[object], object)
}

// userNames completes the names of users.
func userNames(ctx context.Context, c *client.Client) ([]string, error) {
	l, err := c.Users(ctx, hostler.Page{Limit: completionPage})
	return names(l.Items, func(u hostler.User) string { return u.Name }), err
}
