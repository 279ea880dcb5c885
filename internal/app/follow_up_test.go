package app_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
)

// followUps starts what follows, by several servers at once.
func (w *env) followUps(t *testing.T) {
	t.Helper()
	var g sync.WaitGroup
	for range 3 {
		g.Go(func() {
			for more := true; more; {
				var err error
				if more, err = w.FollowUps(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	g.Wait()
}

// followers lists the runs that followed others, oldest first.
func (w *env) followers(t *testing.T) (out []hostler.Run) {
	t.Helper()
	runs := must(w.Runs(t.Context(), w.admin, app.RunFilter{}, hostler.Page{}))(t).Items
	for i := range runs {
		if r := &runs[len(runs)-1-i]; strings.HasPrefix(r.Origin, "run:") {
			out = append(out, must(w.Run(t.Context(), w.admin, r.Run))(t))
		}
	}
	return out
}

func (w *env) wantFollowers(t *testing.T, when, want string) {
	t.Helper()
	var got []string
	for _, r := range w.followers(t) {
		got = append(got, r.Name+" "+string(r.Params))
	}
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("%s: the runs %q followed, want %q", when, s, want)
	}
}

const chainedDocuments = timedDocuments + `
---
apiVersion: hostler/v1
kind: Task
name: circle
template: look
params: {port: 25}
then: [{task: circle}]
---
apiVersion: hostler/v1
kind: Template
name: note
params: {type: object, properties: {about: {type: string}, state: {type: string}, failed: {type: integer}}}
steps: [{id: tell, notify: {text: "${{ params.about }}"}}]
---
apiVersion: hostler/v1
kind: Task
name: tell
template: note
`

// TestWhatFollowsARun: each end starts what follows it exactly once, with the result, also
// when several servers are at it and the run is restarted.
func TestWhatFollowsARun(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1"})
		w.hook(t, "ops")
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: chainedDocuments}))(t)
		then := []hostler.FollowUp{
			{Task: "look-22", Params: json.RawMessage(`{"port":80}`)},
			{On: hostler.FollowFailure, Task: "tell", Params: json.RawMessage(
				`{"about":"${{ run.id }} ${{ run.name }}","state":"${{ run.state }}","failed":"${{ run.failed }}"}`)},
			{On: hostler.FollowEnd, Webhook: "ops"},
		}
		r := must(w.StartRun(ctx, w.operator, hostler.RunRequest{Task: "look-22", Then: then}, ""))(t)
		w.followUps(t)
		w.wantFollowers(t, "before the end", "")
		w.endRun(t, r.Run, hostler.RunFailed)
		w.followUps(t)
		told := fmt.Sprintf(`tell {"about":"%s look-22","failed":0,"state":"failed"}`, r.Run)
		w.wantFollowers(t, "after a failure", told)
		w.endRun(t, r.Run, hostler.RunSucceeded) // it was restarted
		w.followUps(t)
		w.endRun(t, r.Run, hostler.RunSucceeded)
		w.followUps(t)
		w.wantFollowers(t, "after a success", told+`, look-22 {"port":80}`)
		r = must(w.Run(ctx, w.viewer, r.Run))(t)
		for i, u := range r.FollowUps {
			if u.State != hostler.FollowUpDone || (u.Run == 0) != (i == 2) {
				t.Errorf("follow-up %d: %+v", i, u)
			}
		}
		sent := must(w.Deliveries(ctx, w.admin, hostler.DeliveryFilter{}, hostler.Page{}))(t).Items
		if len(sent) != 1 || sent[0].ID != r.FollowUps[2].Delivery || sent[0].Type != hostler.EventRunFailed {
			t.Errorf("deliveries %+v", sent)
		}
		made := must(w.RunJobs(ctx, w.operator, hostler.JobRequest{
			Action: "check_port", Assets: []string{"web1"}, Args: []byte(`{"port":1}`), Then: []hostler.FollowUp{{Task: "tell"}},
		}, ""))(t)
		w.endRun(t, made.Run, hostler.RunSucceeded)
		w.followUps(t)
		w.wantFollowers(t, "after a job", told+`, look-22 {"port":80}, tell {}`)
	})
}

