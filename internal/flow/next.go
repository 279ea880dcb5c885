package flow

import (
	"time"

	"hostler.dev/hostler"
)

// Run is the state of a run, as far as it decides what happens next.
type Run struct {
	State  hostler.RunState
	Paused bool
	// Stop is why no further step starts, but those marked always: RunFailed, RunRejected,
	// or RunCancelled, which stops those too. Empty: the run goes on.
	Stop  hostler.RunState
	Steps []Step
	// Wake is when Next must be called again although nothing happens; zero: never.
	Wake time.Time
}

// Step is the state of a step of a run. The counters are those of the current round: a
// step that is run again begins a new one, with the hosts that are left.
type Step struct {
	Spec  *hostler.Step
	Needs []int // indexes of steps
	State hostler.StepState
	// Relations to other steps, as 1 + their indexes; 0: none.
	In          int // the flow step that it is within
	PartOf      int // the step that it is the gate or the probe of
	Gate, Probe int // the steps that are its gate and its probe
	Undoes      int
	rank        int // place in an order in which each step is behind its needs
	// Reason is why a step was skipped, cancelled, or failed without a job.
	Reason hostler.Text

	// Strict steps fail if any host does, also within the budget.
	Strict bool

	Total     int  // hosts that it selects
	Follows   bool // its hosts are some of those of the step that it undoes or is a part of
	Hosts     int  // of this round
	Kept      int  // hosts that succeeded in earlier rounds
	Started   int  // hosts that have a job in this round
	Succeeded int
	Failed    int
	Cancelled int
	Unknown   int // not ended: a person, or the probe, must resolve them
	// Uncollected is how many of the hosts that succeeded have outputs which are not read yet.
	Uncollected int
	// Unprobed is how many of the unknown jobs the probe has not looked at.
	Unprobed int
	// Gated is how many hosts had started when the gate began; 0: it has not.
	Gated int

	// Until is when a wait, an approval or the pause between two waves ends; zero: none.
	Until time.Time
	// Decision is that of an approval: RunSucceeded for approved, RunRejected, or "".
	Decision hostler.RunState
}

// open is how many jobs of the step have not ended.
func (s *Step) open() int { return s.Started - s.Succeeded - s.Failed - s.Cancelled }

// over reports whether the failure budget of the step is used up.
func (s *Step) over() bool { return s.Failed+s.Cancelled > maxFailures(s.Spec.Rollout, s.Hosts+s.Kept) }

// failed reports whether the step fails when all its jobs have ended.
func (s *Step) failed() bool { return s.over() || s.Strict && s.Failed+s.Cancelled > 0 }

// Over reports whether no further job of the step may start.
func (s *Step) Over() bool { return s.over() }

// EffectKind is what an [Effect] does.
type EffectKind int

// The kinds of effect.
const (
	Enqueue  EffectKind = iota // create jobs for the next N hosts
	Withdraw                   // cancel jobs that have not started
	Cancel                     // cancel all jobs
	Ask                        // ask for an approval
	Close                      // close an approval that is not needed any more
	Notify                     // send a message
	Again                      // begin a new round of a step, on N hosts
)

// Effect is something to be done for a step.
type Effect struct {
	Kind EffectKind
	Step int
	N    int // hosts, of Enqueue and Again
}

// Clock is what Next knows of the world beside the state.
type Clock struct {
	Now time.Time
	// Holds evaluates the condition of a step with the values of this moment.
	Holds func(r *Run, step int) (bool, error)
	// Ran counts the hosts on which a step ran that another one undoes.
	Ran func(step int) int
	// Jobs is how many jobs one call may create.
	Jobs int
}

// Next returns what a run does next: its next state, and the effects that belong to it. It
// must be called again when more is true, at the time Wake of the new state, and when a job, a
// person or a timer changed the state.
func Next(r Run, c Clock) (next Run, effects []Effect, more bool) {
	n := &transition{Run: r, Clock: c, left: c.Jobs}
	n.Steps = append([]Step(nil), r.Steps...)
	n.Wake = time.Time{}
	// Each pass changes the state of a step for good, or is the last.
	for changed := true; changed; {
		changed = false
		for i := range n.Steps {
			changed = n.step(i) || changed
		}
	}
	n.fanOut()
	n.setState()
	return n.Run, n.effects, n.more
}

