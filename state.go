package hostler

import "slices"

// State is where a job is in its life. The transitions below are the only
// ones; the CHECK of the schema and the diagram in docs/states.md say the
// same, and a test holds the three together.
type State string

// The states of a job.
const (
	StateScheduled State = "scheduled" // waits for its time
	StateQueued    State = "queued"    // waits for a worker, a lane or a limit
	StateRunning   State = "running"   // leased by a worker
	StateSucceeded State = "succeeded"
	StateFailed    State = "failed"
	StateCancelled State = "cancelled"
	StateExpired   State = "expired" // its ttl was over before it started
	// StateUnknown: the connection or the worker was lost while a command that
	// may have side effects ran. Never re-run silently; a person or a verify
	// probe resolves it.
	StateUnknown State = "unknown"
)

// States lists every state, in the order of a job's life.
func States() []State {
	return []State{
		StateScheduled, StateQueued, StateRunning, StateSucceeded,
		StateFailed, StateCancelled, StateExpired, StateUnknown,
	}
}

// Cause is why a job changes its state; it names a transition.
type Cause string

// The causes.
const (
	CauseDue      Cause = "due"      // its time has come
	CauseLease    Cause = "lease"    // a worker took it
	CauseFinish   Cause = "finish"   // the worker reported the end
	CauseRetry    Cause = "retry"    // it failed and has attempts left
	CauseHandBack Cause = "handback" // the worker gave it back unstarted
	CauseLost     Cause = "lost"     // the worker, or its connection, was lost
	CauseCancel   Cause = "cancel"   // a person cancelled it
	CauseExpire   Cause = "expire"   // its ttl is over
	CauseResolve  Cause = "resolve"  // a person, or a verify probe, decided
)

// Transition is one allowed change of a job's state.
type Transition struct {
	From  State
	Cause Cause
	To    State
}

// Transitions is the state machine: the whole of it.
func Transitions() []Transition {
	return []Transition{
		{StateScheduled, CauseDue, StateQueued},
		{StateScheduled, CauseCancel, StateCancelled},
		{StateScheduled, CauseExpire, StateExpired},
		{StateQueued, CauseLease, StateRunning},
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

// Settled reports whether a job in this state waits for nothing but, when it is
// unknown, a person: it is terminal or unknown. Nothing runs any more, so that a wait
// for the job ends here.
func (s State) Settled() bool { return s.Terminal() || s == StateUnknown }

// Valid reports whether s is one of the states.
func (s State) Valid() bool { return slices.Contains(States(), s) }
