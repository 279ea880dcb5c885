package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/wait"
)

// This file advances runs: whenever something of a run has ended, it computes by
// [flow.Next] what follows, and stores it with the jobs that it creates, in one
// transaction. No run is in memory between two steps, so that a server may crash at any
// point and another goes on.

const (
	maxRunWait = 5 * time.Second // between two looks, when nothing happens
	minRunWait = 20 * time.Millisecond
	runsAtOnce = 100
	// stepsAtOnce is how often one run is advanced before it is the turn of others.
	stepsAtOnce = 20
	// lateBatch is how many jobs one transaction creates of steps whose args it renders.
	lateBatch = 50
	// lateBytes bounds the args that one transaction renders: the command rules judge them
	// there, and may take 0.4 s for each MiB.
	lateBytes = 256 << 10
	// fullQueueWait is how long a run waits whose queue is full or closed to it.
	fullQueueWait = 5 * time.Second
)

// runLoop advances runs when something of them has ended, and when their timers are due.
func (e *Engine) runLoop(ctx context.Context) error {
	notified, stop := e.store.Subscribe(store.TopicRuns)
	defer stop()
	for {
		next, err := e.runsOnce(ctx)
		if err != nil && ctx.Err() == nil {
			e.logLoop(ctx, "runs", err)
		}
		if wait.Sleep(ctx, minRunWait) != nil {
			return nil
		}
		if _, err := wait.Signal(ctx, next-minRunWait, notified); err != nil {
			return nil
		}
	}
}

// runsOnce advances the runs that must be looked at, and describes approvals. It returns
// how long to wait for the next timer.
func (e *Engine) runsOnce(ctx context.Context) (time.Duration, error) {
	for {
		var runs []hostler.RunID
		var next time.Time
		err := e.store.View(ctx, func(tx *store.Tx) (err error) {
			runs, next, err = tx.AwakeRuns(runsAtOnce)
			return err
		})
		if err != nil {
			return maxRunWait, err
		}
		var errs []error
		for _, id := range runs {
			if err := e.advance(ctx, id); err != nil {
				errs = append(errs, fmt.Errorf("run %v: %w", id, err))
			}
		}
		errs = append(errs, e.describeApprovals(ctx))
		if err := errors.Join(errs...); err != nil {
			return time.Second, err
		}
		if len(runs) > 0 {
			continue // their effects may have woken others
		}
		if next.IsZero() {
			return maxRunWait, nil
		}
		return min(maxRunWait, max(0, next.Sub(e.store.Now()))), nil
	}
}

// advance advances one run as far as it goes by itself, in bounded transactions.
func (e *Engine) advance(ctx context.Context, id hostler.RunID) error {
	for range stepsAtOnce {
		more, err := e.advanceOnce(ctx, id)
		switch hostler.CodeOf(err) {
		case hostler.CodeQueueFull:
			return e.postpone(ctx, id)
		case hostler.CodeInvalid:
			// Its queue was granted to others, or the limits of its project were lowered: an
			// admin can undo that. Such runs must not keep those of other projects waiting.
			e.log.WarnContext(ctx, "a run cannot create its jobs; will retry", "run", id, "err", err)
			return e.postpone(ctx, id)
		default:
		}
		if err != nil {
			return err
		}
		gathered, err := e.gather(ctx, id)
		if err != nil || !more && !gathered {
			return err
		}
	}
	return nil
}

// postpone looks at a run again later.
func (e *Engine) postpone(ctx context.Context, id hostler.RunID) error {
	return e.store.InTx(ctx, func(tx *store.Tx) error {
		r, err := tx.LockRun(id)
		if err != nil || r == nil {
			return err
		}
		r.WakeAt = tx.Now().Add(fullQueueWait)
		if err := tx.TakeWakes(id); err != nil {
			return err
		}
		return tx.SaveRun(r)
	})
}

func (e *Engine) advanceOnce(ctx context.Context, id hostler.RunID) (more bool, err error) {
	err = e.store.InTx(ctx, func(tx *store.Tx) error {
		a := &advance{Tx: tx, check: e.cfg.Check}
		err := a.run(id)
		more = a.more
		return err
	})
	return more, err
}

