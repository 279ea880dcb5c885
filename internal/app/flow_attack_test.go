package app_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// indirectly creates the jobs of a request through a template that an admin published, and
// through a schedule: by its timer, and now with other args. It returns the error of each.
func (w *env) indirectly(t *testing.T, a *app.App, c auth.Caller, req hostler.JobRequest) map[string]error {
	t.Helper()
	ctx, errs := t.Context(), map[string]error{}
	step := map[string]any{"id": "one", "action": req.Action}
	if req.Args != nil {
		step["args"] = req.Args
	}
	target := &hostler.StepTarget{Assets: req.Assets}
	if len(req.Assets) == 0 {
		target = nil
	} else {
		step["target"] = target
	}
	if req.Queue != "" {
		step["queue"] = req.Queue
	}
	if req.Timeout > 0 {
		step["timeout"] = req.Timeout
	}
	doc, err := json.Marshal(map[string]any{
		"apiVersion": "hostler/v1", "kind": "Template", "name": "roll", "steps": []any{step},
	})
	if err != nil {
		t.Fatal(err)
	}
	author := w.admin
	if c.Project != w.admin.Project {
		author = c
	}
	if _, err := a.Apply(ctx, author, hostler.ApplyInput{Documents: string(doc)}); err != nil {
		t.Fatal(err)
	}
	_, errs["plan of a run"] = a.PlanRun(ctx, c, hostler.RunRequest{Template: "roll"})
	_, errs["run of a template"] = a.StartRun(ctx, c, hostler.RunRequest{Template: "roll"}, "")

	_, err = a.PutSchedule(ctx, c, "timer", hostler.ScheduleInput{
		Trigger: hostler.Trigger{Interval: hostler.Duration(time.Minute)}, Queue: req.Queue, MaxInstances: 10,
		Task: hostler.ScheduleTask{Action: req.Action, Args: req.Args, Target: target, Timeout: req.Timeout},
	})
	if errs["schedule"] = err; err != nil {
		return errs
	}
	_, errs["schedule now"] = a.RunSchedule(ctx, c, app.RunScheduleRequest{Schedule: "timer"})
	w.h.Advance(time.Minute)
	if _, err := a.FireSchedules(ctx); err != nil {
		t.Fatal(err)
	}
	fires := must(a.Fires(ctx, c, "timer", hostler.Page{Limit: 10}))(t).Items
	i := slices.IndexFunc(fires, func(f hostler.Fire) bool { return f.Trigger == hostler.FireTimer })
	if i < 0 {
		t.Fatalf("no fire: %+v", fires)
	}
	errs["timer"] = nil
	if fires[i].State != hostler.FireStarted {
		errs["timer"] = hostler.Errorf(hostler.CodeForbidden, "%s", "%s", fires[i].Reason.EN)
	}
	if err := a.DeleteSchedule(ctx, c, "timer"); err != nil {
		t.Fatal(err)
	}
	// What was saved may be refused when it runs, and must be refused on each way to run it.
	delete(errs, "schedule")
	return errs
}

// TestFlowsAndSchedulesAreNoWayAround tries through templates and schedules what is refused
// as a request.
func TestFlowsAndSchedulesAreNoWayAround(t *testing.T) {
	eachLimited(t, func(t *testing.T, w *limitedEnv) {
		vault(t, w.env)
		ctx := t.Context()
		must(w.PutQueue(ctx, w.admin, "theirs", hostler.QueueLimits{Projects: &[]string{"other"}}))(t)
		restricted := map[string][]string{"nowhere": {"absent"}}
		cfg := w.cfg
		cfg.Restricted = restricted
		a := app.New(cfg)
		args := func(s string) json.RawMessage { return json.RawMessage(s) }
		for name, c := range map[string]struct {
			who auth.Caller
			req hostler.JobRequest
		}{
			"sudo with a credential": {w.operator, hostler.JobRequest{Action: "change", Assets: []string{"mine"}, Args: args(`{"sudo":"root-pw"}`)}},
			"a secret value":         {w.operator, hostler.JobRequest{Action: "change", Assets: []string{"mine"}, Args: args(`{"stdin":{"$secret":"root-pw"}}`)}},
			"a request":              {w.operator, hostler.JobRequest{Action: "fetch", Args: args(`{"credential":"root-pw"}`)}},
			"a queue of others":      {w.operator, hostler.JobRequest{Action: "check_port", Assets: []string{"mine"}, Queue: "theirs"}},
			"a restricted action":    {w.operator, hostler.JobRequest{Action: "nowhere"}},
			"an asset out of sight":  {w.lara, hostler.JobRequest{Action: "check_port", Assets: []string{"out"}}},
			"an action out of reach": {w.lara, hostler.JobRequest{Action: "ping", Assets: []string{"in"}}},
			"a viewer":               {w.viewer, hostler.JobRequest{Action: "check_port", Assets: []string{"in"}}},
		} {
			for way, err := range w.indirectly(t, a, c.who, c.req) {
				switch hostler.CodeOf(err) {
				case hostler.CodeForbidden, hostler.CodeInvalid, hostler.CodeNotFound:
				default:
					t.Errorf("%s, %s: %v, want it refused", name, way, err)
				}
			}
		}
		for way, err := range w.indirectly(t, a, w.operator, hostler.JobRequest{Action: "check_port", Assets: []string{"mine"}}) {
			if err != nil {
				t.Errorf("what is allowed, %s: %v", way, err)
			}
		}
		for _, l := range w.resolved(t) {
			if strings.Contains(fmt.Sprint(valuesOf(l)), canary) || l.Action != "check_port" || l.Queue == "theirs" {
				t.Errorf("job %v (%s in %s) was leased", l.Job, l.Action, l.Queue)
			}
		}
	})
}

