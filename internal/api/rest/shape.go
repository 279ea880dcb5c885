package rest

import (
	"encoding/json"
	"slices"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// shape is a schema of the OpenAPI document as the rules of one walk through a body;
// see [check.JSON]. Huma would decode the body as a whole and report every fault with
// its path, without a limit. Its validation is used for values without parts.
//
// These keywords count for objects and arrays: properties, additionalProperties,
// required, items, minItems, maxItems and oneOf, whose alternatives differ in their
// types.
type shape struct {
	registry huma.Registry
	schema   *huma.Schema
}

// shapeOf returns the shape of a schema; nil, which allows anything, of none.
func shapeOf(r huma.Registry, s *huma.Schema) check.Shape {
	for s != nil && s.Ref != "" {
		s = r.SchemaFromRef(s.Ref)
	}
	if s == nil {
		return nil
	}
	return shape{r, s}
}

// Check implements check.Shape.
func (s shape) Check(token json.Token) (check.Shape, []hostler.Text) {
	for _, alternative := range s.schema.OneOf {
		if one, ok := shapeOf(s.registry, alternative).(shape); ok && one.takes(token) {
			return one.Check(token)
		}
	}
	if len(s.schema.OneOf) > 0 {
		return nil, []hostler.Text{textWrongForm}
	}
	if _, composed := token.(json.Delim); composed {
		if s.schema.Type == "" || s.takes(token) {
			return s, nil
		}
	}
	return nil, s.leaf(token)
}

// takes reports whether a value of the token has the type of the schema.
func (s shape) takes(token json.Token) bool {
	switch v := token.(type) {
	case json.Delim:
		return v == '{' && s.schema.Type == huma.TypeObject || v == '[' && s.schema.Type == huma.TypeArray
	case string:
		return s.schema.Type == huma.TypeString
	case bool:
		return s.schema.Type == huma.TypeBoolean
	case json.Number:
		return s.schema.Type == huma.TypeNumber || s.schema.Type == huma.TypeInteger
	default:
		return s.schema.Nullable
	}
}

var results = sync.Pool{New: func() any { return &huma.ValidateResult{} }}

// leaf returns the faults of a value without parts, or of one that has parts and must
// not.
func (s shape) leaf(token json.Token) []hostler.Text {
	var v any = token
	switch t := token.(type) {
	case json.Number:
		f, err := t.Float64()
		if err != nil {
			return nil // the walk reports it
		}
		v = f
	case json.Delim:
		v = struct{}{}
	}
	res, _ := results.Get().(*huma.ValidateResult)
	defer results.Put(res)
	res.Reset()
	huma.Validate(s.registry, s.schema, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, v, res)
	var texts []hostler.Text
	for _, err := range res.Errors {
		for _, f := range fieldErrors([]error{err}) {
			texts = append(texts, f.Text)
		}
	}
	return texts
}

// Member implements check.Shape.
func (s shape) Member(name string) (check.Shape, bool) {
	if p, ok := s.schema.Properties[name]; ok {
		return optional{shapeOf(s.registry, p), s.needs(name)}.shape(), true
	}
	switch more := s.schema.AdditionalProperties.(type) {
	case bool:
		return nil, more
	case *huma.Schema:
		return shapeOf(s.registry, more), true
	default:
		return nil, true
	}
}

func (s shape) needs(name string) bool { return slices.Contains(s.schema.Required, name) }

// Required implements check.Shape.
func (s shape) Required() []string { return s.schema.Required }

// Item implements check.Shape.
func (s shape) Item() (check.Shape, int, int) {
	least, most := 0, -1
	if s.schema.MinItems != nil {
		least = *s.schema.MinItems
	}
	if s.schema.MaxItems != nil {
		most = *s.schema.MaxItems
	}
	return shapeOf(s.registry, s.schema.Items), least, most
}

// optional is the shape of a member. Null for one that is not required means that it is
// absent.
type optional struct {
	check.Shape
	required bool
}

func (o optional) shape() check.Shape {
	if o.Shape == nil || o.required {
		return o.Shape
	}
	return o
}

// Check implements check.Shape.
func (o optional) Check(token json.Token) (check.Shape, []hostler.Text) {
	if token == nil {
		return nil, nil
	}
	return o.Shape.Check(token)
}

// bodyShape returns the shape of a route's JSON body; nil when it takes none.
func bodyShape(doc *huma.OpenAPI, r Route) check.Shape {
	op := operationOf(doc.Paths[r.Path], r.Method)
	if r.Operation.body != jsonBody || op.RequestBody == nil {
		return nil
	}
	media := op.RequestBody.Content["application/json"]
	if media == nil {
		return nil
	}
	return shapeOf(doc.Components.Schemas, media.Schema)
}
