package app_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
)

// everyMinute is a schedule that checks port 22 of the asset web1.
func everyMinute(change ...func(*hostler.ScheduleInput)) hostler.ScheduleInput {
	in := hostler.ScheduleInput{
		Trigger: hostler.Trigger{Interval: hostler.Duration(time.Minute)},
		Task: hostler.ScheduleTask{
			Action: "check_port", Args: json.RawMessage(`{"port":22}`), Target: &hostler.StepTarget{Assets: []string{"web1"}},
		},
	}
	for _, c := range change {
		c(&in)
	}
	return in
}

func (w *env) put(t *testing.T, c auth.Caller, name string, in hostler.ScheduleInput) hostler.Schedule {
	t.Helper()
	return must(w.PutSchedule(t.Context(), c, name, in))(t)
}

// fire looks at schedules until none is due.
func (w *env) fire(t *testing.T) {
	t.Helper()
	for range 1000 {
		next, err := w.FireSchedules(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if next.IsZero() || next.After(w.h.Now()) {
			return
		}
	}
	t.Fatal("schedules are due without an end")
}

func (w *env) fires(t *testing.T, name string) []hostler.Fire {
	t.Helper()
	items := must(w.Fires(t.Context(), w.admin, name, hostler.Page{Limit: 1000}))(t).Items
	slices.Reverse(items)
	return items
}

// fireStates are the states of the fires of a schedule, oldest first.
func (w *env) fireStates(t *testing.T, name string) string {
	t.Helper()
	var out []string
	for _, f := range w.fires(t, name) {
		s := string(f.State)
		if f.Count > 1 {
			s += fmt.Sprintf("*%d", f.Count)
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func (w *env) wantStates(t *testing.T, name, want string) {
	t.Helper()
	if got := w.fireStates(t, name); got != want {
		t.Errorf("fires %q, want %q", got, want)
	}
}

// endJobs lets a worker end every job that is ready.
func (w *env) endJobs(t *testing.T) int {
	t.Helper()
	return w.endJobsAs(t, hostler.OutcomeSucceeded)
}

func (w *env) endJobsAs(t *testing.T, o hostler.Outcome) int {
	t.Helper()
	k := w.worker(t)
	leases := k.lease(t, 1000)
	k.finish(t, leases, o)
	return len(leases)
}

func TestScheduleFires(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		made := w.put(t, w.operator, "check", everyMinute())
		if made.Next == nil || !made.Next.Equal(made.CreatedAt.Add(time.Minute)) || made.Owner != "olga" || !made.Coalesce {
			t.Fatalf("created %+v", made)
		}
		w.fire(t)
		w.wantStates(t, "check", "")
		for range 3 {
			w.h.Advance(time.Minute)
			w.fire(t)
			w.fire(t)
			if n := w.endJobs(t); n != 1 {
				t.Fatalf("%d jobs were made", n)
			}
		}
		w.wantStates(t, "check", "started started started")
		f := w.fires(t, "check")[0]
		sum := must(w.Run(t.Context(), w.viewer, f.Run))(t)
		jobs := must(w.Jobs(t.Context(), w.viewer, hostler.JobFilter{Run: f.Run}, hostler.Page{}))(t).Items
		if sum.Total != 1 || f.Jobs != 1 || f.Trigger != hostler.FireTimer || len(jobs) != 1 || jobs[0].CreatedBy != "olga" {
			t.Errorf("fire %+v, run %+v, jobs %+v", f, sum, jobs)
		}
		must(w.PauseSchedule(t.Context(), w.operator, "check"))(t)
		w.h.Advance(time.Hour)
		w.fire(t)
		must(w.ResumeSchedule(t.Context(), w.operator, "check"))(t)
		w.fire(t)
		w.wantStates(t, "check", "started started started")
		w.h.Advance(time.Minute)
		w.fire(t)
		w.wantStates(t, "check", "started started started started")
		if err := w.DeleteSchedule(t.Context(), w.operator, "check"); err != nil {
			t.Fatal(err)
		}
		w.h.Advance(time.Hour)
		w.fire(t)
		if _, err := w.Schedule(t.Context(), w.operator, "check"); hostler.CodeOf(err) != hostler.CodeNotFound {
			t.Errorf("a deleted schedule: %v", err)
		}
	})
}

func TestMissedFires(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		no, all := false, hostler.Duration(8*24*time.Hour)
		hourly := func(in *hostler.ScheduleInput) { in.Trigger.Interval = hostler.Duration(time.Hour) }
		w.put(t, w.operator, "merged", everyMinute(hourly))
		w.put(t, w.operator, "late", everyMinute(hourly))
		w.put(t, w.operator, "each", everyMinute(hourly, func(in *hostler.ScheduleInput) {
			in.Coalesce, in.MisfireGrace, in.MaxInstances = &no, &all, 100
			in.Trigger.Interval = hostler.Duration(2 * time.Hour)
		}))
		w.h.Advance(7 * 24 * time.Hour)
		w.fire(t)
		w.wantStates(t, "merged", "merged*167 started")
		w.wantStates(t, "each", strings.TrimSpace(strings.Repeat("started ", 84)))
		w.h.Advance(90 * time.Minute)
		w.fire(t)
		fires := w.fires(t, "late")
		last := fires[len(fires)-1]
		if last.State != hostler.FireMissed || last.Reason == nil || !strings.Contains(last.Reason.EN, "misfire_grace (1m0s)") {
			t.Errorf("last fire %+v", last)
		}
		s := must(w.Schedule(t.Context(), w.viewer, "late"))(t)
		if s.Problem == nil || s.Problem.ZH == "" {
			t.Errorf("schedule %+v", s)
		}
	})
}