// advance is one transaction that advances a run.
type advance struct {
	*store.Tx
	check  Check
	row    *store.RunRow
	steps  []store.RunStepRow
	specs  []flow.Spec             // of the steps
	probes map[int][]store.JobHost // by step: what its probe must look at
	more   bool
	err    error // of a callback

	jobs    []hostler.JobSpec
	starts  []store.HostStart // of the jobs
	missing []store.HostStart // without a job
}

func (a *advance) run(id hostler.RunID) (err error) {
	if a.row, err = a.LockRun(id); err != nil {
		return err
	}
	// What is read after this includes all that the deleted notes stand for.
	if err := a.TakeWakes(id); err != nil || a.row == nil {
		return err
	}
	if a.row.StartAt.After(a.Now()) && !a.row.State.Ended() && a.row.Stop == "" {
		a.row.WakeAt = a.row.StartAt
		return a.SaveRun(a.row)
	}
	if a.steps, err = a.RunSteps(id); err != nil {
		return err
	}
	state, err := a.state()
	if err != nil {
		return err
	}
	clock := flow.Clock{Now: a.Now(), Holds: a.holds, Ran: a.ran, Jobs: batch}
	for i := range a.specs {
		if a.specs[i].Late && !state.Steps[i].State.Ended() {
			clock.Jobs = min(clock.Jobs, lateBatch, 1+lateBytes/(1+len(a.steps[i].Jobs)))
		}
	}
	// Lanes are locked once in a transaction: what cancels jobs creates none.
	cancelled, err := a.cancelJobs(state)
	if err != nil {
		return err
	}
	if cancelled > 0 {
		clock.Jobs = 0
	}
	next, effects, more := flow.Next(state, clock)
	if a.err != nil {
		return a.err
	}
	a.more = more || cancelled > 0
	if err := a.apply(&next, effects); err != nil {
		return err
	}
	if a.more {
		return a.WakeRuns(id)
	}
	return nil
}

// state is the run as package flow sees it.
func (a *advance) state() (flow.Run, error) {
	r := flow.Run{State: a.row.State, Paused: a.row.Paused, Stop: a.row.Stop}
	a.specs = make([]flow.Spec, len(a.steps))
	for i := range a.steps {
		if err := json.Unmarshal([]byte(a.steps[i].Spec), &a.specs[i]); err != nil {
			return r, fmt.Errorf("decode step %d: %w", i, err)
		}
	}
	r.Steps = flow.Link(a.specs)
	a.probes = map[int][]store.JobHost{}
	for i := range a.steps {
		row, s := &a.steps[i], &r.Steps[i]
		s.State, s.Total, s.Follows, s.Hosts, s.Kept = row.State, row.Total, a.specs[i].Follows, row.Hosts, row.Kept
		s.Started, s.Succeeded, s.Failed = row.Started, row.Succeeded, row.Failed
		s.Cancelled, s.Unknown, s.Gated = row.Cancelled, row.Unknown, row.Gated
		s.Until, s.Decision, s.Strict = row.Until, row.Decision, a.row.Source == hostler.RunAdHoc
		if err := a.look(i, s); err != nil {
			return r, err
		}
	}
	return r, nil
}

// look counts what of a running step is not in its counters.
func (a *advance) look(i int, s *flow.Step) error {
	if s.State != hostler.StepRunning && s.State != hostler.StepUnknown {
		return nil
	}
	if len(a.specs[i].Outputs) > 0 && s.Succeeded > 0 {
		hosts, err := a.UncollectedHosts(a.steps[i].ID, 1)
		if s.Uncollected = len(hosts); err != nil {
			return err
		}
	}
	if s.Probe > 0 && s.Unknown > 0 {
		hosts, err := a.UnprobedHosts(a.steps[i].ID, a.steps[s.Probe-1].ID, batch)
		s.Unprobed, a.probes[s.Probe-1] = len(hosts), hosts
		return err
	}
	return nil
}

func (a *advance) holds(r *flow.Run, step int) (bool, error) {
	values, err := a.valuesOf(r, step)
	if err != nil {
		a.err = err
		return false, err
	}
	return flow.Holds(r.Steps[step].Spec.When, values)
}