// TestFollowUpsAreChecked when they are written: tasks, parameters, schedules and webhooks.
func TestFollowUpsAreChecked(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1"})
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: chainedDocuments}))(t)
		for want, u := range map[string]hostler.FollowUp{
			"then[0]":             {Task: "nothing"},
			"then[0].params.port": {Task: "look-22", Params: json.RawMessage(`{"port":"x"}`)},
			"then[0].params":      {Webhook: "ops", Params: json.RawMessage(`{"a":1}`)},
			"then[0].on":          {Task: "tell", On: "never"},
			"then[0].params.a":    {Task: "tell", Params: json.RawMessage(`{"a":"${{ run. }}"}`)},
		} {
			_, err := w.StartRun(ctx, w.operator, hostler.RunRequest{Task: "look-22", Then: []hostler.FollowUp{u}}, "")
			wantPath(t, err, want)
			_, err = w.PutSchedule(ctx, w.operator, "s", everyMinute(func(in *hostler.ScheduleInput) { in.Then = []hostler.FollowUp{u} }))
			wantPath(t, err, want)
		}
		_, err := w.PutSchedule(ctx, w.operator, "s", everyMinute(func(in *hostler.ScheduleInput) {
			in.Then = []hostler.FollowUp{{Schedule: "s"}}
		}))
		wantPath(t, err, "then[0].schedule")
		_, err = w.StartRun(ctx, w.operator, hostler.RunRequest{Task: "look-22", Then: []hostler.FollowUp{{Webhook: "ops"}}}, "")
		wantPath(t, err, "then[0]")
	})
}

// TestChainsEnd: one that goes in a circle ends, and what its user may not do any more is
// refused and told.
func TestChainsEnd(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1"})
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: chainedDocuments}))(t)
		last := must(w.StartRun(ctx, w.operator, hostler.RunRequest{Task: "circle"}, ""))(t).Run
		for range 15 {
			w.endRun(t, last, hostler.RunSucceeded)
			w.followUps(t)
			if f := w.followers(t); len(f) > 0 {
				last = f[len(f)-1].Run
			}
		}
		if n := len(w.followers(t)); n != 10 {
			t.Errorf("%d runs followed each other", n)
		}
		r := must(w.Run(ctx, w.viewer, last))(t)
		if u := r.FollowUps[0]; u.State != hostler.FollowUpRefused || u.Reason == nil {
			t.Errorf("the last of the chain %+v", u)
		}
		next := must(w.StartRun(ctx, w.operator, hostler.RunRequest{Task: "look-22", Then: []hostler.FollowUp{{Task: "tell"}}}, ""))(t)
		yes := true
		must(w.ChangeUser(ctx, w.admin, "olga", hostler.UserChange{Disabled: &yes}))(t)
		w.endRun(t, next.Run, hostler.RunSucceeded)
		w.followUps(t)
		if u := must(w.Run(ctx, w.viewer, next.Run))(t).FollowUps[0]; u.State != hostler.FollowUpRefused {
			t.Errorf("of a disabled user %+v", u)
		}
	})
}

// TestFollowsAChange: the first output and the same one again are followed by nothing.
func TestFollowsAChange(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		must(w.Apply(t.Context(), w.admin, hostler.ApplyInput{Documents: chainedDocuments}))(t)
		w.put(t, w.operator, "watch", everyMinute(func(in *hostler.ScheduleInput) {
			in.Then = []hostler.FollowUp{{On: hostler.FollowChange, Task: "tell"}}
		}))
		for i, result := range []string{
			`{"a":1,"ms":7}`, `{"a":1,"ms":8}`, `{"a":2,"ms":8}`, `{"a":2,"ms":8}`, `{"a":1,"duration_s":1}`,
		} {
			w.h.Advance(time.Minute)
			w.fire(t)
			k := w.worker(t)
			leases := k.lease(t, 10)
			if len(leases) != 1 {
				t.Fatalf("%d jobs", len(leases))
			}
			k.finishWith(t, leases[0], result)
			w.endRun(t, leases[0].Run, hostler.RunSucceeded)
			w.followUps(t)
			if n := len(w.followers(t)); n != []int{0, 0, 1, 1, 2}[i] {
				t.Errorf("after output %d, %d runs followed", i, n)
			}
		}
	})
}

// TestAChangeIsFollowedByAll: several follow-ups of one change start, also one that could not
// for a while, in which the next run had ended.
func TestAChangeIsFollowedByAll(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx, one := t.Context(), 1
		w.asset(t, hostler.AssetInput{Name: "web1"})
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: chainedDocuments}))(t)
		must(w.PutQueue(ctx, w.admin, "narrow", hostler.QueueLimits{MaxDepth: &one}))(t)
		off := false
		w.put(t, w.operator, "publish", everyMinute(func(in *hostler.ScheduleInput) { in.Enabled, in.Queue = &off, "narrow" }))
		w.put(t, w.operator, "watch", everyMinute(func(in *hostler.ScheduleInput) {
			in.Then = []hostler.FollowUp{
				{On: hostler.FollowChange, Task: "tell"},
				{On: hostler.FollowChange, Schedule: "publish"},
				{On: hostler.FollowChange, Task: "tell", Params: json.RawMessage(`{"failed":0}`)},
			}
		}))
		watch := func(result string) {
			w.h.Advance(time.Minute)
			w.fire(t)
			k := w.worker(t)
			leases := k.lease(t, 1)
			k.finishWith(t, leases[0], result)
			w.endRun(t, leases[0].Run, hostler.RunSucceeded)
		}
		watch(`{"a":1}`)
		w.followUps(t)
		watch(`{"a":2}`)
		filler := w.run(t, hostler.JobRequest{Action: "check_port", Assets: []string{"web1"}, Queue: "narrow", Args: []byte(`{"port":1}`)})
		w.followUps(t)
		w.wantFollowers(t, "while the queue is full", `tell {}, tell {"failed":0}`)
		must(w.CancelJob(ctx, w.operator, filler.Jobs[0]))(t)
		watch(`{"a":2}`)
		w.followUps(t)
		w.wantFollowers(t, "afterwards", `tell {}, tell {"failed":0}, check_port {}`)
	})
}