// TestLimitsOfAProjectHoldForFlowsAndSchedules: a longer timeout than the limit of the
// project is refused before a run starts.
func TestLimitsOfAProjectHoldForFlowsAndSchedules(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		must(w.ChangeProject(t.Context(), w.admin, "default", hostler.ProjectChange{MaxTimeout: span(time.Minute)}))(t)
		long := hostler.JobRequest{Action: "check_port", Assets: []string{"web1"}, Timeout: hostler.Duration(time.Hour)}
		for way, err := range w.indirectly(t, w.App, w.operator, long) {
			if err == nil || !strings.Contains(err.Error(), "max_timeout") {
				t.Errorf("%s: %v, want an error that names max_timeout", way, err)
			}
		}
		short := hostler.JobRequest{Action: "check_port", Assets: []string{"web1"}}
		for way, err := range w.indirectly(t, w.App, w.operator, short) {
			if err != nil {
				t.Errorf("without a timeout, %s: %v", way, err)
			}
		}
	})
}

// TestAWithdrawnQueueStopsItsJobs withdraws a queue from a project whose jobs wait in it: they
// do not start, the reason is shown, and they go on when the queue is granted again.
func TestAWithdrawnQueueStopsItsJobs(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx, k := t.Context(), w.worker(t)
		grant := func(projects ...string) {
			must(w.PutQueue(ctx, w.admin, "routers", hostler.QueueLimits{Projects: &projects}))(t)
		}
		grant("default", "other")
		req := hostler.JobRequest{Action: "nowhere", Queue: "routers"}
		theirs := must(w.RunJobs(ctx, w.stranger, req, ""))(t).Job.ID
		delayed := req
		delayed.Delay = hostler.Duration(time.Second)
		must(w.RunJobs(ctx, w.stranger, delayed, ""))(t)
		ours := w.run(t, req).Job.ID
		grant("default")
		w.h.Advance(2 * time.Second)
		w.due(t)
		var leases []hostler.Lease
		for range 5 {
			leases = append(leases, k.claim(t, 10)...)
		}
		if len(leases) != 1 || leases[0].Job != ours {
			t.Fatalf("leased %v, want the job of the project that has the queue alone", leases)
		}
		why := must(w.Waiting(ctx, w.stranger, theirs))(t)
		if len(why) == 0 || why[0].Reason != hostler.WaitForbidden || !strings.Contains(why[0].Text.EN, "no longer granted") {
			t.Errorf("why: %+v", why)
		}
		grant("default", "other")
		w.h.Advance(2 * time.Minute)
		w.due(t)
		if got := k.claim(t, 10); len(got) != 2 {
			t.Errorf("leased %v, want both jobs of the project that has the queue again", got)
		}
	})
}