// ran is how many hosts a step has that undoes another.
func (a *advance) ran(step int) int {
	if !a.specs[step].Follows {
		return a.steps[step].Total
	}
	n, err := a.HostsThatRan(a.followed(step).ID)
	if err != nil {
		a.err = err
	}
	return n
}

// followed is the step on whose hosts another one works.
func (a *advance) followed(step int) *store.RunStepRow {
	id := cmp.Or(a.specs[step].PartOf(), a.specs[step].Undoes)
	for k := range a.specs {
		if a.specs[k].ID == id {
			return &a.steps[k]
		}
	}
	return &a.steps[step]
}

// cancelJobs cancels a part of the jobs of steps that must not go on, and returns how many.
func (a *advance) cancelJobs(r flow.Run) (int, error) {
	var over, all []hostler.RunStepID
	for i := range r.Steps {
		s := &r.Steps[i]
		switch live := s.State == hostler.StepRunning || s.State == hostler.StepUnknown; {
		case !live || s.Started == 0:
		case r.Stop == hostler.RunCancelled:
			all = append(all, a.steps[i].ID)
		case s.Over():
			over = append(over, a.steps[i].ID)
		}
	}
	if len(over)+len(all) == 0 {
		return 0, nil
	}
	by := "run " + a.row.ID.String()
	running := 0
	if len(all) > 0 {
		var err error
		if err = a.FreezeLanes(); err != nil {
			return 0, err
		}
		if running, err = a.RequestCancelOf(all, by, batch); err != nil {
			return 0, err
		}
	}
	ids, err := a.WaitingJobsOf(append(over, all...), batch)
	if err != nil || len(ids) == 0 {
		return running, err
	}
	waiting, err := a.CancelWaiting(ids, by)
	return running + len(waiting), err
}

// apply stores the next state with its effects.
func (a *advance) apply(next *flow.Run, effects []flow.Effect) error {
	if err := a.FreezeLanes(); err != nil {
		return err
	}
	for _, effect := range effects {
		if err := a.effect(next, effect); err != nil {
			return err
		}
	}
	if err := a.createJobs(); err != nil {
		return err
	}
	if err := a.saveSteps(next); err != nil {
		return err
	}
	return a.saveRun(next)
}

func (a *advance) effect(next *flow.Run, effect flow.Effect) error {
	row, spec := &a.steps[effect.Step], next.Steps[effect.Step].Spec
	switch effect.Kind {
	case flow.Enqueue:
		return a.start(next, row, effect.N)
	case flow.Again:
		row.State, row.Hosts, row.Kept = hostler.StepRunning, effect.N, 0
		row.Round++
		row.NextSeq, row.Started, row.Reason, row.EndedAt = 0, 0, "", time.Time{}
		return a.RestartSteps([]store.RunStepRow{*row})
	case flow.Ask:
		return a.ask(row, spec, next)
	case flow.Close:
		state := hostler.ApprovalClosed
		if until := row.Until; !until.IsZero() && !a.Now().Before(until) {
			state = hostler.ApprovalExpired
		}
		return a.CloseApproval(row.ID, state)
	case flow.Notify:
		values, err := a.valuesOf(next, effect.Step)
		if err != nil {
			return err
		}
		text := flow.RenderText(spec.Notify.Text, values)
		a.Emit(a.row.Project, hostler.EventRunMessage, hostler.ObjectEvent{
			Object: text, By: a.row.RequesterName, Channel: spec.Notify.Channel,
		})
	case flow.Withdraw, flow.Cancel: // cancelJobs has done a part of it
	}
	return nil
}

func (a *advance) ask(row *store.RunStepRow, spec *hostler.Step, next *flow.Run) error {
	approvers := spec.Approval.Approvers
	if len(approvers) == 0 {
		approvers = []string{"role:" + string(hostler.RoleApprover)}
	}
	list, err := json.Marshal(approvers)
	if err != nil {
		return fmt.Errorf("encode approvers: %w", err)
	}
	values, err := a.valuesOf(next, row.N)
	if err != nil {
		return err
	}
	return a.InsertApproval(store.ApprovalRow{
		Project: a.row.Project, Run: a.row.ID, Step: row.ID,
		Title: flow.RenderText(spec.Approval.Title, values), Approvers: string(list),
		Quorum: max(1, spec.Approval.Quorum), Self: spec.Approval.Self, Requester: a.row.Requester,
		ExpiresAt: next.Steps[row.N].Until,
	})
}

