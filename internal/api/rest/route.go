package rest

import (
	"net/http"
	"regexp"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// Route is one operation of an API.
type Route struct {
	Method    string
	Path      string
	Access    Access
	Title     hostler.Text
	Dialect   *Dialect
	Operation Operation
}

// Access is the permission that a route needs. The zero value is invalid: a route
// names its permission or is public.
type Access struct {
	// Verb is what the caller must be allowed to do in the acting project.
	Verb auth.Verb
	// Public routes need no key.
	Public bool
}

// Route returns a route of the dialect. The pattern is the method and the path below
// the dialect's prefix, such as "GET /assets/{asset}"; en and zh are the title.
func (d *Dialect) Route(pattern string, v auth.Verb, o Operation, en, zh string) Route {
	method, path, _ := strings.Cut(pattern, " ")
	return Route{
		Method: method, Path: d.Prefix + path, Access: Access{Verb: v},
		Title: hostler.Text{EN: en, ZH: zh}, Dialect: d, Operation: o,
	}
}

// PublicRoute is [Dialect.Route] for a route that needs no key.
func (d *Dialect) PublicRoute(pattern string, o Operation, en, zh string) Route {
	r := d.Route(pattern, "", o, en, zh)
	r.Access.Public = true
	return r
}

var notWord = regexp.MustCompile(`[^a-z0-9]+`)

// operationID is the method and the path, such as post-jobs-id-cancel; that of a
// façade begins with the façade's tag.
func (r Route) operationID() string {
	id := r.Dialect.Tag + "-" + strings.ToLower(r.Method) + "-" + strings.TrimPrefix(r.Path, r.Dialect.Prefix)
	return strings.Trim(notWord.ReplaceAllString(id, "-"), "-")
}

// tag groups the operations of the document.
func (r Route) tag() string {
	if r.Dialect.Tag != "" {
		return r.Dialect.Tag
	}
	return firstSegment(strings.TrimPrefix(r.Path, r.Dialect.Prefix))
}

// firstSegment is the part of a path before its second slash, without the first.
func firstSegment(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first
}

// Plain is a route that is not an operation: a page, a probe or metrics. It is not in
// the OpenAPI document.
type Plain struct {
	Pattern string // of http.ServeMux, such as "GET /livez"
	Dialect *Dialect
	// Verb is the permission; "" makes the route public.
	Verb auth.Verb
	// Open reports whether a request needs no key nevertheless; nil means never.
	Open func(r *http.Request) bool
	// Serve writes the answer, or returns an error before it has written anything.
	Serve func(w http.ResponseWriter, r *http.Request) error
	// Fail writes the answer to an error; nil: as the dialect has it.
	Fail func(w http.ResponseWriter, r *http.Request, p *Problem)
}

func (p Plain) public(r *http.Request) bool { return p.Verb == "" || p.Open != nil && p.Open(r) }

// path is the path of the pattern.
func (p Plain) path() string {
	_, path, _ := strings.Cut(p.Pattern, " ")
	return path
}
