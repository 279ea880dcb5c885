package cli

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// This file is what follows a run: wait for it, cancel it, run it again, compare it.

// runAction makes a command on a run, which the id of a job of it names too.
func (a *app) runAction(
	use string, d doc, do func(ctx context.Context, c *client.Client, id hostler.RunID) error,
) *cobra.Command {
	cmd := a.cmd(use, d, func(ctx context.Context, c *client.Client, args []string) error {
		id, err := a.runOf(ctx, c, args[0])
		if err != nil {
			return err
		}
		return do(ctx, c, id)
	})
	a.complete(cmd, "", runIDs())
	return cmd
}

// isFlow reports whether a run is more than jobs on some hosts.
func isFlow(r hostler.Run) bool { return r.Source != "" && r.Source != hostler.RunAdHoc }

// waitAndShow waits for a run and shows it: as a flow, or with the output of its hosts.
func (a *app) waitAndShow(ctx context.Context, c *client.Client, id hostler.RunID) error {
	r, err := c.Run(ctx, id)
	if err != nil {
		return err
	}
	if isFlow(r) {
		return a.waitRun(ctx, c, id)
	}
	if r, err = a.followRun(ctx, c, id, inWaves(r)); err != nil {
		return err
	}
	return a.showRun(ctx, c, r, &outputFlags{})
}

// inWaves reports whether hosts of a run start after others, so that it may have jobs to come.
func inWaves(r hostler.Run) bool {
	return slices.ContainsFunc(r.Steps, func(s hostler.RunStep) bool { return s.Started < s.Hosts })
}