// start prepares the jobs of the next n hosts of a step.
func (a *advance) start(next *flow.Run, row *store.RunStepRow, n int) error {
	var jobs store.StepJobs
	if err := json.Unmarshal([]byte(row.Jobs), &jobs); err != nil {
		return fmt.Errorf("decode the jobs of step %s: %w", row.Step, err)
	}
	if !jobs.OnAsset {
		row.NextSeq = 1
		return a.addHosts(next, row, &jobs, []place{{}})
	}
	for n > 0 {
		hosts, err := a.nextHosts(row, n)
		if err != nil {
			return err
		}
		if len(hosts) == 0 {
			return fmt.Errorf("step %s has %d hosts fewer than it counts", row.Step, n)
		}
		if err := a.addHosts(next, row, &jobs, hosts); err != nil {
			return err
		}
		n -= len(hosts)
	}
	return nil
}

// place is a host of a step that starts.
type place struct {
	store.RunHost
	seq   int64
	about hostler.JobID // that a probe looks at
}

// nextHosts returns up to n hosts that the current round of a step has not looked at. A
// later round passes over hosts that have succeeded; a step that follows another one has
// hosts of that.
func (a *advance) nextHosts(row *store.RunStepRow, n int) (hosts []place, err error) {
	follows, source := a.specs[row.N].Follows, row
	if follows {
		source = a.followed(row.N)
	}
	for len(hosts) == 0 && row.NextSeq < int64(row.Total) {
		part, err := a.RunHosts(row.Run, row.HostSet, row.NextSeq, batch)
		if err != nil || len(part) == 0 {
			return nil, err
		}
		var before map[int64]store.StartedHost
		if row.Round > 0 || follows {
			before, err = a.StartedHosts(source.ID, row.NextSeq, row.NextSeq+int64(len(part)))
			if err != nil {
				return nil, err
			}
		}
		for _, h := range part {
			if len(hosts) == n {
				break
			}
			p := place{RunHost: h, seq: row.NextSeq}
			row.NextSeq++
			switch {
			case follows && !a.follows(row, &p, before[p.seq]):
			case !follows && row.Kept > 0 && before[p.seq].State == string(hostler.StateSucceeded):
			default:
				hosts = append(hosts, p)
			}
		}
	}
	return hosts, nil
}

// follows reports whether a step works on a host of the step that it follows: where that has
// run, to undo it; where it succeeded, for a gate; where its outcome is unknown, for a probe.
func (a *advance) follows(row *store.RunStepRow, p *place, of store.StartedHost) bool {
	switch spec := &a.specs[row.N]; {
	case spec.GateOf != "":
		return of.State == string(hostler.StateSucceeded)
	case spec.ProbeOf != "":
		i := slices.IndexFunc(a.probes[row.N], func(h store.JobHost) bool { return h.Seq == p.seq })
		if i >= 0 {
			p.about = a.probes[row.N][i].Job
		}
		return i >= 0
	}
	return of.Ran
}

// addHosts prepares the jobs of hosts. One whose asset is gone, or whose job is refused,
// counts as failed.
func (a *advance) addHosts(next *flow.Run, row *store.RunStepRow, jobs *store.StepJobs, places []place) error {
	hosts, ids := make([]store.RunHost, len(places)), make([]hostler.AssetID, len(places))
	for i, p := range places {
		hosts[i], ids[i] = p.RunHost, p.ID
	}
	byID := map[hostler.AssetID]store.Target{0: {}}
	if jobs.OnAsset {
		targets, err := a.Targets(a.row.Project, store.Selection{IDs: ids})
		if err != nil {
			return err
		}
		byID = make(map[hostler.AssetID]store.Target, len(targets))
		for _, t := range targets {
			byID[t.ID] = t
		}
	}
	args, refused, err := a.render(next, row, jobs, hosts)
	if err != nil {
		return err
	}
	for i, p := range places {
		start := store.HostStart{Step: row.ID, Seq: p.seq, Round: row.Round, Bind: p.Bind, About: p.about}
		t, ok := byID[p.ID]
		if ok && refused[i] == nil {
			job := specOf(a.row, jobs, t)
			job.Args = args[i]
			a.jobs, a.starts = append(a.jobs, job), append(a.starts, start)
			continue
		}
		if refused[i] != nil {
			b, err := json.Marshal(refused[i])
			if err != nil {
				return fmt.Errorf("encode a refusal: %w", err)
			}
			start.Note = string(b)
		}
		row.Missing++
		a.more, a.missing = true, append(a.missing, start)
	}
	return nil
}

