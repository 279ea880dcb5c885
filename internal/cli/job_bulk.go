package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// bulkSize is how many ids one bulk request takes.
const bulkSize = 500

// change is a change of jobs that are given by id or by filter.
type change struct {
	use     string
	doc     doc
	states  bool // the filter may choose states
	pick    []hostler.State
	prepare func(*hostler.BulkRequest) error
	send    func(*client.Client, context.Context, hostler.BulkRequest) (hostler.BulkResult, error)
}

func (a *app) jobCancel() *cobra.Command {
	return a.changeCmd(change{
		use: "cancel [JOB...] [flags]",
		doc: doc{
			short:   txt("cancel jobs, by id or by filter", "取消作业（按 ID 或筛选条件）"),
			long:    txt("Cancels jobs: waiting ones at once; of running ones the remote process is killed\nand seen to be gone.", "取消作业：等待中的立即取消；运行中的会终止远端进程并确认其已结束。"),
			example: "hostler job cancel job_0001a2b3c4d\nhostler job cancel --queue bulk --state queued,scheduled\nhostler job cancel --run run_0001a2b3c4d",
		},
		states: true,
		pick:   []hostler.State{hostler.StateScheduled, hostler.StateQueued, hostler.StateRunning},
		send:   (*client.Client).CancelJobs,
	})
}

func (a *app) jobRetry() *cobra.Command {
	return a.changeCmd(change{
		use: "retry [JOB...] [flags]",
		doc: doc{
			short:   txt("run ended jobs again, by id or by filter", "重新执行已结束的作业（按 ID 或筛选条件）"),
			long:    txt("Makes a new job like each ended one. The old job and its history stay.", "为每个已结束的作业创建一个相同的新作业；原作业及其历史保留。"),
			example: "hostler job retry job_0001a2b3c4d\nhostler job retry --run run_0001a2b3c4d --state failed",
		},
		states: true,
		pick:   []hostler.State{hostler.StateFailed, hostler.StateCancelled, hostler.StateExpired, hostler.StateSucceeded},
		send:   (*client.Client).RetryJobs,
	})
}

func (a *app) jobResolve() *cobra.Command {
	var state, note string
	cmd := a.changeCmd(change{
		use: "resolve [JOB...] [flags]",
		doc: doc{
			short:   txt("decide unknown jobs, by id or by filter", "裁定结果未知的作业（按 ID 或筛选条件）"),
			long:    txt("Decides jobs whose outcome is unknown. Look at the host first: Hostler lost sight\nof the command and cannot know whether it had its effect. Until then the job holds\nits lane.", "裁定结果未知的作业。请先检查主机：Hostler 失去了对命令的跟踪，无法知道它是否生效。\n裁定之前作业会占用其通道。"),
			example: "hostler job resolve job_0001a2b3c4d --as succeeded --note 'checked on the host'\nhostler job resolve --asset web1 --as failed",
		},
		pick: []hostler.State{hostler.StateUnknown},
		prepare: func(b *hostler.BulkRequest) error {
			b.State, b.Note = hostler.State(state), note
			if b.State == hostler.StateSucceeded || b.State == hostler.StateFailed {
				return nil
			}
			return hostler.Errorf(hostler.CodeInvalid, "--as takes succeeded or failed", "--as 只能是 succeeded 或 failed")
		},
		send: (*client.Client).ResolveJobs,
	})
	cmd.Flags().StringVar(&state, "as", "", a.t("succeeded or failed", "裁定为 succeeded（成功）或 failed（失败）"))
	cmd.Flags().StringVar(&note, "note", "", a.t("how you know; kept in the audit", "依据；记入审计"))
	a.complete(cmd, "as", fixed(string(hostler.StateSucceeded), string(hostler.StateFailed)))
	return cmd
}

func (a *app) changeCmd(ch change) *cobra.Command {
	var f hostler.JobFilter
	cmd := a.cmd(ch.use, ch.doc, func(ctx context.Context, c *client.Client, args []string) error {
		if len(args) == 0 && f.Empty() {
			return hostler.Errorf(hostler.CodeInvalid, "name jobs by id, or choose them with a filter", "请给出作业 ID 或筛选条件")
		}
		if len(args) > 0 && !f.Empty() {
			return hostler.Errorf(hostler.CodeInvalid, "give ids or a filter, not both", "ID 与筛选条件只能二选一")
		}
		items, err := ch.apply(ctx, c, args, f)
		if err != nil {
			return err
		}
		return a.sayChanged(items)
	})
	a.filterFlags(cmd, &f, ch.states)
	a.complete(cmd, "", jobIDs(ch.pick...))
	return cmd
}

// apply sends the change in as many requests as it takes.
func (ch change) apply(ctx context.Context, c *client.Client, args []string, f hostler.JobFilter) ([]hostler.ItemOutcome, error) {
	var b hostler.BulkRequest
	if ch.prepare != nil {
		if err := ch.prepare(&b); err != nil {
			return nil, err
		}
	}
	ids := make([]hostler.JobID, len(args))
	for i, arg := range args {
		if err := ids[i].UnmarshalText([]byte(arg)); err != nil {
			return nil, err
		}
	}
	var items []hostler.ItemOutcome
	for start := 0; start < len(ids); start += bulkSize {
		b.IDs = ids[start:min(start+bulkSize, len(ids))]
		r, err := ch.send(c, ctx, b)
		if err != nil {
			return items, err
		}
		items = append(items, r.Items...)
	}
	if len(ids) > 0 {
		return items, nil
	}
	return ch.applyFilter(ctx, c, b, f)
}

// applyFilter repeats the request while jobs match, and stops when a round
// changed nothing.
func (ch change) applyFilter(ctx context.Context, c *client.Client, b hostler.BulkRequest, f hostler.JobFilter) ([]hostler.ItemOutcome, error) {
	if len(f.States) == 0 {
		f.States = ch.pick
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

func failures(items []hostler.ItemOutcome) int {
	n := 0
	for _, it := range items {
		if !it.OK {
			n++
		}
	}
	return n
}

// sayChanged lists what became of each job; the exit code is 1 when one of them
// could not be changed.
func (a *app) sayChanged(items []hostler.ItemOutcome) error {
	if len(items) == 0 && a.output == "table" {
		a.note("no job matches", "没有符合条件的作业")
		return nil
	}
	return a.sayOutcomes(items, txt("job", "作业"))
}

// sayOutcomes lists what became of each object of a bulk change.
func (a *app) sayOutcomes(items []hostler.ItemOutcome, word hostler.Text) error {
	err := list(a, items, []column[hostler.ItemOutcome]{
		col(word.EN, word.ZH, func(x hostler.ItemOutcome) string { return x.ID }),
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
