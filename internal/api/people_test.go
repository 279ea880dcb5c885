package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api"
	"hostler.dev/hostler/internal/auth"
)

// limited and limitedChild are a user whose role is limited to assets with the label
// env=test, and a key that the user's key created.
const (
	limited      = "lara"
	limitedChild = "a key of lara's key"
)

// hidden is the name of an asset that they do not see.
const hidden = "hidden-asset"

func (w *env) addLimited(t *testing.T) {
	t.Helper()
	w.mustDo(t, admin, "POST", "/api/v1/roles", `{"name":"testers","base":"operator","labels":{"env":["test"]}}`, nil)
	w.mustDo(t, admin, "POST", "/api/v1/users", `{"name":"lara","roles":{"default":"testers"}}`, nil)
	var made hostler.KeyCreated
	w.mustDo(t, admin, "POST", "/api/v1/keys", `{"name":"first","user":"lara"}`, &made)
	w.keys[limited] = made.Secret
	w.mustDo(t, limited, "POST", "/api/v1/keys", `{"name":"child"}`, &made)
	w.keys[limitedChild] = made.Secret
}

// TestLimitedRolesOnEveryRoute is the matrix of every route with the asset and the job
// that a limited role does not see: they do not exist, or the route is refused as a whole.
func TestLimitedRolesOnEveryRoute(t *testing.T) { eachEnv(t, limitedRoles) }

func limitedRoles(t *testing.T, w *env) {
	w.addLimited(t)
	var asset hostler.Asset
	var made hostler.JobsCreated
	w.mustDo(t, admin, "POST", "/api/v1/assets", `{"name":"`+hidden+`","address":"192.0.2.9","labels":{"env":"live"}}`, &asset)
	w.mustDo(t, admin, "POST", "/api/v1/assets", `{"name":"seen","address":"192.0.2.8","labels":{"env":"test"}}`, nil)
	w.mustDo(t, admin, "POST", "/api/v1/jobs", `{"action":"noop","assets":["`+hidden+`"]}`, &made)
	artefact := w.storeArtefact(t, w.manualWorker(t), "secret.csv", "hidden-asset")
	flow := w.makeFlow(t, admin, hidden)
	var timer hostler.Schedule
	w.mustDo(t, admin, "PUT", "/api/v1/schedules/hidden-timer",
		`{"trigger":{"cron":"@daily"},"task":{"action":"noop","target":{"assets":["`+hidden+`"]}}}`, &timer)
	var fanOut hostler.JobsCreated
	w.mustDo(t, admin, "POST", "/api/v1/jobs", `{"action":"noop","assets":["`+hidden+`","seen"]}`, &fanOut)
	var hold hostler.Hold
	w.mustDo(t, admin, "POST", "/api/v1/holds", `{"asset":"`+hidden+`","reason":"x"}`, &hold)
	bodies := map[string]string{
		"PUT /api/v1/assets/{asset}": `{"name":"x","address":"192.0.2.1","labels":{"env":"test"}}`, "PUT /assets/{id}": `{"name":"x","ip":"192.0.2.1"}`,
		"POST /api/v1/jobs/{id}/resolve": `{"state":"failed"}`,
	}
	tried, lists := 0, 0
	for _, r := range api.Routes(api.Config{}) {
		rule, _ := auth.RuleOf(r.Access.Verb)
		want := http.StatusNotFound
		if rule.AllAssets || rule.Unlimited || rule.System || !auth.AtLeast(hostler.RoleOperator, rule.Role) {
			want = http.StatusForbidden
		}
		for _, person := range []string{limited, limitedChild} {
			ids := limitedIDs(r.Path, asset.ID, made, artefact.ID)
			switch {
			case strings.Contains(r.Path, "/runs/{id}"):
				ids = append(ids, map[string]string{"id": flow.run.String(), "step": "look"}, map[string]string{"id": fanOut.Run.String()})
			case strings.Contains(r.Path, "/approvals/{id}"):
				ids = append(ids, map[string]string{"id": flow.approval.String()})
			case strings.Contains(r.Path, "/holds/{id}"):
				ids = append(ids, map[string]string{"id": hold.ID.String()})
			case strings.Contains(r.Path, "/schedules/{schedule}") && r.Method != http.MethodPut:
				ids = append(ids, map[string]string{"schedule": timer.Name}, map[string]string{"schedule": timer.ID.String()})
			}
			for _, ids := range ids {
				want := want
				switch {
				case strings.HasSuffix(r.Path, "/schedules/{schedule}/run"):
					want = http.StatusForbidden // needs the right to read schedules, too
				case (r.Path == "/api/v1/runs/{id}" || r.Path == "/api/v1/runs/{id}/output") &&
					r.Method == http.MethodGet && ids["id"] == fanOut.Run.String():
					want = http.StatusOK // the part on assets that are seen
				}
				tried++
				a := w.do(t, person, r.Method, fill(r.Path, ids), bodies[r.Method+" "+r.Path])
				if a.Status != want || a.Status == http.StatusOK && (strings.Contains(a.Body, hidden) || strings.Contains(a.Body, `"total":2`)) {
					t.Errorf("%s %s with %v as %s: %d %s, want %d", r.Method, r.Path, ids, person, a.Status, a.Body, want)
				}
			}
			if r.Method != http.MethodGet || strings.Contains(r.Path, "{") || r.Access.Public || strings.HasSuffix(r.Path, "/events") {
				continue
			}
			lists++
			a := w.do(t, person, r.Method, r.Path, "")
			if strings.Contains(a.Body, hidden) || strings.Contains(a.Body, made.Jobs[0].String()) ||
				strings.Contains(a.Body, fmt.Sprint(int64(made.Jobs[0]))) {
				t.Errorf("%s %s as %s shows what is hidden: %s", r.Method, r.Path, person, a.Body)
			}
		}
	}
	if tried < 30 || lists < 20 {
		t.Errorf("only %d routes with ids and %d lists", tried, lists)
	}
	w.limitedBodies(t, asset.ID)
}