// specOf is the job of a step on a target.
func specOf(r *store.RunRow, j *store.StepJobs, t store.Target) hostler.JobSpec {
	s := hostler.JobSpec{
		Project: r.Project, Run: r.ID, Queue: j.Queue, Action: j.Action, Args: j.Args, Asset: t.ID, AssetName: t.Name,
		LaneKey: j.LaneKey, LaneLimit: j.LaneLimit, Priority: j.Priority, MaxAttempts: j.MaxAttempts,
		Backoff: j.Backoff, Timeout: j.Timeout.D(), DefaultTimeout: j.DefaultTimeout, OnLost: j.OnLost, OnUnknown: j.OnUnknown, OnRetry: j.OnRetry,
		CreatedBy: r.RequesterName, CreatedByID: r.Requester, Accepted: true,
	}
	if j.AssetLane {
		s.LaneKey, s.LaneLimit = hostler.AssetLaneKey(t.DeviceKey), 1
	}
	return s
}

// createJobs enqueues all jobs of the transaction at once: their lanes are locked in one
// order.
func (a *advance) createJobs() error {
	if err := a.StartHosts(a.missing); err != nil || len(a.jobs) == 0 {
		return err
	}
	ids, err := a.Enqueue(a.jobs)
	if err != nil {
		return err
	}
	for i, id := range ids {
		a.starts[i].Job = id
	}
	return a.StartHosts(a.starts)
}

// saveSteps stores the steps that have changed.
func (a *advance) saveSteps(next *flow.Run) error {
	var changed []store.RunStepRow
	for i := range next.Steps {
		s, row := &next.Steps[i], a.steps[i]
		same := s.State == row.State && s.Started == row.Started && s.Until.Equal(row.Until) && row.Missing == 0 &&
			s.Gated == row.Gated
		if same {
			continue
		}
		if row.StartedAt.IsZero() && s.State != hostler.StepCancelled && s.State != hostler.StepSkipped {
			row.StartedAt = a.Now()
		}
		if s.State.Ended() && !row.State.Ended() {
			row.EndedAt = a.Now()
		}
		row.State, row.Started, row.Until, row.Gated = s.State, s.Started, s.Until, s.Gated
		if s.Reason != (hostler.Text{}) {
			b, err := json.Marshal(s.Reason)
			if err != nil {
				return fmt.Errorf("encode a reason: %w", err)
			}
			row.Reason = string(b)
		}
		changed = append(changed, row)
	}
	slices.SortFunc(changed, func(x, y store.RunStepRow) int { return cmp.Compare(x.ID, y.ID) })
	return a.SaveSteps(changed)
}

// runEvents are the events of a run that comes into a state.
var runEvents = map[hostler.RunState]hostler.EventType{
	hostler.RunWaiting: hostler.EventRunWaiting, hostler.RunSucceeded: hostler.EventRunSucceeded,
	hostler.RunFailed: hostler.EventRunFailed, hostler.RunRejected: hostler.EventRunRejected,
	hostler.RunCancelled: hostler.EventRunCancelled,
}

// saveRun stores the state of the run, and emits the event of a new one.
func (a *advance) saveRun(next *flow.Run) error {
	r := a.row
	if event, ok := runEvents[next.State]; ok && next.State != r.State {
		a.Emit(r.Project, event, hostler.ObjectEvent{Object: r.ID.String(), By: r.RequesterName})
	}
	if next.State.Ended() && !r.State.Ended() {
		r.EndedAt = a.Now()
		if r.Follows {
			if err := a.WakeFollowUps(r.ID); err != nil {
				return err
			}
		}
	}
	if r.StartedAt.IsZero() {
		r.StartedAt = a.Now()
	}
	r.State, r.Stop, r.WakeAt = next.State, next.Stop, next.Wake
	return a.SaveRun(r)
}
