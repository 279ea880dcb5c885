package rest

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// handler serves routes of two dialects, named after what they do. Every key
// belongs to a viewer.
func handler(t *testing.T, cfg Config) http.Handler {
	t.Helper()
	native := &Dialect{Prefix: "/v1", Lang: hostler.LangEN}
	facade := &Dialect{Tag: "facade", Lang: hostler.LangZH, Errors: DetailJSON, KeyProject: true, Lenient: true}
	type body struct {
		Name  string           `json:"name" minLength:"1" maxLength:"3"`
		Count int              `json:"count,omitempty" minimum:"1" maximum:"9"`
		TTL   hostler.Duration `json:"ttl,omitempty"`
		Kind  string           `json:"kind,omitempty" enum:"a,b"`
	}
	echo := Body(func(_ context.Context, _ auth.Caller, b body) (body, error) { return b, nil })
	project := Read(func(_ context.Context, c auth.Caller) (string, error) { return c.ProjectName, nil })
	cfg.Default, cfg.Document = native, "/v1/openapi.json"
	cfg.Authenticate = func(_ context.Context, _, project, _ string) (auth.Caller, error) {
		return auth.Caller{
			UserID:  1,
			Project: 1, ProjectName: project, KeyRole: hostler.RoleViewer,
			Roles: map[hostler.ProjectID]hostler.Role{1: hostler.RoleViewer},
		}, nil
	}
	routes := []Route{
		native.PublicRoute("POST /echo", echo, "Echo", "回显"),
		native.PublicRoute("GET /panic", Read(func(context.Context, auth.Caller) (int, error) {
			panic("secret-cause")
		}), "Panic", "崩溃"),
		native.Route("GET /project", auth.ReadJob, project, "Project", "项目"),
		native.Route("DELETE /project", auth.WriteAsset, project, "Delete", "删除"),
		facade.PublicRoute("POST /echo", echo, "Echo", "回显"),
		facade.Route("GET /project", auth.ReadJob, project, "Project", "项目"),
	}
	h, err := New(cfg, routes, []Plain{{
		Pattern: "GET /probe", Dialect: facade, Verb: auth.WriteAsset,
		Open:  func(r *http.Request) bool { return r.Header.Get("X-Open") != "" },
		Serve: func(w http.ResponseWriter, _ *http.Request) error { _, err := w.Write([]byte("ok")); return err },
	}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// send sends a request; header is pairs of name and value.
func send(t *testing.T, h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestDialects: the same request gets errors in the form, the language and with the
// strictness of its dialect.
func TestDialects(t *testing.T) {
	h := handler(t, Config{})
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		media, text        string
	}{
		"no key, native":          {"GET", "/v1/project", "", 401, "application/problem+json", `"detail":"an API key is required`},
		"no key, facade":          {"GET", "/project", "", 403, "application/json", `"message":"需要 API 密钥`},
		"no route, native":        {"GET", "/v1/none", "", 404, "application/problem+json", "this path does not exist"},
		"no route, facade":        {"GET", "/project/none", "", 404, "application/json", "此路径不存在"},
		"no route of any":         {"GET", "/none", "", 404, "application/problem+json", "this path does not exist"},
		"null, native":            {"POST", "/v1/echo", `{"name":null}`, 422, "application/problem+json", "must be a text"},
		"null, facade":            {"POST", "/echo", `{"name":null}`, 422, "application/json", "必填"},
		"unknown query, native":   {"POST", "/v1/echo?x=1", `{"name":"x"}`, 422, "application/problem+json", "is not a known parameter"},
		"unknown query, facade":   {"POST", "/echo?x=1", `{"name":"x"}`, 200, "application/json", `{"name":"x"}`},
		"a plain route, no key":   {"GET", "/probe", "", 403, "application/json", "需要 API 密钥"},
		"another method, facade":  {"DELETE", "/echo", "", 405, "application/json", "POST"},
		"a body that has no form": {"POST", "/echo", `{`, 400, "application/json", "请求体不是合法的 JSON"},
	} {
		w := send(t, h, c.method, c.path, c.body)
		if w.Code != c.status || w.Header().Get("Content-Type") != c.media || !strings.Contains(w.Body.String(), c.text) {
			t.Errorf("%s: %d %s %s; want %d %s with %q",
				name, w.Code, w.Header().Get("Content-Type"), w.Body, c.status, c.media, c.text)
		}
	}
}

func TestProjectOfACall(t *testing.T) {
	h := handler(t, Config{})
	for path, want := range map[string]string{"/v1/project": `"other"`, "/project": `""`} {
		w := send(t, h, "GET", path, "", "X-API-KEY", "k", "X-Project", "other")
		if got := strings.TrimSpace(w.Body.String()); got != want {
			t.Errorf("%s: project %s, want %s", path, got, want)
		}
	}
}

func TestPermissionComesFirst(t *testing.T) {
	h := handler(t, Config{})
	if w := send(t, h, "DELETE", "/v1/project", `{"x":`, "X-API-KEY", "k"); w.Code != http.StatusForbidden {
		t.Errorf("a viewer with a malformed body: %d %s, want 403", w.Code, w.Body)
	}
	if w := send(t, h, "GET", "/probe", "", "X-API-KEY", "k"); w.Code != http.StatusForbidden {
		t.Errorf("a viewer at a plain route: %d, want 403", w.Code)
	}
	if w := send(t, h, "GET", "/probe", "", "X-Open", "1"); w.Code != http.StatusOK {
		t.Errorf("an open request at a plain route: %d, want 200", w.Code)
	}
}

// TestValidationTexts: each rule of a schema has a text in both languages, with its
// limit, and names the field.
func TestValidationTexts(t *testing.T) {
	h := handler(t, Config{})
	for body, want := range map[string]hostler.FieldError{
		`{}`:                     {Path: "name", Text: hostler.Text{EN: "is required", ZH: "必填"}},
		`{"name":""}`:            {Path: "name", Text: hostler.Text{EN: "must have at least 1 character(s)", ZH: "至少 1 个字符"}},
		`{"name":"abcd"}`:        {Path: "name", Text: hostler.Text{EN: "must have at most 3 character(s)", ZH: "最多 3 个字符"}},
		`{"name":1}`:             {Path: "name", Text: hostler.Text{EN: "must be a text", ZH: "必须是文本"}},
		`{"name":"a","x":1}`:     {Path: "x", Text: hostler.Text{EN: "is not a known field", ZH: "是未知字段"}},
		`{"name":"a","count":0}`: {Path: "count", Text: hostler.Text{EN: "must be at least 1", ZH: "不能小于 1"}},
		`{"name":"a","count":"1"}`: {
			Path: "count", Text: hostler.Text{EN: "must be a whole number", ZH: "必须是整数"},
		},
		`{"name":"a","kind":"c"}`: {
			Path: "kind", Text: hostler.Text{EN: "must be one of a, b", ZH: "必须是以下之一：a, b"},
		},
		`{"name":"a","ttl":"soon"}`: {Path: "ttl", Text: hostler.Text{
			EN: "must be a duration like 90s, 10m, 1h30m or 2d", ZH: "必须是 90s、10m、1h30m 或 2d 形式的时长",
		}},
	} {
		w := send(t, h, "POST", "/v1/echo", body)
		var p struct{ Fields []hostler.FieldError }
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]hostler.FieldError{want}, p.Fields); diff != "" {
			t.Errorf("%s: %d (-want +got):\n%s", body, w.Code, diff)
		}
	}
}

func TestPanicBecomesAProblem(t *testing.T) {
	log := &strings.Builder{}
	var seen []Answer
	h := handler(t, Config{
		Log:     slog.New(slog.NewTextHandler(log, nil)),
		Observe: func(a Answer) { seen = append(seen, a) },
	})
	w := send(t, h, "GET", "/v1/panic", "")
	if w.Code != 500 || !strings.Contains(w.Body.String(), `"code":"internal"`) || strings.Contains(w.Body.String(), "secret-cause") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "secret-cause") {
		t.Error("the log does not have the cause")
	}
	if len(seen) != 1 || seen[0].Route != "/v1/panic" || seen[0].Status != 500 || seen[0].Held {
		t.Errorf("observed %+v", seen)
	}
}

