package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

func TestEveryRouteDeclaresItsPermission(t *testing.T) {
	for _, r := range api.Routes(api.Config{}) {
		name := r.Method + " " + r.Path
		if r.Access.Public == (r.Access.Verb != "") {
			t.Errorf("%s: must be public or need one permission", name)
		}
		if r.Access.Verb != "" && !slices.Contains(auth.Verbs(), r.Access.Verb) {
			t.Errorf("%s: needs the unknown permission %q", name, r.Access.Verb)
		}
		if r.Title.EN == "" || r.Title.ZH == "" {
			t.Errorf("%s: no summary in both languages", name)
		}
		if r.Method == http.MethodGet && strings.Contains(string(r.Access.Verb), "write") {
			t.Errorf("%s: a GET must not change anything", name)
		}
	}
}

// fill puts values into a path's parameters.
func fill(path string, values map[string]string) string {
	for name, v := range values {
		path = strings.ReplaceAll(path, "{"+name+"}", v)
	}
	return path
}

// absent are ids that fit and that nothing has.
func absent(r rest.Route) map[string]string {
	kind := "job"
	switch {
	case strings.Contains(r.Path, "/hostkeys/"):
		kind = "hky"
	case strings.Contains(r.Path, "/keys/"):
		kind = "key"
	case strings.Contains(r.Path, "/runs/"):
		kind = "run"
	case strings.Contains(r.Path, "/workers/"):
		kind = "wrk"
	case strings.Contains(r.Path, "/deliveries/"):
		kind = "dlv"
	case strings.Contains(r.Path, "/approvals/"):
		kind = "apv"
	case strings.Contains(r.Path, "/artefacts/"):
		kind = "art"
	case strings.Contains(r.Path, "/holds/"):
		kind = "hld"
	}
	id := kind + "_00000000001"
	if !strings.HasPrefix(r.Path, "/api/") {
		id = "1"
	}
	return map[string]string{
		"id": id, "name": "absent", "asset": "absent", "webhook": "absent", "lane": "absent",
		"channel": "absent", "schedule": "absent", "step": "absent",
	}
}

// TestRoles is the matrix of every role and every route.
func TestRoles(t *testing.T) {
	w := newEnv(t)
	roles := map[string]hostler.Role{
		admin: hostler.RoleAdmin, approver: hostler.RoleApprover, operator: hostler.RoleOperator, viewer: hostler.RoleViewer,
		stranger: hostler.RoleAdmin, nobody: hostler.RoleNone,
	}
	for _, r := range api.Routes(api.Config{}) {
		for person, role := range roles {
			body := ""
			if r.Method != http.MethodGet && r.Method != http.MethodDelete {
				body = "{}"
			}
			a := w.do(t, person, r.Method, fill(r.Path, absent(r)), body)
			name := fmt.Sprintf("%s %s as %q", r.Method, r.Path, person)
			rule, _ := auth.RuleOf(r.Access.Verb)
			allowed := auth.AtLeast(role, rule.Role) && !(rule.System && person == stranger)
			switch {
			case r.Access.Public:
				if a.Status != http.StatusOK {
					t.Errorf("%s: %d, want 200", name, a.Status)
				}
			case person == nobody:
				want := http.StatusUnauthorized
				if !strings.HasPrefix(r.Path, "/api/") {
					want = http.StatusForbidden
				}
				if a.Status != want {
					t.Errorf("%s: %d, want %d", name, a.Status, want)
				}
			case !allowed:
				if a.Status != http.StatusForbidden {
					t.Errorf("%s: %d %s, want 403", name, a.Status, a.Body)
				}
			default:
				if a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden || a.Status >= 500 {
					t.Errorf("%s: %d %s, want to be let in", name, a.Status, a.Body)
				}
			}
		}
	}
}

// ownNames are the routes whose parameter names nothing of another project: what all share, what
// the caller creates by this, and what is tried apart.
var ownNames = map[string]bool{
	"PUT /api/v1/alert-rules/{name}": true,
	"PUT /api/v1/calendars/{name}":   true, "PUT /api/v1/command-rules/{name}": true, "PUT /api/v1/schedules/{schedule}": true,

	"GET /api/v1/actions/{name}": true,
	"GET /api/v1/queues/{name}":  true, "PUT /api/v1/queues/{name}": true,
	"POST /api/v1/queues/{name}/pause": true, "POST /api/v1/queues/{name}/resume": true,
	"GET /api/v1/lanes/{lane}": true, "POST /api/v1/lanes/{lane}/release": true,
	"POST /api/v1/workers/{id}/stop": true, "POST /api/v1/workers/{id}/close-session": true,
	"DELETE /api/v1/set-aside/{last}": true, "POST /api/v1/set-aside/{last}/retry": true,

	// See "by an admin of another project".
	"GET /api/v1/projects/{name}": true, "PATCH /api/v1/projects/{name}": true,
	"GET /api/v1/users/{name}": true, "PATCH /api/v1/users/{name}": true, "POST /api/v1/users/{name}/cancel-jobs": true,
	"DELETE /api/v1/keys/{id}": true, "POST /api/v1/keys/{id}/rotate": true,
}

