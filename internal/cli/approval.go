package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// approvalCmd is 'hostler approval'.
func (a *app) approvalCmd() *cobra.Command {
	return a.group("approval", doc{
		short: txt("show what waits for an approval", "查看等待审批的内容"),
		long: txt("Show approvals. 'hostler approve' and 'hostler reject' decide on them.",
			"查看审批；用 'hostler approve' 和 'hostler reject' 作出决定。"),
		example: "hostler approval list\nhostler approval show apv_0001a2b3c4d",
	}, a.approvalList(), a.approvalShow())
}

func (a *app) approvalColumns() []column[hostler.Approval] {
	return []column[hostler.Approval]{
		col("approval", "审批", func(x hostler.Approval) string { return x.ID.String() }),
		col("title", "标题", func(x hostler.Approval) string { return x.Title }),
		col("state", "状态", func(x hostler.Approval) string { return string(x.State) }),
		col("run", "执行", func(x hostler.Approval) string { return x.Run.String() }),
		col("name", "名称", func(x hostler.Approval) string { return x.RunName }),
		col("requester", "发起人", func(x hostler.Approval) string { return x.Requester }),
		col("decided", "已决定", func(x hostler.Approval) string { return fmt.Sprintf("%d/%d", len(x.Decisions), x.Quorum) }),
		col("created", "创建时间", func(x hostler.Approval) string { return localTime(x.CreatedAt) }),
	}
}

func (a *app) approvalList() *cobra.Command {
	var all bool
	limit := 0
	cmd := a.cmd("list [flags]", doc{
		short:   txt("list approvals that wait", "列出等待中的审批"),
		long:    txt("List approvals that wait for people, newest first; with --all, decided ones too.", "列出等待人工处理的审批，最新在前；--all 包括已决定的。"),
		example: "hostler approval list\nhostler approval list --all -o json",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		state := hostler.ApprovalWaiting
		if all {
			state = ""
		}
		items, more, err := collect(ctx, func(ctx context.Context, p hostler.Page) (hostler.List[hostler.Approval], error) {
			return c.Approvals(ctx, state, 0, p)
		}, limit)
		if err != nil {
			return err
		}
		a.noteMore(more, limit)
		return list(a, items, a.approvalColumns())
	})
	cmd.Flags().BoolVar(&all, "all", false, a.t("also those that were decided", "包括已决定的"))
	a.limitFlag(cmd, &limit)
	return cmd
}

func approvalID(arg string) (id hostler.ApprovalID, err error) {
	return id, id.UnmarshalText([]byte(arg))
}

func (a *app) approvalShow() *cobra.Command {
	return a.cmd("show APPROVAL", doc{
		short: txt("show an approval, and what remains to run", "查看审批及其后将执行的内容"),
		long: txt("Show an approval with the steps that it lets run, as they were rendered, and their SHA-256.",
			"查看审批、通过后将执行的步骤（已渲染）及其 SHA-256。"),
		example: "hostler approval show apv_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		id, err := approvalID(args[0])
		if err != nil {
			return err
		}
		x, err := c.Approval(ctx, id)
		if err != nil {
			return err
		}
		return one(a, x, append(a.approvalColumns(),
			col("approvers", "审批人", func(x hostler.Approval) string { return strings.Join(x.Approvers, ", ") }),
			col("digest", "摘要", func(x hostler.Approval) string { return x.Digest }),
			col("plan", "内容", func(x hostler.Approval) string { return string(x.Plan) }),
		))
	})
}

// decideCmd is 'hostler approve' or 'hostler reject'.
func (a *app) decideCmd(verb string) *cobra.Command {
	var in hostler.DecisionInput
	d := doc{
		short: txt("approve what an approval describes", "通过审批"),
		long: txt(`Approve what an approval describes. The decision is bound to what runs behind it: name
its digest as you saw it, or leave it out to approve what the approval shows now. If a host, a
credential or a step has changed since, the approval is void and another one asks.`,
			`通过审批。决定与其后将执行的内容绑定：可用 --digest 指定所见的摘要；不指定则通过当前显示的内容。
若主机、凭据或步骤已变化，审批作废并重新请求。`),
		example: "hostler approve apv_0001a2b3c4d --comment 'QA passed'",
	}
	decide := (*client.Client).Approve
	if verb == "reject" {
		d = doc{
			short: txt("reject an approval, and end the run", "拒绝审批并结束执行"),
			long: txt("Reject an approval with a comment. The run ends as rejected; steps marked always still run.",
				"说明原因并拒绝审批：执行以 rejected 结束；标记 always 的步骤仍会执行。"),
			example: "hostler reject apv_0001a2b3c4d --comment 'login fails'",
		}
		decide = (*client.Client).Reject
	}
	cmd := a.cmd(verb+" APPROVAL [flags]", d, func(ctx context.Context, c *client.Client, args []string) error {
		id, err := approvalID(args[0])
		if err != nil {
			return err
		}
		if in.Digest == "" {
			x, err := c.Approval(ctx, id)
			if err != nil {
				return err
			}
			in.Digest = x.Digest
		}
		x, err := decide(c, ctx, id, in)
		if err != nil {
			return err
		}
		return one(a, x, a.approvalColumns())
	})
	cmd.Flags().StringVar(&in.Comment, "comment", "", a.t("comment; required for a rejection", "备注；拒绝时必填"))
	cmd.Flags().StringVar(&in.Digest, "digest", "", a.t("SHA-256 of what you saw", "所见内容的 SHA-256"))
	return cmd
}
