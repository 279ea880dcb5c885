package app_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
)

func shellRequest(command string) hostler.JobRequest {
	args, _ := json.Marshal(map[string]string{"command": command})
	return hostler.JobRequest{Action: "shell", Args: args}
}

// No way to create a job passes the rules, and an admin may override those that demand an
// approval.
func TestCommandRulesRefuseJobs(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		for _, c := range []auth.Caller{w.operator, w.admin} {
			_, err := w.RunJobs(ctx, c, shellRequest(`X=/; rm -rf "$X"`), "")
			wantCode(t, err, hostler.CodeForbidden)
			if err == nil || !strings.Contains(err.Error(), "args.command: rule delete-system-files") ||
				strings.Contains(err.Error(), "rm -rf") {
				t.Errorf("error %v", err)
			}
			_, err = w.RunJobs(ctx, c, shellRequest("reboot"), "")
			wantCode(t, err, hostler.CodeForbidden)
		}
		out := must(w.RunBatch(ctx, w.admin, []hostler.JobRequest{shellRequest("uptime"), shellRequest("reboot")}))(t)
		wantCode(t, out[0].Err, "")
		wantCode(t, out[1].Err, hostler.CodeForbidden)

		override := shellRequest("reboot")
		override.OverrideRule = &hostler.RuleOverride{Rules: []string{"restart-host"}, Reason: "kernel"}
		_, err := w.RunJobs(ctx, w.operator, override, "")
		wantCode(t, err, hostler.CodeForbidden)
		job := *must(w.RunJobs(ctx, w.admin, override, ""))(t).Job
		refused := shellRequest("mkfs.ext4 /dev/sda")
		refused.OverrideRule = &hostler.RuleOverride{Rules: []string{"make-filesystem"}, Reason: "x"}
		_, err = w.RunJobs(ctx, w.admin, refused, "")
		wantCode(t, err, hostler.CodeForbidden)

		must(w.CancelJob(ctx, w.admin, job.ID))(t)
		_, err = w.RetryJob(ctx, w.admin, job.ID, "")
		wantCode(t, err, hostler.CodeForbidden)
		retry := hostler.BulkRequest{IDs: []hostler.JobID{job.ID}}
		if res := must(w.RetryJobs(ctx, w.admin, retry, ""))(t); res.Items[0].OK {
			t.Error("a retry passed the rules")
		}
		retry.OverrideRule = override.OverrideRule
		_, err = w.RetryJobs(ctx, w.operator, retry, "")
		wantCode(t, err, hostler.CodeForbidden)
		if res := must(w.RetryJobs(ctx, w.admin, retry, ""))(t); !res.Items[0].OK {
			t.Errorf("the override of a retry: %+v", res.Items)
		}

		rows := must(w.Audit(ctx, w.admin, hostler.AuditFilter{}, hostler.Page{Limit: 100}))(t).Items
		refusals, overrides := 0, 0
		for _, r := range rows {
			if r.Verb == "rule.refuse" {
				refusals++
			}
			if strings.Contains(string(r.Detail), `"reason":"kernel"`) {
				overrides++
			}
			if strings.Contains(string(r.Detail), "rm -rf") {
				t.Errorf("the audit has a command: %s", r.Detail)
			}
		}
		if refusals < 4 || refusals > 8 || overrides != 2 {
			t.Errorf("%d refusals and %d overrides in the audit", refusals, overrides)
		}
	})
}

