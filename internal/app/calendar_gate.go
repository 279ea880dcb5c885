package app

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/schedule"
	"hostler.dev/hostler/internal/store"
)

// This file asks the calendars on every way to a job.

// closedError says that a calendar is closed.
type closedError struct {
	name   string
	effect hostler.CalendarEffect
	until  time.Time // when all calendars that apply are open; zero: not within 400 days
	err    error     // for people
}

func (e *closedError) Error() string { return fmt.Sprintf("the calendar %s is closed", e.name) }

// begin is what is to begin.
type begin struct {
	calendar string    // that the schedule names
	at       time.Time // zero: now
	targets  []store.Target
	address  string // of a host that is not an asset
	override *hostler.CalendarOverride
	fire     bool // a fire, which waits itself
}

// maxOpenings is how often one calendar is closed when another opens, before it is said
// that they never open together.
const maxOpenings = 500

// openCalendar is a calendar that applies to what is to begin.
type openCalendar struct {
	*schedule.Closures
	name   string
	effect hostler.CalendarEffect
}

// checkCalendars refuses what would begin while a calendar that applies is closed. The
// cause of the error is a [closedError]: what begins waits only if each calendar that
// is closed on the way lets it wait.
func (s *scope) checkCalendars(b begin) error {
	if b.override != nil {
		return s.checkCalendarOverride(b.override)
	}
	all, err := s.calendarsOf(b)
	if err != nil || len(all) == 0 {
		return err
	}
	at := b.at
	if now := s.Now(); at.Before(now) {
		at = now
	}
	names := []string{at.String()}
	for _, c := range all {
		names = append(names, c.name)
	}
	key := strings.Join(names, " ")
	closed, seen := s.closedSeen[key] // by another of many jobs
	if !seen {
		if s.closedSeen == nil {
			s.closedSeen = map[string]*closedError{}
		}
		closed = closedAt(all, at)
		s.closedSeen[key] = closed
	}
	if closed == nil {
		return nil
	}
	return closed.err
}

// closedAt is why something may not begin at a time; nil if it may.
func closedAt(all []openCalendar, at time.Time) *closedError {
	var cause *closedError
	for range maxOpenings {
		opens := at
		for _, c := range all {
			if isClosed, _ := c.Closed(at); !isClosed {
				continue
			}
			_, title, until := c.At(at)
			if cause == nil || c.effect != cause.effect && c.effect == hostler.ClosedSkip {
				cause = &closedError{name: c.name, effect: c.effect}
				cause.err = errClosed(c, title, until, cause)
			}
			if until.IsZero() {
				return cause
			}
			if until.After(opens) {
				opens = until
			}
		}
		if opens.Equal(at) {
			if cause != nil {
				cause.until = at
			}
			return cause
		}
		at = opens
	}
	return cause
}

// calendarsOf are the calendars that apply to what is to begin.
func (s *scope) calendarsOf(b begin) ([]openCalendar, error) {
	if !s.calendarsRead {
		rows, err := s.Tx.Calendars(s.project)
		if err != nil {
			return nil, err
		}
		s.calendarRows, s.calendarsRead, s.calendarTimes = rows, true, map[string]*schedule.Closures{}
	}
	var ids []hostler.AssetID
	for i := range b.targets {
		if b.targets[i].ID != 0 {
			ids = append(ids, b.targets[i].ID)
		}
	}
	var out []openCalendar
	known := b.calendar == ""
	for i := range s.calendarRows {
		r := &s.calendarRows[i]
		applies := r.Name == b.calendar
		known = known || applies
		if on := r.Input.Applies; !applies && on != nil {
			applies = on.Project
			if !applies && len(ids)+len(b.address) > 0 {
				var err error
				if applies, err = s.AnyHasLabels(s.project, ids, b.address, on.Labels); err != nil {
					return nil, err
				}
			}
		}
		if !applies {
			continue
		}
		times := s.calendarTimes[r.Name]
		if times == nil {
			var fields check.Fields
			if times = schedule.ParseCalendar(&fields, r.Input); times == nil {
				return nil, fields.Err()
			}
			s.calendarTimes[r.Name] = times
		}
		out = append(out, openCalendar{times, r.Name, cmp.Or(r.Input.Closed, hostler.ClosedSkip)})
	}
	if !known {
		return nil, hostler.NotFound(calendarKind, b.calendar)
	}
	return out, nil
}

func errClosed(c openCalendar, title string, until time.Time, cause error) error {
	opens := hostler.Textf("for at least 400 days", "至少 400 天")
	if !until.IsZero() {
		at := until.In(c.Zone()).Format("2006-01-02 15:04 -07:00")
		opens = hostler.Textf("until %s", "至 %s", at)
	}
	if title != "" {
		title = " (" + title + ")"
	}
	e := hostler.Errorf(hostler.CodeForbidden,
		"the calendar %[1]s%[2]s is closed %[3]s: wait, or let an admin override it with a reason (--override-calendar)",
		"日历 %[1]s%[2]s 在关闭期（%[4]s）：请等待，或由管理员给出原因后强制执行（--override-calendar）",
		c.name, title, opens.EN, opens.ZH)
	e.Cause = cause
	return e
}

// waitForCalendars is checkCalendars for what people run: it returns when this may begin, if
// the calendars let it wait; else the zero time.
func (s *scope) waitForCalendars(b begin) (time.Time, error) {
	err := s.checkCalendars(b)
	closed, ok := errors.AsType[*closedError](err)
	if !ok || b.fire || closed.effect != hostler.ClosedWait || closed.until.IsZero() {
		return time.Time{}, err
	}
	return closed.until, nil
}

// checkPlanCalendars asks the calendars when the jobs of a plan may begin.
func (s *scope) checkPlanCalendars(p *plan, targets []store.Target) error {
	b := begin{calendar: p.calendar, targets: targets, override: p.overrideCalendar, fire: p.fire}
	if p.inline != nil {
		b.address = p.inline.Address
	}
	switch {
	case p.runAt != nil:
		b.at = *p.runAt
	case p.delay > 0:
		b.at = s.Now().Add(p.delay)
	}
	until, err := s.waitForCalendars(b)
	if !until.IsZero() {
		p.runAt = &until
	}
	return err
}

func (s *scope) checkCalendarOverride(o *hostler.CalendarOverride) error {
	if !s.may(auth.OverrideRule) {
		return hostler.Errorf(hostler.CodeForbidden, "only an admin of the project may override a calendar",
			"只有项目管理员可以在关闭期强制执行")
	}
	var fields check.Fields
	fields.Given("override_calendar.reason", o.Reason)
	fields.Line("override_calendar.reason", o.Reason, 1000)
	return fields.Err()
}
