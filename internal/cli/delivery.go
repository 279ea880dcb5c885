package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// deliveryCmd is 'hostler delivery'. Operators may use it; webhooks themselves belong to
// admins.
func (a *app) deliveryCmd() *cobra.Command {
	return a.group("delivery", doc{
		short: txt("show the deliveries of webhooks and send them again", "查看回调的投递，并可重新发送"),
		long: txt(`Show the deliveries of webhooks and send them again. A delivery is one event for one
webhook: pending, delivered or failed. Its id is the webhook-id that the receiver
gets, the same at each attempt.`,
			`查看回调的投递，并可重新发送。投递是一个事件到一个回调的发送过程：pending（待投递）、
delivered（已投递）或 failed（失败）。其 ID 即接收方收到的 webhook-id，每次尝试都相同。`),
		example: `hostler delivery list --state failed --since 24h
hostler delivery get dlv_0001a2b3c4d
hostler delivery resend --webhook ops --state failed`,
	}, a.deliveryList(), a.deliveryGet(), a.deliveryResend(), a.setAsideCmd())
}

// deliveryColumns show the last response in short; 'delivery get' has every attempt.
func (a *app) deliveryColumns() []column[hostler.Delivery] {
	return []column[hostler.Delivery]{
		col("id", "ID", func(d hostler.Delivery) string { return d.ID.String() }),
		col("webhook", "回调", func(d hostler.Delivery) string { return receiverName(d) }),
		col("type", "事件", func(d hostler.Delivery) string { return string(d.Type) }),
		col("job", "作业", func(d hostler.Delivery) string { return dash(d.Job.String()) }),
		col("state", "状态", func(d hostler.Delivery) string { return a.deliveryState(d.State) }),
		col("attempts", "尝试次数", func(d hostler.Delivery) string { return fmt.Sprint(d.Tries) }),
		col("next attempt", "下次尝试", func(d hostler.Delivery) string { return optionalTime(d.NextAt) }),
		col("created", "创建时间", func(d hostler.Delivery) string { return localTime(d.Created) }),
		col("last response", "最近应答", func(d hostler.Delivery) string {
			return term.Truncate(a.response(d.Last), 60)
		}),
	}
}

// receiverName is the name of a webhook, or that of a channel after a #.
func receiverName(d hostler.Delivery) string {
	if d.ChannelName != "" {
		return "#" + d.ChannelName
	}
	return cmp.Or(d.Name, d.Webhook.String(), d.Channel.String())
}

func (a *app) deliveryState(s hostler.DeliveryState) string {
	switch s {
	case hostler.DeliveryPending:
		return a.t("pending", "待投递")
	case hostler.DeliveryDelivered:
		return a.t("delivered", "已投递")
	case hostler.DeliveryFailed:
		return a.t("failed", "失败")
	}
	return string(s)
}

// response describes an attempt in a line: status, duration, error.
func (a *app) response(at *hostler.DeliveryAttempt) string {
	if at == nil {
		return "-"
	}
	var parts []string
	if at.Status != 0 {
		parts = append(parts, fmt.Sprint(at.Status))
	}
	parts = append(parts, (time.Duration(at.Millis*1000) * time.Microsecond).Round(time.Millisecond).String())
	if at.Error != nil {
		parts = append(parts, at.Error.In(a.lang))
	}
	return strings.Join(parts, " ")
}

// deliveryIDs completes the ids of deliveries, described by state, webhook and event.
func deliveryIDs() completer {
	return named(func(c *client.Client) client.Lister[hostler.Delivery] {
		return c.DeliveriesLister(hostler.DeliveryFilter{})
	}, func(d hostler.Delivery) string {
		return d.ID.String() + "\t" + string(d.State) + " " + receiverName(d) + " " + string(d.Type)
	})
}

// deliveryFilter binds the flags that select deliveries.
func (a *app) deliveryFilter(cmd *cobra.Command, f *hostler.DeliveryFilter) {
	fs := cmd.Flags()
	fs.StringVar(&f.Webhook, "webhook", "",
		a.t("only deliveries to this webhook, by name or id", "只选此回调的投递（名称或 ID）"))
	fs.StringVar(&f.Channel, "channel", "",
		a.t("only deliveries to this channel, by name or id", "只选此通知渠道的投递（名称或 ID）"))
	fs.Var(stringFlag[hostler.DeliveryState]{&f.State}, "state",
		a.t("only deliveries in this state: pending, delivered or failed",
			"只选此状态的投递：pending、delivered 或 failed"))
	fs.Var(stringFlag[hostler.EventType]{&f.Type}, "type", a.t("only deliveries of this event type",
		"只选此类事件的投递"))
	fs.Var(idFlag{&f.Job}, "job", a.t("only deliveries about this job", "只选与此作业有关的投递"))
	fs.Var(timeFlag{&f.Since, a.now}, "since",
		a.t("created at or after this time, such as 2h or 2026-01-31",
			"在此时间之后创建，如 2h 或 2026-01-31"))
	fs.Var(timeFlag{&f.Until, a.now}, "until", a.t("created before this time", "在此时间之前创建"))
	a.complete(cmd, "webhook", webhookNames())
	a.complete(cmd, "channel", channelNames())
	a.complete(cmd, "state", fixed("pending", "delivered", "failed"))
	a.complete(cmd, "type",
		fixed(names(hostler.EventCatalogue(), func(e hostler.EventInfo) string { return string(e.Type) })...))
	a.complete(cmd, "job", jobIDs())
}

