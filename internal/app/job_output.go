package app

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// Limits of the outputs of a run that one page has.
const (
	outputJobs  = 100
	outputBytes = 1 << 20 // beyond which a page ends
	stdoutBytes = 64 << 10
	stderrBytes = 8 << 10
	outputLines = 1000
	stderrLines = 50
)

// OutputFilter selects jobs of a run.
type OutputFilter struct {
	Run    hostler.RunID
	States []hostler.State
}

// RunOutput lists how the jobs of a run ended, with the start of the output of each. A page
// has fewer jobs where their output is long.
func (a *App) RunOutput(
	ctx context.Context, c auth.Caller, f OutputFilter, p hostler.Page,
) (hostler.List[hostler.JobOutput], error) {
	if p.Cursor == "" {
		if _, err := a.Run(ctx, c, f.Run); err != nil {
			return hostler.List[hostler.JobOutput]{}, err
		}
	}
	p.Limit = min(cmp.Or(p.Limit, outputJobs), outputJobs)
	jobs, err := a.Jobs(ctx, c, hostler.JobFilter{Run: f.Run, States: f.States}, p)
	out := hostler.List[hostler.JobOutput]{Items: []hostler.JobOutput{}, Next: jobs.Next}
	size := 0
	for i := 0; err == nil && i < len(jobs.Items); i++ {
		var o hostler.JobOutput
		if o, err = a.outputOf(ctx, &jobs.Items[i]); err != nil {
			break
		}
		out.Items = append(out.Items, o)
		if size += len(o.Stdout) + len(o.Stderr) + len(o.Result); size >= outputBytes && i < len(jobs.Items)-1 {
			out.Next = cursor(o.Job.String())
			break
		}
	}
	return out, err
}

// outputOf reads the start of the standard output of a job, and the end of the rest.
func (a *App) outputOf(ctx context.Context, j *hostler.Job) (hostler.JobOutput, error) {
	o := hostler.JobOutput{Job: j.ID, Host: j.AssetName, Action: j.Action, State: j.State, Error: j.Error}
	var result struct {
		ExitCode *int `json:"exit_code"`
	}
	if json.Unmarshal(j.Result, &result) == nil {
		o.ExitCode = result.ExitCode
	}
	if j.StartedAt != nil && j.EndedAt != nil {
		o.Seconds = j.EndedAt.Sub(*j.StartedAt).Seconds()
	}
	entries, _, err := a.store.ForLists().ReadLog(ctx, j.ID, 0, outputLines)
	if err != nil {
		return o, err
	}
	stdout, rest := splitOutput(entries)
	if o.More = IsFullLog(entries, outputLines); o.More {
		tail, err := a.store.ForLists().TailLog(ctx, j.ID, stderrLines)
		if err != nil {
			return o, err
		}
		_, rest = splitOutput(tail)
	}
	o.More = o.More || len(stdout) > stdoutBytes
	o.Stdout = strings.ToValidUTF8(stdout[:min(len(stdout), stdoutBytes)], "")
	o.Stderr = strings.ToValidUTF8(rest[max(0, len(rest)-stderrBytes):], "")
	if o.Stdout == "" && len(j.Result) <= stdoutBytes {
		o.Result = j.Result
	}
	return o, nil
}

// splitOutput divides output into standard output and the rest.
func splitOutput(entries []hostler.LogEntry) (stdout, rest string) {
	var out, other strings.Builder
	for _, e := range entries {
		if e.Stream == hostler.StreamStdout {
			out.WriteString(e.Text)
		} else {
			other.WriteString(e.Text)
		}
	}
	return out.String(), other.String()
}
