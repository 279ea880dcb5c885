package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api"
	"hostler.dev/hostler/internal/store"
)

// openAPI is what the tests read of the document.
type openAPI struct {
	OpenAPI    string                          `json:"openapi"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	OperationID string `json:"operationId"`
	Parameters  []struct {
		Name   string `json:"name"`
		In     string `json:"in"`
		Schema schema `json:"schema"`
	} `json:"parameters"`
	RequestBody *struct {
		Content content `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content content `json:"content"`
	} `json:"responses"`
	Security []map[string][]string `json:"security"`
}

// content is a schema by media type.
type content map[string]struct {
	Schema schema `json:"schema"`
}

func (o operation) takesCSV() bool {
	if o.RequestBody == nil {
		return false
	}
	_, ok := o.RequestBody.Content["text/csv"]
	return ok
}

type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"`
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	Enum       []any             `json:"enum"`
	MaxLength  *int              `json:"maxLength"`
	Pattern    string            `json:"pattern"`
	Items      *schema           `json:"items"`
}

func (d openAPI) resolve(s schema) schema {
	for s.Ref != "" {
		s = d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	return s
}

func (w *env) document(t *testing.T) openAPI {
	t.Helper()
	var d openAPI
	w.mustDo(t, nobody, "GET", "/api/v1/openapi.json", "", &d)
	return d
}

// errorForm is the media type of the errors at a path, and a field that only they
// have.
func errorForm(path string) (media, field string) {
	if strings.HasPrefix(path, "/api/") {
		return "application/problem+json", "text"
	}
	return "application/json", "message"
}

func TestDocumentDescribesEveryRoute(t *testing.T) {
	w := newEnv(t)
	d := w.document(t)
	if !strings.HasPrefix(d.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %q, want 3.1", d.OpenAPI)
	}
	var got, want []string
	ids := map[string]bool{}
	for path, ops := range d.Paths {
		for method, op := range ops {
			got = append(got, strings.ToUpper(method)+" "+path)
			if ids[op.OperationID] {
				t.Errorf("two operations are called %s", op.OperationID)
			}
			ids[op.OperationID] = true
			media, field := errorForm(path)
			form, ok := op.Responses["default"].Content[media]
			if _, has := d.resolve(form.Schema).Properties[field]; !ok || !has {
				t.Errorf("%s: errors are described as %v", op.OperationID, op.Responses["default"])
			}
		}
	}
	for _, r := range api.Routes(api.Config{}) {
		want = append(want, r.Method+" "+r.Path)
		if op := d.Paths[r.Path][strings.ToLower(r.Method)]; (len(op.Security) == 0) != r.Access.Public {
			t.Errorf("%s %s: security %v, public %v", r.Method, r.Path, op.Security, r.Access.Public)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operations (-routes +document):\n%s", diff)
	}
	raw := w.do(t, nobody, "GET", "/api/v1/openapi.json", "").Body
	for _, word := range []string{"$schema", "example.com", "unpkg", "jsdelivr"} {
		if strings.Contains(raw, word) {
			t.Errorf("the document contains %q", word)
		}
	}
}

// badBodies are bodies that no schema accepts.
func badBodies() map[string]string {
	return map[string]string{
		"empty": " ", "cut off": `{"name":`, "no object": `[]`, "null": `null`, "a text": `"x"`, "a number": `1`,
		"trailing": `{} {}`, "not utf-8": "{\"name\":\"\xff\xfe\"}", "unknown key": `{"is_admin":true}`,
		"upper case":  `{"NAME":"x","ACTION":"noop","ASSET_ID":1,"STATE":"failed","IDS":[]}`,
		"deep":        strings.Repeat(`{"args":`, 5000) + "1" + strings.Repeat("}", 5000),
		"deep list":   strings.Repeat("[", 100_000),
		"huge":        `{"name":"` + strings.Repeat("x", 9<<20) + `"}`,
		"huge number": `{"port":1e999,"limit":1e999,"asset_id":1e999,"priority":1e999,"note":1e999}`,
		"many keys":   `{"` + strings.Repeat(`x":1,"x`, 3000) + `":1}`,
		"many names":  manyKeys(3000),
		"huge key":    `{"` + strings.Repeat("k", 100_000) + `":1}`,
		"proto":       `{"__proto__":{"role":"admin"}}`,
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"unknown%d":1,`, i)
	}
	return "{" + b.String() + `"last":1}`
}

// badValues are values that a field of the schema does not take.
func badValues(d openAPI, s schema) []any {
	s = d.resolve(s)
	kind, _ := s.Type.(string)
	bad := map[string][]any{
		"string":  {1, true, []any{}, map[string]any{}, "nul\x00nul"},
		"integer": {"x", 1.5, true, []any{}, -1e30, 1e30},
		"number":  {"x", true, []any{}},
		"boolean": {"x", 1, []any{}},
		"array":   {"x", 1, map[string]any{}, []any{map[string]any{"x": 1}}},
		"object":  {"x", 1, []any{1}, map[string]any{"a": []any{1}}, map[string]any{"is_admin": true}},
	}[kind]
	for name, nested := range s.Properties {
		for _, v := range badValues(d, nested) {
			inner, _ := good(d, s).(map[string]any)
			inner[name] = v
			bad = append(bad, inner)
		}
	}
	if kind == "string" {
		bad = append(bad, strings.Repeat("x", 200_000))
		if len(s.Enum) > 0 || s.Pattern != "" {
			bad = append(bad, "nonsense!")
		}
	}
	return bad
}

// good makes a value that the schema takes, so that one field alone is bad.
func good(d openAPI, s schema) any {
	s = d.resolve(s)
	if len(s.Enum) > 0 {
		return s.Enum[0]
	}
	switch s.Type {
	case "string":
		return "x"
	case "integer", "number":
		return 1
	case "boolean":
		return true
	case "array":
		return []any{}
	default:
		out := map[string]any{}
		for _, name := range s.Required {
			out[name] = good(d, s.Properties[name])
		}
		return out
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// state is everything that a request could change, as counts and listings.
func (w *env) state(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, path := range []string{
		"/api/v1/projects", "/api/v1/users", "/api/v1/assets", "/api/v1/credentials",
		"/api/v1/jobs", "/api/v1/queues", "/api/v1/webhooks", "/api/v1/deliveries", "/tasks", "/assets",
	} {
		a := w.mustDo(t, admin, "GET", path, "", nil)
		b.WriteString(path + " " + a.Body)
	}
	var audit hostler.List[hostler.Audit]
	w.mustDo(t, admin, "GET", "/api/v1/audit?limit=1000", "", &audit)
	for _, row := range audit.Items {
		if row.Verb != "auth.refuse" { // a refused request leaves nothing but that
			b.WriteString(mustJSON(t, row))
		}
	}
	var keys hostler.List[hostler.Key]
	w.mustDo(t, admin, "GET", "/api/v1/keys", "", &keys)
	for _, k := range keys.Items {
		fmt.Fprint(&b, k.ID, k.RevokedAt, k.ExpiresAt)
	}
	err := w.store.View(t.Context(), func(tx *store.Tx) error {
		faults, err := tx.CheckInvariants()
		if len(faults) > 0 {
			t.Errorf("invariants: %v", faults)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return oldestWait.ReplaceAllString(b.String(), "")
}

// oldestWait grows by itself.
var oldestWait = regexp.MustCompile(`"(oldest_s|last_used)":[^,}]*`)

// fillOthers puts real values into the parameters that a path has left.
func fillOthers(path string, real func(string) string, pattern string) string {
	want, have := strings.Split(real(pattern), "/"), strings.Split(path, "/")
	for i := range have {
		if i < len(want) && strings.HasPrefix(have[i], "{") {
			have[i] = want[i]
		}
	}
	return strings.Join(have, "/")
}

// TestBadInput sends what the document does not allow to every operation: each
// answer is a problem of class 4xx, and nothing changes.
func TestBadInput(t *testing.T) { eachEnv(t, badInput) }

func badInput(t *testing.T, w *env) {
	d := w.document(t)
	asset := w.makeAsset(t, admin, "web1")
	job := w.makeJob(t, admin)
	var key hostler.KeyCreated
	w.mustDo(t, admin, "POST", "/api/v1/keys", `{"name":"spare"}`, &key)
	w.mustDo(t, admin, "POST", "/api/v1/credentials", `{"name":"root","kind":"password","password":"p"}`, nil)
	w.mustDo(t, admin, "POST", "/api/v1/users", `{"name":"ulla"}`, nil)

	w.mustDo(t, admin, "POST", "/api/v1/webhooks", `{"name":"hook","url":"https://ops.example.com/in","token":"t"}`, nil)
	w.mustDo(t, admin, "POST", "/api/v1/channels", `{"name":"chat","kind":"slack","url":"https://ops.example.com/in"}`, nil)
	ping, err := w.app.TestWebhook(t.Context(), w.caller(t, admin), "hook")
	if err != nil {
		t.Fatal(err)
	}

	// Paths that exist, so that a bad body is what is refused.
	real := func(path string) string {
		ids := map[string]string{"asset": "web1", "webhook": "hook", "channel": "chat"}
		switch {
		case strings.HasPrefix(path, "/assets"):
			ids["id"] = fmt.Sprint(int64(asset.ID))
		case strings.HasPrefix(path, "/tasks"):
			ids["id"] = fmt.Sprint(int64(job.ID))
		case strings.Contains(path, "/hostkeys/"):
			ids["id"] = "hky_00000000001"
		case strings.Contains(path, "/keys/"):
			ids["id"] = key.Key.ID.String()
		case strings.Contains(path, "/runs/"):
			ids["id"] = job.Run.String()
		case strings.Contains(path, "/deliveries/"):
			ids["id"] = ping.ID.String()
		default:
			ids["id"] = job.ID.String()
		}
		switch {
		case strings.Contains(path, "/queues/"):
			ids["name"] = "default"
		case strings.Contains(path, "/credentials/"):
			ids["name"] = "root"
		case strings.Contains(path, "/actions/"):
			ids["name"] = "noop"
		default:
			ids["name"] = "ulla"
		}
		return fill(path, ids)
	}
	before := w.state(t)
	sent := 0
	try := func(t *testing.T, what string, req *http.Request) {
		t.Helper()
		sent++
		a := w.send(t, req)
		if a.Status < 400 || a.Status > 499 {
			t.Errorf("%s: %d %.300s, want 4xx", what, a.Status, a.Body)
			return
		}
		p := a.problem(t)
		media, _ := errorForm(req.URL.Path)
		if got := a.Header.Get("Content-Type"); got != media {
			t.Errorf("%s: an answer of %s, want %s", what, got, media)
		}
		native := strings.HasPrefix(req.URL.Path, "/api/")
		if native && (p.Code == "" || p.Code == nil || p.Text.ZH == "" || p.Status != a.Status) {
			t.Errorf("%s: no full problem: %s", what, a.Body)
		}
		if !native && (p.Detail == "" || p.Code != -1.0) {
			t.Errorf("%s: no detail: %s", what, a.Body)
		}
		if len(a.Body) > 20_000 {
			t.Errorf("%s: an answer of %d bytes", what, len(a.Body))
		}
	}

	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for method, op := range d.Paths[path] {
			method = strings.ToUpper(method)
			name := method + " " + path
			if op.takesCSV() {
				badFiles(t, w, func(what string, req *http.Request) { try(t, name+", "+what, req) }, method, real(path))
			} else if op.RequestBody != nil {
				s := op.RequestBody.Content["application/json"].Schema
				for what, body := range badBodies() {
					try(t, name+", "+what, w.request(t, admin, method, real(path), body))
				}
				s = d.resolve(s)
				for field, fs := range s.Properties {
					// A field of any JSON has no bad values: the action decides.
					for _, v := range badValues(d, fs) {
						body, _ := good(d, s).(map[string]any)
						body[field] = v
						try(t, fmt.Sprintf("%s, %s = %.40v", name, field, v), w.request(t, admin, method, real(path), mustJSON(t, body)))
					}
				}
				for _, field := range s.Required {
					body, _ := good(d, s).(map[string]any)
					delete(body, field)
					try(t, name+" without "+field, w.request(t, admin, method, real(path), mustJSON(t, body)))
				}
				body, _ := good(d, s).(map[string]any)
				body["project_id"] = 1
				try(t, name+" with project_id", w.request(t, admin, method, real(path), mustJSON(t, body)))
				for _, ct := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=gbk", "multipart/form-data; boundary=x", "/"} {
					req := w.request(t, admin, method, real(path), mustJSON(t, good(d, s)))
					req.Header.Set("Content-Type", ct)
					try(t, name+" as "+ct, req)
				}
			} else if method != http.MethodGet {
				try(t, name+" with a body", w.request(t, admin, method, real(path), `{"role":"admin"}`))
			}
			for _, p := range op.Parameters {
				var values []string
				switch ps := d.resolve(p.Schema); {
				case ps.Type == "integer":
					values = []string{"x", "1e3", "9999999999999999999999", "-1", "%00"}
				case ps.Type == "boolean":
					values = []string{"maybe", "2"}
				case ps.Pattern != "" || len(ps.Enum) > 0:
					values = []string{"nonsense!", "%ff", "%00", strings.Repeat("x", 5000)}
				case ps.MaxLength != nil:
					values = []string{strings.Repeat("x", *ps.MaxLength+1), "%ff%fe", "a%00b"}
				default:
					values = []string{"%ff%fe", "a%00b"}
				}
				for _, v := range values {
					what := fmt.Sprintf("%s, %s %s = %.30s", name, p.In, p.Name, v)
					body := ""
					if op.RequestBody != nil && !op.takesCSV() {
						body = mustJSON(t, good(d, op.RequestBody.Content["application/json"].Schema))
					}
					req := w.request(t, admin, method, real(path), body)
					switch p.In {
					case "query":
						req.URL.RawQuery = p.Name + "=" + v
					case "path":
						escaped := strings.ReplaceAll(path, "{"+p.Name+"}", v)
						req.URL.RawPath, req.URL.Path = fillOthers(escaped, real, path), ""
						req.URL.Path, _ = url.PathUnescape(req.URL.RawPath)
					case "header":
						if strings.HasPrefix(v, "%") || strings.Contains(v, "%00") {
							v = "\xff\xfe"
						}
						req.Header.Set(p.Name, v)
					}
					try(t, what, req)
				}
			}
			if strings.HasPrefix(path, "/api/") {
				req := w.request(t, admin, method, real(path), "")
				req.URL.RawQuery = "api_key=" + w.keys[admin]
				try(t, name+" with a key in the URL", req)
			}
		}
	}
	if sent < 1000 {
		t.Errorf("only %d bad requests were made", sent)
	}
	if diff := cmp.Diff(before, w.state(t)); diff != "" {
		t.Errorf("bad input changed something (-before +after):\n%s", diff)
	}
	if log := w.log.String(); strings.Contains(log, `"level":"ERROR"`) || strings.Contains(log, "panicked") {
		t.Errorf("bad input was logged as our error: %s", log)
	}
}

// TestExtremes sends what the schema takes and the database may not: never a
// fault of ours.
func TestExtremes(t *testing.T) { eachEnv(t, extremes) }

func extremes(t *testing.T, w *env) {
	job := w.makeJob(t, admin)
	log := "/api/v1/jobs/" + job.ID.String() + "/log"
	emoji, combining := strings.Repeat("😀", 128), "e"+strings.Repeat("\u0301", 60)
	for _, path := range []string{
		log + "?after=9223372036854775807", log + "?limit=10000", log + "?tail=10000", log + "?after=9223372036854775807&format=text",
		"/api/v1/jobs?since=0001-01-01T00:00:00Z", "/api/v1/jobs?until=9999-12-31T23:59:59.999999999Z", "/api/v1/jobs?run=run_zzzzzzzzzzz",
		"/api/v1/jobs?asset=ast_zzzzzzzzzzz", "/api/v1/jobs?cursor=" + url.QueryEscape("'; DROP TABLE job; --"), "/api/v1/jobs?cursor=////",
		"/api/v1/jobs?cursor=am9iX3p6eg", "/api/v1/assets?cursor=AAAA", "/api/v1/assets?label==", "/api/v1/assets?label=a%3Db&label=a%3Dc",
		"/api/v1/assets/" + url.PathEscape(emoji), "/api/v1/assets/" + url.PathEscape("a'\"\\%_b"), "/api/v1/users/" + url.PathEscape(combining),
		"/api/v1/jobs?lane=" + url.QueryEscape("device:'%_\\"), "/api/v1/audit?limit=1000", "/api/v1/audit?cursor=x", "/api/v1/keys?cursor=MQ",
		"/tasks/9007199254740991", "/tasks/9007199254740992", "/assets/-9223372036854775808",
	} {
		if a := w.do(t, admin, "GET", path, ""); a.Status >= 500 {
			t.Errorf("GET %s: %d %s", path, a.Status, a.Body)
		}
	}
	for _, c := range [][2]string{
		{"/api/v1/jobs", `{"action":"noop","run_at":"9999-12-31T23:59:59Z"}`},
		{"/api/v1/jobs", `{"action":"noop","run_at":"0001-01-01T00:00:00Z"}`},
		{"/api/v1/jobs", `{"action":"noop","delay":"9999999999d"}`},
		{"/api/v1/jobs", `{"action":"noop","timeout":"292y","ttl":"106751d"}`},
		{"/api/v1/jobs", `{"action":"noop","backoff":{"kind":"exponential","base":"1ns","max":"0"}}`},
		{"/api/v1/jobs", `{"action":"noop","labels":{"":""}}`},
		{"/api/v1/jobs", `{"action":"noop","labels":null,"assets":null,"args":null,"backoff":null}`},
		{"/api/v1/jobs", `{"action":"noop","assets":["ast_zzzzzzzzzzz"]}`},
		{"/api/v1/jobs", `{"action":"noop","lane":"` + emoji + `"}`},
		{"/api/v1/jobs", `{"action":"noop","args":{"say":"\ud800"}}`},
		{"/api/v1/jobs/cancel", `{"ids":["job_zzzzzzzzzzz"]}`},
		{"/api/v1/jobs/cancel", `{"filter":{}}`},
		{"/api/v1/jobs/retry", `{"filter":{"states":["nonsense"]}}`},
		{"/api/v1/jobs/resolve", `{"filter":{"since":"9999-01-01T00:00:00Z"},"state":"running"}`},
		{"/api/v1/assets", `{"name":"` + emoji + `","address":"` + strings.Repeat("a.", 126) + `"}`},
		{"/api/v1/assets", `{"name":"x","address":"::ffff:1.2.3.4%eth0"}`},
		{"/api/v1/assets", `{"name":"x","address":"h","labels":{"` + strings.Repeat("k", 100_000) + `":"v"}}`},
		{"/api/v1/assets", `{"name":"x","address":"h","vars":{"k":"` + strings.Repeat("v", 1_000_000) + `"}}`},
		{"/api/v1/users", `{"name":"u1","roles":{"nowhere":"viewer"}}`},
		{"/api/v1/users", `{"name":"u2","roles":{"default":"root"}}`},
		{"/api/v1/keys", `{"name":"k","expires_in":"106751d"}`},
		{"/api/v1/keys", `{"name":"k","expires_in":"1ns"}`},
		{"/tasks", `{"asset_id":9007199254740991,"action":"飞行"}`},
		{"/assets", `{"name":"y","ip":"h","labels":null,"port":null}`},
	} {
		if a := w.do(t, admin, "POST", c[0], c[1]); a.Status >= 500 {
			t.Errorf("POST %s %.200s: %d %s", c[0], c[1], a.Status, a.Body)
		}
	}
	if log := w.log.String(); strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("logged as our error: %s", log)
	}
}
