package app_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
)

// template is the document of a template with steps as YAML.
func template(name, steps string) string {
	return "---\napiVersion: hostler/v1\nkind: Template\nname: " + name + "\nsteps:\n" + steps
}

// TestPartsOfFlowsAreNoWayAround hides in a part of a flow that an admin published what its
// starter may not do: in a flow within it, in a probe, in a gate, in a rollback, in the hosts
// of an earlier run. Each way to start it is refused, also with a key of a key.
func TestPartsOfFlowsAreNoWayAround(t *testing.T) {
	eachLimited(t, func(t *testing.T, w *limitedEnv) {
		vault(t, w.env)
		ctx := t.Context()
		onIn, onMine := "target: {assets: [in]}", "target: {assets: [mine]}"
		narrow := w.keyOf(t, w.operator, hostler.KeyInput{Name: "narrow", Actions: []string{"check_port"}})
		child := w.keyOf(t, narrow, hostler.KeyInput{Name: "child"})
		for name, c := range map[string]struct {
			who   []auth.Caller
			steps string
		}{
			"a flow within": {[]auth.Caller{w.operator}, "- {id: a, flow: {template: sudo}}\n"},
			"a probe": {
				[]auth.Caller{narrow, child, w.lara},
				"- {id: a, action: check_port, " + onIn + ", verify: {action: ping}}\n",
			},
			"a gate": {
				[]auth.Caller{narrow, child, w.lara},
				"- {id: a, action: check_port, " + onIn + ", rollout: {batch: [1], gate: {action: ping, " + onIn + "}}}\n",
			},
			"a rollback": {
				[]auth.Caller{narrow, child, w.lara},
				"- {id: a, action: check_port, " + onIn + ", on_failure: rollback}\n- {id: b, action: ping, undoes: a}\n",
			},
			"a credential of a probe": {
				[]auth.Caller{w.operator},
				"- {id: a, action: check_port, " + onMine + ", verify: {action: change, args: {sudo: root-pw}}}\n",
			},
			"a credential of a rollback": {
				[]auth.Caller{w.operator},
				"- {id: a, action: check_port, " + onMine + ", on_failure: rollback}\n- {id: b, action: change, args: {sudo: root-pw}, undoes: a}\n",
			},
			"a gate on a host out of sight": {
				[]auth.Caller{w.lara},
				"- {id: a, action: check_port, " + onIn + ", rollout: {batch: [1], gate: {action: check_port, target: {assets: [out]}}}}\n",
			},
			"hosts of a run out of sight": {
				[]auth.Caller{w.lara},
				"- {id: a, action: check_port, target: {from_run: {name: seen, hosts: failed}}}\n",
			},
			"a step of another action": {[]auth.Caller{narrow, child}, "- {id: a, action: ping, " + onIn + "}\n"},
		} {
			docs := template("sudo", "- {id: a, action: change, args: {sudo: root-pw}, "+onMine+"}\n") +
				template("seen", "- {id: a, action: check_port, "+onIn+"}\n") + template("roll", c.steps) +
				"---\napiVersion: hostler/v1\nkind: Task\nname: roll-it\ntemplate: roll\n"
			if _, err := w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: docs}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for i, who := range c.who {
				for way, err := range w.started(t, who) {
					switch hostler.CodeOf(err) {
					case hostler.CodeForbidden, hostler.CodeInvalid, hostler.CodeNotFound:
					default:
						t.Errorf("%s, caller %d, %s: %v, want it refused", name, i, way, err)
					}
				}
			}
		}
		for _, l := range w.resolved(t) {
			if strings.Contains(fmt.Sprint(valuesOf(l)), canary) || l.Action == "ping" {
				t.Errorf("job %v (%s) was leased", l.Job, l.Action)
			}
		}
	})
}

// keyOf is the caller of a key that another one created.
func (w *env) keyOf(t *testing.T, c auth.Caller, in hostler.KeyInput) auth.Caller {
	t.Helper()
	return w.login(t, must(w.CreateKey(t.Context(), c, in))(t).Secret)
}

