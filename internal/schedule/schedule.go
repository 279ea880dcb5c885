// Package schedule computes when schedules fire, and what becomes of fires that are
// late or overlap. It is pure: no database, no clock.
//
// # Model
//
// A trigger has instants: those of a cron expression in a time zone, every so often
// from a start, or one date. [Times.After] is the first instant after a time. Each
// instant has a due time, which is later by the jitter of its schedule. [Times.Decide]
// decides the instants that are due, in their order: which one runs, and which ones
// are recorded as missed.
//
//	cron "30 2 * * *", Europe/Berlin     02:30 by the clock on the wall
//	wall  ──Instant of the wall time──▶  instant
//
// A wall time becomes the first instant at which the clock shows it or a later time.
// So a time that the clock leaps over, when summer time begins, fires at the leap; and
// a time that the clock shows twice fires the first time only.
//
// # Invariants
//
//   - The instants of a trigger are strictly increasing, and the same on every server.
//   - The work of one decision is bounded, however long no server ran.
package schedule

import (
	"hash/fnv"
	"time"

	"hostler.dev/hostler"
)

// Times are the instants of a checked trigger.
type Times struct {
	zone       *time.Location
	jitter     time.Duration
	start, end time.Time // zero: none
	next       nexter
}

// nexter finds the first instant after a time; zero when there is none.
type nexter interface{ after(t time.Time) time.Time }

// once is a date.
type once time.Time

func (o once) after(t time.Time) time.Time {
	if at := time.Time(o); at.After(t) {
		return at
	}
	return time.Time{}
}

// every is an interval from a start.
type every struct {
	start time.Time
	span  time.Duration
}

func (e every) after(t time.Time) time.Time {
	if t.Before(e.start) {
		return e.start
	}
	return e.start.Add((t.Sub(e.start)/e.span + 1) * e.span)
}

// Zone is the time zone of the trigger.
func (t *Times) Zone() *time.Location { return t.zone }

// After returns the first instant after a time; zero when there is none.
func (t *Times) After(at time.Time) time.Time {
	if !t.start.IsZero() && at.Before(t.start) {
		at = t.start.Add(-1)
	}
	next := t.next.after(at)
	if next.IsZero() || !t.end.IsZero() && !next.Before(t.end) || next.Year() >= 2200 {
		return time.Time{}
	}
	return next
}

// Next returns up to n instants after a time, in the trigger's zone.
func (t *Times) Next(after time.Time, n int) []time.Time {
	out := []time.Time{}
	for len(out) < n {
		if after = t.After(after); after.IsZero() {
			break
		}
		out = append(out, after.In(t.zone))
	}
	return out
}

// Due is when an instant of a schedule is due: later than the instant by a part of the
// jitter, which depends on the schedule and the instant only.
func (t *Times) Due(id hostler.ScheduleID, instant time.Time) time.Time {
	if t.jitter <= 0 || instant.IsZero() {
		return instant
	}
	h := fnv.New64a()
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = byte(id>>(8*i)), byte(instant.UnixMicro()>>(8*i))
	}
	_, _ = h.Write(b[:])
	// FNV changes its high bits little when the last bytes of a short input change.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	part := time.Duration(x%uint64(t.jitter/time.Microsecond)) * time.Microsecond
	return instant.Add(part)
}

// last returns the last instant in [from, until], where from is one.
func (t *Times) last(from, until time.Time) time.Time {
	if e, ok := t.next.(every); ok {
		at := e.start.Add(until.Sub(e.start) / e.span * e.span)
		if !t.end.IsZero() && !at.Before(t.end) {
			at = e.start.Add((t.end.Sub(e.start) - 1) / e.span * e.span)
		}
		return at
	}
	// After(x) is at most until for each x before the last instant, and for no other.
	low, high := from.Add(-time.Second), until
	for high.Sub(low) > time.Second {
		mid := low.Add(high.Sub(low) / 2)
		if next := t.After(mid); !next.IsZero() && !next.After(until) {
			low = mid
		} else {
			high = mid
		}
	}
	return t.After(low)
}