func (a *app) deliveryList() *cobra.Command {
	var f hostler.DeliveryFilter
	var limit int
	cmd := a.cmd("list [flags]", doc{
		short: txt("list deliveries, newest first", "列出投递，最新在前"),
		long: txt("List deliveries, newest first. Filters are combined.",
			"列出投递，最新在前；筛选条件可组合。"),
		example: `hostler delivery list --state failed
hostler delivery list --webhook ops --since 24h --limit 0 -o json`,
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, more, err := collect(ctx, c.DeliveriesLister(f), limit)
		if err != nil {
			return err
		}
		a.noteMore(more, limit)
		return list(a, items, a.deliveryColumns())
	})
	a.deliveryFilter(cmd, &f)
	a.limitFlag(cmd, &limit)
	return cmd
}

func (a *app) deliveryGet() *cobra.Command {
	cmd := a.cmd("get DELIVERY", doc{
		short: txt("show a delivery: the body and each attempt", "查看投递：请求体与每次尝试"),
		long: txt("Show a delivery: its body, and each attempt with headers, status, response and duration.",
			"查看投递的请求体，以及每次尝试的请求头、状态码、应答和耗时。"),
		example: "hostler delivery get dlv_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var id hostler.DeliveryID
		if err := id.UnmarshalText([]byte(args[0])); err != nil {
			return err
		}
		d, err := c.Delivery(ctx, id)
		if err != nil {
			return err
		}
		return a.showDelivery(d)
	})
	a.complete(cmd, "", deliveryIDs())
	return cmd
}

// showDelivery prints a delivery and its attempts: the headers of each request
// after ">", the response after "<".
func (a *app) showDelivery(d hostler.Delivery) error {
	if a.output != "table" {
		return a.structured(d)
	}
	cols := append(a.deliveryColumns(),
		col("ended", "结束时间", func(d hostler.Delivery) string { return optionalTime(d.Ended) }),
		col("body", "请求体", func(d hostler.Delivery) string { return dash(d.Body) }))
	if err := one(a, d, cols); err != nil {
		return err
	}
	for _, at := range d.Attempts {
		if _, err := io.WriteString(a.out, a.attemptText(at)); err != nil {
			return err
		}
	}
	return nil
}

// attemptText describes one attempt: a headline, the request headers, the response.
func (a *app) attemptText(at hostler.DeliveryAttempt) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d  %s  %s\n", at.N, localTime(at.At), term.Escape(a.response(&at)))
	for _, name := range slices.Sorted(maps.Keys(at.Request)) {
		fmt.Fprintf(&b, "   > %s: %s\n", term.Escape(name), term.Escape(at.Request[name]))
	}
	for line := range strings.Lines(term.EscapeLines(at.Response)) {
		fmt.Fprintf(&b, "   < %s\n", strings.TrimRight(line, "\n"))
	}
	return b.String()
}

// deliveryResend is 'hostler delivery resend'. A filter without a state selects failed
// deliveries; the server decides this.
func (a *app) deliveryResend() *cobra.Command {
	var f hostler.DeliveryFilter
	cmd := a.cmd("resend [DELIVERY...] [flags]", doc{
		short: txt("send deliveries again, by id or by filter", "重新发送投递（按 ID 或筛选条件）"),
		long: txt(`Send deliveries again, with the same id and a new series of attempts. A filter without
--state selects failed deliveries.`,
			`重新发送投递，ID 不变，重试计划重新开始。筛选条件未指定状态时选择失败的投递。`),
		example: "hostler delivery resend dlv_0001a2b3c4d\nhostler delivery resend --webhook ops --since 24h",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		empty := f == hostler.DeliveryFilter{}
		switch {
		case len(args) == 0 && empty:
			return hostler.Errorf(hostler.CodeInvalid,
				"give the ids of deliveries, or a filter", "请给出投递 ID 或筛选条件")
		case len(args) > 0 && !empty:
			return hostler.Errorf(hostler.CodeInvalid,
				"give ids or a filter, not both", "ID 与筛选条件只能二选一")
		}
		items, err := resend(ctx, c, args, f)
		if err != nil {
			return err
		}
		if len(items) == 0 && a.output == "table" {
			a.note("no delivery matches", "没有符合条件的投递")
			return nil
		}
		return a.printOutcomes(items, txt("delivery", "投递"))
	})
	a.deliveryFilter(cmd, &f)
	a.complete(cmd, "", deliveryIDs())
	return cmd
}

// resend sends as many requests as needed. With a filter, it stops when a request
// changed nothing.
func resend(
	ctx context.Context, c *client.Client, args []string, f hostler.DeliveryFilter,
) ([]hostler.ItemOutcome, error) {
	ids := make([]hostler.DeliveryID, len(args))
	for i, arg := range args {
		if err := ids[i].UnmarshalText([]byte(arg)); err != nil {
			return nil, err
		}
	}
	var items []hostler.ItemOutcome
	for chunk := range slices.Chunk(ids, bulkSize) {
		r, err := c.ResendDeliveries(ctx, hostler.DeliverySelection{IDs: chunk})
		if err != nil {
			return items, err
		}
		items = append(items, r.Items...)
	}
	for len(ids) == 0 {
		r, err := c.ResendDeliveries(ctx, hostler.DeliverySelection{Filter: &f})
		if err != nil {
			return items, err
		}
		items = append(items, r.Items...)
		if !r.More || len(r.Items) == failures(r.Items) {
			break
		}
	}
	return items, nil
}