func (a *app) runWait() *cobra.Command {
	return a.runAction("wait RUN", doc{
		short: txt("wait for a run and show its output", "等待执行结束并显示输出"),
		long: txt("Wait until a run has ended, or waits for people, and show the output of its hosts.",
			"等待执行结束或等待人工处理，并显示各主机的输出。"),
		example: "hostler run wait run_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, id hostler.RunID) error { return a.waitAndShow(ctx, c, id) })
}

func (a *app) runCancel() *cobra.Command {
	wait := false
	cmd := a.runAction("cancel RUN [flags]", doc{
		short: txt("cancel a run and its jobs", "取消执行及其作业"),
		long: txt(`Cancel a run. Waiting jobs are cancelled at once; running ones are stopped on their hosts,
which takes a moment: --wait waits until it is verified.`,
			`取消执行：等待的作业立即取消；运行中的作业在主机上被停止，需要一点时间，--wait 等待确认结束。`),
		example: "hostler run cancel run_0001a2b3c4d --wait",
	}, func(ctx context.Context, c *client.Client, id hostler.RunID) error {
		r, err := c.Run(ctx, id)
		if err != nil {
			return err
		}
		if r.State.Ended() || r.State == "" && r.Done {
			return hostler.Errorf(hostler.CodeConflict, "the run %s has ended already: %s", "执行 %s 已经结束：%s", id,
				a.countsByState(r.RunSummary))
		}
		if r.State != "" {
			r, err = c.TerminateRun(ctx, id)
		} else {
			_, err = c.CancelJobs(ctx, hostler.BulkRequest{Filter: &hostler.JobFilter{Run: id}})
		}
		if err != nil {
			return err
		}
		if wait {
			if r, err = a.followRun(ctx, c, id, false); err != nil {
				return err
			}
		} else if r, err = c.Run(ctx, id); err != nil {
			return err
		}
		if a.output != "table" {
			return a.structured(r)
		}
		if n := r.States[hostler.StateRunning]; n > 0 {
			a.note("cancel requested: %d jobs are being stopped; wait with: hostler run wait %s",
				"已请求取消：正在停止 %d 个作业；等待：hostler run wait %s", n, id)
			return nil
		}
		a.note("cancelled · %s", "已取消 · %s", a.countsByState(r.RunSummary))
		return nil
	})
	cmd.Flags().BoolVar(&wait, "wait", false, a.t("wait until its jobs have ended", "等待其作业结束"))
	return cmd
}

func (a *app) runRetry() *cobra.Command {
	state, detach := "", false
	cmd := a.runAction("retry RUN [flags]", doc{
		short: txt("run an ended run again on the hosts that failed, as a new run", "在失败的主机上重新执行，作为新的执行"),
		long: txt(`Start a new run like an ended one, with its action and arguments: on the hosts whose jobs did
not succeed, or with --state succeeded, changed or all on others. Shows its output. Hosts that
never started, because the run stopped before, are not among them: 'hostler run retry-failed'
goes on with these too, as the same run.`,
			`以相同的动作和参数启动新的执行：默认在作业未成功的主机上，--state 可选 succeeded、changed 或 all。显示其输出。
因执行提前停止而未开始的主机不在其中：'hostler run retry-failed' 会在同一执行中继续这些主机。`),
		example: "hostler run retry run_0001a2b3c4d\nhostler run retry run_0001a2b3c4d --state all",
	}, func(ctx context.Context, c *client.Client, id hostler.RunID) error {
		var in hostler.RerunInput
		if r, err := c.Run(ctx, id); err != nil {
			return err
		} else if r.State != "" && state != "all" {
			in.Target = &hostler.StepTarget{FromRun: &hostler.FromRun{Run: id, Hosts: state}}
		}
		r, err := c.Rerun(ctx, id, in, "")
		if err != nil {
			return err
		}
		if detach {
			_, err := fmt.Fprintln(a.out, r.Run)
			return err
		}
		a.note("retried as %s", "新的执行：%s", r.Run)
		return a.waitAndShow(ctx, c, r.Run)
	})
	cmd.Flags().StringVar(&state, "state", "failed", a.t("on which hosts: failed, succeeded, changed or all",
		"在哪些主机上：failed、succeeded、changed 或 all"))
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, a.t("print the id of the new run and do not wait", "输出新执行的 ID，不等待"))
	a.complete(cmd, "state", fixed("failed", "succeeded", "changed", "all"))
	return cmd
}

const (
	diffRuns  = 100 // runs that are searched for a good one
	diffHosts = 50  // differences that are printed
)

func (a *app) runDiff() *cobra.Command {
	return a.cmd("diff RUN [RUN]", doc{
		short: txt("compare the output of each host with another run", "逐台主机比较两次执行的输出"),
		long: txt(`Compare the output of each host in a run with that in another run: the second RUN, or else
the last one before it that succeeded, with the same action and arguments. The exit code is 1
when hosts differ.`,
			`逐台比较一次执行与另一次执行的输出：第二个执行，或此前最近一次动作和参数相同且成功的执行。有差异则退出码为 1。`),
		example: "hostler run diff run_0001a2b3c4d\nhostler run diff run_0001a2b3c4d run_0001a2b3c4c",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		id, err := a.runOf(ctx, c, args[0])
		if err != nil {
			return err
		}
		var with hostler.RunID
		if len(args) > 1 {
			with, err = a.runOf(ctx, c, args[1])
		} else {
			with, err = lastGoodRun(ctx, c, id)
		}
		if err != nil {
			return err
		}
		return a.diffRuns(ctx, c, with, id)
	})
}

// lastGoodRun finds the last run before one that succeeded and did the same.
func lastGoodRun(ctx context.Context, c *client.Client, id hostler.RunID) (hostler.RunID, error) {
	r, err := c.Run(ctx, id)
	if err != nil {
		return 0, err
	}
	what := doesWhat(r)
	l, err := c.Runs(ctx, hostler.RunSucceeded, r.Name, hostler.Page{Limit: diffRuns})
	for _, before := range l.Items {
		if before.Run >= id {
			continue
		}
		if before, err = c.Run(ctx, before.Run); err != nil {
			return 0, err
		}
		if doesWhat(before) == what {
			return before.Run, nil
		}
	}
	if err == nil {
		err = hostler.Errorf(hostler.CodeNotFound, "no earlier run with the same action and arguments succeeded; name one: hostler run diff %s RUN",
			"此前没有动作和参数相同且成功的执行；请指定：hostler run diff %s 执行", id)
	}
	return 0, err
}

// doesWhat describes the actions of a run with their arguments.
func doesWhat(r hostler.Run) string {
	var parts []string
	for _, s := range r.Steps {
		b, _ := json.Marshal(s.Args) // was decoded from JSON
		parts = append(parts, s.ID, s.Action, string(b))
	}
	return strings.Join(parts, "\n")
}

// diffRuns compares the hosts of two runs. It holds hashes of the outputs, not the outputs.
func (a *app) diffRuns(ctx context.Context, c *client.Client, from, to hostler.RunID) error {
	type seen struct {
		sum [sha256.Size]byte
		job hostler.JobID
	}
	before := map[string]seen{}
	for o, err := range client.All(ctx, c.RunOutput(from)) {
		if err != nil {
			return err
		}
		before[o.Host+"\n"+o.Action] = seen{sha256.Sum256([]byte(a.shownText(o))), o.Job}
	}
	same, differ, added := 0, 0, 0
	for o, err := range client.All(ctx, c.RunOutput(to)) {
		if err != nil {
			return err
		}
		old, ok := before[o.Host+"\n"+o.Action]
		delete(before, o.Host+"\n"+o.Action)
		switch {
		case !ok:
			added++
		case old.sum == sha256.Sum256([]byte(a.shownText(o))):
			same++
		default:
			if differ++; differ > diffHosts {
				continue
			}
			g := sameOutput{first: hostler.JobOutput{Job: old.job}, forgot: true}
			f := folder{ctx: ctx, a: a, c: c}
			if err := f.read(&g); err != nil {
				return err
			}
			fmt.Fprintln(a.out, term.Escape(o.Host)+":")
			f.body(difference(g.text, a.shownText(o)))
		}
	}
	a.note("%d hosts the same, %d differ, %d only in %s, %d only in %s",
		"%d 台相同，%d 台不同，%d 台仅在 %s 中，%d 台仅在 %s 中", same, differ, len(before), from, added, to)
	if differ > 0 {
		return &outcomeError{exitNotSucceeded}
	}
	return nil
}
