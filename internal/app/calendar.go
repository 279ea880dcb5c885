package app

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/schedule"
	"hostler.dev/hostler/internal/store"
)

// Limits of the calendars of a project: each fire and each run reads them.
const (
	maxCalendars     = 20
	maxCalendarBytes = 256 << 10
)

// Calendars lists the calendars of the acting project.
func (a *App) Calendars(ctx context.Context, c auth.Caller) ([]hostler.Calendar, error) {
	g, err := a.allow(c, auth.ReadSchedule)
	if err != nil {
		return nil, err
	}
	return view(ctx, g, (*scope).calendars)
}

func (s *scope) calendars() ([]hostler.Calendar, error) {
	rows, err := s.Tx.Calendars(s.project)
	out := make([]hostler.Calendar, len(rows))
	for i := range rows {
		out[i] = calendarOf(&rows[i], s.Now())
	}
	return out, err
}

func calendarOf(r *store.CalendarRow, now time.Time) hostler.Calendar {
	c := hostler.Calendar{Name: r.Name, CalendarInput: r.Input, UpdatedAt: r.UpdatedAt, UpdatedBy: r.UpdatedBy}
	var fields check.Fields
	if times := schedule.ParseCalendar(&fields, r.Input); times != nil {
		var until time.Time
		c.ClosedNow, _, until = times.At(now)
		c.Until = timeOrNil(until)
	}
	return c
}

// Calendar reads one calendar.
func (a *App) Calendar(ctx context.Context, c auth.Caller, name string) (hostler.Calendar, error) {
	g, err := a.allow(c, auth.ReadSchedule)
	if err != nil {
		return hostler.Calendar{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Calendar, error) { return s.calendar(name) })
}

func (s *scope) calendar(name string) (hostler.Calendar, error) {
	all, err := s.calendars()
	for i := range all {
		if all[i].Name == name {
			return all[i], err
		}
	}
	if err == nil {
		err = hostler.NotFound(calendarKind, check.Key(name))
	}
	return hostler.Calendar{}, err
}

// PutCalendar creates or replaces a calendar.
func (a *App) PutCalendar(
	ctx context.Context, c auth.Caller, name string, in hostler.CalendarInput,
) (hostler.Calendar, error) {
	g, err := a.allow(c, auth.WriteCalendar)
	if err != nil {
		return hostler.Calendar{}, err
	}
	if err := checkCalendar(name, in); err != nil {
		return hostler.Calendar{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Calendar, error) { return s.putCalendar(name, in) })
}

func (s *scope) putCalendar(name string, in hostler.CalendarInput) (hostler.Calendar, error) {
	if err := s.LockProject(s.project); err != nil {
		return hostler.Calendar{}, err
	}
	all, err := s.calendars()
	if err != nil {
		return hostler.Calendar{}, err
	}
	known := false
	for i := range all {
		known = known || all[i].Name == name
	}
	if !known && len(all) >= maxCalendars {
		return hostler.Calendar{}, hostler.Errorf(hostler.CodeConflict,
			"the project has %d calendars, which is the most; delete one first", "项目已有 %d 个日历，达到上限；请先删除", maxCalendars)
	}
	in.Closed = cmp.Or(in.Closed, hostler.ClosedSkip)
	row := store.CalendarRow{Project: s.project, Name: name, Input: in, UpdatedBy: s.caller.User}
	if err := s.Tx.PutCalendar(row); err != nil {
		return hostler.Calendar{}, err
	}
	if err := s.audit("calendar.set", name, map[string]any{
		"closed": in.Closed, "applies": in.Applies, "days": len(in.Days), "periods": len(in.Periods),
	}); err != nil {
		return hostler.Calendar{}, err
	}
	return s.calendar(name)
}

func checkCalendar(name string, in hostler.CalendarInput) error {
	var fields check.Fields
	fields.Name("name", name, 64)
	fields.Line("title", in.Title, 200)
	check.OneOf(&fields, "closed", in.Closed, "", hostler.ClosedSkip, hostler.ClosedWait)
	fields.Count("weekly", len(in.Weekly), 50)
	fields.Count("days", len(in.Days), 1000)
	fields.Count("periods", len(in.Periods), 500)
	for i := range in.Days {
		fields.Line(check.Item("days", i)+".title", in.Days[i].Title, 200)
	}
	for i := range in.Periods {
		fields.Line(check.Item("periods", i)+".title", in.Periods[i].Title, 200)
	}
	if s := in.Applies; s != nil {
		checkLabels(&fields, s.Labels)
		fields.Require(s.Project != (len(s.Labels) > 0), "applies", "needs either project or labels", "须且只能指定 project 或 labels")
	}
	schedule.ParseCalendar(&fields, in)
	if b, err := json.Marshal(in); err != nil || len(b) > maxCalendarBytes {
		fields.Add("days", "make the calendar larger than %d KiB", "使日历超过 %d KiB", maxCalendarBytes>>10)
	}
	return fields.Err()
}

// ImportCalendar adds the days of a file to a calendar.
func (a *App) ImportCalendar(
	ctx context.Context, c auth.Caller, name string, in hostler.CalendarFile,
) (hostler.Calendar, error) {
	g, err := a.allow(c, auth.WriteCalendar)
	if err != nil {
		return hostler.Calendar{}, err
	}
	days, periods, err := schedule.ReadCalendar(in.Text)
	if err != nil {
		return hostler.Calendar{}, err
	}
	run := change[hostler.Calendar]
	if in.DryRun {
		run = view[hostler.Calendar]
	}
	return run(ctx, g, func(s *scope) (hostler.Calendar, error) {
		cal, err := s.calendar(name)
		if err != nil {
			return cal, err
		}
		input := cal.CalendarInput
		input.Days = append(input.Days, days...)
		input.Periods = append(input.Periods, periods...)
		if err := checkCalendar(name, input); err != nil {
			return hostler.Calendar{}, err
		}
		if in.DryRun {
			return calendarOf(&store.CalendarRow{Name: name, Input: input}, s.Now()), nil
		}
		return s.putCalendar(name, input)
	})
}

// DeleteCalendar deletes a calendar. Fires of schedules that name it are refused until
// these are saved without it.
func (a *App) DeleteCalendar(ctx context.Context, c auth.Caller, name string) error {
	g, err := a.allow(c, auth.WriteCalendar)
	if err != nil {
		return err
	}
	_, err = change(ctx, g, func(s *scope) (none struct{}, err error) {
		found, err := s.Tx.DeleteCalendar(s.project, name)
		if err == nil && !found {
			err = hostler.NotFound(calendarKind, check.Key(name))
		}
		if err != nil {
			return none, err
		}
		return none, s.audit("calendar.delete", name, nil)
	})
	return err
}