func TestOverlap(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		for _, o := range []hostler.Overlap{hostler.OverlapSkip, hostler.OverlapQueue, hostler.OverlapReplace} {
			w.put(t, w.operator, string(o), everyMinute(func(in *hostler.ScheduleInput) { in.Overlap = o }))
		}
		for range 3 {
			w.h.Advance(time.Minute)
			w.fire(t)
		}
		w.wantStates(t, "skip", "started skipped skipped")
		w.wantStates(t, "queue", "started queued queued")
		w.wantStates(t, "replace", "replaced replaced started")
		if more, err := w.CancelReplaced(t.Context()); err != nil || !more {
			t.Fatalf("cancel: %v %v", more, err)
		}
		if more, err := w.CancelReplaced(t.Context()); err != nil || more {
			t.Fatalf("cancel again: %v %v", more, err)
		}
		if n := w.endJobs(t); n != 3 {
			t.Errorf("%d jobs were live, want one of each schedule", n)
		}
		w.h.Advance(time.Second)
		w.fire(t)
		w.wantStates(t, "queue", "started started queued")
		if err := w.DeleteSchedule(t.Context(), w.operator, "queue"); err != nil {
			t.Fatal(err)
		}
	})
}

// TestOwnersRights: a schedule runs with the rights that its owner has when it fires.
func TestOwnersRights(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		w.put(t, w.operator, "check", everyMinute())
		last := func() hostler.Fire {
			w.h.Advance(time.Minute)
			w.fire(t)
			w.endJobs(t)
			all := w.fires(t, "check")
			return all[len(all)-1]
		}
		refused := func(want string) {
			t.Helper()
			if f := last(); f.State != hostler.FireRefused || f.Reason == nil || !strings.Contains(f.Reason.EN, want) {
				t.Errorf("fire %+v, want it refused: %s", f, want)
			}
		}
		if f := last(); f.State != hostler.FireStarted {
			t.Fatalf("fire %+v", f)
		}
		change := func(c hostler.UserChange) {
			t.Helper()
			must(w.ChangeUser(t.Context(), w.admin, "olga", c))(t)
		}
		change(hostler.UserChange{Disabled: new(true)})
		refused("olga, for whom this runs, is disabled")
		change(hostler.UserChange{Disabled: new(false), Roles: map[string]hostler.Role{"default": hostler.RoleViewer}})
		refused("requires the role operator")
		must(w.PutSchedule(t.Context(), w.admin, "check", everyMinute()))(t)
		if f := last(); f.State != hostler.FireStarted {
			t.Errorf("fire %+v", f)
		}
	})
}

