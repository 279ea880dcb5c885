package app_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"hostler.dev/hostler"
)

// TestTheForecastComesTrue: the fires of 30 days as they were forecast, with a change of the
// clock and calendars, are those that the engine then makes in simulated time.
func TestTheForecastComesTrue(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		const step = 30 * time.Minute
		// Before a change of the clock in Europe.
		change := time.Date(w.h.Now().Year()+1, 10, 20, 0, 0, 0, 0, time.UTC)
		w.h.Advance(change.Sub(w.h.Now()))
		w.asset(t, hostler.AssetInput{Name: "web1"})
		for name, effect := range map[string]hostler.CalendarEffect{"skips": hostler.ClosedSkip, "waits": hostler.ClosedWait} {
			must(w.PutCalendar(ctx, w.admin, name, hostler.CalendarInput{
				Zone: "Europe/Berlin", Closed: effect,
				Weekly: []hostler.WeeklyPeriod{{Days: []string{"SAT", "SUN"}}, {Days: []string{"WED"}, From: "22:00", To: "06:00"}},
			}))(t)
		}
		grace := hostler.Duration(time.Hour)
		for name, in := range map[string]hostler.ScheduleInput{
			"daily": {Trigger: hostler.Trigger{Cron: "30 2 * * *", Zone: "Europe/Berlin"}},
			"hours": {Trigger: hostler.Trigger{Interval: hostler.Duration(7 * time.Hour), Start: &change}},
			"work":  {Trigger: hostler.Trigger{Cron: "0 9,21 * * *", Zone: "Europe/Berlin"}, Calendar: "skips"},
			"later": {Trigger: hostler.Trigger{Cron: "0 */8 * * *", Zone: "Europe/Berlin"}, Calendar: "waits"},
			"each":  {Trigger: hostler.Trigger{Cron: "0 */12 * * *"}, Calendar: "waits", Coalesce: new(bool)},
		} {
			in.MisfireGrace, in.Task = &grace, everyMinute().Task
			w.put(t, w.operator, name, in)
		}
		days := 30
		if w.h.Kind == "postgres" {
			days = 8 // the same code, and each fire takes longer there
		}
		f := must(w.Forecast(ctx, w.viewer, hostler.ForecastQuery{Days: days, Limit: 5000}))(t)
		forecast := map[string][]string{}
		for _, x := range f.Fires {
			forecast[x.Schedule] = append(forecast[x.Schedule], fmt.Sprintf("%s %s", x.At.UTC().Format(time.RFC3339), x.State))
		}
		for at := change; at.Before(f.To); at = at.Add(step) {
			w.h.Advance(at.Sub(w.h.Now()))
			w.fire(t)
			for w.endJobs(t) > 0 {
				w.h.Advance(10 * time.Second)
				w.fire(t)
			}
		}
		for _, s := range f.Schedules {
			var made []string
			for _, x := range w.fires(t, s.Name) {
				for range x.Count { // merged fires that follow each other are one entry each
					made = append(made, fmt.Sprintf("%s %s", x.At.UTC().Format(time.RFC3339), x.State))
				}
			}
			if want := forecast[s.Name]; s.Fires < days || !slices.Equal(made, want) {
				for i := range max(len(made), len(want)) {
					if i >= len(made) || i >= len(want) || made[i] != want[i] {
						t.Errorf("%s: of %d and %d fires, the first difference is\n%q, forecast were\n%q", s.Name, len(made), len(want),
							made[max(0, i-2):min(len(made), i+2)], want[max(0, i-2):min(len(want), i+2)])
						break
					}
				}
			}
		}
	})
}

// TestForecastShowsTrouble: runs that outlast the interval, lanes that two schedules want, and
// queues with more jobs than slots.
func TestForecastShowsTrouble(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		for _, name := range []string{"web1", "web2", "web3"} {
			w.asset(t, hostler.AssetInput{Name: name, Labels: map[string]string{"role": "web"}})
		}
		every := func(d time.Duration, action string, labels map[string]string) hostler.ScheduleInput {
			return hostler.ScheduleInput{
				Trigger: hostler.Trigger{Interval: hostler.Duration(d)},
				Task:    hostler.ScheduleTask{Action: action, Target: &hostler.StepTarget{Labels: labels}},
			}
		}
		web := map[string]string{"role": "web"}
		w.put(t, w.admin, "long", every(4*time.Second, "change", web)) // a run takes 10 s, as long as nothing is known
		w.put(t, w.admin, "also", every(time.Minute, "change", web))
		w.put(t, w.admin, "none", every(time.Hour, "check_port", map[string]string{"role": "none"}))
		f := must(w.Forecast(t.Context(), w.viewer, hostler.ForecastQuery{Days: 1}))(t)
		by := map[string]hostler.ForecastSchedule{}
		for _, s := range f.Schedules {
			by[s.Name] = s
		}
		if s := by["long"]; s.Over == 0 || s.Skipped < s.Fires/2 || s.Learned || s.Jobs != 3 {
			t.Errorf("long %+v", s)
		}
		if by["also"].Over != 0 || by["none"].Problem == nil {
			t.Errorf("also %+v, none %+v", by["also"], by["none"])
		}
		if len(f.Collisions) != 1 || f.Collisions[0].Lanes != 3 || !slices.Equal(f.Collisions[0].Schedules, []string{"also", "long"}) {
			t.Errorf("collisions %+v", f.Collisions)
		}
		if len(f.Overloads) == 0 || f.Overloads[0].Queue != "default" || f.Overloads[0].Jobs < 3 || !f.More || len(f.Fires) != 1000 {
			t.Errorf("overloads %+v, %d fires, more %v", f.Overloads, len(f.Fires), f.More)
		}
	})
}