// limitedIDs are the hidden objects in the parameters of a path.
func limitedIDs(
	path string, asset hostler.AssetID, made hostler.JobsCreated, artefact hostler.ArtefactID,
) []map[string]string {
	native := strings.HasPrefix(path, "/api/")
	switch {
	case strings.Contains(path, "/hostkeys/"):
		return []map[string]string{{"asset": hidden, "id": "hky_00000000001"}}
	case native && strings.Contains(path, "{asset}"):
		return []map[string]string{{"asset": asset.String()}, {"asset": hidden}}
	case strings.HasPrefix(path, "/assets/"):
		return []map[string]string{{"id": fmt.Sprint(int64(asset))}}
	case strings.HasPrefix(path, "/tasks/"):
		return []map[string]string{{"id": fmt.Sprint(int64(made.Jobs[0]))}}
	case strings.Contains(path, "/artefacts/"):
		return []map[string]string{{"id": artefact.String()}}
	case strings.Contains(path, "/jobs/{id}"):
		return []map[string]string{{"id": made.Jobs[0].String()}}
	case strings.Contains(path, "/runs/{"):
		return []map[string]string{{"id": made.Run.String()}}
	}
	return nil
}

// limitedBodies names the hidden asset in bodies and queries.
func (w *env) limitedBodies(t *testing.T, asset hostler.AssetID) {
	t.Helper()
	for name, c := range map[string]struct {
		method, path, body string
		want               int
	}{
		"job by id":        {"POST", "/api/v1/jobs", `{"action":"noop","assets":["` + asset.String() + `"]}`, 404},
		"job by name":      {"POST", "/api/v1/jobs", `{"action":"noop","assets":["seen","` + hidden + `"]}`, 404},
		"job by label":     {"POST", "/api/v1/jobs", `{"action":"noop","labels":{"env":"live"}}`, 404},
		"job without":      {"POST", "/api/v1/jobs", `{"action":"noop"}`, 403},
		"inline host":      {"POST", "/api/v1/jobs", `{"action":"ssh_command","args":{"commands":["x"]},"target":{"address":"192.0.2.9","username":"u","password":"p"}}`, 403},
		"simple task":      {"POST", "/tasks", fmt.Sprintf(`{"asset_id":%d,"action":"noop"}`, int64(asset)), 404},
		"NetPulse exec":    {"POST", "/device/exec", `{"driver":"paramiko","connection_args":{"host":"192.0.2.9","username":"u","password":"p"},"command":"x"}`, 403},
		"NetPulse test":    {"POST", "/device/test", `{"driver":"paramiko","connection_args":{"host":"192.0.2.9","username":"u","password":"p"}}`, 403},
		"run of a task":    {"POST", "/api/v1/runs", `{"task":"their-task"}`, 422},
		"plan of a task":   {"POST", "/api/v1/runs/plan", `{"task":"their-task"}`, 422},
		"task by name":     {"POST", "/run-task", `{"task_name":"their-task"}`, 400},
		"schedule by name": {"POST", "/run-task", `{"task_name":"hidden-timer"}`, 404},
		"can":              {"GET", "/api/v1/can?action=noop&asset=" + hidden, "", 200},
		"a visible asset":  {"POST", "/api/v1/jobs", `{"action":"noop","assets":["seen"]}`, 201},
		"jobs of the host": {"GET", "/job?host=192.0.2.9", "", 200},
	} {
		for _, person := range []string{limited, limitedChild} {
			a := w.do(t, person, c.method, c.path, c.body)
			if a.Status != c.want {
				t.Errorf("%s as %s: %d %s, want %d", name, person, a.Status, a.Body, c.want)
			}
			if c.want == http.StatusOK && strings.Contains(a.Body, `"allowed":true`) {
				t.Errorf("%s: %s", name, a.Body)
			}
		}
	}
}

