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
		if err != nil || !more {
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
		a := &advance{Tx: tx}
		err := a.run(id)
		more = a.more
		return err
	})
	return more, err
}

// advance is one transaction that advances a run.
type advance struct {
	*store.Tx
	row    *store.RunRow
	steps  []store.RunStepRow
	values flow.Values // without the state of the run and its steps
	more   bool

	specs  []hostler.JobSpec
	starts []store.HostStart // of the specs, and of missing hosts after them
}

func (a *advance) run(id hostler.RunID) (err error) {
	if a.row, err = a.LockRun(id); err != nil {
		return err
	}
	// What is read after this includes all that the deleted notes stand for.
	if err := a.TakeWakes(id); err != nil || a.row == nil {
		return err
	}
	if a.steps, err = a.RunSteps(id); err != nil {
		return err
	}
	state, err := a.state()
	if err != nil {
		return err
	}
	clock := flow.Clock{Now: a.Now(), Holds: a.holds, Jobs: batch}
	// Lanes are locked once in a transaction: what cancels jobs creates none.
	cancelled, err := a.cancelJobs(state)
	if err != nil {
		return err
	}
	if cancelled > 0 {
		clock.Jobs = 0
	}
	next, effects, more := flow.Next(state, clock)
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
	r := flow.Run{State: a.row.State, Paused: a.row.Paused, Stop: a.row.Stop, Steps: make([]flow.Step, len(a.steps))}
	specs := make([]hostler.Step, len(a.steps))
	for i := range a.steps {
		if err := json.Unmarshal([]byte(a.steps[i].Spec), &specs[i]); err != nil {
			return r, fmt.Errorf("decode step %d: %w", i, err)
		}
	}
	needs := flow.Needs(specs)
	for i := range a.steps {
		s := &a.steps[i]
		r.Steps[i] = flow.Step{
			Spec: &specs[i], Needs: needs[i], State: s.State, Hosts: s.Hosts, Kept: s.Kept, Started: s.Started,
			Succeeded: s.Succeeded, Failed: s.Failed, Cancelled: s.Cancelled, Unknown: s.Unknown,
			Until: s.Until, Decision: s.Decision, Strict: a.row.Source == hostler.RunAdHoc,
		}
	}
	a.values = flow.Values{"params": flow.ParamValues(json.RawMessage(a.row.Params))}
	return r, nil
}

// valuesOf is what conditions and texts see at a state.
func (a *advance) valuesOf(r *flow.Run) flow.Values {
	steps := make(map[string]any, len(r.Steps))
	for i := range r.Steps {
		steps[a.steps[i].Step] = flow.StepView(&r.Steps[i])
	}
	state := cmp.Or(r.Stop, hostler.RunRunning)
	a.values["run"] = flow.RunView(a.row.ID, a.row.RequesterName, state)
	a.values["steps"] = steps
	return a.values
}

func (a *advance) holds(r *flow.Run, step int) (bool, error) {
	return flow.Holds(r.Steps[step].Spec.When, a.valuesOf(r))
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
		return a.start(row, effect.N)
	case flow.Ask:
		return a.ask(row, spec, next)
	case flow.Close:
		state := hostler.ApprovalClosed
		if until := row.Until; !until.IsZero() && !a.Now().Before(until) {
			state = hostler.ApprovalExpired
		}
		return a.CloseApproval(row.ID, state)
	case flow.Notify:
		text := flow.RenderText(spec.Notify.Text, a.valuesOf(next))
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
	return a.InsertApproval(store.ApprovalRow{
		Project: a.row.Project, Run: a.row.ID, Step: row.ID,
		Title: flow.RenderText(spec.Approval.Title, a.valuesOf(next)), Approvers: string(list),
		Quorum: max(1, spec.Approval.Quorum), Self: spec.Approval.Self, Requester: a.row.Requester,
		ExpiresAt: next.Steps[row.N].Until,
	})
}

// start prepares the jobs of the next n hosts of a step.
func (a *advance) start(row *store.RunStepRow, n int) error {
	var jobs store.StepJobs
	if err := json.Unmarshal([]byte(row.Jobs), &jobs); err != nil {
		return fmt.Errorf("decode the jobs of step %s: %w", row.Step, err)
	}
	if !jobs.OnAsset {
		row.NextSeq = 1
		a.add(row, 0, specOf(a.row, &jobs, store.Target{}), "")
		return nil
	}
	for n > 0 {
		seqs, hosts, err := a.nextHosts(row, n)
		if err != nil {
			return err
		}
		if len(hosts) == 0 {
			return fmt.Errorf("step %s has %d hosts fewer than it counts", row.Step, n)
		}
		if err := a.addHosts(row, &jobs, seqs, hosts); err != nil {
			return err
		}
		n -= len(hosts)
	}
	return nil
}