func TestEveryCodeHasATitle(t *testing.T) {
	for _, c := range hostler.Codes() {
		if text, ok := titles[c]; c != hostler.CodeInternal && (!ok || text.ZH == "") {
			t.Errorf("%s has no title in both languages", c)
		}
	}
}

func TestLang(t *testing.T) {
	for header, want := range map[string]hostler.Lang{
		"": "def", "fr": "def", "*": "def", "xx;q=": "def",
		"en": "en", "en-GB": "en", "zh": "zh", "zh-CN,zh;q=0.9,en;q=0.8": "zh", "zh-TW": "zh",
		"en;q=0.2, zh;q=0.4": "zh", "fr, zh;q=0.1": "zh", "en, zh": "en",
		"zh-Hans": "zh", "zh-Hans-CN, en": "zh", "zh;q=0, en": "en", "en;q=0": "def",
		"zh-TW, en;q=0.8": "zh", "zh-HK, en": "zh", "zh-Hant, en": "zh", "en, zh-TW": "en",
		"zh-CN, not_a_tag!": "zh", "en;q=high, zh": "zh", "C, zh": "zh", "zh-CN,, en": "zh",
	} {
		if got := Lang(header, "def"); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func TestHarden(t *testing.T) {
	var srv http.Server
	Harden(&srv)
	if srv.ReadHeaderTimeout == 0 || srv.IdleTimeout == 0 || srv.MaxHeaderBytes == 0 {
		t.Errorf("no limits: %+v", &srv)
	}
	if srv.ReadTimeout != 0 || srv.WriteTimeout != 0 {
		t.Error("limits that would end followed output")
	}
}
