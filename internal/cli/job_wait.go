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
)

const (
	firstPoll = 200 * time.Millisecond
	lastPoll  = 2 * time.Second
	// maxSummary is how many jobs a summary lists one by one.
	maxSummary = 50
)

// wait waits for the jobs that were just made and returns their outcome as an
// exit code.
func (a *app) wait(ctx context.Context, c *client.Client, made hostler.JobsCreated) error {
	var err error
	if made.Count == 1 && len(made.Jobs) == 1 {
		err = a.waitOne(ctx, c, made.Jobs[0])
	} else {
		err = a.waitRun(ctx, c, made)
	}
	if err != nil && ctx.Err() != nil {
		return a.stoppedWaiting(made)
	}
	return err
}

func (a *app) stoppedWaiting(made hostler.JobsCreated) error {
	which := "--run " + made.Run.String()
	if made.Count == 1 && len(made.Jobs) == 1 {
		which = made.Jobs[0].String()
	}
	fmt.Fprintln(a.err)
	a.note("stopped waiting; the work goes on. To cancel it: hostler job cancel %s",
		"已停止等待，作业继续运行。如需取消：hostler job cancel %s", which)
	return &outcomeError{exitInterrupted}
}

func (a *app) waitOne(ctx context.Context, c *client.Client, id hostler.JobID) error {
	if a.output != "table" {
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
	a.note("job %s", "作业 %s", id)
	p := printer{a: a}
	j, err := a.follow(ctx, c, id, &p)
	if err != nil {
		return err
	}
	if result := resultText(j); !p.printed && result != "" && j.Error == nil {
		fmt.Fprintln(a.out, term.EscapeLines(result))
	}
	a.sayEnd(j)
	return outcomeOf(map[hostler.State]int{j.State: 1})
}

func (a *app) sayEnd(j hostler.Job) {
	why := a.jobError(j)
	if why != "" {
		why = " · " + why
	}
	a.note("%s %s %s%s", "%s %s %s%s", j.ID, a.state(j.State), took(j), why)
	if j.State == hostler.StateUnknown {
		a.note("Look at the host, then: hostler job resolve %s --as succeeded|failed",
			"请检查主机，然后执行：hostler job resolve %s --as succeeded|failed", j.ID)
	}
}

// waitRun waits for a fan-out with one live line, then sums up.
func (a *app) waitRun(ctx context.Context, c *client.Client, made hostler.JobsCreated) error {
	a.note("%d jobs in %s", "%d 个作业，执行 %s", made.Count, made.Run)
	sum, err := a.pollRun(ctx, c, made.Run)
	if err != nil {
		return err
	}
	if a.output != "table" {
		return cmp.Or(a.structured(sum), outcomeOf(sum.States))
	}
	if err := a.summary(ctx, c, sum); err != nil {
		return err
	}
	return outcomeOf(sum.States)
}

func (a *app) pollRun(ctx context.Context, c *client.Client, run hostler.RunID) (hostler.RunSummary, error) {
	live := term.NewProgress(a.err)
	every := firstPoll
	for {
		sum, err := c.Run(ctx, run)
		if err != nil {
			return sum, err
		}
		live.Show(a.progressLine(sum))
		if sum.Done {
			live.Clear()
			return sum, nil
		}
		select {
		case <-ctx.Done():
			return sum, ctx.Err()
		case <-time.After(every):
		}
		every = min(every*5/4, lastPoll)
	}
}

// progressLine is such as "12/40 · succeeded 11 · failed 1 · running 8".
func (a *app) progressLine(sum hostler.RunSummary) string {
	ended := 0
	parts := []string{""}
	for _, s := range hostler.States() {
		n := sum.States[s]
		if s.Settled() {
			ended += n
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", a.state(s), n))
		}
	}
	parts[0] = fmt.Sprintf("%d/%d", ended, sum.Total)
	return strings.Join(parts, " · ")
}

// summary lists every job of a small run, and of a large one those that did not
// succeed.
func (a *app) summary(ctx context.Context, c *client.Client, sum hostler.RunSummary) error {
	f := hostler.JobFilter{Run: sum.Run}
	if sum.Total > maxSummary {
		f.States = []hostler.State{hostler.StateFailed, hostler.StateCancelled, hostler.StateExpired, hostler.StateUnknown}
	}
	jobs, more, err := collect(ctx, c.JobsLister(f), maxSummary)
	if err != nil {
		return err
	}
	if len(jobs) > 0 {
		err := list(a, jobs, []column[hostler.Job]{
			col("asset", "资产", func(j hostler.Job) string { return dash(j.AssetName) }),
			col("state", "状态", func(j hostler.Job) string { return a.state(j.State) }),
			col("took", "耗时", took),
			col("job", "作业", func(j hostler.Job) string { return j.ID.String() }),
			col("outcome", "结果", func(j hostler.Job) string { return term.Truncate(a.outcome(j), 80) }),
		})
		if err != nil {
			return err
		}
	}
	if more {
		a.note("and more: hostler job list --run %s --limit 0", "还有更多：hostler job list --run %s --limit 0", sum.Run)
	}
	a.note("%s", "%s", a.progressLine(sum))
	return nil
}

// outcomeOf is nil when all jobs succeeded, and else the exit code.
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