// Only an admin of the project changes rules, and they hold for that project.
func TestCommandRulesOfProjects(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		off := hostler.CommandRuleInput{Effect: hostler.RuleOff}
		for _, c := range []auth.Caller{w.viewer, w.operator} {
			_, err := w.PutCommandRule(ctx, c, "restart-host", off)
			wantCode(t, err, hostler.CodeForbidden)
			_, err = w.ResetCommandRule(ctx, c, "restart-host")
			wantCode(t, err, hostler.CodeForbidden)
		}
		if r := must(w.PutCommandRule(ctx, w.admin, "restart-host", off))(t); !r.Changed || r.Effect != hostler.RuleOff {
			t.Errorf("%+v", r)
		}
		must(w.RunJobs(ctx, w.operator, shellRequest("reboot"), ""))(t)
		_, err := w.RunJobs(ctx, w.stranger, shellRequest("reboot"), "")
		wantCode(t, err, hostler.CodeForbidden)

		own := hostler.CommandRuleInput{Effect: hostler.RuleRefuse, Commands: []string{"deploy prod"}}
		must(w.PutCommandRule(ctx, w.admin, "own", own))(t)
		_, err = w.RunJobs(ctx, w.admin, shellRequest("sudo /opt/deploy -v prod"), "")
		wantCode(t, err, hostler.CodeForbidden)
		must(w.RunJobs(ctx, w.admin, shellRequest("deploy test"), ""))(t)
		must(w.ResetCommandRule(ctx, w.admin, "own"))(t)
		must(w.RunJobs(ctx, w.admin, shellRequest("deploy prod"), ""))(t)
		must(w.ResetCommandRule(ctx, w.admin, "restart-host"))(t)
		_, err = w.RunJobs(ctx, w.operator, shellRequest("reboot"), "")
		wantCode(t, err, hostler.CodeForbidden)

		for name, in := range map[string]hostler.CommandRuleInput{
			"no patterns":  off,
			"restart-host": {Effect: hostler.RuleOff, Commands: []string{"x"}},
			"effect":       {Effect: "maybe", Commands: []string{"x"}},
			"pattern":      {Effect: hostler.RuleRefuse, Commands: []string{"*"}},
		} {
			_, err := w.PutCommandRule(ctx, w.admin, strings.ReplaceAll(name, " ", "-"), in)
			wantCode(t, err, hostler.CodeInvalid)
		}
		v := must(w.TestCommand(ctx, w.viewer, hostler.CommandTest{Command: "uptime; rm -rf /"}))(t)
		if v.Effect != hostler.RuleRefuse || len(v.Findings) != 1 || v.Findings[0].Column != 9 {
			t.Errorf("%+v", v)
		}
	})
}

// Rules hold for fires of schedules and their runs by hand, as they are at that time.
func TestCommandRulesOfSchedules(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		rule := func(e hostler.RuleEffect) {
			must(w.PutCommandRule(ctx, w.admin, "own", hostler.CommandRuleInput{Effect: e, Commands: []string{"deploy"}}))(t)
		}
		rule(hostler.RuleOff)
		w.put(t, w.operator, "deploy", everyMinute(func(in *hostler.ScheduleInput) {
			in.Task = hostler.ScheduleTask{Action: "shell", Args: shellRequest("deploy test").Args}
		}))
		next := func(state hostler.FireState) {
			t.Helper()
			w.h.Advance(time.Minute)
			w.fire(t)
			w.endJobs(t)
			all := w.fires(t, "deploy")
			if last := all[len(all)-1]; last.State != state {
				t.Errorf("fire %+v, want it %s", last, state)
			}
		}
		now := func(edit hostler.ScheduleRunInput) error {
			_, err := w.RunSchedule(ctx, w.operator, app.RunScheduleRequest{Schedule: "deploy", Edit: edit})
			w.endJobs(t)
			return err
		}
		next(hostler.FireStarted)
		wantCode(t, now(hostler.ScheduleRunInput{}), "")
		wantCode(t, now(hostler.ScheduleRunInput{Args: shellRequest("reboot").Args}), hostler.CodeForbidden)
		rule(hostler.RuleRefuse)
		next(hostler.FireRefused)
		wantCode(t, now(hostler.ScheduleRunInput{}), hostler.CodeForbidden)
		wantCode(t, now(hostler.ScheduleRunInput{Args: shellRequest("uptime").Args}), "")
	})
}
