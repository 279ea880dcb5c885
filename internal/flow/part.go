package flow

import "hostler.dev/hostler"

// This file holds what steps do that belong to others: those within a flow step, those that
// undo others, and gates and probes.

// Ordinary reports whether a step runs by itself, not only in a rollback or as a part.
func (s *Step) Ordinary() bool { return s.Undoes == 0 && s.PartOf == 0 }

// again begins a new round of a step on a number of hosts.
func (n *transition) again(i, hosts int) {
	s := &n.Steps[i]
	s.State, s.Hosts, s.Kept, s.Started = hostler.StepRunning, hosts, 0, 0
	s.Succeeded, s.Failed, s.Cancelled, s.Unknown, s.Uncollected = 0, 0, 0, 0, 0
	if s.Reason = (hostler.Text{}); hosts == 0 {
		s.State = hostler.StepSucceeded
	}
	n.effect(Again, i, hosts)
}

// checkFlow ends a flow step whose steps have ended.
func (n *transition) checkFlow(i int) {
	cancelled := false
	for j := range n.Steps {
		if n.Steps[j].In == i+1 {
			if !n.Steps[j].State.Ended() {
				return
			}
			cancelled = cancelled || n.Steps[j].State == hostler.StepCancelled
		}
	}
	switch stop := n.stopIn(i + 1); {
	case stop == hostler.RunFailed:
		n.end(i, hostler.StepFailed, hostler.Text{})
	case stop == hostler.RunRejected:
		n.end(i, hostler.StepRejected, hostler.Text{})
	case cancelled:
		n.end(i, hostler.StepCancelled, stoppedText)
	default:
		n.end(i, hostler.StepSucceeded, hostler.Text{})
	}
}

var undoText = hostler.Text{EN: "there was nothing to roll back", ZH: "没有需要回滚的内容"}

// rollback reports whether a step of a flow has failed that asks for a rollback.
func (n *transition) rollback(flow int) bool {
	for i := range n.Steps {
		s := &n.Steps[i]
		if s.In == flow && s.Ordinary() && s.Spec.OnFailure == hostler.OnFailureRollback && s.stops() != "" {
			return true
		}
	}
	return false
}

// rollsBack reports whether a rollback of a flow goes on.
func (n *transition) rollsBack(flow int) bool {
	if !n.rollback(flow) {
		return false
	}
	for i := range n.Steps {
		if s := &n.Steps[i]; s.In == flow && s.Undoes > 0 && !s.State.Ended() {
			return true
		}
	}
	return false
}

// mayUndo reports whether a step may start that undoes another: after a failure that asks
// for it, when what runs has ended, and the steps behind the other one are undone. It ends
// steps that have nothing to undo.
func (n *transition) mayUndo(i int) bool {
	s := &n.Steps[i]
	rollback, ended, begun := n.rollback(s.In), true, false
	for j := range n.Steps {
		o := &n.Steps[j]
		if o.In != s.In || !o.Ordinary() {
			continue
		}
		ended = ended && o.State.Ended()
		begun = begun || !o.State.Ended() && o.State != hostler.StepPending
	}
	target := &n.Steps[s.Undoes-1]
	switch {
	case !rollback && ended:
		n.end(i, hostler.StepSkipped, undoText)
		return false
	case !rollback || begun:
		return false
	case target.Started+target.Kept == 0 && target.State != hostler.StepSucceeded && target.State != hostler.StepFailed &&
		target.State != hostler.StepRejected:
		n.end(i, hostler.StepSkipped, undoText)
		return false
	}
	for j := range n.Steps {
		o := &n.Steps[j]
		if o.Undoes == 0 || o.In != s.In || !n.undoneBefore(j, i) {
			continue
		}
		if !o.State.Ended() {
			return false
		}
		if o.State == hostler.StepCancelled || o.stops() != "" {
			n.end(i, hostler.StepCancelled, needText)
			return false
		}
	}
	return true
}

// undoneBefore reports whether a rollback runs step a before step b: in the reverse order of
// what they undo.
func (n *transition) undoneBefore(a, b int) bool {
	ra, rb := n.Steps[n.Steps[a].Undoes-1].rank, n.Steps[n.Steps[b].Undoes-1].rank
	return ra > rb || ra == rb && a < b
}

// pass reports whether the gate between two waves lets a step go on. It begins the gate.
func (n *transition) pass(i int) bool {
	s := &n.Steps[i]
	if s.Gate == 0 {
		return true
	}
	gate := &n.Steps[s.Gate-1]
	if s.Gated != s.Started {
		s.Gated = s.Started
		n.again(s.Gate-1, n.partHosts(s.Gate-1, s.Succeeded+s.Kept))
	}
	return gate.State == hostler.StepSucceeded
}

// startProbe lets the probe of a step look at jobs with an unknown outcome.
func (n *transition) startProbe(i int) {
	s := &n.Steps[i]
	if s.Probe > 0 && s.Unprobed > 0 && !n.runs(s.Probe) {
		n.again(s.Probe-1, n.partHosts(s.Probe-1, s.Unprobed))
		s.State = hostler.StepRunning
	}
}

// partHosts is how many hosts a gate or probe has: those of its owner unless it selects its
// own.
func (n *transition) partHosts(part, owned int) int {
	if s := &n.Steps[part]; !s.Follows {
		return s.Total
	}
	return owned
}
