package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// answerTime bounds an answer that is not a stream: the longest wait and then
// some, so that a client that does not read cannot hold memory for ever.
const answerTime = maxWait + 30*time.Second

// recorder notes what became of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController see the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// outermost is around everything: deadlines, headers, counting, and an answer for
// a handler that panicked.
func (s *server) outermost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec := &recorder{ResponseWriter: w}
		_ = http.NewResponseController(w).SetWriteDeadline(began.Add(answerTime))
		secure(w.Header())
		defer func() {
			s.recovered(rec, r, recover())
			s.count(r, rec.status, time.Since(began))
		}()
		next.ServeHTTP(rec, r)
	})
}

// secure sets the headers that every answer carries. Nothing that the API sends
// is for a browser to run, frame, guess the type of or keep.
func secure(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// recovered answers for a handler that panicked, and keeps the server alive.
func (s *server) recovered(w *recorder, r *http.Request, v any) {
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v) // means: close the connection
	}
	s.log.ErrorContext(r.Context(), "a handler panicked", "route", r.Pattern, "panic", v, "stack", string(debug.Stack()))
	if w.status == 0 {
		s.fail(w, r, errors.New("panic"))
	}
}

func (s *server) count(r *http.Request, status int, took time.Duration) {
	if status == 0 {
		status = http.StatusOK
	}
	_, route, _ := strings.Cut(r.Pattern, " ")
	s.metrics.request(r.Method, route, status)
	if !isStream(r) {
		s.traffic.add(status, took)
		s.metrics.took(r.Method, route, took)
	}
	s.log.DebugContext(r.Context(), "request", "method", r.Method, "route", route, "status", status, "took", took)
}

// isStream reports whether the length of an answer says nothing of our speed.
func isStream(r *http.Request) bool {
	q := r.URL.RawQuery
	return r.URL.Path == prefix+"/events" || strings.Contains(q, "follow=") || strings.Contains(q, "wait=")
}

// route checks what is the same for all requests, and finds the handler. Unlike
// the mux alone it answers problems, and never redirects: a path has one
// spelling.
func (s *server) route(w http.ResponseWriter, r *http.Request) {
	if err := checkTarget(r); err != nil {
		s.fail(w, r, err)
		return
	}
	if err := s.csrf.Check(r); err != nil {
		s.fail(w, r, hostler.Errorf(hostler.CodeForbidden,
			"the request was made by a page of another site", "请求来自其他站点的页面"))
		return
	}
	h, pattern := s.mux.Handler(r)
	if pattern != "" && path.Clean(r.URL.Path) == r.URL.Path {
		s.mux.ServeHTTP(w, r)
		return
	}
	probe := &probe{header: http.Header{}}
	if pattern == "" {
		h.ServeHTTP(probe, r)
	}
	if probe.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", probe.header.Get("Allow"))
		s.fail(w, r, hostler.Errorf(hostler.CodeMethod,
			"this path takes %s", "此路径支持的方法：%s", probe.header.Get("Allow")))
		return
	}
	s.fail(w, r, hostler.Errorf(hostler.CodeNotFound, "there is nothing at this path", "此路径不存在"))
}

// probe takes an answer of the mux apart instead of sending it.
type probe struct {
	header http.Header
	status int
}

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) WriteHeader(status int)      { p.status = status }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }

// checkTarget refuses addresses and headers that could not be stored or shown.
func checkTarget(r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || !clean(r.URL.Path) {
		return errTarget()
	}
	for name, values := range query {
		for _, v := range append(values, name) {
			if !clean(v) {
				return errTarget()
			}
		}
	}
	for _, name := range []string{"X-Project", "Idempotency-Key", "Last-Event-Id"} {
		for _, v := range r.Header.Values(name) {
			if !clean(v) || len(v) > 255 {
				return hostler.Errorf(hostler.CodeMalformed,
					"the header %s must be at most 255 bytes of valid UTF-8", "请求头 %s 最多 255 字节，且须为合法的 UTF-8", name)
			}
		}
	}
	return nil
}

func errTarget() error {
	return hostler.Errorf(hostler.CodeMalformed,
		"the path and the query must be valid UTF-8 without NUL, correctly escaped", "路径和查询参数须为合法的 UTF-8、不含 NUL 且正确转义")
}

func clean(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// admission stands before every operation: who asks, may they, and is the body
// one at all. Only then does Huma look at the input.
func (s *server) admission(rt Route) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(hc)
		c, err := s.admit(w, r, rt)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		next(huma.WithValue(hc, callKey{}, c))
	}
}

func (s *server) admit(w http.ResponseWriter, r *http.Request, rt Route) (call, error) {
	c := call{app: s.app, server: s, request: r}
	if !rt.Access.Public {
		var err error
		if c.Caller, err = s.authenticate(r.Context(), r); err != nil {
			return call{}, err
		}
		if err := permit(c.Caller, rt.Access.Verb); err != nil {
			return call{}, err
		}
	}
	body, err := readBody(w, r, s.cfg.BodyLimit)
	if err != nil {
		return call{}, err
	}
	if rt.csv {
		c.csv = string(body)
		return c, checkCSV(r.Header.Get("Content-Type"), body)
	}
	if !rt.body {
		return c, checkNoBody(body)
	}
	if err := checkJSON(r.Header.Get("Content-Type"), body); err != nil {
		return call{}, err
	}
	if dialectOf(r.URL.Path) != native {
		body = withoutNulls(body)
	}
	r.Body = newBody(body)
	return c, nil
}

// authenticate finds out who shows the key of a request. The façades act in the
// key's own project.
func (s *server) authenticate(ctx context.Context, r *http.Request) (auth.Caller, error) {
	key := keyOf(r.Header)
	if key == "" {
		return auth.Caller{}, hostler.Errorf(hostler.CodeUnauthenticated,
			"an API key is needed: send it as X-API-KEY or as Authorization: Bearer",
			"需要 API 密钥：请通过 X-API-KEY 或 Authorization: Bearer 请求头发送")
	}
	d := dialectOf(r.URL.Path)
	project := ""
	if d == native {
		project = r.Header.Get("X-Project")
	}
	c, err := s.app.Authenticate(ctx, key, project, clientAddr(r, s.cfg.TrustedProxies))
	if err != nil {
		return auth.Caller{}, err
	}
	c.Lang = langOf(r.Header.Get("Accept-Language"), d.defaultLang())
	return c, nil
}

func keyOf(h http.Header) string {
	if key := strings.TrimSpace(h.Get("X-Api-Key")); key != "" {
		return key
	}
	scheme, key, _ := strings.Cut(h.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(key)
	}
	return ""
}

// permit refuses early what app would refuse anyway, so that nothing is said
// about the input of somebody who may not send it.
func permit(c auth.Caller, v auth.Verb) error {
	if auth.Allow(c, v, c.Project) {
		return nil
	}
	rule, _ := auth.RuleOf(v)
	project := c.ProjectName
	if rule.System {
		project = hostler.DefaultProject
	}
	return hostler.Errorf(hostler.CodeForbidden,
		"this needs the role %s in the project %s", "此操作需要项目 %[2]s 中的 %[1]s 角色", rule.Role, project)
}