// started starts the template roll, and the task of it, in every way.
func (w *env) started(t *testing.T, c auth.Caller) map[string]error {
	t.Helper()
	ctx, errs := t.Context(), map[string]error{}
	_, errs["plan"] = w.PlanRun(ctx, c, hostler.RunRequest{Template: "roll"})
	_, errs["template"] = w.StartRun(ctx, c, hostler.RunRequest{Template: "roll"}, "")
	_, errs["task"] = w.StartRun(ctx, c, hostler.RunRequest{Task: "roll-it"}, "")
	_, errs["name"] = w.RunNamed(ctx, c, "roll-it", nil, "")
	_, errs["schedule"] = w.PutSchedule(ctx, c, "later", everyMinuteTask(hostler.ScheduleTask{Task: "roll-it"}))
	return errs
}

// TestRunsOfOthersAreNotToBeChanged: a key that is limited to an action, and a key of it, do
// nothing to a run with other ones; a role that is limited to assets neither, nor does it run
// what it does not see again.
func TestRunsOfOthersAreNotToBeChanged(t *testing.T) {
	eachLimited(t, func(t *testing.T, w *limitedEnv) {
		ctx := t.Context()
		narrow := w.keyOf(t, w.operator, hostler.KeyInput{Name: "narrow", Actions: []string{"check_port"}})
		child := w.keyOf(t, narrow, hostler.KeyInput{Name: "child"})
		docs := template("roll", "- {id: a, action: ping, target: {assets: [out, in]}, args: {port: 77}}\n- {id: agree, approval: {title: x}}\n")
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: docs}))(t)
		w.put(t, w.admin, "pings", everyMinute(func(in *hostler.ScheduleInput) {
			in.Task = hostler.ScheduleTask{
				Action: "ping", Args: json.RawMessage(`{"port":77}`), Target: &hostler.StepTarget{Assets: []string{"out"}},
			}
		}))
		run := must(w.StartRun(ctx, w.admin, hostler.RunRequest{Template: "roll"}, ""))(t).Run
		ended := must(w.StartRun(ctx, w.admin, hostler.RunRequest{Template: "roll"}, ""))(t).Run
		w.endRun(t, ended, hostler.RunFailed)
		adHoc := w.run(t, hostler.JobRequest{
			Action: "check_port", Assets: []string{"out", "in"}, Args: json.RawMessage(`{"port":77}`),
		}).Run
		mine := &hostler.StepTarget{Assets: []string{"in"}}
		for name, c := range map[string]auth.Caller{"a narrow key": narrow, "its key": child, "a limited role": w.lara} {
			errs := map[string]error{
				"pause": second(w.PauseRun(ctx, c, run)), "terminate": second(w.TerminateRun(ctx, c, run)),
				"resume": second(w.ResumeRun(ctx, c, ended)), "retry-failed": second(w.RetryFailed(ctx, c, ended)),
				"skip":         second(w.SkipStep(ctx, c, run, "agree", hostler.SkipInput{Reason: "x"})),
				"schedule now": second(w.RunSchedule(ctx, c, app.RunScheduleRequest{Schedule: "pings"})),
				"by name":      second(w.RunNamed(ctx, c, "pings", nil, "")),
				"again":        second(w.Rerun(ctx, c, app.RerunRequest{Run: ended})),
				"again, on another host": second(w.Rerun(ctx, c, app.RerunRequest{
					Run: ended, Edit: hostler.RerunInput{Target: mine},
				})),
			}
			if c.User == w.lara.User {
				errs["ad-hoc again"] = second(w.Rerun(ctx, c, app.RerunRequest{Run: adHoc}))
				errs["ad-hoc again, on another host"] = second(w.Rerun(ctx, c, app.RerunRequest{
					Run: adHoc, Edit: hostler.RerunInput{Target: mine},
				}))
			}
			for way, err := range errs {
				code := hostler.CodeOf(err)
				if code != hostler.CodeForbidden && code != hostler.CodeNotFound {
					t.Errorf("%s, %s: %v, want it refused", name, way, err)
				}
				if err != nil && strings.Contains(err.Error(), "77") {
					t.Errorf("%s, %s: the error tells of the args: %v", name, way, err)
				}
			}
		}
		if r := must(w.Run(ctx, w.admin, run))(t); r.State.Ended() || r.State == hostler.RunPaused {
			t.Errorf("the run is %s", r.State)
		}
	})
}
