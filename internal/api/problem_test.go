package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler/internal/api"
)

func TestProblemsSpeakBothLanguages(t *testing.T) {
	w := newEnv(t)
	for _, c := range []struct{ accept, path, want string }{
		{"", "/api/v1/jobs/job_00000000001", `job "job_00000000001" does not exist`},
		{"zh-CN,zh;q=0.9,en;q=0.8", "/api/v1/jobs/job_00000000001", `作业 "job_00000000001" 不存在`},
		{"en;q=0.2, zh;q=0.4", "/api/v1/jobs/job_00000000001", `作业 "job_00000000001" 不存在`},
		{"fr", "/api/v1/jobs/job_00000000001", `job "job_00000000001" does not exist`},
		{"", "/tasks/1", "任务不存在"},
		{"en-GB", "/tasks/1", "the task does not exist"},
		{"zh", "/api/v1/nothing", "此路径不存在"},
		{"zh", "/api/v1/jobs?limit=0x", "请求内容无效"},
	} {
		req := w.request(t, viewer, "GET", c.path, "")
		req.Header.Set("Accept-Language", c.accept)
		if got := w.send(t, req).problem(t).Detail; got != c.want {
			t.Errorf("%s with %q: %q, want %q", c.path, c.accept, got, c.want)
		}
	}
}

func TestProblemNamesEveryField(t *testing.T) {
	w := newEnv(t)
	a := w.do(t, admin, "POST", "/api/v1/jobs", `{"action":1,"priority":10,"timeout":"soon","assets":["a",2],"admin":true,"on_lost":"hope"}`)
	p := a.problem(t)
	got := map[string]string{}
	for _, e := range p.Errors {
		got[e.Path] = e.Text
	}
	want := map[string]string{
		"action": "must be a text", "priority": "must be at most 9", "assets[1]": "must be a text",
		"timeout": "must be a duration like 90s, 10m, 1h30m or 2d",
		"admin":   "is not a known field", "on_lost": "must be one of retry, fail, ask",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if a.Status != http.StatusUnprocessableEntity || p.Code != "invalid" || p.Type != "urn:hostler:problem:invalid" || p.Title != "Invalid input" {
		t.Errorf("problem %d %+v", a.Status, p)
	}
}

// A value that passes the schema and does not fit its type is named too.
func TestProblemNamesTheFieldThatItsTypeRefuses(t *testing.T) {
	w := newEnv(t)
	const id = "not an id of the form run_ + 11 digits of base 32"
	const span = "not a duration; write it like 90s, 10m, 1h30m or 2d"
	for _, c := range []struct{ path, body, field, rule string }{
		{"/api/v1/jobs/cancel", `{"filter":{"run":"run_00000000000"}}`, "filter.run", id},
		{"/api/v1/jobs/cancel", `{"ids":["job_00000000001","job_00000000000"]}`, "ids[1]", strings.Replace(id, "run_", "job_", 1)},
		{"/api/v1/jobs", `{"action":"noop","timeout":"1m1d"}`, "timeout", span},
		{"/api/v1/jobs", `{"action":"noop","backoff":{"base":"9999999999h"}}`, "backoff.base", span},
		{"/api/v1/assets", `{"name":"a","address":"10.0.0.1","port":22.0}`, "port", "has the wrong form"},
	} {
		p := w.do(t, admin, "POST", c.path, c.body).problem(t)
		if len(p.Errors) != 1 || p.Errors[0].Path != c.field || p.Errors[0].Text != c.rule {
			t.Errorf("%s %s: %+v, want %s: %s", c.path, c.body, p.Errors, c.field, c.rule)
		}
	}
}

func TestUnreadableBodies(t *testing.T) {
	w := newEnv(t, func(c *api.Config) { c.BodyLimit = 1000 })
	for name, c := range map[string]struct {
		body string
		want int
	}{
		"cut off":    {`{"action":`, 400},
		"not utf-8":  {"{\"action\":\"\xff\"}", 400},
		"nothing":    {" ", 400},
		"too deep":   {strings.Repeat("[", 100) + strings.Repeat("]", 100), 400},
		"two values": {`{"action":"noop"}{}`, 400},
		"twice":      {`{"action":"noop","action":"noop"}`, 422},
		"nul":        {`{"action":"noop","queue":"a\u0000b"}`, 422},
		"too large":  {`{"action":"` + strings.Repeat("x", 1000) + `"}`, 413},
	} {
		a := w.do(t, admin, "POST", "/api/v1/jobs", c.body)
		if a.Status != c.want {
			t.Errorf("%s: %d %s, want %d", name, a.Status, a.Body, c.want)
		}
	}
	// A body of unknown length is cut off where it is read.
	req := w.request(t, admin, "POST", "/api/v1/jobs", `{"action":"`+strings.Repeat("x", 5000)+`"}`)
	req.ContentLength = -1
	if a := w.send(t, req); a.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("chunked: %d, want 413", a.Status)
	}
	req = w.request(t, admin, "GET", "/api/v1/jobs", "")
	req.Header.Set("X-Huge", strings.Repeat("x", 64<<10))
	if a := w.send(t, req); a.Status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("huge header: %d, want 431", a.Status)
	}
}