func TestScheduleRefusals(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		put := func(c auth.Caller, change ...func(*hostler.ScheduleInput)) error {
			_, err := w.PutSchedule(t.Context(), c, "x", everyMinute(change...))
			return err
		}
		wantCode(t, put(w.viewer), hostler.CodeForbidden)
		_, err := w.Schedule(t.Context(), w.stranger, "x")
		wantCode(t, err, hostler.CodeNotFound)
		for path, change := range map[string]func(*hostler.ScheduleInput){
			"task.args.port":     func(in *hostler.ScheduleInput) { in.Task.Args = json.RawMessage(`{"port":"x"}`) },
			"task.action":        func(in *hostler.ScheduleInput) { in.Task.Action = "nothing" },
			"task.target.assets": func(in *hostler.ScheduleInput) { in.Task.Target = nil },
			"task.timeout":       func(in *hostler.ScheduleInput) { in.Task.Timeout = -1 },
			"trigger.cron":       func(in *hostler.ScheduleInput) { in.Trigger = hostler.Trigger{Cron: "x"} },
			"trigger":            func(in *hostler.ScheduleInput) { in.Trigger = hostler.Trigger{} },
			"trigger.date":       func(in *hostler.ScheduleInput) { in.Trigger = hostler.Trigger{Date: new(time.Unix(1, 0))} },
			"overlap":            func(in *hostler.ScheduleInput) { in.Overlap = "y" },
			"max_instances":      func(in *hostler.ScheduleInput) { in.MaxInstances = 101 },
			"misfire_grace":      func(in *hostler.ScheduleInput) { in.MisfireGrace = new(hostler.Duration(-1)) },
			"name":               func(in *hostler.ScheduleInput) { in.Name = "z" },
			"priority":           func(in *hostler.ScheduleInput) { in.Priority = 10 },
		} {
			err := put(w.operator, change)
			if got := paths(err); !slices.Contains(got, path) {
				t.Errorf("%s: %v, %v", path, got, err)
			}
		}
		err = put(w.operator, func(in *hostler.ScheduleInput) { in.Task.Target.Assets = []string{"gone"} })
		wantCode(t, err, hostler.CodeNotFound)
	})
}

func TestRunScheduleNow(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		off := false
		before := w.put(t, w.operator, "check", everyMinute(func(in *hostler.ScheduleInput) { in.Enabled = &off }))
		run := func(c auth.Caller, args string) (hostler.ScheduleRun, error) {
			return w.RunSchedule(t.Context(), c, app.RunScheduleRequest{
				Schedule: "check", Edit: hostler.ScheduleRunInput{Args: json.RawMessage(args)},
			})
		}
		made := must(run(w.operator, `{"port":23}`))(t)
		job := must(w.Jobs(t.Context(), w.viewer, hostler.JobFilter{Run: made.Run}, hostler.Page{}))(t).Items[0]
		if string(job.Args) != `{"port":23}` || made.Jobs != 1 || made.URL != "/api/v1/runs/"+made.Run.String() {
			t.Errorf("run %+v, job args %s", made, job.Args)
		}
		fires := w.fires(t, "check")
		if len(fires) != 1 || fires[0].Trigger != hostler.FireManual || fires[0].By != "olga" || fires[0].ID != made.Fire {
			t.Errorf("fires %+v", fires)
		}
		after := must(w.Schedule(t.Context(), w.viewer, "check"))(t)
		if after.Enabled || after.UpdatedAt != before.UpdatedAt {
			t.Errorf("the schedule changed: %+v", after)
		}
		_, err := run(w.operator, `{"port":"x"}`)
		if got := paths(err); !slices.Contains(got, "args.port") {
			t.Errorf("%v, %v", got, err)
		}
		_, err = run(w.operator, `[1]`)
		wantCode(t, err, hostler.CodeInvalid)
		_, err = run(w.viewer, ``)
		wantCode(t, err, hostler.CodeForbidden)
		_, err = run(w.stranger, ``)
		wantCode(t, err, hostler.CodeNotFound)
	})
}

