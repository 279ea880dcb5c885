package hostler

import "slices"

// State is the state of a job. A job changes its state only as [Transitions] lists. The
// CHECK constraints of the schema and the diagram in docs/states.md agree with it; a
// test compares the three.
type State string

// The states of a job.
const (
	StateScheduled State = "scheduled" // waits for its start time
	StateQueued    State = "queued"    // waits for a worker, a lane or a limit
	StateRunning   State = "running"   // leased by a worker
	StateSucceeded State = "succeeded"
	StateFailed    State = "failed"
	StateCancelled State = "cancelled"
	StateExpired   State = "expired" // its ttl ended before it started
	// StateUnknown: the connection or the worker was lost while a command that may have
	// side effects was running. The job is never run again silently; a person, or a
	// verify probe, sets its outcome.
	StateUnknown State = "unknown"
)

// States lists every state, in the order of a job's life.
func States() []State {
	return []State{
		StateScheduled, StateQueued, StateRunning, StateSucceeded,
		StateFailed, StateCancelled, StateExpired, StateUnknown,
	}
}

// Cause is the reason for a change of state; it names a transition.
type Cause string

// The causes.
const (
	CauseDue      Cause = "due"      // its start time has come
	CauseLease    Cause = "lease"    // a worker leased it
	CauseHold     Cause = "hold"     // its user may not run it now
	CauseFinish   Cause = "finish"   // the worker reported the end
	CauseRetry    Cause = "retry"    // it failed and has attempts left
	CauseHandBack Cause = "handback" // the worker returned it unstarted
	CauseLost     Cause = "lost"     // the worker, or its connection, was lost
	CauseCancel   Cause = "cancel"   // a person cancelled it
	CauseExpire   Cause = "expire"   // its ttl has ended
	CauseResolve  Cause = "resolve"  // a person, or a verify probe, set the outcome
)

// Transition is one allowed change of a job's state.
type Transition struct {
	From  State
	Cause Cause
	To    State
}

// Transitions lists every transition of the state machine.
func Transitions() []Transition {
	return []Transition{
		{StateScheduled, CauseDue, StateQueued},
		{StateScheduled, CauseCancel, StateCancelled},
		{StateScheduled, CauseExpire, StateExpired},
		{StateQueued, CauseLease, StateRunning},
		{StateQueued, CauseHold, StateScheduled},
		{StateQueued, CauseCancel, StateCancelled},
		{StateQueued, CauseExpire, StateExpired},
		{StateRunning, CauseFinish, StateSucceeded},
		{StateRunning, CauseFinish, StateFailed},
		{StateRunning, CauseCancel, StateCancelled},
		{StateRunning, CauseRetry, StateScheduled},
		{StateRunning, CauseHandBack, StateQueued},
		{StateRunning, CauseLost, StateQueued},
		{StateRunning, CauseLost, StateFailed},
		{StateRunning, CauseLost, StateUnknown},
		{StateUnknown, CauseResolve, StateSucceeded},
		{StateUnknown, CauseResolve, StateFailed},
	}
}

// CanChange reports whether the state machine allows from → to by the cause.
func CanChange(from State, cause Cause, to State) bool {
	return slices.Contains(Transitions(), Transition{from, cause, to})
}

// Terminal reports whether a job in this state never changes again.
func (s State) Terminal() bool {
	switch s {
	case StateSucceeded, StateFailed, StateCancelled, StateExpired:
		return true
	case StateScheduled, StateQueued, StateRunning, StateUnknown:
		return false
	}
	return false
}

// Settled reports whether the state is terminal or unknown. A wait for a job ends in
// such a state: nothing runs any more, and an unknown job may wait for a person for
// ever.
func (s State) Settled() bool { return s.Terminal() || s == StateUnknown }

// Valid reports whether s is one of the states.
func (s State) Valid() bool { return slices.Contains(States(), s) }
