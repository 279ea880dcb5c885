package app

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/store"
)

// RunFilter selects runs.
type RunFilter struct {
	State hostler.RunState
	Name  string
}

// Runs lists the runs of flows and of ad-hoc fan-outs, newest first.
func (a *App) Runs(
	ctx context.Context, c auth.Caller, f RunFilter, p hostler.Page,
) (hostler.List[hostler.Run], error) {
	g, err := a.allow(c, auth.ReadRun)
	if err != nil {
		return hostler.List[hostler.Run]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Run]{}, err
	}
	var before hostler.RunID
	if before.UnmarshalText([]byte(after)) != nil {
		return hostler.List[hostler.Run]{}, errCursor()
	}
	var fields check.Fields
	check.OneOf(&fields, "state", f.State, append(hostler.RunStates(), "")...)
	fields.Line("name", f.Name, 64)
	if err := fields.Err(); err != nil {
		return hostler.List[hostler.Run]{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Run], error) {
		rows, err := s.Tx.Runs(store.RunQuery{Project: s.project, State: f.State, Name: f.Name}, before, limit+1)
		if err != nil {
			return hostler.List[hostler.Run]{}, err
		}
		runs := make([]hostler.Run, len(rows))
		for i := range rows {
			runs[i] = runOf(&rows[i])
			runs[i].Params = nil
		}
		return cut(runs, limit, func(r hostler.Run) string { return r.Run.String() }), nil
	})
}

// Run reads a run: its state and steps, or the number of its jobs by state when it has no
// row.
func (a *App) Run(ctx context.Context, c auth.Caller, id hostler.RunID) (hostler.Run, error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return hostler.Run{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.Run, error) {
		if store.HasRow(id) && s.may(auth.ReadRun) {
			r, err := s.flowRun(id)
			if err == nil && r.Source == hostler.RunAdHoc {
				err = s.countJobs(&r)
			}
			if hostler.CodeOf(err) != hostler.CodeNotFound {
				return r, err
			}
		}
		sum, err := s.RunSummary(s.project, id)
		if err == nil && sum.Total == 0 {
			err = hostler.NotFound(runKind, id.String())
		}
		return hostler.Run{RunSummary: sum}, err
	})
}

// countJobs counts the jobs of an ad-hoc fan-out by state. Those of further rounds and of
// waves to come are counted as hosts.
func (s *scope) countJobs(r *hostler.Run) error {
	sum, err := s.RunSummary(s.project, r.Run)
	if err == nil && len(r.Steps) == 1 && sum.Total == r.Steps[0].Hosts {
		r.RunSummary = sum
	}
	return err
}

