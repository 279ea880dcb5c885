package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
	"hostler.dev/hostler/internal/wait"
)

// This file follows the jobs of a run on a terminal: counts, the hosts that run, and failures
// as they come.

// Of the live view.
const (
	liveRunning  = 6               // names of running hosts
	liveFailures = 5               // failures, the newest
	whyAfter     = 3 * time.Second // without a running job, why they wait is shown
)

// followRun waits until the jobs of a run have ended, or only people can bring it on.
func (a *app) followRun(ctx context.Context, c *client.Client, id hostler.RunID, inWaves bool) (hostler.Run, error) {
	live := term.Columns(a.err) > 0
	canvas := term.NewCanvas(a.err)
	began, every, told := a.now(), firstPoll, false
	for {
		r, err := c.Run(ctx, id)
		if err != nil {
			return r, err
		}
		done := r.Done && (!inWaves || r.State == "")
		if done || r.State.Ended() || r.State == hostler.RunWaiting || r.State == hostler.RunPaused {
			if live {
				canvas.Show(nil)
			}
			return r, nil
		}
		idle := r.States[hostler.StateRunning] == 0 && a.now().Sub(began) > whyAfter
		switch {
		case live:
			lines, err := a.liveView(ctx, c, r, began, idle)
			if err != nil {
				return r, err
			}
			canvas.Show(lines)
		case idle && !told:
			told = true
			if why := a.whyWaiting(ctx, c, id); why != "" {
				a.note("waiting: %s", "等待中：%s", why)
			}
		}
		if err := wait.Sleep(ctx, every); err != nil {
			return r, err
		}
		every = min(every*5/4, lastPoll)
	}
}

// live is what the view shows of a run.
type live struct {
	counts          hostler.RunSummary
	took            time.Duration
	running, failed []hostler.Job // the newest
	why             string        // they wait
}

// liveView are the lines of the view, each within the width of the terminal.
func (a *app) liveView(
	ctx context.Context, c *client.Client, r hostler.Run, began time.Time, idle bool,
) ([]string, error) {
	v := live{counts: r.RunSummary, took: a.now().Sub(began)}
	if r.States[hostler.StateRunning] > 0 {
		l, err := c.Jobs(ctx, hostler.JobFilter{Run: r.Run, States: []hostler.State{hostler.StateRunning}},
			hostler.Page{Limit: liveRunning})
		if err != nil {
			return nil, err
		}
		v.running = l.Items
	} else if idle {
		v.why = a.whyWaiting(ctx, c, r.Run)
	}
	if slices.ContainsFunc(notSucceeded, func(s hostler.State) bool { return r.States[s] > 0 }) {
		l, err := c.Jobs(ctx, hostler.JobFilter{Run: r.Run, States: notSucceeded}, hostler.Page{Limit: liveFailures})
		if err != nil {
			return nil, err
		}
		v.failed = l.Items
	}
	return a.liveLines(v, max(20, term.Columns(a.err)-1)), nil
}

func (a *app) liveLines(v live, width int) []string {
	lines := []string{fmt.Sprintf("%s · %s", a.countsByState(v.counts), v.took.Round(time.Second))}
	if len(v.running) > 0 {
		hosts := strings.Join(names(v.running, func(j hostler.Job) string { return j.AssetName }), ", ")
		lines = append(lines, a.t("running: ", "运行中：")+hosts)
	}
	if v.why != "" {
		lines = append(lines, a.t("waiting: ", "等待中：")+v.why)
	}
	for _, j := range v.failed {
		lines = append(lines, "✗ "+j.AssetName+"  "+a.outcome(j))
	}
	for i, line := range lines {
		lines[i] = term.Truncate(term.Escape(line), width)
	}
	return lines
}

// whyWaiting is the most binding reason why a job of the run waits; "" when it is not known.
func (a *app) whyWaiting(ctx context.Context, c *client.Client, id hostler.RunID) string {
	waiting := []hostler.State{hostler.StateQueued, hostler.StateScheduled}
	l, err := c.Jobs(ctx, hostler.JobFilter{Run: id, States: waiting}, hostler.Page{Limit: 1})
	if err != nil || len(l.Items) == 0 {
		return ""
	}
	reasons, err := c.Waiting(ctx, l.Items[0].ID)
	if err != nil || len(reasons) == 0 {
		return ""
	}
	return l.Items[0].AssetName + ": " + reasons[0].Text.In(a.lang)
}