// TestForeignIDs: what belongs to another project does not exist, however it is
// asked for.
func TestForeignIDs(t *testing.T) { eachEnv(t, foreignIDs) }

func foreignIDs(t *testing.T, w *env) {
	asset := w.makeAsset(t, stranger, "secretive")
	w.makeJob(t, stranger)
	artefact := w.storeArtefact(t, w.manualWorker(t), "theirs.csv", "secretive")
	job := w.makeJob(t, stranger)
	w.mustDo(t, stranger, "POST", "/api/v1/credentials", `{"name":"theirs","kind":"password","username":"u","password":"p"}`, nil)
	var key hostler.KeyCreated
	w.mustDo(t, stranger, "POST", "/api/v1/keys", `{"name":"second"}`, &key)
	caller := w.caller(t, stranger)
	err := w.resolver.PinHostKey(t.Context(), store.LeasedJob{Project: caller.Project, Asset: asset.ID}, hostler.HostKeyOffer{
		Address: asset.Address + ":22", Type: "ssh-ed25519",
		PublicKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPBGwJHbkT3cAyBwZzHmpBfYg7AzAGiM+dWgHfZRPXKf",
	})
	if err != nil {
		t.Fatal(err)
	}
	var hostKeys hostler.List[hostler.HostKey]
	w.mustDo(t, stranger, "GET", "/api/v1/assets/secretive/hostkeys", "", &hostKeys)
	if len(hostKeys.Items) != 1 {
		t.Fatalf("host keys: %v", hostKeys)
	}

	var hook hostler.WebhookCreated
	w.mustDo(t, stranger, "POST", "/api/v1/webhooks", `{"name":"their-hook","url":"https://ops.example.com/in"}`, &hook)
	var channel hostler.Channel
	w.mustDo(t, stranger, "POST", "/api/v1/channels",
		`{"name":"their-chat","kind":"slack","url":"https://ops.example.com/in"}`, &channel)
	ping, err := w.app.TestWebhook(t.Context(), caller, "their-hook")
	if err != nil {
		t.Fatal(err)
	}

	flow := w.makeFlow(t, stranger, "secretive")
	var timer hostler.Schedule
	w.mustDo(t, stranger, "PUT", "/api/v1/schedules/their-timer",
		`{"trigger":{"cron":"@daily"},"task":{"action":"noop","target":{"assets":["secretive"]}}}`, &timer)
	w.mustDo(t, stranger, "PUT", "/api/v1/calendars/their-days", `{"days":[{"from":"2027-01-01"}]}`, nil)
	w.mustDo(t, stranger, "POST", "/api/v1/roles", `{"name":"their-role","base":"viewer","actions":["noop"]}`, nil)
	w.mustDo(t, stranger, "PUT", "/api/v1/alert-rules/their-alert", `{"kind":"failures"}`, nil)
	w.mustDo(t, stranger, "POST", "/api/v1/triggers", `{"name":"their-trigger","kind":"standard","task":"their-task"}`, nil)
	var hold hostler.Hold
	w.mustDo(t, stranger, "POST", "/api/v1/holds", `{"asset":"secretive","reason":"x"}`, &hold)
	w.mustDo(t, stranger, "PUT", "/api/v1/command-rules/their-rule", `{"effect":"refuse","commands":["frobnicate"]}`, nil)

	foreign := func(r rest.Route) []map[string]string {
		native := strings.HasPrefix(r.Path, "/api/")
		switch {
		case strings.Contains(r.Path, "/hostkeys/"):
			// Also nested: their host key below an asset of ours.
			return []map[string]string{
				{"asset": asset.ID.String(), "id": hostKeys.Items[0].ID.String()},
				{"asset": "ours", "id": hostKeys.Items[0].ID.String()},
			}
		case native && strings.Contains(r.Path, "{asset}"):
			return []map[string]string{{"asset": asset.ID.String()}, {"asset": asset.Name}}
		case strings.HasPrefix(r.Path, "/assets/"):
			return []map[string]string{{"id": fmt.Sprint(int64(asset.ID))}}
		case strings.HasPrefix(r.Path, "/tasks/"):
			return []map[string]string{{"id": fmt.Sprint(int64(job.ID))}}
		case strings.Contains(r.Path, "/jobs/{id}"):
			return []map[string]string{{"id": job.ID.String()}}
		case strings.Contains(r.Path, "/runs/{id}"):
			return []map[string]string{{"id": job.Run.String(), "step": "look"}, {"id": flow.run.String(), "step": "look"}}
		case strings.Contains(r.Path, "/approvals/{id}"):
			return []map[string]string{{"id": flow.approval.String()}}
		case strings.Contains(r.Path, "/templates/{name}"):
			return []map[string]string{{"name": "their-roll"}}
		case strings.Contains(r.Path, "/api/v1/tasks/{name}"):
			return []map[string]string{{"name": "their-task"}}
		case r.Method != http.MethodPut && strings.Contains(r.Path, "/schedules/{schedule}"):
			return []map[string]string{{"schedule": timer.ID.String()}, {"schedule": timer.Name}}
		case r.Method != http.MethodPut && strings.Contains(r.Path, "/command-rules/{name}"):
			return []map[string]string{{"name": "their-rule"}} // PUT makes one of one's own
		case strings.Contains(r.Path, "/webhooks/{webhook}"):
			return []map[string]string{{"webhook": hook.Webhook.ID.String()}, {"webhook": hook.Webhook.Name}}
		case strings.Contains(r.Path, "/channels/{channel}"):
			return []map[string]string{{"channel": channel.ID.String()}, {"channel": channel.Name}}
		case strings.Contains(r.Path, "/deliveries/{id}"):
			return []map[string]string{{"id": ping.ID.String()}}
		case strings.Contains(r.Path, "/credentials/{name}"):
			return []map[string]string{{"name": "theirs"}}
		case strings.Contains(r.Path, "/artefacts/{id}"):
			return []map[string]string{{"id": artefact.ID.String()}}
		case !ownNames[r.Method+" "+r.Path] && strings.Contains(r.Path, "/alert-rules/{name}"):
			return []map[string]string{{"name": "their-alert"}}
		case strings.Contains(r.Path, "/triggers/{name}"):
			return []map[string]string{{"name": "their-trigger"}}
		case strings.Contains(r.Path, "/holds/{id}"):
			return []map[string]string{{"id": hold.ID.String()}}
		case !ownNames[r.Method+" "+r.Path] && strings.Contains(r.Path, "/calendars/{name}"):
			return []map[string]string{{"name": "their-days"}}
		case strings.Contains(r.Path, "/roles/{name}"):
			return []map[string]string{{"name": "their-role"}}
		default:
			return nil
		}
	}
	decision := `{"digest":"` + strings.Repeat("0", 64) + `","comment":"x"}`
	bodies := map[string]string{
		"PUT /api/v1/assets/{asset}":     `{"name":"x","address":"192.0.2.1"}`,
		"PUT /assets/{id}":               `{"name":"x","ip":"192.0.2.1"}`,
		"PUT /api/v1/credentials/{name}": `{"name":"theirs","kind":"password","password":"p"}`,
		"POST /api/v1/jobs/{id}/resolve": `{"state":"failed"}`,
		"PUT /api/v1/webhooks/{webhook}": `{"name":"x","url":"https://ops.example.com/"}`,

		"PUT /api/v1/channels/{channel}":          `{"name":"x","url":"https://ops.example.com/"}`,
		"POST /api/v1/channels/{channel}/preview": `{}`,

		"POST /api/v1/webhooks/{webhook}/rotate": `{}`,
		"POST /api/v1/credentials/{name}/rules":  `{"uses":["ssh"],"addresses":["*"]}`,

		"POST /api/v1/triggers/{name}/rotate": `{}`, "POST /api/v1/alert-rules/{name}/unsilence": `{}`,
		"POST /api/v1/alert-rules/{name}/silence": `{"reason":"x","for":"1h"}`,
		"POST /api/v1/calendars/{name}/import":    `{"text":"2027-01-01"}`,
		"PUT /api/v1/roles/{name}":                `{"name":"their-role","base":"viewer","actions":["noop"]}`,

		"POST /api/v1/runs/{id}/steps/{step}/skip": `{"reason":"x"}`,
		"POST /api/v1/approvals/{id}/approve":      decision,
		"POST /api/v1/approvals/{id}/reject":       decision,
		"POST /api/v1/templates/{name}/restore":    `{"version":1}`,
		"POST /api/v1/templates/{name}/retire":     `{"version":1}`,
	}
	w.makeAsset(t, operator, "ours")
	flowOf := func(name, steps string) string {
		return `{"documents":` + quoted("apiVersion: hostler/v1\nkind: Template\nname: "+name+"\nsteps:\n- "+steps+"\n") + `}`
	}
	w.mustDo(t, admin, "POST", "/api/v1/apply", flowOf("my-roll", "{id: look, action: noop, target: {assets: [ours]}}"), nil)
	tried := 0
	for _, r := range api.Routes(api.Config{}) {
		if name := r.Method + " " + r.Path; strings.Contains(r.Path, "{") && foreign(r) == nil && !ownNames[name] {
			t.Errorf("%s: no object of another project is tried", name)
		}
		for _, ids := range foreign(r) {
			tried++
			for _, query := range []string{"", "?follow=1", "?format=text", "?tail=5"} {
				if query != "" && !strings.HasSuffix(r.Path, "/jobs/{id}/log") {
					continue
				}
				if strings.HasSuffix(r.Path, "/runs/{id}/hosts") {
					query = "?step=look"
				}
				// Operators, lest an admin of the default project be more.
				for _, person := range []string{admin, operator} {
					rule, _ := auth.RuleOf(r.Access.Verb)
					if person == operator && !auth.AtLeast(hostler.RoleOperator, rule.Role) {
						continue
					}
					a := w.do(t, person, r.Method, fill(r.Path, ids)+query, bodies[r.Method+" "+r.Path])
					if a.Status != http.StatusNotFound {
						t.Errorf("%s %s%s with %v as %s: %d %s, want 404", r.Method, r.Path, query, ids, person, a.Status, a.Body)
					}
				}
			}
		}
	}
	if tried < 20 {
		t.Errorf("only %d routes take ids", tried)
	}

	// A key exists only for those who may see it; the system's admins may.
	for _, call := range [][2]string{{"DELETE", "/api/v1/keys/" + key.Key.ID.String()}, {"POST", "/api/v1/keys/" + key.Key.ID.String() + "/rotate"}} {
		if a := w.do(t, operator, call[0], call[1], ""); a.Status != http.StatusNotFound {
			t.Errorf("%s %s: %d %s, want 404", call[0], call[1], a.Status, a.Body)
		}
	}

	t.Run("by an admin of another project", func(t *testing.T) {
		var ours hostler.KeyCreated
		w.mustDo(t, operator, "POST", "/api/v1/keys", `{"name":"ours"}`, &ours)
		for _, call := range [][3]string{
			{"GET", "/api/v1/projects/default"},
			{"PATCH", "/api/v1/projects/default", `{"weight":9}`},
			{"GET", "/api/v1/users/" + operator},
			{"PATCH", "/api/v1/users/" + operator, `{"disabled":true}`},
			{"POST", "/api/v1/users/" + operator + "/cancel-jobs"},
			{"DELETE", "/api/v1/keys/" + ours.Key.ID.String()},
			{"POST", "/api/v1/keys/" + ours.Key.ID.String() + "/rotate"},
		} {
			a := w.do(t, stranger, call[0], call[1], call[2])
			if a.Status != http.StatusNotFound && a.Status != http.StatusForbidden {
				t.Errorf("%s %s: %d %s, want it refused", call[0], call[1], a.Status, a.Body)
			}
		}
	})

	t.Run("in bodies", func(t *testing.T) {
		for name, c := range map[string]struct{ method, path, body string }{
			"job on an asset id":   {"POST", "/api/v1/jobs", `{"action":"noop","assets":["` + asset.ID.String() + `"]}`},
			"job on an asset name": {"POST", "/api/v1/jobs", `{"action":"noop","assets":["secretive"]}`},
			"task on an asset":     {"POST", "/tasks", fmt.Sprintf(`{"asset_id":%d,"action":"noop"}`, asset.ID)},
			"unknown task on one":  {"POST", "/tasks", fmt.Sprintf(`{"asset_id":%d,"action":"fly"}`, asset.ID)},
			"run of a template":    {"POST", "/api/v1/runs", `{"template":"their-roll"}`},
			"run of a task":        {"POST", "/api/v1/runs", `{"task":"their-task"}`},
			"plan of a template":   {"POST", "/api/v1/runs/plan", `{"template":"their-roll"}`},
			"plan of a task":       {"POST", "/api/v1/runs/plan", `{"task":"their-task"}`},
			"schedule on an asset": {
				"PUT", "/api/v1/schedules/mine",
				`{"trigger":{"cron":"@daily"},"task":{"action":"noop","target":{"assets":["secretive"]}}}`,
			},
			"schedule of a task":     {"PUT", "/api/v1/schedules/mine", `{"trigger":{"cron":"@daily"},"task":{"task":"their-task"}}`},
			"schedule of a template": {"PUT", "/api/v1/schedules/mine", `{"trigger":{"cron":"@daily"},"task":{"template":"their-roll"}}`},
			"schedule of a calendar": {
				"PUT", "/api/v1/schedules/mine",
				`{"trigger":{"cron":"@daily","calendar":"their-days"},"task":{"action":"noop","target":{"assets":["ours"]}}}`,
			},
			"by name, a task":     {"POST", "/run-task", `{"task_name":"their-task"}`},
			"by name, a schedule": {"POST", "/run-task", `{"task_name":"their-timer"}`},
			"schedule by name":    {"POST", "/api/v1/schedules/run", `{"name":"their-timer"}`},
			"hold of an asset":    {"POST", "/api/v1/holds", `{"asset":"secretive","reason":"x"}`},
			"hold of an asset id": {"POST", "/api/v1/holds", `{"asset":"` + asset.ID.String() + `","reason":"x"}`},
			"hosts of a run": {
				"POST", "/api/v1/runs",
				`{"template":"my-roll","targets":{"from_run":{"run":"` + flow.run.String() + `","hosts":"succeeded"}}}`,
			},
			"hosts of a named run": {
				"POST", "/api/v1/runs", `{"template":"my-roll","targets":{"from_run":{"name":"their-task","hosts":"succeeded"}}}`,
			},
			"flow within a template":  {"POST", "/api/v1/apply", flowOf("my-flow", "{id: sub, flow: {template: their-roll}}")},
			"key in a project":        {"POST", "/api/v1/keys", `{"name":"k","project":"other"}`},
			"asset with a credential": {"POST", "/api/v1/assets", `{"name":"a1","address":"192.0.2.1","credential":"theirs"}`},
			"asset through a jump":    {"POST", "/api/v1/assets", `{"name":"a2","address":"192.0.2.1","jump":"secretive"}`},
			"asset through a jump id": {"POST", "/api/v1/assets", `{"name":"a3","address":"192.0.2.1","jump":"` + asset.ID.String() + `"}`},
		} {
			a := w.do(t, operator, c.method, c.path, c.body)
			if a.Status != http.StatusNotFound && a.Status != http.StatusUnprocessableEntity {
				t.Errorf("%s: %d %s, want 404 or 422", name, a.Status, a.Body)
			}
			// Whether it is foreign or nothing at all must not show.
			other := strings.NewReplacer(asset.ID.String(), "ast_00000000001", "secretive", "nothing", "theirs", "nothing",
				"their-roll", "nothing", "their-task", "nothing", "their-timer", "nothing", "their-days", "nothing",
				flow.run.String(), "run_00000000001",
				fmt.Sprint(int64(asset.ID)), "1", `"other"`, `"nothing"`).Replace(c.body)
			if b := w.do(t, operator, c.method, c.path, other); b.Status != a.Status {
				t.Errorf("%s: %d, but %d for what does not exist", name, a.Status, b.Status)
			}
		}
		for _, verb := range []string{"cancel", "retry", "resolve"} {
			body := `{"ids":["` + job.ID.String() + `"]}`
			if verb == "resolve" {
				body = `{"ids":["` + job.ID.String() + `"],"state":"failed"}`
			}
			var res hostler.BulkResult
			w.mustDo(t, operator, "POST", "/api/v1/jobs/"+verb, body, &res)
			for _, item := range res.Items {
				if item.OK {
					t.Errorf("bulk %s changed a foreign job", verb)
				}
			}
		}
	})

	t.Run("in a bulk resend", func(t *testing.T) {
		var res hostler.BulkResult
		w.mustDo(t, operator, "POST", "/api/v1/deliveries/resend", `{"ids":["`+ping.ID.String()+`"]}`, &res)
		if len(res.Items) != 1 || res.Items[0].OK {
			t.Errorf("a foreign delivery was sent again: %v", res)
		}
	})

	t.Run("in queries", func(t *testing.T) {
		for _, q := range []string{"", "?webhook=" + hook.Webhook.ID.String(), "?webhook=their-hook"} {
			var l hostler.List[hostler.Delivery]
			w.mustDo(t, admin, "GET", "/api/v1/deliveries"+q, "", &l)
			if len(l.Items) != 0 {
				t.Errorf("%s shows foreign deliveries", q)
			}
		}
		for _, q := range []string{"asset=" + asset.ID.String(), "asset=secretive", "run=" + job.Run.String()} {
			var l hostler.List[hostler.Job]
			w.mustDo(t, admin, "GET", "/api/v1/jobs?"+q, "", &l)
			if len(l.Items) != 0 {
				t.Errorf("%s shows foreign jobs", q)
			}
		}
	})

	t.Run("in headers", func(t *testing.T) {
		req := w.request(t, operator, "GET", "/api/v1/jobs", "")
		req.Header.Set("X-Project", "other")
		if a := w.send(t, req); a.Status != http.StatusNotFound {
			t.Errorf("X-Project: %d, want 404", a.Status)
		}
		req = w.request(t, stranger, "GET", "/tasks", "")
		req.Header.Set("X-Project", "default")
		if a := w.send(t, req); a.Status != http.StatusOK || !strings.Contains(a.Body, fmt.Sprint(int64(job.ID))) {
			t.Errorf("the simple API must act in the key's project: %d %s", a.Status, a.Body)
		}
	})

	var still hostler.Job
	w.mustDo(t, stranger, "GET", "/api/v1/jobs/"+job.ID.String(), "", &still)
	if still.State != hostler.StateQueued {
		t.Errorf("the foreign job is %s now", still.State)
	}
}