// TestWideChainsEnd: a task that is followed by itself many times makes no avalanche.
func TestWideChainsEnd(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1"})
		wide := strings.ReplaceAll(chainedDocuments, "then: [{task: circle}]", "then: [{task: circle}, {task: circle}, {task: circle}]")
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: wide}))(t)
		cfg := w.cfg
		cfg.Limits.Chain = 20
		server := app.New(cfg)
		first := must(w.StartRun(ctx, w.operator, hostler.RunRequest{Task: "circle"}, ""))(t).Run
		ended := map[hostler.RunID]bool{}
		for {
			before := len(ended)
			for _, r := range append(w.followers(t), hostler.Run{RunSummary: hostler.RunSummary{Run: first}}) {
				if !ended[r.Run] {
					ended[r.Run] = true
					w.endRun(t, r.Run, hostler.RunSucceeded)
				}
			}
			if len(ended) == before || before > 50 {
				break
			}
			if _, err := server.FollowUps(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(w.followers(t)); n != 20 {
			t.Errorf("%d runs followed one", n)
		}
	})
}

// TestRepeatedRequestsWithFollowUps: a call that is repeated returns its first answer,
// whatever became of what it names.
func TestRepeatedRequestsWithFollowUps(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1"})
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: chainedDocuments}))(t)
		req := hostler.JobRequest{
			Action: "check_port", Assets: []string{"web1"}, Args: []byte(`{"port":1}`), Then: []hostler.FollowUp{{Task: "tell"}},
		}
		one := must(w.RunJobs(ctx, w.operator, req, "k1"))(t)
		if err := w.DeleteTask(ctx, w.admin, "tell"); err != nil {
			t.Fatal(err)
		}
		if two := must(w.RunJobs(ctx, w.operator, req, "k1"))(t); two.Run != one.Run {
			t.Errorf("ran again as %s", two.Run)
		}
		_, err := w.RunJobs(ctx, w.operator, req, "k2")
		wantPath(t, err, "then[0]")
	})
}

// TestSchedulesWaitForOthers: a fire waits for the success of another schedule, and is skipped
// when that does not come.
func TestSchedulesWaitForOthers(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1"})
		hour := func(in *hostler.ScheduleInput) { in.Trigger.Interval = hostler.Duration(time.Hour) }
		w.put(t, w.operator, "backup", everyMinute(hour))
		wait := hostler.Duration(10 * time.Minute)
		after := func(names ...string) func(in *hostler.ScheduleInput) {
			return func(in *hostler.ScheduleInput) {
				hour(in)
				in.After = &hostler.After{Schedules: names, Within: hostler.Duration(50 * time.Minute), Wait: &wait}
			}
		}
		w.put(t, w.operator, "report", everyMinute(after("backup")))
		for field, names := range map[string][]string{"after.schedules": {"nothing"}, "after.schedules[0]": {"x"}} {
			_, err := w.PutSchedule(ctx, w.operator, "x", everyMinute(after(names...)))
			wantPath(t, err, field)
		}
		_, err := w.PutSchedule(ctx, w.operator, "backup", everyMinute(after("report")))
		wantPath(t, err, "after.schedules") // they would wait for each other

		w.h.Advance(time.Hour)
		w.fire(t)
		w.wantStates(t, "report", "queued")
		w.endJobs(t)
		w.h.Advance(11 * time.Second)
		w.fire(t)
		w.wantStates(t, "report", "started")
		w.endJobs(t)
		w.h.Advance(time.Hour)
		w.fire(t)
		w.endJobsAs(t, hostler.OutcomeFailed)
		for range 12 {
			w.h.Advance(time.Minute)
			w.fire(t)
		}
		w.wantStates(t, "backup", "started started")
		w.wantStates(t, "report", "started skipped")
	})
}
