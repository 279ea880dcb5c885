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

// This file draws runs: a line for each step, below those that it needs.

// picture is how a run is drawn.
type picture struct {
	width, height int
	color         bool
	now           time.Time
	lang          hostler.Lang
}

// barWidth is how many cells the bar of a step has.
const barWidth = 10

// stepColors are the colours of states, as parameters of ECMA-48 SGR.
var stepColors = map[hostler.StepState]string{
	hostler.StepRunning: "36", hostler.StepWaiting: "33", hostler.StepSucceeded: "32", hostler.StepFailed: "31",
	hostler.StepRejected: "31", hostler.StepUnknown: "33", hostler.StepSkipped: "90", hostler.StepCancelled: "90",
	hostler.StepPending: "90",
}

// draw returns the lines of a picture of a run, each as wide as the terminal at most.
func (p picture) draw(r hostler.Run) []string {
	head := fmt.Sprintf("%s  %s", r.Run, r.Name)
	if r.Version > 0 {
		head += fmt.Sprintf(" %d", r.Version)
	}
	head += "  " + string(r.State)
	if t := p.took(r.StartedAt, r.EndedAt); t != "" {
		head += "  " + t
	}
	lines := []string{term.Truncate(term.Escape(head), p.width)}
	depths := depthsOf(r.Steps)
	wide := 0
	for i, s := range r.Steps {
		wide = max(wide, 2*depths[i]+term.Width(s.ID))
	}
	wide = min(wide, p.width/3)
	steps := make([]string, len(r.Steps))
	for i, s := range r.Steps {
		steps[i] = p.step(s, depths[i], wide)
	}
	return append(lines, p.fit(r.Steps, steps)...)
}

// depthsOf returns how many steps are on the longest way to each step.
func depthsOf(steps []hostler.RunStep) []int {
	at := make(map[string]int, len(steps))
	depths := make([]int, len(steps))
	for i, s := range steps { // a step follows those that it needs
		for _, need := range s.Needs {
			if n, ok := at[need]; ok {
				depths[i] = max(depths[i], depths[n]+1)
			}
		}
		at[s.ID] = i
	}
	if slices.Max(append(depths, 0)) > 12 {
		clear(depths) // a long chain is a list
	}
	return depths
}

// step is the line of a step: how far it is, and after what it comes.
func (p picture) step(s hostler.RunStep, depth, wide int) string {
	branch := ""
	if depth > 0 {
		branch = strings.Repeat("  ", depth-1) + "└ "
	}
	name := term.Truncate(term.Escape(branch+s.ID), wide)
	what := s.Action
	if what == "" {
		what = string(s.Kind)
	}
	text := fmt.Sprintf(" %s%s  %-12s", name, strings.Repeat(" ", max(0, wide-term.Width(name))), what)
	if s.Hosts > 0 && s.State != hostler.StepSkipped {
		ended := s.Succeeded + s.Failed + s.Cancelled
		full := min(barWidth, ended*barWidth/s.Hosts)
		text += fmt.Sprintf(" %s%s %d/%d", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), ended, s.Hosts)
		if n := s.Failed + s.Cancelled; n > 0 {
			text += fmt.Sprintf(" ✗%d", n)
		}
		if s.Unknown > 0 {
			text += fmt.Sprintf(" ?%d", s.Unknown)
		}
	}
	if t := p.took(s.StartedAt, s.EndedAt); t != "" {
		text += "  " + t
	}
	if len(s.Needs) > 1 {
		text += "  ← " + strings.Join(s.Needs, ", ")
	}
	if s.Reason != nil && s.Reason.In(p.lang) != "" {
		text += "  " + s.Reason.In(p.lang)
	}
	mark := stepMarks[s.State]
	text = term.Truncate(term.Escape(text), max(1, p.width-1-term.Width(mark)))
	if !p.color {
		return mark + text
	}
	return "\x1b[" + stepColors[s.State] + "m" + mark + "\x1b[0m" + text
}

// took is how long something has taken.
func (p picture) took(from, to *time.Time) string {
	if from == nil {
		return ""
	}
	end := p.now
	if to != nil {
		end = *to
	}
	return max(0, end.Sub(*from)).Round(time.Second).String()
}

// fit leaves out lines that the terminal has no room for: steps that are far from those
// that run.
func (p picture) fit(steps []hostler.RunStep, lines []string) []string {
	room := max(3, p.height-4)
	if len(lines) <= room {
		return lines
	}
	first := slices.IndexFunc(steps, func(s hostler.RunStep) bool { return !s.State.Ended() })
	if first < 0 {
		first = len(steps) - 1
	}
	from := max(0, min(first-room/3, len(lines)-room))
	out := slices.Clone(lines[from : from+room])
	more := func(n int) string { return hostler.Textf("  … %d more", "  …… 另有 %d 个", n).In(p.lang) }
	if from > 0 {
		out[0] = more(from + 1)
	}
	if left := len(lines) - from - room; left > 0 {
		out[room-1] = more(left + 1)
	}
	return out
}

// watchRun shows a run until it has ended, or until only people can bring it on: in place
// on a terminal, else a line for each change of a step.
func (a *app) watchRun(ctx context.Context, c *client.Client, id hostler.RunID) (hostler.Run, error) {
	live := term.Columns(a.out) > 0 && a.output == "table"
	canvas := term.NewCanvas(a.out)
	shown := map[string]string{}
	every := firstPoll
	for {
		r, err := c.Run(ctx, id)
		if err != nil {
			return r, err
		}
		switch {
		case live:
			p := picture{
				width: max(40, term.Columns(a.out)-1), height: term.Rows(a.out), color: term.HasColor(a.out), now: a.now(),
				lang: a.lang,
			}
			canvas.Show(p.draw(r))
		case a.output == "table":
			a.printChanges(r, shown)
		}
		if r.State == "" || r.State.Ended() || r.State == hostler.RunWaiting || r.State == hostler.RunPaused {
			return r, nil
		}
		if err := wait.Sleep(ctx, every); err != nil {
			return r, err
		}
		every = min(every*5/4, lastPoll)
	}
}

// printChanges prints the steps whose state has changed since the last call.
func (a *app) printChanges(r hostler.Run, shown map[string]string) {
	for _, s := range r.Steps {
		line := fmt.Sprintf("%s %s %s", stepMarks[s.State], s.ID, s.State)
		if s.State == hostler.StepPending || shown[s.ID] == line {
			continue
		}
		shown[s.ID] = line
		if s.Hosts > 0 && s.State.Ended() {
			line += fmt.Sprintf(" %d/%d", s.Succeeded, s.Hosts)
		}
		fmt.Fprintln(a.out, term.Escape(line))
	}
}

// runOutcome is the exit code for the state in which a run was seen last.
func runOutcome(s hostler.RunState) error {
	switch s {
	case hostler.RunSucceeded:
		return nil
	case hostler.RunWaiting, hostler.RunPaused:
		return &outcomeError{exitUnknown}
	case hostler.RunPending, hostler.RunRunning, hostler.RunFailed, hostler.RunRejected, hostler.RunCancelled:
	}
	return &outcomeError{exitNotSucceeded}
}
