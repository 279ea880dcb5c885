package rest

import (
	"net/http"
	"reflect"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hostler.dev/hostler"
)

// setUpHuma sets what is global in Huma, to one value for the whole program.
var setUpHuma = sync.OnceFunc(func() {
	setMessages()
	huma.ValidateStrictCasing = true // a field has one spelling
	huma.DefaultArrayNullable = false
	huma.NewErrorWithContext = refusal
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return refusal(nil, status, msg, errs...)
	}
})

// newAPI returns the registrar of operations, without Huma's own routes: its
// documents load scripts from other sites.
func newAPI(mux *http.ServeMux, cfg Config, dialects []*Dialect) huma.API {
	setUpHuma()
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
	registry := huma.NewMapRegistry("#/components/schemas/", func(t reflect.Type, parent string) string {
		return schemaName(dialects, t, huma.DefaultSchemaNamer(t, parent))
	})
	registerForms(registry)
	return humago.New(mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: cfg.Title, Version: cfg.Version,
				Description: "Runs operational tasks on hosts. Errors are problem+json (RFC 9457) with a stable code.",
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"key":    {Type: "apiKey", In: "header", Name: "X-API-KEY"},
					"bearer": {Type: "http", Scheme: "bearer"},
				},
			},
		},
		// The second is Huma's name for problem+json.
		Formats:       map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat: "application/json",
	})
}

// schemaName names a type in the document, by the first dialect that renames it.
func schemaName(dialects []*Dialect, t reflect.Type, name string) string {
	for _, d := range dialects {
		if d.SchemaName == nil {
			continue
		}
		if own := d.SchemaName(t, name); own != name {
			return own
		}
	}
	return name
}

// operation describes a route for the document. Its body is read and bounded by the
// admission, and not by Huma.
func (r Route) operation(admission func(huma.Context, func(huma.Context))) huma.Operation {
	op := huma.Operation{
		OperationID: r.operationID(), Method: r.Method, Path: r.Path,
		Summary: r.Title.EN, Description: r.Title.ZH, Tags: []string{r.tag()},
		DefaultStatus:    r.Operation.status,
		MaxBodyBytes:     -1,
		SkipValidateBody: true, // the admission has validated it; see shape
		BodyReadTimeout:  -1,
		Middlewares:      huma.Middlewares{admission},
		Extensions:       map[string]any{"x-hostler-permission": "public"},

		RejectUnknownQueryParameters: !r.Dialect.Lenient,
	}
	if !r.Access.Public {
		op.Security = []map[string][]string{{"key": {}}, {"bearer": {}}}
		op.Extensions["x-hostler-permission"] = string(r.Access.Verb)
	}
	return op
}

// describeErrors replaces the one form of errors that Huma puts into the document by
// the form of each route's dialect.
func describeErrors(doc *huma.OpenAPI, routes []Route) {
	schemas := doc.Components.Schemas
	forms := map[ErrorForm]map[string]*huma.MediaType{
		ProblemJSON: {ProblemJSON.mediaType(): {Schema: schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")}},
		DetailJSON:  {DetailJSON.mediaType(): {Schema: schemas.Schema(reflect.TypeFor[simpleProblem](), true, "SimpleProblem")}},
	}
	for _, r := range routes {
		op := operationOf(doc.Paths[r.Path], r.Method)
		op.Responses["default"] = &huma.Response{Description: "Error", Content: forms[r.Dialect.Errors]}
	}
}

func operationOf(item *huma.PathItem, method string) *huma.Operation {
	switch method {
	case http.MethodPost:
		return item.Post
	case http.MethodPut:
		return item.Put
	case http.MethodPatch:
		return item.Patch
	case http.MethodDelete:
		return item.Delete
	default:
		return item.Get
	}
}

// refusal makes the problem for an input that Huma refuses because it breaks the
// schema.
func refusal(hc huma.Context, status int, _ string, errs ...error) huma.StatusError {
	var err error = hostler.InvalidFields(fieldErrors(errs)...)
	if status >= http.StatusInternalServerError && len(errs) > 0 {
		err = errs[0]
	}
	if hc != nil {
		if c := callOf(hc.Context()); c != nil {
			return c.problem(err)
		}
	}
	return NewProblem(err, hostler.LangEN, ProblemJSON)
}
