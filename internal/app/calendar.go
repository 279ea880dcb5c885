package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// closedError says that a calendar is closed.
type closedError struct {
	name   string
	effect hostler.CalendarEffect
	until  time.Time
}

func (e *closedError) Error() string { return fmt.Sprintf("the calendar %s is closed", e.name) }

// checkCalendars refuses what would begin on assets while a calendar that applies is
// closed; named is the calendar of a schedule. The cause of the error is a [closedError].
func (s *scope) checkCalendars(named string, targets []store.Target, o *hostler.CalendarOverride) error {
	if o != nil {
		return s.checkCalendarOverride(o)
	}
	rows, err := s.Tx.Calendars(s.project)
	if err != nil {
		return err
	}
	known := named == ""
	for i := range rows {
		r := &rows[i]
		applies := r.Name == named
		known = known || applies
		if scope := r.Input.Applies; !applies && scope != nil {
			applies = scope.Project
			if !applies && len(targets) > 0 {
				ids := make([]hostler.AssetID, len(targets))
				for k := range targets {
					ids[k] = targets[k].ID
				}
				if applies, err = s.AnyHasLabels(s.project, ids, scope.Labels); err != nil {
					return err
				}
			}
		}
		if !applies {
			continue
		}
		if err := errClosed(r, s.Now()); err != nil {
			return err
		}
	}
	if !known {
		return hostler.NotFound(calendarKind, named)
	}
	return nil
}

// errClosed is an error if a calendar is closed.
func errClosed(r *store.CalendarRow, now time.Time) error {
	var fields check.Fields
	times := schedule.ParseCalendar(&fields, r.Input)
	if times == nil {
		return fields.Err()
	}
	closed, title, until := times.At(now)
	if !closed {
		return nil
	}
	opens := hostler.Textf("for at least 400 days", "至少 400 天")
	if !until.IsZero() {
		at := until.In(times.Zone()).Format("2006-01-02 15:04 -07:00")
		opens = hostler.Textf("until %s", "至 %s", at)
	}
	if title != "" {
		title = " (" + title + ")"
	}
	e := hostler.Errorf(hostler.CodeForbidden,
		"the calendar %[1]s%[2]s is closed %[3]s: wait, or let an admin override it with a reason (--override-calendar)",
		"日历 %[1]s%[2]s 在关闭期（%[4]s）：请等待，或由管理员给出原因后强制执行（--override-calendar）",
		r.Name, title, opens.EN, opens.ZH)
	e.Cause = &closedError{r.Name, cmp.Or(r.Input.Closed, hostler.ClosedSkip), until}
	return e
}

// checkPlanCalendars is checkCalendars for a plan. What a person runs waits until a calendar
// opens that lets it wait.
func (s *scope) checkPlanCalendars(p *plan, targets []store.Target) error {
	err := s.checkCalendars(p.calendar, targets, p.overrideCalendar)
	closed, ok := errors.AsType[*closedError](err)
	if !ok || p.schedule != "" || p.rollout != nil || closed.effect != hostler.ClosedWait || closed.until.IsZero() {
		return err
	}
	if p.runAt == nil || p.runAt.Before(closed.until) {
		p.runAt = &closed.until
	}
	return nil
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
