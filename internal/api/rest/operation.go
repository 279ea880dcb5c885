package rest

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Operation is what a route does: a handler that is bound to the types of its input
// and output. [Do] and [Stream] make one of any handler; the functions in adapt.go
// make one of a use case.
type Operation struct {
	status int // of success; 0 means 200
	body   bodyKind
	list   bool // see List
	// optional: a call without a body is as one without any member.
	optional bool
	// form: the body may be a form, of which these fields hold JSON; see OrForm.
	form       bool
	jsonFields []string
	// describe completes the description; nil when the types describe it.
	describe func(api huma.API, op *huma.Operation)
	register func(api huma.API, op huma.Operation)
}

// Created is the operation with the status 201 on success.
func Created(o Operation) Operation {
	o.status = http.StatusCreated
	return o
}

// OptionalBody is the operation of a handler whose Body is a pointer, which is nil when
// the request has none.
func OptionalBody(o Operation) Operation {
	o.optional = true
	return o
}

// OrForm is the operation that also takes its body as an HTML form, of which the named
// fields hold JSON.
func OrForm(o Operation, jsonFields ...string) Operation {
	o.form, o.jsonFields = true, jsonFields
	return o
}

// List is the operation with a share of the memory for lists: each user has only so many
// at once, and others wait. Operations that read one object never do.
func List(o Operation) Operation {
	o.list = true
	return o
}

// output is the body of an answer, as Huma reads it.
type output[O any] struct{ Body O }

// Do makes an operation of a handler. Huma decodes and validates the input I: fields
// with the tag path, query or header, and Body. The output O is encoded as JSON.
func Do[I, O any](handle func(ctx context.Context, c *Call, in *I) (O, error)) Operation {
	return Operation{
		body: bodyOf[I](),
		register: func(api huma.API, op huma.Operation) {
			huma.Register(api, op, func(ctx context.Context, in *I) (*output[O], error) {
				c := callOf(ctx)
				out, err := handle(ctx, c, in)
				if err != nil {
					return nil, c.problem(err)
				}
				return &output[O]{out}, nil
			})
		},
	}
}

// DoEmpty makes an operation of a handler whose answer is 204 without a body.
func DoEmpty[I any](handle func(ctx context.Context, c *Call, in *I) error) Operation {
	return Operation{
		status: http.StatusNoContent,
		body:   bodyOf[I](),
		register: func(api huma.API, op huma.Operation) {
			huma.Register(api, op, func(ctx context.Context, in *I) (*struct{}, error) {
				c := callOf(ctx)
				if err := handle(ctx, c, in); err != nil {
					return nil, c.problem(err)
				}
				return nil, nil
			})
		},
	}
}

// linked is an output with the header Link.
type linked[O any] struct {
	Link []string `header:"Link"`
	Body O
}

// DoLinked makes an operation of a handler that also returns the values of the header
// Link (RFC 8288), such as that of the next page.
func DoLinked[I, O any](handle func(ctx context.Context, c *Call, in *I) (O, []string, error)) Operation {
	return Operation{
		body: bodyOf[I](),
		register: func(api huma.API, op huma.Operation) {
			huma.Register(api, op, func(ctx context.Context, in *I) (*linked[O], error) {
				c := callOf(ctx)
				out, links, err := handle(ctx, c, in)
				if err != nil {
					return nil, c.problem(err)
				}
				return &linked[O]{links, out}, nil
			})
		},
	}
}

// DoCSV makes an operation of a handler that reads a CSV file from [Call.CSV].
func DoCSV[I, O any](handle func(ctx context.Context, c *Call, in *I) (O, error)) Operation {
	o := Do(handle)
	o.body = csvBody
	o.describe = func(_ huma.API, op *huma.Operation) {
		op.RequestBody = &huma.RequestBody{
			Required: true,
			Description: "a CSV file, whose first line names the columns; charset is utf-8, utf-16 or gb18030, " +
				"and is detected when it is not given",
			Content: map[string]*huma.MediaType{MediaCSV: {Schema: &huma.Schema{Type: huma.TypeString}}},
		}
	}
	return o
}

// Send writes an answer that is not one JSON value.
type Send func(w http.ResponseWriter)

// Stream makes an operation of a handler that writes its own answer. The handler
// returns an error, or the function that writes the answer; describe describes the
// media types of it.
func Stream[I any](
	describe func(api huma.API, op *huma.Operation),
	handle func(ctx context.Context, c *Call, in *I) (Send, error),
) Operation {
	return Operation{
		describe: describe,
		register: func(api huma.API, op huma.Operation) {
			huma.Register(api, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
				c := callOf(ctx)
				send, err := handle(ctx, c, in)
				if err != nil {
					return nil, c.problem(err)
				}
				return &huma.StreamResponse{Body: func(hc huma.Context) {
					_, w := humago.Unwrap(hc)
					send(w)
				}}, nil
			})
		},
	}
}

func bodyOf[I any]() bodyKind {
	if _, ok := reflect.TypeFor[I]().FieldByName("Body"); ok {
		return jsonBody
	}
	return noBody
}