// TestRefusalsAreCountedAndRecorded sends keys that are not valid, and calls without the
// role: metrics count all, the audit and the log have few, and a valid key goes on working.
func TestRefusalsAreCountedAndRecorded(t *testing.T) {
	w := newEnv(t)
	w.mustDo(t, viewer, "GET", "/api/v1/me", "", nil)
	var fresh hostler.KeyCreated
	w.mustDo(t, admin, "POST", "/api/v1/keys", `{"name":"fresh"}`, &fresh)
	w.keys["a key that was not used before"] = fresh.Secret
	statuses := map[int]int{}
	for range 60 {
		req := w.request(t, nobody, "GET", "/api/v1/me", "")
		req.Header.Set("X-API-Key", auth.NewKey())
		statuses[w.send(t, req).Status]++
	}
	if statuses[http.StatusUnauthorized] < 20 || statuses[http.StatusTooManyRequests] < 30 {
		t.Errorf("answers %v", statuses)
	}
	w.mustDo(t, viewer, "GET", "/api/v1/me", "", nil)
	w.mustDo(t, "a key that was not used before", "GET", "/api/v1/me", "", nil)
	for range 5 {
		w.do(t, viewer, "POST", "/api/v1/projects", `{"name":"x"}`)
	}
	metrics := w.do(t, viewer, "GET", "/metrics", "").Body
	for _, want := range []string{
		`hostler_refusals_total{code="forbidden"} 5`, `hostler_refusals_total{code="unauthenticated"} 2`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	var audit hostler.List[hostler.Audit]
	w.mustDo(t, admin, "GET", "/api/v1/audit?limit=100", "", &audit)
	rows := map[string]int{}
	for _, a := range audit.Items {
		if a.Verb == "auth.refuse" {
			rows[a.Object+" "+a.User]++
		}
	}
	if rows["unauthenticated anonymous"] != 1 || rows["rate_limited anonymous"] != 1 || rows["forbidden "+viewer] != 1 {
		t.Errorf("records %v", rows)
	}
	if n := strings.Count(w.log.String(), `"msg":"refused"`); n != 3 {
		t.Errorf("%d lines in the log, want 3", n)
	}
}

// TestWaitingRequestsEndWithTheirKey revokes a key while its request is held back.
func TestWaitingRequestsEndWithTheirKey(t *testing.T) {
	w := newEnv(t)
	var made hostler.KeyCreated
	w.mustDo(t, operator, "POST", "/api/v1/keys", `{"name":"k"}`, &made)
	w.keys["held"] = made.Secret
	answered := make(chan answer, 1)
	began := time.Now()
	req := w.request(t, "held", "POST", "/api/v1/jobs?wait=50s", `{"action":"noop"}`)
	go func() { answered <- w.send(t, req) }()
	var jobs hostler.List[hostler.Job]
	for len(jobs.Items) == 0 { // until the request waits
		w.mustDo(t, operator, "GET", "/api/v1/jobs", "", &jobs)
	}
	w.mustDo(t, operator, "DELETE", "/api/v1/keys/"+made.Key.ID.String(), "", nil)
	if a := <-answered; a.Status != http.StatusCreated || time.Since(began) > 30*time.Second {
		t.Errorf("%d after %v", a.Status, time.Since(began))
	}
}