// transition is one call of Next.
type transition struct {
	Run
	Clock
	effects []Effect
	left    int // jobs that this call may still create
	more    bool
}

func (n *transition) effect(k EffectKind, step, hosts int) {
	n.effects = append(n.effects, Effect{k, step, hosts})
}

// step moves one step on, and reports whether its state changed.
func (n *transition) step(i int) bool {
	s := &n.Steps[i]
	before := s.State
	switch s.State {
	case hostler.StepPending:
		n.start(i)
	case hostler.StepWaiting:
		n.wait(i)
	case hostler.StepRunning, hostler.StepUnknown:
		n.check(i)
	case hostler.StepSucceeded, hostler.StepFailed, hostler.StepRejected, hostler.StepSkipped, hostler.StepCancelled:
	}
	return s.State != before
}

// end ends a step. A failure or rejection stops the run; one within a flow step ends that.
func (n *transition) end(i int, state hostler.StepState, reason hostler.Text) {
	s := &n.Steps[i]
	s.State, s.Until, s.Reason = state, time.Time{}, reason
	if s.In == 0 && s.PartOf == 0 && n.Stop == "" {
		n.Stop = s.stops()
	}
}

// stops is what the end of a step means for the flow that it belongs to.
func (s *Step) stops() hostler.RunState {
	switch {
	case s.PartOf > 0 || s.Spec.OnFailure == hostler.OnFailureContinue:
	case s.State == hostler.StepFailed:
		return hostler.RunFailed
	case s.State == hostler.StepRejected:
		return hostler.RunRejected
	}
	return ""
}

// stopIn is why no further step of a flow starts: 0 is the run, others are 1 + the index of
// a flow step.
func (n *transition) stopIn(flow int) hostler.RunState {
	if flow == 0 || n.Stop == hostler.RunCancelled {
		return n.Stop
	}
	for i := range n.Steps {
		if n.Steps[i].In == flow {
			if stop := n.Steps[i].stops(); stop != "" {
				return stop
			}
		}
	}
	return ""
}

// stopped reports whether nothing more of a step may start.
func (n *transition) stopped(i int) bool {
	if n.Stop == hostler.RunCancelled {
		return true
	}
	if owner := n.Steps[i].PartOf; owner > 0 {
		i = owner - 1
	}
	for exempt := false; ; i = n.Steps[i].In - 1 {
		s := &n.Steps[i]
		exempt = exempt || s.Spec.Always || s.Undoes > 0
		if !exempt && n.stopIn(s.In) != "" {
			return true
		}
		if s.In == 0 {
			return false
		}
	}
}

var (
	stoppedText = hostler.Text{EN: "the run had stopped before it", ZH: "运行在此之前已停止"}
	whenText    = hostler.Text{EN: "its condition does not hold", ZH: "条件不成立"}
	needText    = hostler.Text{EN: "a step that it needs did not run", ZH: "所依赖的步骤未执行"}
	partText    = hostler.Text{EN: "it was not needed", ZH: "不需要执行"}
	withinText  = hostler.Text{EN: "the flow that it belongs to did not run", ZH: "所属流程未执行"}
	gateText    = hostler.Text{EN: "the gate between two waves did not succeed", ZH: "批次之间的检查未成功"}
)

