package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

func (a *app) auditCmd() *cobra.Command {
	var limit int
	ls := a.cmd("list [flags]", doc{
		short:   txt("list what people and keys changed, newest first", "列出变更记录，最新在前"),
		long:    txt("Lists the audit: every change that a person or a key made.", "列出审计记录：人和密钥所做的每一次变更。"),
		example: "hostler audit list --limit 20",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, more, err := collect(ctx, c.Audit, limit)
		if err != nil {
			return err
		}
		a.noteMore(more)
		return list(a, items, []column[hostler.Audit]{
			col("time", "时间", func(x hostler.Audit) string { return when(x.At) }),
			col("user", "用户", func(x hostler.Audit) string { return x.User }),
			col("project", "项目", func(x hostler.Audit) string { return dash(x.Project) }),
			col("verb", "操作", func(x hostler.Audit) string { return x.Verb }),
			col("object", "对象", func(x hostler.Audit) string { return x.Object }),
			col("from", "来源", func(x hostler.Audit) string { return dash(x.Remote) }),
			col("detail", "详情", func(x hostler.Audit) string { return term.Truncate(string(x.Detail), 60) }),
		})
	})
	ls.Flags().IntVar(&limit, "limit", 100, a.t("at most this many; 0 for all", "最多条数；0 表示全部"))
	return a.group("audit", doc{
		short:   txt("see who changed what", "查看谁改了什么"),
		long:    txt("The audit is the append-only record of every change.", "审计是所有变更的只增记录。"),
		example: "hostler audit list",
	}, ls)
}
