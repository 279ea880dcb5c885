package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// This file decides when a calendar is closed.
//
//	periods   closed, whatever the day is
//	days      the last entry with the day decides: closed or open
//	weekly    closed
//	else      open

const (
	maxDays     = 366                  // of one entry
	farthest    = 400 * 24 * time.Hour // how far a change is looked for
	maxBoundary = 20_000               // of the times that are looked at on the way
)

// Closures are the closed times of a checked calendar.
type Closures struct {
	zone    *time.Location
	weekly  []weekly
	days    map[string]dayRule
	periods []hostler.ClosedPeriod
}

type dayRule struct {
	open  bool
	title string
}

// weekly is closed on days of the week from a time of the day to another; if that is not
// later, to the one of the next day. Of times that the clock shows twice, from is the first
// and to the second, so that it does not open in between.
type weekly struct {
	days     [7]bool
	from, to time.Duration
}

func (w *weekly) closed(zone *time.Location, t time.Time) bool {
	y, m, d := t.In(zone).Date()
	for back := range 2 { // days
		day := time.Date(y, m, d-back, 0, 0, 0, 0, time.UTC)
		if !w.days[day.Weekday()] {
			continue
		}
		end := day.Add(w.to)
		if w.to <= w.from {
			end = end.Add(24 * time.Hour)
		}
		from, _ := instants(zone, day.Add(w.from))
		if _, to := instants(zone, end); !t.Before(from) && t.Before(to) {
			return true
		}
	}
	return false
}

// instants are the first and the last instant at which the clock of a zone shows a time,
// which is given as one in UTC; the leap, if the clock leaps over it.
func instants(zone *time.Location, wall time.Time) (first, last time.Time) {
	var leap time.Time
	for _, near := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := wall.Add(near).In(zone).Zone()
		at := wall.Add(-time.Duration(offset) * time.Second)
		if !wallOf(at.In(zone)).Equal(wall) {
			leap, _ = at.In(zone).ZoneBounds()
			if near > 0 {
				_, leap = at.In(zone).ZoneBounds()
			}
			continue
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	if first.IsZero() {
		return leap, leap
	}
	return first, last
}

// ParseCalendar checks a calendar. It returns nil if there are faults.
func ParseCalendar(fields *check.Fields, in hostler.CalendarInput) *Closures {
	before := len(fields.Faults())
	c := &Closures{zone: time.UTC, days: map[string]dayRule{}, periods: in.Periods}
	if in.Zone != "" {
		zone, ok := location(in.Zone)
		fields.Require(ok, "zone", "is not a time zone: use a name such as Europe/Berlin, Asia/Shanghai or UTC",
			"不是时区：请使用 Europe/Berlin、Asia/Shanghai、UTC 等名称")
		if ok {
			c.zone = zone
		}
	}
	for i, w := range in.Weekly {
		c.addWeekly(fields, check.Item("weekly", i), w)
	}
	for i, d := range in.Days {
		c.addDays(fields, check.Item("days", i), d)
	}
	for i, p := range in.Periods {
		path := check.Item("periods", i)
		fields.Time(path+".from", &in.Periods[i].From)
		fields.Time(path+".to", &in.Periods[i].To)
		fields.Require(p.To.After(p.From), path+".to", "must be after from", "必须晚于 from")
	}
	if len(fields.Faults()) > before {
		return nil
	}
	return c
}

var weekdays = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}

func (c *Closures) addWeekly(fields *check.Fields, path string, in hostler.WeeklyPeriod) {
	var w weekly
	for i, name := range in.Days {
		day := slices.Index(weekdays, strings.ToUpper(name))
		fields.Require(day >= 0, fmt.Sprintf("%s.days[%d]", path, i), "must be MON, TUE, WED, THU, FRI, SAT or SUN",
			"须为 MON、TUE、WED、THU、FRI、SAT 或 SUN")
		if day >= 0 {
			w.days[day] = true
		}
	}
	fields.Require(len(in.Days) > 0, path+".days", "is required", "不能为空")
	for _, t := range []struct {
		name, text string
		to         *time.Duration
	}{{"from", in.From, &w.from}, {"to", in.To, &w.to}} {
		if t.text == "" {
			continue
		}
		at, err := time.Parse("15:04", t.text)
		fields.Require(err == nil, path+"."+t.name, "must be a time of the day such as 22:00", "须为一天中的时间，如 22:00")
		*t.to = time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
	}
	c.weekly = append(c.weekly, w)
}

func (c *Closures) addDays(fields *check.Fields, path string, in hostler.CalendarDays) {
	from, err := time.Parse(time.DateOnly, in.From)
	fields.Require(err == nil, path+".from", "must be a date such as 2026-10-01", "须为日期，如 2026-10-01")
	to := from
	if in.To != "" {
		to, err = time.Parse(time.DateOnly, in.To)
		fields.Require(err == nil, path+".to", "must be a date such as 2026-10-07", "须为日期，如 2026-10-07")
	}
	n := int(to.Sub(from)/(24*time.Hour)) + 1
	fields.Require(n >= 1 && n <= maxDays, path+".to", "must be from 0 to 365 days after from", "须在 from 之后 0 到 365 天")
	for day := from; n > 0 && n <= maxDays; n-- {
		c.days[day.Format(time.DateOnly)] = dayRule{in.Open, in.Title}
		day = day.AddDate(0, 0, 1)
	}
}

// Zone is the time zone of the calendar.
func (c *Closures) Zone() *time.Location { return c.zone }

// Closed reports whether the calendar is closed at a time, and why.
func (c *Closures) Closed(t time.Time) (closed bool, title string) {
	for i := range c.periods {
		if p := &c.periods[i]; !t.Before(p.From) && t.Before(p.To) {
			return true, p.Title
		}
	}
	wall := t.In(c.zone)
	if d, ok := c.days[wall.Format(time.DateOnly)]; ok {
		return !d.open, d.title
	}
	for i := range c.weekly {
		if c.weekly[i].closed(c.zone, t) {
			return true, ""
		}
	}
	return false, ""
}

// At reports whether the calendar is closed at a time, why, and when that changes; zero
// when it does not within 400 days.
func (c *Closures) At(t time.Time) (closed bool, title string, until time.Time) {
	closed, title = c.Closed(t)
	at := t
	for range maxBoundary {
		if at = c.boundary(at); at.IsZero() || at.Sub(t) > farthest {
			break
		}
		if now, _ := c.Closed(at); now != closed {
			return closed, title, at
		}
	}
	return closed, title, time.Time{}
}

// boundary is the next time at which the calendar may open or close.
func (c *Closures) boundary(t time.Time) (next time.Time) {
	look := func(at time.Time) {
		if at.After(t) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for i := range c.periods {
		look(c.periods[i].From)
		look(c.periods[i].To)
	}
	if len(c.weekly) == 0 && len(c.days) == 0 {
		return next
	}
	y, m, d := t.In(c.zone).Date()
	_, change := t.In(c.zone).ZoneBounds() // the clock may leap over a time, or show it twice
	look(change)
	lookAt := func(days int, at time.Duration) {
		first, last := instants(c.zone, time.Date(y, m, d+days, 0, 0, 0, 0, time.UTC).Add(at))
		look(first)
		look(last)
	}
	lookAt(1, 0)
	for i := range c.weekly {
		lookAt(0, c.weekly[i].from)
		lookAt(0, c.weekly[i].to)
	}
	return next
}