// approvalOf makes a run of the template roll, started by c, wait for an approval, and
// returns it as people see it.
func (w *env) approvalOf(t *testing.T, c auth.Caller, row store.ApprovalRow) hostler.Approval {
	t.Helper()
	run := must(w.StartRun(t.Context(), c, hostler.RunRequest{Template: "roll"}, ""))(t)
	row.Project, row.Run, row.Title, row.Quorum, row.Requester = c.Project, run.Run, "go on", 1, c.UserID
	w.tx(t, func(tx *store.Tx) error {
		steps, err := tx.RunSteps(run.Run)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(steps, func(s store.RunStepRow) bool { return s.Step == "agree" })
		row.Step = steps[i].ID
		return tx.InsertApproval(row)
	})
	var asked []store.ApprovalRow
	w.tx(t, func(tx *store.Tx) (err error) {
		asked, err = tx.PreparingApprovals(1)
		return err
	})
	p := must(w.resolver.Plan(t.Context(), asked[0]))(t)
	w.tx(t, func(tx *store.Tx) error {
		_, err := tx.SetPlan(asked[0].ID, p.Digest, string(p.Text))
		return err
	})
	return must(w.Approval(t.Context(), w.admin, asked[0].ID))(t)
}

// TestFourEyes: who started a run does not approve it, with whichever key, and nobody whom
// the step does not name; a decision is about what was shown.
func TestFourEyes(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1"})
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: "apiVersion: hostler/v1\nkind: Template\nname: roll\nsteps:\n" +
			"- {id: agree, approval: {title: go on}}\n- {id: look, action: check_port, target: {assets: [web1]}}\n"}))(t)
		cfg := w.cfg
		cfg.Plan = w.resolver.Plan
		a := app.New(cfg)
		berta, carl := w.person(t, "berta", "default", hostler.RoleAdmin), w.person(t, "carl", "default", hostler.RoleAdmin)
		made := must(w.CreateKey(ctx, carl, hostler.KeyInput{Name: "again"}))(t)
		own := w.login(t, made.Secret)
		made = must(w.CreateKey(ctx, carl, hostler.KeyInput{Name: "puppet", User: "olga"}))(t)
		puppet := w.login(t, made.Secret)
		asked := w.approvalOf(t, carl, store.ApprovalRow{Approvers: `["role:operator"]`})
		in := hostler.DecisionInput{Digest: asked.Digest, Comment: "fine"}
		for name, c := range map[string]auth.Caller{
			"the requester": carl, "another key": own, "a key of another user that the requester made": puppet,
			"a viewer": w.viewer,
		} {
			_, err := a.Approve(ctx, c, asked.ID, in)
			wantCode(t, err, hostler.CodeForbidden)
			if _, err = a.Reject(ctx, c, asked.ID, in); hostler.CodeOf(err) != hostler.CodeForbidden {
				t.Errorf("%s rejects: %v", name, err)
			}
		}
		_, err := a.Approve(ctx, berta, asked.ID, hostler.DecisionInput{Digest: strings.Repeat("1", 64)})
		wantCode(t, err, hostler.CodeConflict)
		// The host moves after the approver looked at the plan.
		moved := hostler.AssetInput{Name: "web1", Address: "198.51.100.66"}
		must(w.PutAsset(ctx, w.admin, "web1", moved))(t)
		_, err = a.Approve(ctx, berta, asked.ID, in)
		wantCode(t, err, hostler.CodeConflict)

		again := w.approvalOf(t, w.operator, store.ApprovalRow{Approvers: `["role:admin"]`})
		in.Digest = again.Digest
		done := must(a.Approve(ctx, berta, again.ID, in))(t)
		if done.State != hostler.ApprovalApproved {
			t.Errorf("the approval is %s", done.State)
		}
		_, err = a.Approve(ctx, berta, again.ID, in)
		wantCode(t, err, hostler.CodeConflict)
	})
}