// start starts a pending step whose needs have ended.
func (n *transition) start(i int) {
	s := &n.Steps[i]
	switch {
	case s.PartOf > 0: // its owner starts it
		if n.Steps[s.PartOf-1].State.Ended() {
			n.end(i, hostler.StepSkipped, partText)
		}
		return
	case s.In > 0:
		switch state := n.Steps[s.In-1].State; {
		case state == hostler.StepPending:
			return
		case state == hostler.StepSkipped:
			n.end(i, hostler.StepSkipped, withinText)
			return
		case state.Ended():
			n.end(i, hostler.StepCancelled, withinText)
			return
		}
	}
	if n.stopped(i) {
		n.end(i, hostler.StepCancelled, stoppedText)
		return
	}
	if s.Undoes > 0 {
		if !n.mayUndo(i) {
			return
		}
	} else if !n.needsEnded(i) {
		return
	}
	if n.Paused {
		return
	}
	holds, err := true, error(nil)
	if s.Spec.When != "" {
		holds, err = n.Holds(&n.Run, i)
	}
	switch {
	case err != nil:
		n.end(i, hostler.StepFailed, hostler.Textf("its condition cannot be evaluated: %s",
			"无法计算条件：%s", err.Error()))
	case !holds:
		n.end(i, hostler.StepSkipped, whenText)
	default:
		n.begin(i)
	}
}

// needsEnded reports whether a step may start as far as others go. It cancels one that
// needs a cancelled one.
func (n *transition) needsEnded(i int) bool {
	s := &n.Steps[i]
	blocked := false
	for _, need := range s.Needs {
		state := n.Steps[need].State
		if !state.Ended() {
			return false
		}
		blocked = blocked || state == hostler.StepCancelled
	}
	if blocked && !s.Spec.Always {
		n.end(i, hostler.StepCancelled, needText)
		return false
	}
	// What always runs, such as a message, comes after a rollback.
	return !n.rollsBack(s.In)
}

// begin does what the kind of a step demands at its start.
func (n *transition) begin(i int) {
	s := &n.Steps[i]
	switch s.Spec.Kind() {
	case hostler.StepNotify:
		n.effect(Notify, i, 0)
		n.end(i, hostler.StepSucceeded, hostler.Text{})
	case hostler.StepWait:
		s.State, s.Until = hostler.StepWaiting, n.Now.Add(s.Spec.Wait.D())
	case hostler.StepApproval:
		s.State, s.Decision = hostler.StepWaiting, ""
		if d := s.Spec.Approval.Expires.D(); d > 0 {
			s.Until = n.Now.Add(d)
		}
		n.effect(Ask, i, 0)
	case hostler.StepFlow:
		s.State = hostler.StepRunning
	case hostler.StepAction:
		if s.Undoes > 0 {
			n.again(i, n.Ran(i))
		}
		s.State = hostler.StepRunning
		if s.Hosts == 0 {
			n.end(i, hostler.StepSucceeded, hostler.Text{})
		}
	}
}

// wait ends a step that waits for people or for a time.
func (n *transition) wait(i int) {
	s := &n.Steps[i]
	due := !s.Until.IsZero() && !n.Now.Before(s.Until)
	approval := s.Spec.Approval
	switch {
	case n.stopped(i):
		if approval != nil {
			n.effect(Close, i, 0)
		}
		n.end(i, hostler.StepCancelled, stoppedText)
	case approval == nil && due, s.Decision == hostler.RunSucceeded:
		n.end(i, hostler.StepSucceeded, hostler.Text{})
	case s.Decision == hostler.RunRejected:
		n.end(i, hostler.StepRejected, hostler.Text{})
	case due:
		n.effect(Close, i, 0)
		state := hostler.StepRejected
		if approval.OnExpiry == hostler.OnExpiryContinue {
			state = hostler.StepSucceeded
		}
		n.end(i, state, hostler.Text{EN: "the approval expired", ZH: "审批已过期"})
	}
}

