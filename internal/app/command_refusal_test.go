package app_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/store"
)

const rebootDocuments = `
apiVersion: hostler/v1
kind: Template
name: restart
steps:
  - {id: go, action: shell, args: {command: reboot}}
---
apiVersion: hostler/v1
kind: Task
name: restart-it
template: restart
`

// TestRuleRefusalsAreRecordedOnEveryPath lets a rule refuse what was saved before: each way
// to a job leaves one record, of the user who acts, and no more within the limited rate.
func TestRuleRefusalsAreRecordedOnEveryPath(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		rule := func(e hostler.RuleEffect) {
			must(w.PutCommandRule(ctx, w.admin, "restart-host", hostler.CommandRuleInput{Effect: e}))(t)
		}
		rule(hostler.RuleOff)
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: rebootDocuments}))(t)
		command := hostler.ScheduleTask{Action: "shell", Args: json.RawMessage(`{"command":"reboot"}`)}
		tasks := map[string]hostler.ScheduleTask{"action": command, "task": {Task: "restart-it"}}
		for name, task := range tasks {
			w.put(t, w.operator, name, everyMinuteTask(task))
			must(w.PauseSchedule(ctx, w.operator, name))(t)
		}
		ended := must(w.RunJobs(ctx, w.operator, shellRequest("reboot"), ""))(t).Job.ID
		must(w.CancelJob(ctx, w.operator, ended))(t)
		rule(hostler.RuleRefuse)

		runNow := func(name string) func() error {
			return func() error {
				return second(w.RunSchedule(ctx, w.operator, app.RunScheduleRequest{Schedule: name}))
			}
		}
		for _, c := range []struct {
			path string
			try  func() error
		}{
			{"a request", func() error { return second(w.RunJobs(ctx, w.operator, shellRequest("reboot"), "")) }},
			{"a batch", func() error {
				return second(w.RunBatch(ctx, w.operator, []hostler.JobRequest{shellRequest("reboot")}))
			}},
			{"a retry", func() error { return second(w.RetryJob(ctx, w.operator, ended, "")) }},
			{"retries", func() error {
				return second(w.RetryJobs(ctx, w.operator, hostler.BulkRequest{IDs: []hostler.JobID{ended}}, ""))
			}},
			{"a schedule now", runNow("action")},
			{"a schedule of a task now", runNow("task")},
			{"by name", func() error { return second(w.RunNamed(ctx, w.operator, "action", nil, "")) }},
			{"a task by name", func() error { return second(w.RunNamed(ctx, w.operator, "restart-it", nil, "")) }},
			{"a run", func() error {
				return second(w.StartRun(ctx, w.operator, hostler.RunRequest{Task: "restart-it"}, ""))
			}},
			{"saved with a task", func() error {
				return second(w.PutSchedule(ctx, w.operator, "again", everyMinuteTask(tasks["task"])))
			}},
			{"late args", func() error { return w.checkLate(t, `{"command":"reboot"}`) }},
		} {
			w.h.Advance(11 * time.Second)
			before := w.refusals(t)
			for range 3 {
				_ = c.try() // some report it in an outcome
			}
			if n := len(w.refusals(t)) - len(before); n != 1 {
				t.Errorf("%s: %d records of 3 refusals, want 1", c.path, n)
			}
		}
		for name := range tasks {
			must(w.ResumeSchedule(ctx, w.operator, name))(t)
			before := len(w.refusals(t))
			w.h.Advance(time.Minute)
			w.fire(t)
			last := w.fires(t, name)
			if n := len(w.refusals(t)) - before; n != 1 || last[len(last)-1].State != hostler.FireRefused {
				t.Errorf("%s: %d records of the fires %+v", name, n, last)
			}
			must(w.PauseSchedule(ctx, w.operator, name))(t)
		}
	})
}

// refusals are the records of refusals by rules, newest first.
func (w *env) refusals(t *testing.T) (rows []hostler.Audit) {
	t.Helper()
	page := must(w.Audit(t.Context(), w.admin, hostler.AuditFilter{Verb: "rule.refuse"}, hostler.Page{Limit: 100}))(t)
	for _, r := range page.Items {
		if r.User != "olga" || r.Object != "restart-host" || strings.Contains(string(r.Detail), "reboot") {
			t.Errorf("record %+v", r)
		}
	}
	return page.Items
}

// checkLate checks args that were not complete when their run began.
func (w *env) checkLate(t *testing.T, args string) (err error) {
	t.Helper()
	w.tx(t, func(tx *store.Tx) error {
		r := &store.RunRow{Project: w.operator.Project, Requester: w.operator.UserID, RequesterName: w.operator.User}
		_, err = w.CheckJobs(tx, r, &store.StepJobs{Action: "shell"}, []json.RawMessage{json.RawMessage(args)})
		return err
	})
	return err
}
