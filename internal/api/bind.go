package api

import (
	"context"
	"encoding"
	"errors"
	"net/http"
	"reflect"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/netpulse"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
)

// Route is one operation of the surface.
type Route struct {
	Method  string
	Path    string
	Access  Access
	Summary hostler.Text
	Status  int // of success; 0 means 200

	// bind registers the handler; it knows the types of input and output.
	bind func(s *server, api huma.API, op huma.Operation)
	// body says that the operation takes a body of JSON, csv one of CSV.
	body, csv bool
}

// Access is the permission that a route needs. The zero value is none at all,
// which a test refuses: a route says what it needs, or that it is public.
type Access struct {
	// Verb is what the caller must be allowed to do in the acting project.
	Verb auth.Verb
	// Public routes need no key.
	Public bool
}

func needs(v auth.Verb) Access { return Access{Verb: v} }

func public() Access { return Access{Public: true} }

// call is one admitted request: who asks, and what it is asked of.
type call struct {
	auth.Caller
	app     *app.App
	server  *server
	request *http.Request
	csv     string // the body of a route that takes CSV
}

type callKey struct{}

// handler is three lines: it gets the decoded input and returns what is encoded.
type handler[I, O any] func(ctx context.Context, c call, in *I) (O, error)

type output[O any] struct{ Body O }

// handle binds a handler to its route.
func handle[I, O any](r Route, fn handler[I, O]) Route {
	_, r.body = reflect.TypeFor[I]().FieldByName("Body")
	r.bind = func(s *server, api huma.API, op huma.Operation) {
		huma.Register(api, op, func(ctx context.Context, in *I) (*output[O], error) {
			c := callOf(ctx)
			out, err := fn(ctx, c, in)
			if err != nil {
				return nil, s.problem(c.request, err)
			}
			return &output[O]{out}, nil
		})
	}
	return r
}

// handleEmpty binds a handler that has nothing to say on success.
func handleEmpty[I any](r Route, fn func(ctx context.Context, c call, in *I) error) Route {
	r.Status = http.StatusNoContent
	_, r.body = reflect.TypeFor[I]().FieldByName("Body")
	r.bind = func(s *server, api huma.API, op huma.Operation) {
		huma.Register(api, op, func(ctx context.Context, in *I) (*struct{}, error) {
			c := callOf(ctx)
			if err := fn(ctx, c, in); err != nil {
				return nil, s.problem(c.request, err)
			}
			return nil, nil
		})
	}
	return r
}

// handleStream binds a handler that writes its answer itself once it is sure
// that there is one.
func handleStream[I any](r Route, document func(api huma.API, op *huma.Operation), fn func(ctx context.Context, c call, in *I) (func(w http.ResponseWriter), error)) Route {
	r.bind = func(s *server, api huma.API, op huma.Operation) {
		document(api, &op)
		huma.Register(api, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
			c := callOf(ctx)
			write, err := fn(ctx, c, in)
			if err != nil {
				return nil, s.problem(c.request, err)
			}
			return &huma.StreamResponse{Body: func(hc huma.Context) {
				_, w := humago.Unwrap(hc)
				write(w)
			}}, nil
		})
	}
	return r
}

// handleCSV binds a handler to a route that takes CSV: call.csv.
func handleCSV[I, O any](r Route, fn handler[I, O]) Route {
	r = handle(r, fn)
	r.csv = true
	bind := r.bind
	r.bind = func(s *server, api huma.API, op huma.Operation) {
		op.RequestBody = &huma.RequestBody{
			Required: true, Description: "a file of CSV, whose first line names the columns; charset is utf-8, utf-16 or gb18030, and found out when it is not given",
			Content: map[string]*huma.MediaType{mediaCSV: {Schema: &huma.Schema{Type: huma.TypeString}}},
		}
		bind(s, api, op)
	}
	return r
}

func callOf(ctx context.Context) call {
	c, _ := ctx.Value(callKey{}).(call)
	return c
}