func TestPathsHaveOneSpelling(t *testing.T) {
	w := newEnv(t)
	for path, want := range map[string]int{
		"/api/v1/nothing": 404, "/api/v1": 404, "/api/v1/jobs/": 404, "//api/v1/jobs": 404, "/api/v1/x/../jobs": 404,
		"/api/v1/assets/..%2f..%2fetc%2fpasswd": 404, "/api/v1/jobs/%2e%2e/projects": 404, "/api/v1/jobs": 200,
	} {
		req := w.request(t, admin, "GET", "/", "")
		raw, err := req.URL.Parse(w.URL)
		if err != nil {
			t.Fatal(err)
		}
		raw.Opaque = "//" + raw.Host + path
		req.URL = raw
		if a := w.send(t, req); a.Status != want {
			t.Errorf("%s: %d %s, want %d", path, a.Status, a.Body, want)
		}
	}
	a := w.do(t, admin, "DELETE", "/api/v1/jobs", "")
	if a.Status != 405 || a.Header.Get("Allow") != "GET, HEAD, POST" || a.problem(t).Code != "method_not_allowed" {
		t.Errorf("DELETE /jobs: %d, Allow %q, %s", a.Status, a.Header.Get("Allow"), a.Body)
	}
}

func TestSecurityHeadersAreOnEveryAnswer(t *testing.T) {
	w := newEnv(t)
	for _, path := range []string{"/", "/api/v1/me", "/api/v1/nothing", "/api/v1/openapi.json", "/tasks", "/health", "/metrics", "/livez", "/api/v1/jobs?x=1"} {
		a := w.do(t, viewer, "GET", path, "")
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Frame-Options": "DENY",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
	if home := w.do(t, nobody, "GET", "/", ""); home.Status != 200 || !strings.Contains(home.Body, "/api/v1/openapi.json") || strings.Contains(home.Body, "<script") {
		t.Errorf("home: %d %s", home.Status, home.Body)
	}
}

func TestKeysComeFromHeadersOnly(t *testing.T) {
	w := newEnv(t)
	for name, c := range map[string]struct {
		header, value, query string
		want                 int
	}{
		"X-API-KEY": {"X-API-KEY", w.keys[viewer], "", 200},
		"x-api-key": {"x-api-key", w.keys[viewer], "", 200},
		"bearer":    {"Authorization", "bearer " + w.keys[viewer], "", 200},
		"basic":     {"Authorization", "Basic " + w.keys[viewer], "", 401},
		// There is no u in a key's alphabet.
		"wrong":          {"X-API-Key", w.keys[viewer][:20] + "u" + w.keys[viewer][21:], "", 401},
		"in the URL":     {"X-Nothing", "x", "?X-API-KEY=" + w.keys[viewer], 401},
		"as token":       {"X-Nothing", "x", "?access_token=" + w.keys[viewer], 401},
		"nothing at all": {"X-Nothing", "x", "", 401},
	} {
		req := w.request(t, nobody, "GET", "/api/v1/me"+c.query, "")
		req.Header[c.header] = []string{c.value} // as it is written
		a := w.send(t, req)
		if a.Status != c.want {
			t.Errorf("%s: %d %s, want %d", name, a.Status, a.Body, c.want)
		}
		if a.Status == 401 && !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: 401 without WWW-Authenticate", name)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	w := newEnv(t)
	w.mustDo(t, admin, "PUT", "/api/v1/queues/small", `{"max_depth":1}`, nil)
	w.mustDo(t, operator, "POST", "/api/v1/jobs", `{"action":"noop","queue":"small"}`, nil)
	a := w.do(t, operator, "POST", "/api/v1/jobs", `{"action":"noop","queue":"small"}`)
	if a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" || a.problem(t).Code != "queue_full" {
		t.Errorf("full queue: %d, Retry-After %q, %s", a.Status, a.Header.Get("Retry-After"), a.Body)
	}
}
