package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// eventsCmd is 'hostler events'. Without -f it ends after the stored events; with -f it
// starts with new ones, unless --after names a position.
func (a *app) eventsCmd() *cobra.Command {
	var q hostler.EventFilter
	var follow, types bool
	var after int64
	var run, job string
	cmd := a.cmd("events [flags]", doc{
		short: txt("show events, and follow new ones", "查看并跟踪事件"),
		long: txt(`Show the stored events, oldest first. With -f, show new events as they happen, until
you press Ctrl-C. When the connection breaks, the command reconnects and continues
without a gap. All filters except --type apply to the events of jobs only.`,
			`按时间顺序显示已保存的事件。加 -f 则实时显示新事件，直到按下 Ctrl-C。
连接中断时会重新连接并继续，不会遗漏。除 --type 外的筛选条件只适用于作业事件。`),
		example: `hostler events -f
hostler events -f --type job.failed --type job.unknown
hostler events --after 0 --asset web1 -o json
hostler events --types`,
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		if types {
			return a.eventTypes(ctx, c)
		}
		if after < client.EventsFromNow {
			return hostler.Errorf(hostler.CodeInvalid, "--after takes a position of 0 or more",
				"--after 应为不小于 0 的位置")
		}
		if err := parseRefs(&q, run, job); err != nil {
			return err
		}
		return a.followEvents(ctx, c, q, after, follow)
	})
	f := cmd.Flags()
	f.BoolVarP(&follow, "follow", "f", false, a.t("follow new events", "持续显示新事件"))
	f.BoolVar(&types, "types", false, a.t("list the event types", "列出事件类型"))
	f.StringArrayVar(&q.Types, "type", nil, a.t("event type, or a pattern such as job.*; may be repeated",
		"事件类型，或 job.* 等模式；可重复"))
	f.StringVar(&q.Action, "action", "", a.t("only jobs of this action", "仅此动作的作业"))
	f.StringVar(&q.Queue, "queue", "", a.t("only jobs in this queue", "仅此队列中的作业"))
	f.StringVar(&q.Asset, "asset", "", a.t("only jobs on this asset", "仅此资产上的作业"))
	f.StringVar(&run, "run", "", a.t("only jobs of this run", "仅此批次的作业"))
	f.StringVar(&job, "job", "", a.t("only this job", "仅此作业"))
	f.Int64Var(&after, "after", client.EventsFromNow,
		a.t("start after this position; 0 is the oldest stored event (default: 0, with -f new events only)",
			"从此位置之后开始；0 为保存的最早事件（默认为 0，带 -f 时只显示新事件）"))
	f.Lookup("after").DefValue = "0" // the help text describes the default
	a.complete(cmd, "job", jobIDs())
	a.complete(cmd, "type", fixed(eventPatterns()...))
	a.complete(cmd, "action", actionNames)
	a.complete(cmd, "queue", queueNames)
	a.complete(cmd, "asset", assetNames())
	return cmd
}

// eventPatterns returns the event types, the pattern of each object, and "*".
func eventPatterns() []string {
	words := []string{"*"}
	for _, t := range hostler.EventTypes() {
		object, _, _ := strings.Cut(string(t), ".")
		words = append(words, string(t), object+".*")
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// parseRefs parses the ids of the flags --run and --job.
func parseRefs(q *hostler.EventFilter, run, job string) error {
	if err := q.Run.UnmarshalText([]byte(run)); err != nil {
		return err
	}
	return q.Job.UnmarshalText([]byte(job))
}

// eventTypes lists the catalogue of the server, which may know more types than this
// command.
func (a *app) eventTypes(ctx context.Context, c *client.Client) error {
	all, err := c.EventTypes(ctx)
	if err != nil {
		return err
	}
	return list(a, all, []column[hostler.EventInfo]{
		col("type", "类型", func(e hostler.EventInfo) string { return string(e.Type) }),
		col("description", "说明", func(e hostler.EventInfo) string { return e.Text.In(a.lang) }),
	})
}

// followEvents prints each event on a line, or as a JSON or YAML document.
func (a *app) followEvents(
	ctx context.Context, c *client.Client, q hostler.EventFilter, after int64, follow bool,
) error {
	steps := c.Events(ctx, q, after)
	if !follow {
		steps = c.StoredEvents(ctx, q, after)
	}
	for s, err := range steps {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil // Ctrl-C is the regular end
		case err != nil:
			return err
		}
		if err := a.printStep(s); err != nil {
			return err
		}
	}
	return nil
}

// printStep prints one step of a stream: an event, or a gap in the positions.
func (a *app) printStep(s client.EventStep) error {
	switch {
	case s.Missed < 0:
		a.note("this position does not belong to this database; continuing with new events",
			"该位置不属于此数据库；继续显示新事件")
		return nil
	case s.Missed > 0:
		a.note("%d events were already deleted", "有 %d 个事件已被删除", s.Missed)
		return nil
	case a.output == "json":
		return term.WriteJSONLine(a.out, s.Event)
	case a.output == "yaml":
		if _, err := fmt.Fprintln(a.out, "---"); err != nil {
			return err
		}
		return a.structured(s.Event)
	}
	_, err := fmt.Fprintf(a.out, "%s  %-18s  %s\n", eventTime(s.Event), s.Event.Type, term.Escape(a.describe(s.Event)))
	return err
}

// describe returns an event in words: what a reader looks for first comes first.
func (a *app) describe(e hostler.Event) string {
	var words []string
	add := func(s string) {
		if s != "" {
			words = append(words, s)
		}
	}
	var j hostler.JobEvent
	if strings.HasPrefix(string(e.Type), "job.") && json.Unmarshal(e.Data, &j) == nil {
		add(j.Job.String())
		add(j.Action)
		add(j.AssetName)
		if j.Attempt > 1 {
			add(fmt.Sprintf("#%d", j.Attempt))
		}
		if j.Error != nil {
			add(j.Error.Text.In(a.lang))
		}
		return strings.Join(words, "  ")
	}
	var o hostler.ObjectEvent
	if json.Unmarshal(e.Data, &o) == nil {
		add(o.Object)
		if o.By != "" {
			add(a.t("by ", "操作者 ") + o.By)
		}
	}
	return strings.Join(words, "  ")
}

// eventTime is the local time of an event, to the millisecond.
func eventTime(e hostler.Event) string { return e.At.Local().Format("2006-01-02 15:04:05.000") }
