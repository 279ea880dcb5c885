package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
	"hostler.dev/hostler/internal/wait"
)

const (
	// firstPoll and lastPoll bound the time between two looks at a run: a short run
	// is reported at once, a long one costs the server little.
	firstPoll = 200 * time.Millisecond
	lastPoll  = 2 * time.Second
	// maxSummary is how many jobs a summary lists one by one.
	maxSummary = 50
)

// outcomeOf returns the exit code of --wait: none when all jobs succeeded, 3 when
// the outcome of one is unknown, else 1.
func outcomeOf(states map[hostler.State]int) error {
	if states[hostler.StateUnknown] > 0 {
		return &outcomeError{exitUnknown}
	}
	for s, n := range states {
		if n > 0 && s != hostler.StateSucceeded {
			return &outcomeError{exitNotSucceeded}
		}
	}
	return nil
}

// wait waits for new jobs to end, and returns [outcomeOf] them.
func (a *app) wait(ctx context.Context, c *client.Client, created hostler.JobsCreated) error {
	var err error
	if id, ok := singleJob(created); ok {
		err = a.waitForJob(ctx, c, id)
	} else {
		err = a.waitForRun(ctx, c, created)
	}
	if err != nil && ctx.Err() != nil {
		return a.noteDetached(created)
	}
	return err
}

// noteDetached notes, after Ctrl-C, that the jobs keep running.
func (a *app) noteDetached(created hostler.JobsCreated) error {
	selector := "--run " + created.Run.String()
	if id, ok := singleJob(created); ok {
		selector = id.String()
	}
	fmt.Fprintln(a.err)
	a.note("detached; the jobs keep running. Cancel them with: hostler job cancel %s",
		"已停止等待，作业继续运行。如需取消：hostler job cancel %s", selector)
	return &outcomeError{exitInterrupted}
}

// waitForJob streams the output of a job and reports how it ended.
func (a *app) waitForJob(ctx context.Context, c *client.Client, id hostler.JobID) error {
	if a.output != "table" {
		return a.waitSilently(ctx, c, id)
	}
	a.note("job %s", "作业 %s", id)
	p := logPrinter{stdout: a.out, stderr: a.err}
	j, err := followLog(ctx, c, id, &p)
	if err != nil {
		return err
	}
	if result := a.resultText(j); !p.printed && result != "" && j.Error == nil {
		fmt.Fprintln(a.out, term.EscapeLines(result))
	}
	a.noteEnd(j)
	return outcomeOf(map[hostler.State]int{j.State: 1})
}

// waitSilently prints the ended job as JSON or YAML, and nothing before.
func (a *app) waitSilently(ctx context.Context, c *client.Client, id hostler.JobID) error {
	for step, err := range c.Follow(ctx, id, 0) {
		if err != nil {
			return err
		}
		if step.Job != nil {
			return cmp.Or(a.structured(step.Job), outcomeOf(map[hostler.State]int{step.Job.State: 1}))
		}
	}
	return ctx.Err()
}

// noteEnd notes how a job ended and, when its outcome is unknown, what to do next.
func (a *app) noteEnd(j hostler.Job) {
	reason := a.jobError(j)
	if reason != "" {
		reason = " · " + reason
	}
	a.note("%s %s %s%s", "%s %s %s%s", j.ID, a.state(j.State), duration(j), reason)
	if j.State == hostler.StateUnknown {
		a.note("Check the host, then run: hostler job resolve %s --as succeeded|failed",
			"请检查主机，然后执行：hostler job resolve %s --as succeeded|failed", j.ID)
	}
}

// waitForRun shows the progress of several jobs on one line, then a summary.
func (a *app) waitForRun(ctx context.Context, c *client.Client, created hostler.JobsCreated) error {
	a.note("%d jobs in %s", "%d 个作业，批次 %s", created.Count, created.Run)
	sum, err := a.pollRun(ctx, c, created.Run)
	if err != nil {
		return err
	}
	if a.output != "table" {
		return cmp.Or(a.structured(sum), outcomeOf(sum.States))
	}
	if err := a.printSummary(ctx, c, sum); err != nil {
		return err
	}
	return outcomeOf(sum.States)
}

// pollRun asks for the run until all its jobs have ended.
func (a *app) pollRun(ctx context.Context, c *client.Client, run hostler.RunID) (hostler.RunSummary, error) {
	line := term.NewProgress(a.err)
	every := firstPoll
	for {
		sum, err := c.Run(ctx, run)
		if err != nil {
			return sum.RunSummary, err
		}
		line.Show(a.countsByState(sum.RunSummary))
		if sum.Done {
			line.Clear()
			return sum.RunSummary, nil
		}
		if err := wait.Sleep(ctx, every); err != nil {
			return sum.RunSummary, err
		}
		every = min(every*5/4, lastPoll)
	}
}

// countsByState describes a run, such as "12/40 · succeeded 11 · failed 1 · running 8".
func (a *app) countsByState(sum hostler.RunSummary) string {
	settled := 0
	parts := []string{""}
	for _, s := range hostler.States() {
		n := sum.States[s]
		if s.Settled() {
			settled += n
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", a.state(s), n))
		}
	}
	parts[0] = fmt.Sprintf("%d/%d", settled, sum.Total)
	return strings.Join(parts, " · ")
}

// notSucceeded are the states of jobs that ended without success.
var notSucceeded = []hostler.State{
	hostler.StateFailed, hostler.StateCancelled, hostler.StateExpired, hostler.StateUnknown,
}

// printSummary lists all jobs of a small run, and of a large one those that did not
// succeed.
func (a *app) printSummary(ctx context.Context, c *client.Client, sum hostler.RunSummary) error {
	f := hostler.JobFilter{Run: sum.Run}
	if sum.Total > maxSummary {
		f.States = notSucceeded
	}
	if err := a.printResults(ctx, c, f); err != nil {
		return err
	}
	a.note("%s", "%s", a.countsByState(sum))
	return nil
}

// printResults lists the newest jobs of a run, with their outcome.
func (a *app) printResults(ctx context.Context, c *client.Client, f hostler.JobFilter) error {
	jobs, more, err := collect(ctx, c.JobsLister(f), maxSummary)
	if err != nil {
		return err
	}
	if len(jobs) > 0 {
		err := list(a, jobs, []column[hostler.Job]{
			col("asset", "资产", func(j hostler.Job) string { return dash(j.AssetName) }),
			col("state", "状态", func(j hostler.Job) string { return a.state(j.State) }),
			col("duration", "耗时", duration),
			col("job", "作业", func(j hostler.Job) string { return j.ID.String() }),
			col("outcome", "结果", func(j hostler.Job) string { return term.Truncate(a.outcome(j), 80) }),
		})
		if err != nil {
			return err
		}
	}
	if more {
		a.note("showing the newest %d; for all of them: hostler job list --run %s --limit 0",
			"仅显示最新的 %d 个；查看全部：hostler job list --run %s --limit 0", maxSummary, f.Run)
	}
	return nil
}
