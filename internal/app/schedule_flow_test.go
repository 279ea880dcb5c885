package app_test

import (
	"encoding/json"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/store"
)

const timedDocuments = `
apiVersion: hostler/v1
kind: Template
name: look
params: {type: object, required: [port], properties: {port: {type: integer}}}
steps:
  - {id: look, action: check_port, target: {assets: [web1]}, args: {port: "${{ params.port }}"}}
---
apiVersion: hostler/v1
kind: Task
name: look-22
template: look
params: {port: 22}
`

func everyMinuteTask(task hostler.ScheduleTask, change ...func(*hostler.ScheduleInput)) hostler.ScheduleInput {
	in := hostler.ScheduleInput{Trigger: hostler.Trigger{Interval: hostler.Duration(time.Minute)}, Task: task}
	for _, c := range change {
		c(&in)
	}
	return in
}

// endRun ends a run, as the engine does.
func (w *env) endRun(t *testing.T, id hostler.RunID, state hostler.RunState) {
	t.Helper()
	w.tx(t, func(tx *store.Tx) error {
		r, err := tx.LockRun(id)
		if err != nil {
			return err
		}
		r.State, r.EndedAt = state, tx.Now()
		if err := tx.SaveRun(r); err != nil {
			return err
		}
		return tx.WakeFollowUps(id)
	})
}

// TestSchedulesOfTasks fires a task and a template with parameters over those of the task,
// holds the next fire back while the run has not ended, and replaces a run.
func TestSchedulesOfTasks(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1"})
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: timedDocuments}))(t)
		w.put(t, w.operator, "timed", everyMinuteTask(hostler.ScheduleTask{Task: "look-22", Params: json.RawMessage(`{"port":23}`)}))
		w.h.Advance(time.Minute)
		w.fire(t)
		fires := w.fires(t, "timed")
		if len(fires) != 1 || fires[0].State != hostler.FireStarted {
			t.Fatalf("fires %+v", fires)
		}
		run := must(w.Run(ctx, w.viewer, fires[0].Run))(t)
		if run.Name != "look-22" || run.Version != 1 || string(run.Params) != `{"port":23}` || run.Requester != "olga" {
			t.Errorf("run %+v", run)
		}
		w.h.Advance(time.Minute)
		w.fire(t)
		w.wantStates(t, "timed", "started skipped")
		w.endRun(t, run.Run, hostler.RunSucceeded)
		w.h.Advance(time.Minute)
		w.fire(t)
		w.wantStates(t, "timed", "started skipped started")

		now := must(w.RunSchedule(ctx, w.operator, app.RunScheduleRequest{
			Schedule: "timed", Edit: hostler.ScheduleRunInput{Params: json.RawMessage(`{"port":24}`)}, Key: "k",
		}))(t)
		if r := must(w.Run(ctx, w.viewer, now.Run))(t); string(r.Params) != `{"port":24}` {
			t.Errorf("params %s", r.Params)
		}
		again := must(w.RunSchedule(ctx, w.operator, app.RunScheduleRequest{
			Schedule: "timed", Edit: hostler.ScheduleRunInput{Params: json.RawMessage(`{"port":24}`)}, Key: "k",
		}))(t)
		if again.Run != now.Run {
			t.Error("a repeated request made another run")
		}

		w.put(t, w.operator, "timed", everyMinuteTask(
			hostler.ScheduleTask{Template: "look", Version: 1, Params: json.RawMessage(`{"port":25}`)},
			func(in *hostler.ScheduleInput) { in.Overlap = hostler.OverlapReplace },
		))
		w.h.Advance(time.Minute)
		w.fire(t)
		if _, err := w.CancelReplaced(ctx); err != nil {
			t.Fatal(err)
		}
		w.tx(t, func(tx *store.Tx) error {
			r, err := tx.LockRun(now.Run)
			if err == nil && r.Stop != hostler.RunCancelled {
				t.Errorf("the replaced run stops as %q", r.Stop)
			}
			return err
		})
		if err := w.DeleteTask(ctx, w.admin, "look-22"); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSchedulesOfTasksAreChecked names what is wrong when a schedule is saved or run.
func TestSchedulesOfTasksAreChecked(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		must(w.Apply(t.Context(), w.admin, hostler.ApplyInput{Documents: timedDocuments}))(t)
		for path, task := range map[string]hostler.ScheduleTask{
			"task":             {Task: "look-22", Template: "look"},
			"task.params.port": {Template: "look"},
			"task.args":        {Task: "look-22", Args: json.RawMessage(`{}`)},
			"task.params":      {Action: "ping", Params: json.RawMessage(`{}`)},
		} {
			wantField(t, second(w.PutSchedule(t.Context(), w.operator, "bad", everyMinuteTask(task))), path)
		}
		wantCode(t, second(w.PutSchedule(t.Context(), w.operator, "bad", everyMinuteTask(hostler.ScheduleTask{Task: "absent"}))),
			hostler.CodeNotFound)
		w.put(t, w.operator, "timed", everyMinuteTask(hostler.ScheduleTask{Task: "look-22"}))
		run := func(e hostler.ScheduleRunInput) error {
			return second(w.RunSchedule(t.Context(), w.operator, app.RunScheduleRequest{Schedule: "timed", Edit: e}))
		}
		wantField(t, run(hostler.ScheduleRunInput{Args: json.RawMessage(`{}`)}), "args")
		wantField(t, run(hostler.ScheduleRunInput{Params: json.RawMessage(`{"port":"x"}`)}), "params.port")
		wantField(t, run(hostler.ScheduleRunInput{Params: json.RawMessage(`[]`)}), "params")
	})
}

// wantField demands an error that names a field.
func wantField(t *testing.T, err error, path string) {
	t.Helper()
	e, ok := err.(*hostler.Error) //nolint:errorlint // use cases return it as it is
	if !ok {
		t.Errorf("%v, want one at %s", err, path)
		return
	}
	for _, f := range e.Fields {
		if f.Path == path {
			return
		}
	}
	t.Errorf("%+v, want one at %s", e.Fields, path)
}
