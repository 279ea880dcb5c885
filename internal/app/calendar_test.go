package app_test

import (
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
)

func override(reason string) *hostler.CalendarOverride {
	return &hostler.CalendarOverride{Reason: reason}
}

// closedFor is a calendar that is closed from now on for a while.
func (w *env) closedFor(
	t *testing.T, name string, span time.Duration, effect hostler.CalendarEffect, scope *hostler.CalendarScope,
) {
	t.Helper()
	now := w.h.Now()
	must(w.PutCalendar(t.Context(), w.admin, name, hostler.CalendarInput{
		Closed: effect, Applies: scope, Periods: []hostler.ClosedPeriod{{From: now, To: now.Add(span), Title: "freeze"}},
	}))(t)
}

// TestFiresInAClosedCalendar: fires are skipped, or one of them waits until it opens.
func TestFiresInAClosedCalendar(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		w.closedFor(t, "skips", 150*time.Second, hostler.ClosedSkip, nil)
		w.closedFor(t, "waits", 150*time.Second, hostler.ClosedWait, nil)
		for _, name := range []string{"skips", "waits"} {
			w.put(t, w.operator, name, everyMinute(func(in *hostler.ScheduleInput) { in.Calendar = name }))
		}
		w.put(t, w.operator, "free", everyMinute())
		for range 2 {
			w.h.Advance(time.Minute)
			w.fire(t)
			w.endJobs(t)
		}
		w.wantStates(t, "free", "started started")
		w.wantStates(t, "skips", "skipped skipped")
		w.wantStates(t, "waits", "queued merged")
		w.h.Advance(31 * time.Second)
		w.fire(t)
		w.endJobs(t)
		w.wantStates(t, "waits", "started merged")
		w.h.Advance(time.Minute)
		w.fire(t)
		w.wantStates(t, "skips", "skipped skipped started")
		w.wantStates(t, "waits", "started merged started")
		if err := w.DeleteCalendar(t.Context(), w.admin, "skips"); err != nil {
			t.Fatal(err)
		}
		w.endJobs(t)
		w.h.Advance(time.Minute)
		w.fire(t)
		w.wantStates(t, "skips", "skipped skipped started refused")
	})
}

// TestRunsInAClosedCalendar: what people run on assets with the labels of a calendar is
// refused or scheduled for later; an admin overrides it with a reason.
func TestRunsInAClosedCalendar(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1", Labels: map[string]string{"env": "prod"}})
		w.asset(t, hostler.AssetInput{Name: "web2"})
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: timedDocuments}))(t)
		scope := &hostler.CalendarScope{Labels: map[string]string{"env": "prod"}}
		w.closedFor(t, "freeze", time.Hour, hostler.ClosedSkip, scope)
		on := func(asset string) hostler.JobRequest {
			return hostler.JobRequest{Action: "check_port", Args: []byte(`{"port":22}`), Assets: []string{asset}}
		}
		wantCode(t, second(w.RunJobs(ctx, w.operator, on("web1"), "")), hostler.CodeForbidden)
		wantCode(t, second(w.StartRun(ctx, w.operator, hostler.RunRequest{Task: "look-22"}, "")), hostler.CodeForbidden)
		w.put(t, w.operator, "check", everyMinute())
		wantCode(t, second(w.RunSchedule(ctx, w.operator, app.RunScheduleRequest{Schedule: "check"})), hostler.CodeForbidden)
		must(w.RunJobs(ctx, w.operator, on("web2"), ""))(t)
		forced := on("web1")
		forced.OverrideCalendar = override("incident")
		wantCode(t, second(w.RunJobs(ctx, w.operator, forced, "")), hostler.CodeForbidden)
		must(w.RunJobs(ctx, w.admin, forced, ""))(t)
		must(w.StartRun(ctx, w.admin, hostler.RunRequest{Task: "look-22", OverrideCalendar: override("incident")}, ""))(t)

		w.closedFor(t, "freeze", time.Hour, hostler.ClosedWait, scope)
		later := must(w.RunJobs(ctx, w.operator, on("web1"), ""))(t)
		opens := must(w.Calendar(ctx, w.viewer, "freeze"))(t).Until
		if j := later.Job; j.State != hostler.StateScheduled || !j.RunAt.Equal(opens.Truncate(time.Microsecond)) {
			t.Errorf("the job %+v, and the calendar opens at %s", j, opens)
		}
	})
}

