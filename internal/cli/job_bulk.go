package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// bulkSize is how many ids one bulk request takes.
const bulkSize = 500

// bulkChange is a change of jobs that are selected by id or by filter.
type bulkChange struct {
	use        string
	doc        doc
	stateFlag  bool            // the filter may select states
	applicable []hostler.State // the states that the change applies to
	prepare    func(*hostler.BulkRequest) error
	send       func(*client.Client, context.Context, hostler.BulkRequest) (hostler.BulkResult, error)
}

// jobCancel is 'hostler job cancel'.
func (a *app) jobCancel() *cobra.Command {
	return a.bulkCmd(bulkChange{
		use: "cancel [JOB...] [flags]",
		doc: doc{
			short: txt("cancel jobs, by id or by filter", "取消作业（按 ID 或筛选条件）"),
			long: txt(`Cancel jobs. A waiting job is cancelled at once; of a running one, the remote process
group is killed and verified gone.`,
				`取消作业：等待中的立即取消；运行中的会终止远端进程组，并确认其已结束。`),
			example: `hostler job cancel job_0001a2b3c4d
hostler job cancel --queue bulk --state queued,scheduled
hostler job cancel --run run_0001a2b3c4d`,
		},
		stateFlag:  true,
		applicable: []hostler.State{hostler.StateScheduled, hostler.StateQueued, hostler.StateRunning},
		send:       (*client.Client).CancelJobs,
	})
}

// jobRetry is 'hostler job retry': a person's decision, not the automatic retries of
// --retries, which are attempts of the same job.
func (a *app) jobRetry() *cobra.Command {
	var override hostler.RuleOverride
	var overCalendar string
	cmd := a.bulkCmd(bulkChange{
		use: "retry [JOB...] [flags]",
		doc: doc{
			short: txt("run ended jobs again, by id or by filter",
				"重新执行已结束的作业（按 ID 或筛选条件）"),
			long: txt(`Create a new job for each ended one, with the same action and arguments. The old job
and its history stay.`,
				"为每个已结束的作业创建一个动作和参数相同的新作业；原作业及其历史保留。"),
			example: "hostler job retry job_0001a2b3c4d\nhostler job retry --run run_0001a2b3c4d --state failed",
		},
		stateFlag: true,
		applicable: []hostler.State{
			hostler.StateFailed, hostler.StateCancelled, hostler.StateExpired, hostler.StateSucceeded,
		},
		prepare: func(b *hostler.BulkRequest) error {
			b.OverrideRule, b.OverrideCalendar = overrideOf(override), calendarOverride(overCalendar)
			return nil
		},
		send: (*client.Client).RetryJobs,
	})
	a.overrideFlags(cmd, &override)
	a.calendarOverrideFlag(cmd.Flags(), &overCalendar)
	return cmd
}

// jobResolve is 'hostler job resolve'. It has no --state: it applies to unknown jobs only.
func (a *app) jobResolve() *cobra.Command {
	var state, note string
	cmd := a.bulkCmd(bulkChange{
		use: "resolve [JOB...] [flags]",
		doc: doc{
			short: txt("set the outcome of unknown jobs, by id or by filter",
				"确认结果未知的作业（按 ID 或筛选条件）"),
			long: txt(`Set the outcome of unknown jobs. The connection or the worker was lost while the
command may already have taken effect, so check the host first. Until then the job
occupies its lane.`,
				`确认结果未知的作业。命令可能已经生效时，连接或工作节点丢失，因此请先检查主机。
确认之前，作业会占用其通道。`),
			example: `hostler job resolve job_0001a2b3c4d --as succeeded --note 'checked on the host'
hostler job resolve --asset web1 --as failed`,
		},
		applicable: []hostler.State{hostler.StateUnknown},
		prepare: func(b *hostler.BulkRequest) error {
			b.State, b.Note = hostler.State(state), note
			if b.State == hostler.StateSucceeded || b.State == hostler.StateFailed {
				return nil
			}
			return hostler.Errorf(hostler.CodeInvalid, "--as takes succeeded or failed",
				"--as 只能是 succeeded 或 failed")
		},
		send: (*client.Client).ResolveJobs,
	})
	fs := cmd.Flags()
	fs.StringVar(&state, "as", "", a.t("succeeded or failed", "确认为 succeeded（成功）或 failed（失败）"))
	fs.StringVar(&note, "note", "", a.t("the evidence, for the audit log", "依据；记入审计"))
	a.complete(cmd, "as", fixed(string(hostler.StateSucceeded), string(hostler.StateFailed)))
	return cmd
}

