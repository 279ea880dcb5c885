package cli

import (
	"cmp"
	"context"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

func (a *app) auditCmd() *cobra.Command {
	return a.group("audit", doc{
		short: txt("show who changed what", "查看谁改了什么"),
		long: txt("Show the audit log: an append-only record of every change.",
			"查看审计记录：所有变更的只增记录。"),
		example: "hostler audit list",
	}, a.auditList())
}

// auditList is 'hostler audit list'; it needs the role admin.
func (a *app) auditList() *cobra.Command {
	var limit int
	cmd := a.cmd("list [flags]", doc{
		short: txt("list changes by users and keys, newest first", "列出变更记录，最新在前"),
		long: txt("List the changes that users and keys made, newest first.",
			"列出用户和密钥所做的变更，最新在前。"),
		example: "hostler audit list --limit 20",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, more, err := collect(ctx, c.Audit, limit)
		if err != nil {
			return err
		}
		a.noteMore(more, limit)
		return list(a, items, a.auditColumns())
	})
	a.limitFlag(cmd, &limit)
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
		"auth": "请求", "asset": "资产", "credential": "凭据", "delivery": "投递", "hostkey": "主机密钥", "job": "作业", "key": "密钥",
		"project": "项目", "queue": "队列", "role": "角色", "user": "用户", "webhook": "回调", "worker": "工作节点",
	}
	chineseVerbs = map[string]string{
		"accept": "接受", "cancel": "取消", "cancel_all": "取消用户的全部", "change": "修改", "close_session": "关闭连接", "create": "创建",
		"delete": "删除", "disable": "停用", "enable": "启用", "import": "导入", "pause": "暂停", "pin": "固定", "refuse": "拒绝",
		"resend": "重发", "resolve": "确认结果", "resume": "恢复", "retry": "重试", "revoke": "吊销", "rotate": "轮换",
		"run": "执行", "set": "设置", "stop": "停止", "test": "测试", "update": "修改",
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
