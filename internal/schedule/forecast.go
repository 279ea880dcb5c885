package schedule

import (
	"slices"
	"time"

	"hostler.dev/hostler"
)

// Subject is a schedule whose fires are forecast.
type Subject struct {
	ID     hostler.ScheduleID
	Times  *Times
	Policy Policy
	Next   time.Time     // the first instant that is not decided
	Run    time.Duration // how long a run takes
	// Open reports when what would begin at a time may begin: at the time itself, later, or
	// never (the zero time).
	Open func(at time.Time) time.Time
}

// Forecast is a fire to come.
type Forecast struct {
	At    time.Time
	State hostler.FireState // started, skipped, merged or replaced
	Start time.Time         // of its run
	End   time.Time
	Over  bool // its run still runs when the next instant is due
}

// Forecast calls fn for the fires that are due before a time, in the order of their instants,
// but for at most n. It returns how many there are.
func (s *Subject) Forecast(to time.Time, n int, fn func(f Forecast)) int {
	w := forecaster{Subject: s}
	count := 0
	for at := s.Next; !at.IsZero() && count < n; count++ {
		due := s.Times.Due(s.ID, at)
		if !due.Before(to) {
			break
		}
		w.startWaiting(due)
		w.fire(at, due)
		next := s.Times.After(at)
		w.end(s.Times.Due(s.ID, next))
		at = next
	}
	w.startWaiting(to)
	for i := range w.fires {
		fn(w.fires[i])
	}
	return count
}

type forecaster struct {
	*Subject
	fires   []Forecast
	active  []int // fires whose runs have not ended
	waiting []int
}

// end marks the runs that still run at the time of the next fire.
func (w *forecaster) end(next time.Time) {
	for _, i := range w.active {
		w.fires[i].Over = w.fires[i].Over || !next.IsZero() && w.fires[i].End.After(next)
	}
}

// settle forgets runs that have ended by a time.
func (w *forecaster) settle(at time.Time) {
	w.active = slices.DeleteFunc(w.active, func(i int) bool { return !w.fires[i].End.After(at) })
}

func (w *forecaster) start(i int, at time.Time) {
	f := &w.fires[i]
	f.State, f.Start, f.End = hostler.FireStarted, at, at.Add(w.Run)
	w.active = append(w.active, i)
}

// startWaiting starts the fires that wait and may begin by a time.
func (w *forecaster) startWaiting(by time.Time) {
	for len(w.waiting) > 0 {
		i := w.waiting[0]
		at := w.fires[i].Start // when it may begin at the earliest
		w.settle(at)
		if len(w.active) >= w.Policy.MaxInstances {
			first := slices.MinFunc(w.active, func(a, b int) int { return w.fires[a].End.Compare(w.fires[b].End) })
			at = w.fires[first].End
		}
		open := w.Open(at)
		if open.IsZero() {
			w.fires[i].State = hostler.FireSkipped
			w.waiting = w.waiting[1:]
			continue
		}
		if w.fires[i].Start = open; open.After(by) {
			return
		}
		if !open.Equal(at) {
			continue // until then, others may end
		}
		w.settle(at)
		w.waiting = w.waiting[1:]
		w.start(i, at)
	}
}

// fire decides a fire as the engine does.
func (w *forecaster) fire(at, due time.Time) {
	w.settle(due)
	i := len(w.fires)
	w.fires = append(w.fires, Forecast{At: at, State: hostler.FireSkipped})
	open := w.Open(due)
	if len(w.waiting) > 0 && open.After(due) && len(w.active) < w.Policy.MaxInstances {
		if w.Policy.Coalesce {
			w.fires[i].State = hostler.FireMerged
			return
		}
		if len(w.waiting) < MaxQueued {
			w.wait(i, open)
		}
		return
	}
	switch w.Policy.Admit(len(w.active), len(w.waiting)) {
	case Queue:
		w.wait(i, due)
	case Start, Replace:
		switch {
		case open.IsZero():
		case open.After(due):
			w.wait(i, open)
		default:
			for _, k := range w.active {
				w.fires[k].State, w.fires[k].End = hostler.FireReplaced, due
			}
			w.active = w.active[:0]
			w.start(i, due)
		}
	case Skip, Merge:
	}
}

func (w *forecaster) wait(i int, from time.Time) {
	w.fires[i].State, w.fires[i].Start = hostler.FireQueued, from
	w.waiting = append(w.waiting, i)
}