// TestEveryWayAsksTheCalendars: whatever creates jobs on a host is refused while a calendar of
// its labels is closed, or waits until all calendars are open.
func TestEveryWayAsksTheCalendars(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1", Address: "10.0.0.7", Labels: map[string]string{"env": "prod"}})
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: timedDocuments}))(t)
		req := hostler.JobRequest{Action: "check_port", Args: []byte(`{"port":22}`), Assets: []string{"web1"}}
		before := must(w.RunJobs(ctx, w.operator, req, ""))(t)
		w.endJobs(t)
		w.put(t, w.operator, "check", everyMinute())
		inline := req
		inline.Assets, inline.Target = nil, &hostler.InlineTarget{Address: "10.0.0.7"}
		rollout := req
		rollout.Rollout = &hostler.Rollout{MaxFailures: hostler.Amount{N: 1}}
		at := w.h.Now().Add(30 * time.Minute)
		later := req
		later.RunAt = &at
		scope := &hostler.CalendarScope{Labels: map[string]string{"env": "prod"}}
		ways := map[string]func() error{
			"jobs":    func() error { return second(w.RunJobs(ctx, w.operator, req, "")) },
			"later":   func() error { return second(w.RunJobs(ctx, w.operator, later, "")) },
			"ad hoc":  func() error { return second(w.RunJobs(ctx, w.operator, inline, "")) },
			"rollout": func() error { return second(w.RunJobs(ctx, w.operator, rollout, "")) },
			"batch": func() error {
				out, err := w.RunBatch(ctx, w.operator, []hostler.JobRequest{inline})
				if err != nil {
					return err
				}
				return out[0].Err
			},
			"retry":   func() error { return second(w.RetryJob(ctx, w.operator, before.Jobs[0], "")) },
			"run":     func() error { return second(w.StartRun(ctx, w.operator, hostler.RunRequest{Task: "look-22"}, "")) },
			"run now": func() error { return second(w.RunSchedule(ctx, w.operator, app.RunScheduleRequest{Schedule: "check"})) },
			"by name": func() error { return second(w.RunNamed(ctx, w.operator, "check", nil, "")) },
		}
		// One calendar lets wait, but skips would be closed when it opens.
		now := w.h.Now()
		w.closedFor(t, "waits", time.Hour, hostler.ClosedWait, scope)
		must(w.PutCalendar(ctx, w.admin, "skips", hostler.CalendarInput{
			Applies: scope, Periods: []hostler.ClosedPeriod{{From: now.Add(50 * time.Minute), To: now.Add(2 * time.Hour)}},
		}))(t)
		for name, run := range ways {
			if err := run(); hostler.CodeOf(err) != hostler.CodeForbidden {
				t.Errorf("%s in a closed calendar: %v", name, err)
			}
		}
		// Both let wait: until both are open.
		must(w.PutCalendar(ctx, w.admin, "skips", hostler.CalendarInput{
			Closed: hostler.ClosedWait, Applies: scope,
			Periods: []hostler.ClosedPeriod{{From: now.Add(50 * time.Minute), To: now.Add(2 * time.Hour)}},
		}))(t)
		for name, run := range ways {
			if err := run(); err != nil {
				t.Errorf("%s waits for a calendar: %v", name, err)
			}
		}
		advance := func(d time.Duration) {
			w.h.Advance(d)
			w.due(t)
		}
		advance(119 * time.Minute)
		if n := w.endJobs(t); n != 0 {
			t.Errorf("%d jobs began while a calendar was closed", n)
		}
		advance(2 * time.Minute)
		if n := w.endJobs(t); n < 6 {
			t.Errorf("%d jobs began when the calendars opened", n)
		}
		// A time that is reached when all are open is left alone.
		at = w.h.Now().Add(time.Minute)
		made := must(w.RunJobs(ctx, w.operator, later, ""))(t)
		if !made.Job.RunAt.Equal(at.Truncate(time.Microsecond)) {
			t.Errorf("moved to %s", made.Job.RunAt)
		}
		if _, err := w.RetryJobs(ctx, w.operator, hostler.BulkRequest{
			IDs: before.Jobs, OverrideCalendar: override("incident"),
		}, ""); err != nil {
			t.Fatal(err)
		}
	})
}