// bulkCmd makes the command of a change.
func (a *app) bulkCmd(ch bulkChange) *cobra.Command {
	var f hostler.JobFilter
	cmd := a.cmd(ch.use, ch.doc, func(ctx context.Context, c *client.Client, args []string) error {
		if len(args) == 0 && f.Empty() {
			return hostler.Errorf(hostler.CodeInvalid, "give the ids of jobs, or a filter",
				"请给出作业 ID 或筛选条件")
		}
		if len(args) > 0 && !f.Empty() {
			return hostler.Errorf(hostler.CodeInvalid, "give ids or a filter, not both",
				"ID 与筛选条件只能二选一")
		}
		items, err := ch.apply(ctx, c, args, f)
		if err != nil {
			return err
		}
		if len(items) == 0 && a.output == "table" {
			a.note("no job matches", "没有符合条件的作业")
			return nil
		}
		return a.printOutcomes(items, txt("job", "作业"))
	})
	a.jobFilterFlags(cmd, &f, ch.stateFlag)
	a.complete(cmd, "", jobIDs(ch.applicable...))
	return cmd
}

// apply sends the change in as many requests as needed.
func (ch bulkChange) apply(
	ctx context.Context, c *client.Client, args []string, f hostler.JobFilter,
) ([]hostler.ItemOutcome, error) {
	var b hostler.BulkRequest
	if ch.prepare != nil {
		if err := ch.prepare(&b); err != nil {
			return nil, err
		}
	}
	if len(args) == 0 {
		return ch.applyFilter(ctx, c, b, f)
	}
	ids := make([]hostler.JobID, len(args))
	for i, arg := range args {
		if err := ids[i].UnmarshalText([]byte(arg)); err != nil {
			return nil, err
		}
	}
	var items []hostler.ItemOutcome
	for b.IDs = range slices.Chunk(ids, bulkSize) {
		r, err := ch.send(c, ctx, b)
		if err != nil {
			return items, err
		}
		items = append(items, r.Items...)
	}
	return items, nil
}

// applyFilter repeats the request while more jobs match. It stops when a request
// changed nothing, since the next one would select the same jobs.
func (ch bulkChange) applyFilter(
	ctx context.Context, c *client.Client, b hostler.BulkRequest, f hostler.JobFilter,
) ([]hostler.ItemOutcome, error) {
	if len(f.States) == 0 {
		f.States = ch.applicable
	}
	b.Filter = &f
	var items []hostler.ItemOutcome
	for {
		r, err := ch.send(c, ctx, b)
		if err != nil {
			return items, err
		}
		items = append(items, r.Items...)
		if !r.More || len(r.Items) == failures(r.Items) {
			return items, nil
		}
	}
}

// failures counts the items that could not be changed.
func failures(items []hostler.ItemOutcome) int {
	n := 0
	for _, it := range items {
		if !it.OK {
			n++
		}
	}
	return n
}

// printOutcomes lists the result of a bulk change for each object; the exit code
// is 1 when one of them could not be changed.
func (a *app) printOutcomes(items []hostler.ItemOutcome, kind hostler.Text) error {
	err := list(a, items, []column[hostler.ItemOutcome]{
		col(kind.EN, kind.ZH, func(x hostler.ItemOutcome) string { return x.ID }),
		col("done", "完成", func(x hostler.ItemOutcome) string { return a.yesNo(x.OK) }),
		col("reason", "原因", func(x hostler.ItemOutcome) string {
			if x.Error == nil {
				return "-"
			}
			return x.Error.In(a.lang)
		}),
	})
	if err == nil && failures(items) > 0 {
		return &outcomeError{exitNotSucceeded}
	}
	return err
}