// TestServersFireOnce lets three servers fire the same schedules at the same time, and the
// clock go back and forth.
func TestServersFireOnce(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		const schedules = 30
		for i := range schedules {
			w.put(t, w.operator, fmt.Sprintf("s%d", i), everyMinute(func(in *hostler.ScheduleInput) {
				in.MaxInstances = 100
				in.Trigger.Jitter = hostler.Duration(time.Duration(i) * time.Second)
			}))
		}
		servers := []*app.App{w.App, app.New(w.cfg), app.New(w.cfg)}
		for _, step := range []time.Duration{time.Minute, 30 * time.Second, -40 * time.Second, 70 * time.Second, 30 * time.Second, 30 * time.Second} {
			w.h.Advance(step)
			var all sync.WaitGroup
			for _, s := range servers {
				all.Go(func() {
					for range 3 {
						if _, err := s.FireSchedules(t.Context()); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
		}
		for i := range schedules {
			want := "started started"
			fires := w.fires(t, fmt.Sprintf("s%d", i))
			if got := w.fireStates(t, fmt.Sprintf("s%d", i)); !strings.HasPrefix(got, want) || len(fires) > 3 {
				t.Errorf("schedule %d: %s", i, got)
			}
			for n := 1; n < len(fires); n++ {
				if fires[n].At.Sub(fires[n-1].At) != time.Minute {
					t.Errorf("schedule %d: a fire of %v follows that of %v", i, fires[n].At, fires[n-1].At)
				}
			}
		}
	})
}

// TestHeldDispatchFiresNothing: a copy of the data starts nothing by itself.
func TestHeldDispatchFiresNothing(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		w.put(t, w.operator, "check", everyMinute())
		must(w.HoldDispatch(t.Context(), w.admin, hostler.HoldTerms{}))(t)
		w.h.Advance(30 * time.Minute)
		must(w.FireSchedules(t.Context()))(t)
		w.wantStates(t, "check", "")
		must(w.ReleaseDispatch(t.Context(), w.admin, hostler.ReleaseRequest{}))(t)
		w.fire(t)
		w.wantStates(t, "check", "merged*29 started")
	})
}

// TestQueueFullIsTriedAgain: what may pass is tried again until the grace is over, and
// then recorded with the reason.
func TestQueueFullIsTriedAgain(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		w.put(t, w.operator, "check", everyMinute(func(in *hostler.ScheduleInput) {
			in.MaxInstances, in.Trigger.Interval = 5, hostler.Duration(time.Hour)
		}))
		one, none := 1, 0
		must(w.PutQueue(t.Context(), w.admin, "default", hostler.QueueLimits{MaxDepth: &one}))(t)
		w.run(t, hostler.JobRequest{Action: "check_port", Assets: []string{"web1"}})
		w.h.Advance(time.Hour)
		w.fire(t)
		w.wantStates(t, "check", "")
		must(w.PutQueue(t.Context(), w.admin, "default", hostler.QueueLimits{MaxDepth: &none}))(t)
		w.h.Advance(2 * time.Second)
		w.fire(t)
		w.wantStates(t, "check", "started")
		must(w.PutQueue(t.Context(), w.admin, "default", hostler.QueueLimits{MaxDepth: &one}))(t)
		w.h.Advance(time.Hour - 2*time.Second)
		w.fire(t)
		w.h.Advance(2 * time.Minute)
		w.fire(t)
		fires := w.fires(t, "check")
		if last := fires[len(fires)-1]; last.State != hostler.FireMissed || !strings.Contains(last.Reason.EN, "the last reason was") {
			t.Errorf("fires %+v", fires)
		}
	})
}