// TestSecretsStayInsideFlows uses a secret in a run with an approval and in a schedule, and
// others in channels and webhooks, and looks for them in every answer, event and column.
func TestSecretsStayInsideFlows(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx, c, page, secret := t.Context(), w.admin, hostler.Page{}, canary
		w.password(t, "pw", canary)
		w.asset(t, hostler.AssetInput{Name: "web1", Credential: "pw"})
		w.allow(t, "pw", hostler.CredentialRuleInput{Uses: []string{hostler.UseScript, hostler.UseSSH}, Addresses: []string{"*"}})
		var out []any
		collect := func(v any, err error) {
			out = append(out, v)
			if err != nil {
				t.Error(err)
			}
		}
		collect(w.CreateChannel(ctx, c, hostler.ChannelInput{
			Name: "chat", Kind: hostler.ChannelSlack, URL: "https://hooks.slack.com/services/" + canary,
		}))
		collect(w.CreateChannel(ctx, c, hostler.ChannelInput{
			Name: "ding", Kind: hostler.ChannelDingTalk, URL: "https://oapi.dingtalk.com/robot/send?access_token=" + canary,
			Secret: &secret,
		}))
		collect(w.CreateWebhook(ctx, c, hostler.WebhookInput{
			Name: "hook", URL: "https://ops.example.com/in?key=" + canary, Token: &secret,
			Headers: map[string]string{"X-Key": canary}, Events: []string{"*"},
		}))
		collect(w.Apply(ctx, c, hostler.ApplyInput{Documents: "apiVersion: hostler/v1\nkind: Template\nname: roll\nsteps:\n" +
			"- {id: one, action: change, args: {stdin: {$secret: pw}}, target: {assets: [web1]}}\n" +
			"- {id: agree, approval: {title: go on}}\n"}))
		collect(w.PlanRun(ctx, c, hostler.RunRequest{Template: "roll"}))
		out = append(out, w.approvalOf(t, c, store.ApprovalRow{Approvers: `["role:admin"]`}))
		collect(w.PutSchedule(ctx, c, "timer", hostler.ScheduleInput{
			Trigger: hostler.Trigger{Interval: hostler.Duration(time.Minute)},
			Task: hostler.ScheduleTask{
				Action: "change", Args: json.RawMessage(`{"stdin":{"$secret":"pw"}}`), Target: &hostler.StepTarget{Assets: []string{"web1"}},
			},
		}))
		collect(w.RunSchedule(ctx, c, app.RunScheduleRequest{Schedule: "timer"}))
		w.h.Advance(time.Minute)
		w.fire(t)
		leases := w.resolved(t)
		if len(leases) == 0 || leases[0].Credentials["pw"].Secret.Password != canary {
			t.Fatalf("the secret was not used: %+v", leases)
		}
		w.tx(t, func(tx *store.Tx) error {
			_, _, err := tx.Publish(1000)
			return err
		})
		events, _, err := w.Events(ctx, c, hostler.EventFilter{}, 0, 1000)
		collect(events, err)
		if len(events) < 5 {
			t.Errorf("only %d events", len(events))
		}
		collect(w.Runs(ctx, c, app.RunFilter{}, page))
		collect(w.Approvals(ctx, c, app.ApprovalFilter{}, page))
		collect(w.Template(ctx, c, "roll", 1))
		collect(w.Schedules(ctx, c, page))
		collect(w.Fires(ctx, c, "timer", page))
		collect(w.Jobs(ctx, c, hostler.JobFilter{}, page))
		collect(w.Channels(ctx, c, page))
		collect(w.PreviewChannel(ctx, c, "ding", hostler.ChannelPreview{}))
		collect(w.Webhooks(ctx, c, page))
		collect(w.Deliveries(ctx, c, hostler.DeliveryFilter{}, page))
		collect(w.Audit(ctx, c, hostler.AuditFilter{}, page))
		text, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range forms() {
			if i := strings.Index(string(text), form); i >= 0 {
				t.Errorf("an answer holds the secret: …%s", text[max(0, i-200):i])
			}
			if strings.Contains(string(w.log.text), form) {
				t.Errorf("the log holds the secret: %s", w.log.text)
			}
			w.searchTables(t, form)
		}
	})
}

// TestOneDoesNotSkipWhatTwoDecide: skipping an approval is no way around its quorum. A run
// that goes on has no failed hosts yet that another could run on.
func TestOneDoesNotSkipWhatTwoDecide(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1"})
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: "apiVersion: hostler/v1\nkind: Template\nname: two\nsteps:\n" +
			"- {id: agree, approval: {title: go on, quorum: 2}}\n- {id: look, action: check_port, target: {assets: [web1]}}\n"}))(t)
		run := must(w.StartRun(ctx, w.operator, hostler.RunRequest{Template: "two"}, ""))(t)
		_, err := w.SkipStep(ctx, w.admin, run.Run, "agree", hostler.SkipInput{Reason: "in a hurry"})
		wantCode(t, err, hostler.CodeConflict)
		if steps := must(w.Run(ctx, w.viewer, run.Run))(t).Steps; steps[0].State == hostler.StepSkipped {
			t.Error("the approval was skipped")
		}
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: "apiVersion: hostler/v1\nkind: Template\nname: again\nsteps:\n" +
			"- {id: look, action: check_port, target: {from_run: {run: " + run.Run.String() + ", hosts: failed}}}\n"}))(t)
		_, err = w.StartRun(ctx, w.operator, hostler.RunRequest{Template: "again"}, "")
		wantCode(t, err, hostler.CodeInvalid)
		if err == nil || !strings.Contains(err.Error(), "has not ended") {
			t.Errorf("error %v", err)
		}
	})
}
