package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// setAsideCmd is 'hostler delivery set-aside', for admins of the project default.
func (a *app) setAsideCmd() *cobra.Command {
	return a.group("set-aside", doc{
		short: txt("list and retry events that could not be delivered", "查看并重试无法投递的事件"),
		long: txt(`Events that the server could not make deliveries of are set aside, and the rest goes on.
The log of the server says why. A range of events is named by its last position.`,
			`服务无法为其生成投递的事件会被搁置，其余事件继续投递；原因见服务日志。
一段事件以其最后一个位置为名称。`),
		example: `hostler delivery set-aside list
hostler delivery set-aside retry 4711`,
	}, a.setAsideList(),
		a.setAsideChange("retry", txt("deliver events that were set aside", "重新投递被搁置的事件"),
			txt("retrying %s", "正在重试 %s"), (*client.Client).RetrySetAside),
		a.setAsideChange("delete", txt("delete events that were set aside", "删除被搁置的事件"),
			txt("deleted %s", "已删除 %s"), (*client.Client).DeleteSetAside))
}

func (a *app) setAsideList() *cobra.Command {
	return a.cmd("list", doc{
		short:   txt("list events that could not be delivered", "列出无法投递的事件"),
		long:    txt("List the events that could not be made into deliveries.", "列出无法生成投递的事件。"),
		example: "hostler delivery set-aside list -o json",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, err := c.SetAside(ctx)
		if err != nil {
			return err
		}
		return list(a, items, []column[hostler.SetAside]{
			col("last", "末位置", func(s hostler.SetAside) string { return fmt.Sprint(s.Last) }),
			col("events", "事件数", func(s hostler.SetAside) string { return fmt.Sprint(s.Last - s.First + 1) }),
			col("webhook", "回调", func(s hostler.SetAside) string { return dash(s.Webhook.String()) }),
			col("set aside", "搁置时间", func(s hostler.SetAside) string { return localTime(s.At) }),
			col("retrying", "重试中", func(s hostler.SetAside) string { return a.yesNo(s.Retrying) }),
			col("error", "原因", func(s hostler.SetAside) string { return term.Truncate(s.Error, 60) }),
		})
	})
}

// setAsideChange makes the commands retry and delete.
func (a *app) setAsideChange(
	verb string, short, done hostler.Text, call func(c *client.Client, ctx context.Context, last int64) error,
) *cobra.Command {
	cmd := a.cmd(verb+" LAST...", doc{
		short: short,
		long: txt("Name each range of events by its last position, as listed.",
			"以列表中的末位置指定每一段事件。"),
		example: "hostler delivery set-aside " + verb + " 4711",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		for _, arg := range args {
			last, err := strconv.ParseInt(arg, 10, 64)
			if err != nil || last < 1 {
				return hostler.Errorf(hostler.CodeInvalid, "%q is not a position", "%q 不是位置", arg)
			}
			if err := call(c, ctx, last); err != nil {
				return err
			}
			a.note(done.EN, done.ZH, arg)
		}
		return nil
	})
	a.complete(cmd, "", func(ctx context.Context, c *client.Client) ([]string, error) {
		items, err := c.SetAside(ctx)
		return names(items, func(s hostler.SetAside) string { return fmt.Sprint(s.Last) + "\t" + s.Error }), err
	})
	return cmd
}
