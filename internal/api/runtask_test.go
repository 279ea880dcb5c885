package api_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestRunTask runs what has a name with JSON and with a form, and answers each fault of a
// request as clients expect.
func TestRunTask(t *testing.T) {
	w := newEnv(t)
	w.makeAsset(t, operator, "web1")
	w.mustDo(t, operator, "PUT", "/api/v1/schedules/night",
		`{"trigger":{"cron":"@daily"},"task":{"action":"noop","target":{"assets":["web1"]}}}`, nil)
	send := func(method, media, body string) (int, string) {
		r := w.request(t, operator, method, "/run-task", body)
		r.Header.Set("Content-Type", media)
		a := w.send(t, r)
		return a.Status, a.Body
	}
	const form, text = "application/x-www-form-urlencoded", "application/json"
	for _, c := range []struct {
		method, media, body string
		status              int
		has                 string
	}{
		{"POST", text, `{"task_name":"night","args":[],"kwargs":{}}`, 200, `"task_status":"pending"`},
		{"POST", form, "task_name=night&args=%5B%5D&kwargs=%7B%7D", 200, `"task_id":"run_`},
		{"POST", form, "task_name=night", 200, `"message"`},
		{"POST", text, `{"task_name":`, 400, "JSON"},
		{"POST", form, "task_name=night&kwargs=%7B", 400, "kwargs"},
		{"POST", text, `{"task_name":"night","args":{}}`, 400, "args"},
		{"POST", text, `{"task_name":"night","args":[1]}`, 400, "kwargs"},
		{"POST", form, "task_name=night&kwargs=%5B%5D", 400, "kwargs"},
		{"POST", text, `{"task_name":7}`, 400, "task_name"},
		{"POST", text, `{"kwargs":{}}`, 400, "task_name"},
		{"POST", form, "kwargs=%7B%7D", 400, "task_name"},
		{"POST", text, `{"task_name":"absent"}`, 404, "absent"},
		{"GET", text, "", 405, ""},
	} {
		status, body := send(c.method, c.media, c.body)
		if status != c.status || !strings.Contains(body, c.has) {
			t.Errorf("%s %s %s: %d %s, want %d with %q", c.method, c.media, c.body, status, body, c.status, c.has)
		}
	}
	var answers []string
	for range 2 {
		r := w.request(t, operator, "POST", "/run-task", `{"task_name":"night"}`)
		r.Header.Set("Idempotency-Key", "once")
		answers = append(answers, w.send(t, r).Body)
	}
	if answers[0] != answers[1] {
		t.Errorf("a repeated call with its key answers %s and %s", answers[0], answers[1])
	}
	a := w.do(t, operator, "POST", "/api/v1/schedules/run", `{"name":"night"}`)
	if a.Status != http.StatusCreated {
		t.Errorf("by name: %d %s", a.Status, a.Body)
	}
	for body, want := range map[string]int{`{"name":"absent"}`: 404, `{}`: 400, `{"name":7}`: 400, `{`: 400} {
		if a := w.do(t, operator, "POST", "/api/v1/schedules/run", body); a.Status != want {
			t.Errorf("%s: %d %s, want %d", body, a.Status, a.Body, want)
		}
	}
}
