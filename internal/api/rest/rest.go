// Package rest is the framework of Hostler's HTTP APIs. It knows no route: an API is
// a table of [Route] values, and this package admits, decodes, validates, answers,
// streams and describes them.
//
// # Model
//
// A [Route] is a method, a path, the permission that it needs, a title, and an
// [Operation]. Its [Dialect] sets how it reads requests and writes errors. An
// operation is made of a use case by the functions in adapt.go, or of a handler by
// [Do] and its variants:
//
//	var dialect = &rest.Dialect{Prefix: "/api/v1", Lang: hostler.LangEN}
//
//	routes := []rest.Route{
//		dialect.Route("GET /assets", auth.ReadAsset, rest.Paged(app.Assets), "List assets", "列出资产"),
//	}
//	handler, err := rest.New(cfg, routes, nil)
//
// A request passes, in this order: limits and headers for every answer ([New]); one
// spelling of its path, and no page of another site; then, for an operation, the key,
// the permission, the size and form of the body; then Huma, which decodes and
// validates; then the handler. The OpenAPI document is made from the same routes.
//
// # Invariants
//
//   - The permission is checked before an answer describes the input.
//   - Every error is a [Problem] with a stable code, in the caller's language. None
//     repeats a value of the input or names an internal cause.
//   - A key is read from headers, never from the URL.
//   - A body is bounded in size, rate and depth, and validated with at most
//     [check.MaxFaults] faults, before it is decoded. None is read where none belongs.
//     All bodies in memory, and those of one user, are bounded together.
//   - A client that waits, or that the server waits for, keeps no other one out: see
//     [LimitConns]. The requests of one user, however long, take less than half of the
//     connections, and those of all users leave some to probes.
//   - GET changes nothing, and neither does a request that a page of another site made.
//   - A stream ends within a second after its key is revoked.
package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// server is the handler of all routes.
type server struct {
	core
	csrf     *http.CrossOriginProtection
	mux      *http.ServeMux
	dialects map[string]*Dialect // by the first segment of the path
	document []byte              // OpenAPI, as JSON
}

// New returns the handler of the routes, of the plain routes and of the OpenAPI
// document. It starts nothing.
func New(cfg Config, routes []Route, plains []Plain) (http.Handler, error) {
	s := &server{
		core:     newCore(cfg.withDefaults()),
		csrf:     http.NewCrossOriginProtection(),
		mux:      http.NewServeMux(),
		dialects: map[string]*Dialect{},
	}
	if err := s.register(routes); err != nil {
		return nil, err
	}
	for _, p := range plains {
		s.dialects[firstSegment(p.path())] = p.Dialect
		s.mux.HandleFunc(p.Pattern, s.plain(p))
	}
	s.mux.HandleFunc("GET "+cfg.Document, s.serveDocument)
	return s.outermost(http.HandlerFunc(s.route)), nil
}

// Harden sets the limits of a server that is open to strangers: slow headers, huge
// headers, idle connections. Bodies and answers have deadlines of their own, since
// output may be followed for days. Its listener is to be one of [LimitConns].
func Harden(srv *http.Server) {
	srv.ReadHeaderTimeout = 10 * time.Second
	srv.IdleTimeout = 2 * time.Minute
	srv.MaxHeaderBytes = 32 << 10
	srv.ConnContext = withConn
}

// register registers the operations, and makes the document that describes them.
func (s *server) register(routes []Route) error {
	var dialects []*Dialect
	for _, r := range routes {
		if !slices.Contains(dialects, r.Dialect) {
			dialects = append(dialects, r.Dialect)
		}
		s.dialects[firstSegment(r.Path)] = r.Dialect
	}
	api := newAPI(s.mux, s.cfg, dialects)
	for _, r := range routes {
		var shape check.Shape
		op := r.operation(s.admission(r, &shape))
		if r.Operation.describe != nil {
			r.Operation.describe(api, &op)
		}
		r.Operation.register(api, op)
		shape = bodyShape(api.OpenAPI(), r)
	}
	describeErrors(api.OpenAPI(), routes)
	var err error
	if s.document, err = json.Marshal(api.OpenAPI()); err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	return nil
}