// nextHosts returns the places of up to n hosts that the current round of a step has not
// looked at, and the hosts. A later round passes over hosts that have succeeded.
func (a *advance) nextHosts(row *store.RunStepRow, n int) (seqs []int64, hosts []store.RunHost, err error) {
	for len(hosts) == 0 && row.NextSeq < int64(row.Total) {
		part, err := a.RunHosts(row.Run, row.HostSet, row.NextSeq, batch)
		if err != nil || len(part) == 0 {
			return nil, nil, err
		}
		var before map[int64]store.StartedHost
		if row.Round > 0 {
			if before, err = a.StartedHosts(row.ID, row.NextSeq, row.NextSeq+int64(len(part))); err != nil {
				return nil, nil, err
			}
		}
		for _, h := range part {
			if len(hosts) == n {
				break
			}
			if row.Kept == 0 || before[row.NextSeq].State != string(hostler.StateSucceeded) {
				seqs, hosts = append(seqs, row.NextSeq), append(hosts, h)
			}
			row.NextSeq++
		}
	}
	return seqs, hosts, nil
}

// addHosts prepares the jobs of hosts. One whose asset is gone counts as failed.
func (a *advance) addHosts(row *store.RunStepRow, jobs *store.StepJobs, seqs []int64, hosts []store.RunHost) error {
	ids := make([]hostler.AssetID, len(hosts))
	for i, h := range hosts {
		ids[i] = h.ID
	}
	targets, err := a.Targets(a.row.Project, ids, nil, nil)
	if err != nil {
		return err
	}
	byID := make(map[hostler.AssetID]store.Target, len(targets))
	for _, t := range targets {
		byID[t.ID] = t
	}
	var missing []store.HostStart
	for i, h := range hosts {
		t, ok := byID[h.ID]
		if !ok {
			row.Missing++
			missing = append(missing, store.HostStart{Step: row.ID, Seq: seqs[i], Round: row.Round})
			continue
		}
		a.add(row, seqs[i], specOf(a.row, jobs, t), h.Bind)
	}
	if len(missing) == 0 {
		return nil
	}
	a.more = true
	return a.StartHosts(missing)
}

func (a *advance) add(row *store.RunStepRow, seq int64, spec hostler.JobSpec, bind string) {
	a.specs = append(a.specs, spec)
	a.starts = append(a.starts, store.HostStart{Step: row.ID, Seq: seq, Round: row.Round, Bind: bind})
}

// specOf is the job of a step on a target.
func specOf(r *store.RunRow, j *store.StepJobs, t store.Target) hostler.JobSpec {
	s := hostler.JobSpec{
		Project: r.Project, Run: r.ID, Queue: j.Queue, Action: j.Action, Args: j.Args, Asset: t.ID, AssetName: t.Name,
		LaneKey: j.LaneKey, LaneLimit: j.LaneLimit, Priority: j.Priority, MaxAttempts: j.MaxAttempts,
		Backoff: j.Backoff, Timeout: j.Timeout.D(), OnLost: j.OnLost, OnUnknown: j.OnUnknown, OnRetry: j.OnRetry,
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
	if len(a.specs) == 0 {
		return nil
	}
	ids, err := a.Enqueue(a.specs)
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
		same := s.State == row.State && s.Started == row.Started && s.Until.Equal(row.Until) && row.Missing == 0
		if same {
			continue
		}
		if row.StartedAt.IsZero() && s.State != hostler.StepCancelled && s.State != hostler.StepSkipped {
			row.StartedAt = a.Now()
		}
		if s.State.Ended() && !row.State.Ended() {
			row.EndedAt = a.Now()
		}
		row.State, row.Started, row.Until = s.State, s.Started, s.Until
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
	}
	if r.StartedAt.IsZero() {
		r.StartedAt = a.Now()
	}
	r.State, r.Stop, r.WakeAt = next.State, next.Stop, next.Wake
	return a.SaveRun(r)
}
