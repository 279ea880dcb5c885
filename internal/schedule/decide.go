package schedule

import (
	"time"

	"hostler.dev/hostler"
)

// Policy is what becomes of fires that are late or overlap.
type Policy struct {
	Grace        time.Duration // how late a fire may still run
	Coalesce     bool          // of several due fires, only the last runs
	MaxInstances int
	Overlap      hostler.Overlap
}

// countMost is how many missed instants are counted.
const countMost = 1000

// Missed are consecutive instants that do not run. Count is at least 1; if More, there
// are at least so many.
type Missed struct {
	From, Until time.Time
	Count       int
	More        bool
	State       hostler.FireState // FireMissed or FireMerged
}

// Decision is what becomes of the instants of a schedule that are due.
type Decision struct {
	Missed *Missed   // nil: none
	Fire   time.Time // the instant that runs; zero: none
	// Next is the first instant that is not decided; zero when there is none.
	Next time.Time
}

// Decide decides the instants from next on that are due by now. It runs at most one;
// if more are due, Next is one of them.
func (t *Times) Decide(id hostler.ScheduleID, next, now time.Time, p Policy) Decision {
	if next.IsZero() || t.Due(id, next).After(now) {
		return Decision{Next: next}
	}
	oldest := now.Add(-p.Grace)
	if !p.Coalesce {
		if !t.Due(id, next).Before(oldest) {
			return Decision{Fire: next, Next: t.After(next)}
		}
		last := t.lastDue(id, next, oldest.Add(-1))
		return Decision{Missed: t.missed(next, last, hostler.FireMissed), Next: t.After(last)}
	}
	last := t.lastDue(id, next, now)
	d := Decision{Next: t.After(last)}
	switch {
	case t.Due(id, last).Before(oldest):
		d.Missed = t.missed(next, last, hostler.FireMissed)
	case last.Equal(next):
		d.Fire = last
	default:
		d.Fire = last
		d.Missed = t.missed(next, t.last(next, last.Add(-1)), hostler.FireMerged)
	}
	return d
}

// lastDue returns the last of the instants from next on that are due by a time, as all
// those between are; next is due.
func (t *Times) lastDue(id hostler.ScheduleID, next, by time.Time) time.Time {
	last := next
	// Those older than the jitter are due, whatever their part of it is.
	if sure := by.Add(-t.jitter); sure.After(next) {
		last = t.last(next, sure)
	}
	for range countMost {
		further := t.After(last)
		if further.IsZero() || t.Due(id, further).After(by) {
			break
		}
		last = further
	}
	return last
}

// missed counts the instants in [from, until].
func (t *Times) missed(from, until time.Time, state hostler.FireState) *Missed {
	m := &Missed{From: from, Until: until, Count: 1, State: state}
	if e, ok := t.next.(every); ok {
		m.Count = int(until.Sub(from)/e.span) + 1
		return m
	}
	for at := from; at.Before(until); m.Count++ {
		if m.Count == countMost {
			m.More = true
			break
		}
		at = t.After(at)
	}
	return m
}

// Admission is what a fire does that is due.
type Admission string

// The admissions.
const (
	Start   Admission = "start"
	Skip    Admission = "skip"
	Queue   Admission = "queue"
	Merge   Admission = "merge"   // one that waits stands for it
	Replace Admission = "replace" // cancel the active runs, and start
)

// MaxQueued is how many fires of a schedule wait for its earlier runs; further ones are
// skipped.
const MaxQueued = 100

// Admit decides what a fire does while runs of its schedule are active and fires are
// queued.
func (p Policy) Admit(active, queued int) Admission {
	switch {
	case active < p.MaxInstances && queued == 0:
		return Start
	case p.Overlap == hostler.OverlapReplace:
		return Replace
	case p.Overlap == hostler.OverlapQueue && queued < MaxQueued:
		return Queue
	}
	return Skip
}