func (s *server) serveDocument(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json")
	_, _ = w.Write(s.document) // the client may have disconnected
}

// dialect returns the dialect of the API that a path belongs to.
func (s *server) dialect(r *http.Request) *Dialect {
	if d := s.dialects[firstSegment(r.URL.Path)]; d != nil {
		return d
	}
	return s.cfg.Default
}

// outermost wraps every request: it sets deadlines and headers, observes the answer,
// and answers for a handler that panicked.
func (s *server) outermost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		r = withInfo(r)
		traced := func(string, int) {}
		if s.cfg.Trace != nil {
			r, traced = s.cfg.Trace(r)
		}
		rec := &recorder{ResponseWriter: w, wait: s.cfg.StreamWait, end: began.Add(s.cfg.AnswerTime)}
		_ = http.NewResponseController(w).SetWriteDeadline(rec.end)
		s.secure(w.Header())
		conn := connOf(r.Context())
		conn.begin()
		r, rec.body = takeBody(w, r, conn)
		defer func() {
			s.recovered(rec, r, recover())
			rec.finish()
			conn.end()
			a := s.observe(rec, r, time.Since(began))
			traced(a.Route, a.Status)
		}()
		next.ServeHTTP(rec, r)
	})
}

// secure sets the headers of every answer: a browser must not run, frame or store
// what the API sends, nor guess its type, nor ask for it without TLS again.
func (s *server) secure(h http.Header) {
	if s.cfg.TLS {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// recovered answers for a handler that panicked.
func (s *server) recovered(w *recorder, r *http.Request, v any) {
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v) // means: close the connection
	}
	s.cfg.Log.ErrorContext(r.Context(), "a handler panicked", "route", r.Pattern, "panic", v, "stack", string(debug.Stack()))
	if w.status == 0 {
		s.fail(w, r, s.dialect(r), errors.New("panic"))
	}
}

func (s *server) observe(w *recorder, r *http.Request, took time.Duration) Answer {
	_, route, _ := strings.Cut(r.Pattern, " ")
	a := Answer{Method: r.Method, Route: route, Status: w.status, Took: took, Held: w.held}
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	s.cfg.Observe(a)
	s.cfg.Log.DebugContext(r.Context(), "request", "method", a.Method, "route", a.Route, "status", a.Status, "took", took)
	return a
}

// route checks what every request has in common, and finds the handler. Unlike
// [http.ServeMux] it answers with problems and never redirects: a path has one
// spelling.
func (s *server) route(w http.ResponseWriter, r *http.Request) {
	if err := checkTarget(r); err != nil {
		s.fail(w, r, s.dialect(r), err)
		return
	}
	if err := s.csrf.Check(r); err != nil {
		s.fail(w, r, s.dialect(r), hostler.Errorf(hostler.CodeForbidden,
			"the request was made by a page of another site", "请求来自其他站点的页面"))
		return
	}
	h, pattern := s.mux.Handler(r)
	if pattern != "" && path.Clean(r.URL.Path) == r.URL.Path {
		s.mux.ServeHTTP(w, r)
		return
	}
	answer := &muxAnswer{header: http.Header{}}
	if pattern == "" {
		h.ServeHTTP(answer, r)
	}
	if answer.status == http.StatusMethodNotAllowed {
		allow := answer.header.Get("Allow")
		w.Header().Set("Allow", allow)
		s.fail(w, r, s.dialect(r), hostler.Errorf(hostler.CodeMethod,
			"this path allows %s", "此路径支持的方法：%s", allow))
		return
	}
	s.fail(w, r, s.dialect(r), hostler.Errorf(hostler.CodeNotFound, "this path does not exist", "此路径不存在"))
}