// operation is the route as OpenAPI has it.
func (s *server) operation(r Route) huma.Operation {
	op := huma.Operation{
		OperationID: operationID(r), Method: r.Method, Path: r.Path,
		Summary: r.Summary.EN, Description: r.Summary.ZH, Tags: []string{tagOf(r.Path)},
		DefaultStatus:   r.Status,
		MaxBodyBytes:    -1, // admit has read and bounded it
		BodyReadTimeout: -1,
		Middlewares:     huma.Middlewares{s.admission(r)},
		Extensions:      map[string]any{"x-hostler-permission": "public"},

		// Scripts that people already have may send more than they need to.
		RejectUnknownQueryParameters: dialectOf(r.Path) == native,
	}
	if !r.Access.Public {
		op.Security = []map[string][]string{{"key": {}}, {"bearer": {}}}
		op.Extensions["x-hostler-permission"] = string(r.Access.Verb)
	}
	return op
}

var notWord = regexp.MustCompile(`[^a-z0-9]+`)

// operationID is the method and the path, such as post-jobs-id-cancel; those of
// the façades begin with the façade's tag.
func operationID(r Route) string {
	path, isNative := strings.CutPrefix(r.Path, prefix)
	id := strings.ToLower(r.Method) + "-" + path
	if !isNative {
		id = tagOf(r.Path) + "-" + id
	}
	return strings.Trim(notWord.ReplaceAllString(id, "-"), "-")
}

// tagOf groups the operations: by the kind of object, or by the façade.
func tagOf(path string) string {
	rest, isNative := strings.CutPrefix(path, prefix+"/")
	first, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	if isNative {
		return first
	}
	switch first {
	case "job", "worker", "device", "netpulse":
		return "netpulse"
	default:
		return "simple"
	}
}

// param reads a T that is a number in Go but a text in a URL.
type param[T any, P textParam[T]] struct{ V T }

type textParam[T any] interface {
	*T
	encoding.TextUnmarshaler
}

// paramSep stands between the two languages of a param's error: Huma keeps only
// the text of it.
const paramSep = "\x1f"

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *param[T, P]) UnmarshalText(b []byte) error {
	err := P(&p.V).UnmarshalText(b)
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		return errors.New(e.Text.EN + paramSep + e.Text.ZH)
	}
	return err
}

// Schema implements huma.SchemaProvider.
func (p *param[T, P]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), false, "")
}

// pattern describes a text form to Huma, so that its validation names the field.
type pattern[T any] struct{}

// schemaName names a type in the OpenAPI document. NetPulse's shapes share names
// with the glossary's, and are told apart.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.PkgPath() == reflect.TypeFor[netpulse.Job]().PkgPath() {
		return "NetPulse" + name
	}
	return name
}

// aliasTexts gives the text forms of the glossary their patterns.
func aliasTexts(r huma.Registry) {
	alias[hostler.JobID](r)
	alias[hostler.RunID](r)
	alias[hostler.KeyID](r)
	alias[hostler.HostKeyID](r)
	alias[hostler.WorkerID](r)
	alias[hostler.WebhookID](r)
	alias[hostler.DeliveryID](r)
	alias[hostler.Duration](r)
}

func alias[T any](r huma.Registry) {
	r.RegisterTypeAlias(reflect.TypeFor[T](), reflect.TypeFor[pattern[T]]())
}

// Schema implements huma.SchemaProvider.
func (pattern[T]) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	switch any(*new(T)).(type) {
	case hostler.Duration:
		s.Pattern = `^ *([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h|d)?)+ *$`
		s.PatternDescription = "a duration like 90s, 10m, 1h30m or 2d"
	case hostler.JobID:
		idPattern(s, "job")
	case hostler.RunID:
		idPattern(s, "run")
	case hostler.KeyID:
		idPattern(s, "key")
	case hostler.HostKeyID:
		idPattern(s, "hky")
	case hostler.WorkerID:
		idPattern(s, "wrk")
	case hostler.WebhookID:
		idPattern(s, "whk")
	case hostler.DeliveryID:
		idPattern(s, "dlv")
	}
	return s
}

func idPattern(s *huma.Schema, kind string) {
	s.Pattern = "^" + kind + "_[0-9a-hjkmnp-tv-z]{11}$"
	s.PatternDescription = "an id like " + kind + "_01m8x4c7t2q"
}