// check ends a step whose jobs have ended.
func (n *transition) check(i int) {
	s := &n.Steps[i]
	if s.Spec.Flow != nil {
		n.checkFlow(i)
		return
	}
	if s.open() > 0 {
		if s.State = hostler.StepRunning; s.Unknown == s.open() && !n.runs(s.Probe) {
			s.State = hostler.StepUnknown
		}
		return
	}
	s.State = hostler.StepRunning
	if s.Uncollected > 0 && n.Stop != hostler.RunCancelled || n.runs(s.Gate) || n.runs(s.Probe) {
		return
	}
	all := s.Started >= s.Hosts
	switch {
	case n.Stop == hostler.RunCancelled:
		if all && !s.failed() {
			n.end(i, hostler.StepSucceeded, hostler.Text{})
		} else {
			n.end(i, hostler.StepCancelled, stoppedText)
		}
	case s.over() || all && s.failed():
		n.end(i, hostler.StepFailed, hostler.Text{})
	case all:
		n.end(i, hostler.StepSucceeded, hostler.Text{})
	case n.stopped(i):
		n.end(i, hostler.StepCancelled, stoppedText)
	case s.Gate > 0 && s.Started > 0 && s.Gated == s.Started && n.Steps[s.Gate-1].State != hostler.StepSucceeded:
		n.end(i, hostler.StepFailed, gateText)
	}
}

// runs reports whether a gate or a probe runs; 0 is none.
func (n *transition) runs(part int) bool {
	return part > 0 && n.Steps[part-1].State != hostler.StepPending && !n.Steps[part-1].State.Ended()
}

// fanOut starts jobs of running steps, or withdraws them.
func (n *transition) fanOut() {
	for i := range n.Steps {
		s := &n.Steps[i]
		if s.Spec.Kind() != hostler.StepAction || s.State != hostler.StepRunning && s.State != hostler.StepUnknown {
			continue
		}
		switch {
		case n.Stop == hostler.RunCancelled:
			n.effect(Cancel, i, 0)
		case s.over():
			n.effect(Withdraw, i, 0)
		case n.Paused:
		default:
			n.startProbe(i)
			if !n.stopped(i) {
				n.startWave(i)
			}
		}
	}
}

// startWave starts the next hosts of the current wave, or the pause before the next one.
func (n *transition) startWave(i int) {
	s := &n.Steps[i]
	if s.Started >= s.Hosts {
		return
	}
	end, first := waveEnd(s.Spec.Rollout, s.Hosts, s.Started)
	if first && s.Started > 0 {
		if s.open() > 0 || s.Uncollected > 0 || !n.pass(i) {
			return
		}
		if pause := s.Spec.Rollout.PauseBetween.D(); pause > 0 {
			if s.Until.IsZero() {
				s.Until = n.Now.Add(pause)
			}
			if n.Now.Before(s.Until) {
				return
			}
		}
	}
	s.Until = time.Time{}
	want := end - s.Started
	if r := s.Spec.Rollout; r != nil && r.Parallel > 0 {
		want = max(0, min(want, r.Parallel-s.open()))
	}
	hosts := min(want, n.left)
	n.more = n.more || hosts < want
	if hosts == 0 {
		return
	}
	n.left -= hosts
	s.Started += hosts
	n.effect(Enqueue, i, hosts)
}

// setState sets the state of the run and when it must be looked at again.
func (n *transition) setState() {
	ended, waiting, running := true, false, false
	for i := range n.Steps {
		s := &n.Steps[i]
		ended = ended && s.State.Ended()
		running = running || s.State == hostler.StepRunning && s.Spec.Flow == nil || s.State == hostler.StepWaiting && s.Spec.Wait != 0
		waiting = waiting || s.State == hostler.StepUnknown || s.State == hostler.StepWaiting && s.Spec.Approval != nil
		timed := !s.State.Ended() && !s.Until.IsZero() && (!n.Paused || s.State == hostler.StepWaiting)
		if timed && (n.Wake.IsZero() || s.Until.Before(n.Wake)) {
			n.Wake = s.Until
		}
	}
	switch {
	case ended && n.Stop != "":
		n.State = n.Stop
	case ended:
		n.State = hostler.RunSucceeded
	case n.Paused:
		n.State = hostler.RunPaused
	case waiting && !running:
		n.State = hostler.RunWaiting
	default:
		n.State = hostler.RunRunning
	}
}