// flowIDs are a run that waits for an approval.
type flowIDs struct {
	run      hostler.RunID
	approval hostler.ApprovalID
}

// makeFlow makes the template their-roll, the task their-task, a run of it and an approval.
func (w *env) makeFlow(t *testing.T, person, asset string) flowIDs {
	t.Helper()
	docs, err := json.Marshal(hostler.ApplyInput{Documents: "apiVersion: hostler/v1\nkind: Template\nname: their-roll\nsteps:\n" +
		"- {id: look, action: noop, target: {assets: [" + asset + "]}}\n- {id: agree, approval: {title: go on}}\n" +
		"---\napiVersion: hostler/v1\nkind: Task\nname: their-task\ntemplate: their-roll\n"})
	if err != nil {
		t.Fatal(err)
	}
	w.mustDo(t, person, "POST", "/api/v1/apply", string(docs), nil)
	var run hostler.Run
	w.mustDo(t, person, "POST", "/api/v1/runs", `{"task":"their-task"}`, &run)
	c := w.caller(t, person)
	if err := w.store.InTx(t.Context(), func(tx *store.Tx) error {
		steps, err := tx.RunSteps(run.Run)
		if err != nil {
			return err
		}
		err = tx.InsertApproval(store.ApprovalRow{
			Project: c.Project, Run: run.Run, Step: steps[1].ID, Title: "go on", Approvers: `["role:admin"]`, Quorum: 1,
			Requester: c.UserID,
		})
		if err != nil {
			return err
		}
		asked, err := tx.PreparingApprovals(1)
		if err != nil {
			return err
		}
		_, err = tx.SetPlan(asked[0].ID, strings.Repeat("0", 64), "{}")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var asked hostler.List[hostler.Approval]
	w.mustDo(t, person, "GET", "/api/v1/approvals?run="+run.Run.String(), "", &asked)
	if len(asked.Items) != 1 {
		t.Fatalf("approvals: %v", asked.Items)
	}
	return flowIDs{run: run.Run, approval: asked.Items[0].ID}
}

// TestCrossSite: no page of another site can change anything.
func TestCrossSite(t *testing.T) {
	w := newEnv(t)
	for _, r := range api.Routes(api.Config{}) {
		if r.Method == http.MethodGet {
			continue
		}
		for name, header := range map[string][2]string{
			"cross-site": {"Sec-Fetch-Site", "cross-site"}, "same-site": {"Sec-Fetch-Site", "same-site"},
			"null origin": {"Origin", "null"}, "other origin": {"Origin", "https://evil.example"},
		} {
			req := w.request(t, admin, r.Method, fill(r.Path, absent(r)), "{}")
			req.Header.Set(header[0], header[1])
			if a := w.send(t, req); a.Status != http.StatusForbidden {
				t.Errorf("%s %s, %s: %d, want 403", r.Method, r.Path, name, a.Status)
			}
		}
	}
}