// muxAnswer receives the mux's own answer, which is not sent.
type muxAnswer struct {
	header http.Header
	status int
}

func (a *muxAnswer) Header() http.Header         { return a.header }
func (a *muxAnswer) WriteHeader(status int)      { a.status = status }
func (a *muxAnswer) Write(b []byte) (int, error) { return len(b), nil }

// checkTarget refuses addresses and headers that cannot be stored or shown.
func checkTarget(r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || !check.Storable(r.URL.Path) {
		return errTarget()
	}
	for name, values := range query {
		for _, v := range append(values, name) {
			if !check.Storable(v) {
				return errTarget()
			}
		}
	}
	for _, name := range []string{"X-Project", "Idempotency-Key", "Last-Event-Id"} {
		for _, v := range r.Header.Values(name) {
			if !check.Storable(v) || len(v) > 255 {
				return hostler.Errorf(hostler.CodeMalformed,
					"the header %s must be at most 255 bytes of valid UTF-8",
					"请求头 %s 最多 255 字节，且须为合法的 UTF-8", name)
			}
		}
	}
	return nil
}

func errTarget() error {
	return hostler.Errorf(hostler.CodeMalformed,
		"the path and the query must be valid UTF-8 without NUL, correctly escaped",
		"路径和查询参数须为合法的 UTF-8、不含 NUL 且正确转义")
}

// plain is the handler of a plain route.
func (s *server) plain(p Plain) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		info := infoOf(r)
		info.core, info.dialect = &s.core, p.Dialect
		err := s.admitPlain(r, p)
		if err == nil {
			err = p.Serve(w, r)
		}
		switch {
		case err == nil:
		case p.Fail != nil:
			problem := s.problem(r, p.Dialect, err)
			maps.Copy(w.Header(), problem.GetHeaders())
			p.Fail(w, r, problem)
		default:
			s.fail(w, r, p.Dialect, err)
		}
	}
}

func (s *server) admitPlain(r *http.Request, p Plain) error {
	if p.public(r) {
		return nil
	}
	c, err := s.authenticate(r.Context(), r, p.Dialect)
	if err != nil {
		return err
	}
	return permit(c, p.Verb)
}

// admission is the middleware of an operation: it decides whether Huma may look at
// the input.
func (s *server) admission(rt Route, shape *check.Shape) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(hc)
		c, err := s.admit(r, w, rt, *shape)
		if err != nil {
			s.fail(w, r, rt.Dialect, err)
			return
		}
		next(huma.WithValue(hc, callKey{}, c))
	}
}

// admit authenticates the caller, checks the permission, and reads the body.
func (s *server) admit(r *http.Request, w http.ResponseWriter, rt Route, shape check.Shape) (*Call, error) {
	c := &Call{Request: r, core: &s.core, dialect: rt.Dialect}
	c.answer, _ = w.(*recorder)
	if !rt.Access.Public {
		var err error
		if c.Caller, err = s.authenticate(r.Context(), r, rt.Dialect); err != nil {
			return nil, err
		}
		if err := permit(c.Caller, rt.Access.Verb); err != nil {
			return nil, err
		}
		if err := s.shareConnections(r.Context(), c.answer, c.Caller); err != nil {
			return nil, err
		}
	}
	kind := rt.Operation.body
	body, err := s.readBody(r, c.answer, kind, c.Caller)
	if err != nil {
		return nil, err
	}
	if rt.Operation.form && isForm(r) {
		if body, err = formToJSON(body, rt.Operation.jsonFields); err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", "application/json")
	}
	if err := checkBody(r, rt, body, shape); err != nil {
		return nil, err
	}
	if rt.Operation.list {
		if err := c.ShareLists(r.Context()); err != nil {
			return nil, err
		}
	}
	switch kind {
	case csvBody:
		c.CSV = string(body)
	case jsonBody:
		if rt.Dialect.Lenient {
			body = withoutNulls(body)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	case noBody:
	}
	return c, nil
}