// flowRun reads a run with a row.
func (s *scope) flowRun(id hostler.RunID) (hostler.Run, error) {
	row, err := s.Tx.Run(s.project, id)
	if err == nil && row == nil {
		err = hostler.NotFound(runKind, id.String())
	}
	if err != nil {
		return hostler.Run{}, err
	}
	rows, err := s.RunSteps(id)
	if err != nil {
		return hostler.Run{}, err
	}
	r := runOf(row)
	if row.Follows {
		if r.FollowUps, err = s.followUpsOf(id); err != nil {
			return r, err
		}
	}
	if r.Steps, err = runStepsOf(rows); err != nil {
		return r, err
	}
	for i := range rows {
		n := &rows[i]
		ended := n.Succeeded + n.Failed + n.Cancelled
		r.Total += n.Started + n.Kept
		r.States[hostler.StateSucceeded] += n.Succeeded + n.Kept
		r.States[hostler.StateFailed] += n.Failed
		r.States[hostler.StateCancelled] += n.Cancelled
		r.States[hostler.StateUnknown] += n.Unknown
		r.States[hostler.StateQueued] += n.Started - ended - n.Unknown
	}
	for state, n := range r.States {
		if n == 0 {
			delete(r.States, state)
		}
	}
	return r, nil
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// runOf is a row of a run as people see it.
func runOf(r *store.RunRow) hostler.Run {
	return hostler.Run{
		RunSummary: hostler.RunSummary{Run: r.ID, States: map[hostler.State]int{}, Done: r.State.Ended()},
		State:      r.State, Source: r.Source, Name: r.Name, Template: r.Template, Version: r.Version,
		Params: json.RawMessage(r.Params), Requester: r.RequesterName, Origin: r.Origin, RetryOf: r.RetryOf, CreatedAt: timeOrNil(r.CreatedAt),
		StartAt: timeOrNil(r.StartAt), StartedAt: timeOrNil(r.StartedAt), EndedAt: timeOrNil(r.EndedAt),
	}
}

// runStepsOf are the steps of a run as people see them.
func runStepsOf(rows []store.RunStepRow) ([]hostler.RunStep, error) {
	specs, err := specsOf(rows)
	if err != nil {
		return nil, err
	}
	needs := flow.Link(specs)
	out := make([]hostler.RunStep, len(rows))
	for i := range rows {
		r, spec := &rows[i], &specs[i]
		out[i] = hostler.RunStep{
			ID: r.Step, Title: spec.Title, Kind: spec.Kind(), State: r.State, Action: spec.Action, Args: spec.Args,
			Needs: []string{}, Within: spec.Within, PartOf: spec.PartOf(), Undoes: spec.Undoes, Flow: spec.Flow,
			Hosts: r.Total, Started: r.Started + r.Kept, Succeeded: r.Succeeded + r.Kept,
			Failed: r.Failed, Cancelled: r.Cancelled, Unknown: r.Unknown, Until: timeOrNil(r.Until),
			StartedAt: timeOrNil(r.StartedAt), EndedAt: timeOrNil(r.EndedAt),
		}
		for _, n := range needs[i].Needs {
			out[i].Needs = append(out[i].Needs, rows[n].Step)
		}
		if spec.Follows {
			out[i].Hosts = r.Hosts
		}
		if spec.Rollout != nil && !spec.Follows {
			out[i].Waves = flow.Waves(spec.Rollout, r.Total, shownWaves)
		}
		if r.Reason != "" {
			out[i].Reason = &hostler.Text{}
			if err := json.Unmarshal([]byte(r.Reason), out[i].Reason); err != nil {
				return nil, fmt.Errorf("decode a reason: %w", err)
			}
		}
	}
	return out, nil
}

// specsOf reads the steps of a run.
func specsOf(rows []store.RunStepRow) ([]flow.Spec, error) {
	specs := make([]flow.Spec, len(rows))
	for i := range rows {
		if err := json.Unmarshal([]byte(rows[i].Spec), &specs[i]); err != nil {
			return nil, fmt.Errorf("decode a step: %w", err)
		}
	}
	return specs, nil
}

// RunHosts lists the hosts of a step of a run, with the state and the job of each.
func (a *App) RunHosts(
	ctx context.Context, c auth.Caller, id hostler.RunID, step string, p hostler.Page,
) (hostler.List[hostler.RunHost], error) {
	g, err := a.allow(c, auth.ReadRun)
	if err != nil {
		return hostler.List[hostler.RunHost]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.RunHost]{}, err
	}
	var from int64
	if after != "" {
		if _, err := fmt.Sscan(after, &from); err != nil || from < 0 || from > 1<<31 {
			return hostler.List[hostler.RunHost]{}, errCursor()
		}
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.RunHost], error) {
		row, err := s.runStep(id, step)
		if err != nil {
			return hostler.List[hostler.RunHost]{}, err
		}
		return s.runHosts(row, from, limit)
	})
}

// runStep finds a step of a run of the acting project.
func (s *scope) runStep(id hostler.RunID, step string) (*store.RunStepRow, error) {
	run, err := s.Tx.Run(s.project, id)
	if err != nil {
		return nil, err
	}
	if run == nil {
		return nil, hostler.NotFound(runKind, id.String())
	}
	rows, err := s.RunSteps(id)
	for i := range rows {
		if rows[i].Step == step {
			return &rows[i], err
		}
	}
	if err == nil {
		err = hostler.NotFound(stepKind, step)
	}
	return nil, err
}

func (s *scope) runHosts(row *store.RunStepRow, from int64, limit int) (hostler.List[hostler.RunHost], error) {
	l := hostler.List[hostler.RunHost]{Items: []hostler.RunHost{}}
	hosts := make([]store.RunHost, 0, 1)
	switch {
	case row.Jobs == "":
		return l, nil
	case row.HostSet == 0 && from == 0:
		hosts = append(hosts, store.RunHost{})
	case row.HostSet != 0:
		var err error
		if hosts, err = s.Tx.RunHosts(row.Run, row.HostSet, from, limit); err != nil {
			return l, err
		}
	}
	started, err := s.StartedHosts(row.ID, from, from+int64(len(hosts)))
	if err != nil {
		return l, err
	}
	outputs, err := s.OutputsIn(row.ID, from, from+int64(len(hosts)))
	for i, h := range hosts {
		item := hostler.RunHost{Step: row.Step, Asset: h.ID, Name: h.Name, State: "pending"}
		if st, ok := started[from+int64(i)]; ok {
			item.State, item.Job = st.State, st.Job
			if st.Note != "" {
				item.Reason = &hostler.Text{}
				if err := json.Unmarshal([]byte(st.Note), item.Reason); err != nil {
					return l, fmt.Errorf("decode a note: %w", err)
				}
			}
		}
		if o := outputs[from+int64(i)]; o != "" {
			item.Outputs = json.RawMessage(o)
		}
		l.Items = append(l.Items, item)
	}
	if next := from + int64(len(hosts)); len(hosts) == limit && next < int64(row.Total) {
		l.Next = cursor(fmt.Sprint(next))
	}
	return l, err
}
