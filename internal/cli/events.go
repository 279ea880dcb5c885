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

func (a *app) eventsCmd() *cobra.Command {
	var q hostler.EventFilter
	var follow, types bool
	var after int64
	var run, job string
	cmd := a.cmd("events [flags]", doc{
		short: txt("show what happens", "查看发生的事件"),
		long: txt(`Shows the events that are kept, oldest first, and ends; with -f it shows new ones
as they come, until it is interrupted. It resumes by itself when the connection
breaks, and says so when the server stays away. Filters but --type select among the events of jobs.`,
			`按时间顺序显示保留的事件后结束；加 -f 则持续显示新事件，直到被中断。
连接中断时自动续传；服务器一时无法连接时会提示。除 --type 外的过滤条件只选择作业事件。`),
		example: "hostler events -f\nhostler events -f --type 'job.failed' --type 'job.unknown'\nhostler events --after 0 --asset web1 -o json\nhostler events --types",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		if types {
			return a.eventTypes(ctx, c)
		}
		if after < client.EventsFromNow {
			return hostler.Errorf(hostler.CodeInvalid, "--after takes a position from 0 on", "--after 应为不小于 0 的位置")
		}
		if err := parseRefs(&q, run, job); err != nil {
			return err
		}
		return a.followEvents(ctx, c, q, after, follow)
	})
	f := cmd.Flags()
	f.BoolVarP(&follow, "follow", "f", false, a.t("go on with new events", "持续显示新事件"))
	f.BoolVar(&types, "types", false, a.t("list the types of event", "列出事件类型"))
	f.StringArrayVar(&q.Types, "type", nil, a.t("a type, or a pattern such as job.*; may be repeated", "事件类型或 job.* 这样的模式，可重复"))
	f.StringVar(&q.Action, "action", "", a.t("only jobs with this action", "仅此动作的作业"))
	f.StringVar(&q.Queue, "queue", "", a.t("only jobs in this queue", "仅此队列中的作业"))
	f.StringVar(&q.Asset, "asset", "", a.t("only jobs on this asset", "仅此资产上的作业"))
	f.StringVar(&run, "run", "", a.t("only jobs of this run", "仅此次执行的作业"))
	f.StringVar(&job, "job", "", a.t("only this job", "仅此作业"))
	f.Int64Var(&after, "after", client.EventsFromNow, a.t("begin behind this position; 0 is the oldest that is kept (default: new events with -f, else 0)", "从此位置之后开始；0 为保留的最早事件（默认：带 -f 时从新事件开始，否则为 0）"))
	f.Lookup("after").DefValue = "0" // the text says what the default is
	a.complete(cmd, "job", jobIDs())
	a.complete(cmd, "type", fixed(eventPatterns()...))
	a.complete(cmd, "action", actionNames)
	a.complete(cmd, "queue", queueNames)
	a.complete(cmd, "asset", assetNames())
	return cmd
}

// eventPatterns are the types of event, all of each object, and all.
func eventPatterns() []string {
	words := []string{"*"}
	for _, t := range hostler.EventTypes() {
		object, _, _ := strings.Cut(string(t), ".")
		words = append(words, string(t), object+".*")
	}
	slices.Sort(words)
	return slices.Compact(words)
}

func parseRefs(q *hostler.EventFilter, run, job string) error {
	if err := q.Run.UnmarshalText([]byte(run)); err != nil {
		return err
	}
	return q.Job.UnmarshalText([]byte(job))
}

func (a *app) eventTypes(ctx context.Context, c *client.Client) error {
	all, err := c.EventTypes(ctx)
	if err != nil {
		return err
	}
	return list(a, all, []column[hostler.EventInfo]{
		col("type", "类型", func(e hostler.EventInfo) string { return string(e.Type) }),
		col("when", "何时", func(e hostler.EventInfo) string { return e.Text.In(a.lang) }),
	})
}

// followEvents prints events one by one: a line each, or a JSON or YAML document
// each.
func (a *app) followEvents(ctx context.Context, c *client.Client, q hostler.EventFilter, after int64, follow bool) error {
	steps := c.Events(ctx, q, after)
	if !follow {
		steps = c.EventsKept(ctx, q, after)
	}
	for s, err := range steps {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil // interrupted: that is how it ends
		case err != nil:
			return err
		}
		if err := a.printStep(s); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printStep(s client.EventStep) error {
	switch {
	case s.Missed < 0:
		a.note("the position is not one of this database; going on with new events", "该位置不属于此数据库；继续显示新事件")
		return nil
	case s.Missed > 0:
		a.note("%d events are no longer kept", "有 %d 个事件已不再保留", s.Missed)
		return nil
	case a.output == "json":
		return term.WriteJSONLine(a.out, s.Event)
	case a.output == "yaml":
		if _, err := fmt.Fprintln(a.out, "---"); err != nil {
			return err
		}
		return a.structured(s.Event)
	}
	_, err := fmt.Fprintf(a.out, "%s  %-18s  %s\n", a.clock(s.Event), s.Event.Type, term.Escape(a.tell(s.Event)))
	return err
}

// tell is an event in words, in the order in which people look for them.
func (a *app) tell(e hostler.Event) string {
	var words []string
	say := func(s string) {
		if s != "" {
			words = append(words, s)
		}
	}
	var j hostler.JobEvent
	if strings.HasPrefix(string(e.Type), "job.") && json.Unmarshal(e.Data, &j) == nil {
		say(j.Job.String())
		say(j.Action)
		say(j.AssetName)
		if j.Attempt > 1 {
			say(fmt.Sprintf("#%d", j.Attempt))
		}
		if j.Error != nil {
			say(j.Error.Text.In(a.lang))
		}
		return strings.Join(words, "  ")
	}
	var o hostler.ObjectEvent
	if json.Unmarshal(e.Data, &o) == nil {
		say(o.Object)
		if o.By != "" {
			say(a.t("by ", "操作者 ") + o.By)
		}
	}
	return strings.Join(words, "  ")
}

// clock is the local time of an event, to the millisecond.
func (a *app) clock(e hostler.Event) string { return e.At.Local().Format("2006-01-02 15:04:05.000") }
