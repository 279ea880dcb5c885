package flow

import (
	"bytes"
	"encoding/json"
	"maps"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// This file holds the parameters of a template: their JSON Schema, defaults and check.

const paramsRoot = "params"

// compileSchema compiles the schema of parameters. A name that it does not know is refused,
// unless it says otherwise.
func compileSchema(schema json.RawMessage) (compiled *jsonschema.Schema, faults []hostler.FieldError) {
	bad := func(en, zh string) (*jsonschema.Schema, []hostler.FieldError) {
		return nil, []hostler.FieldError{{Path: paramsRoot, Text: hostler.Text{EN: en, ZH: zh}}}
	}
	doc, ok := decodeObject(schema)
	if !ok {
		return bad("must be a JSON Schema of an object", "须为对象的 JSON Schema")
	}
	if t, given := doc["type"]; given && t != "object" {
		return bad("must have the type object", "类型须为 object")
	}
	doc["type"] = "object"
	if _, given := doc["additionalProperties"]; !given {
		doc["additionalProperties"] = false
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return bad("is not a JSON Schema", "不是 JSON Schema")
	}
	compiled, ok = compileAny(b)
	if !ok {
		return bad("is not a JSON Schema (2020-12) without references to other documents",
			"不是 JSON Schema（2020-12），或引用了其他文档")
	}
	return compiled, nil
}

// compileAny compiles a schema that references no other document.
func compileAny(schema []byte) (*jsonschema.Schema, bool) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, false
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(jsonschema.SchemeURLLoader{}) // no file or URL can be referenced
	const url = "template:params"
	if c.AddResource(url, doc) != nil {
		return nil, false
	}
	compiled, err := c.Compile(url)
	return compiled, err == nil
}

// Params merges parameters, each layer over the ones before it and all of them over the
// schema's defaults, and checks the result. It reports every missing, wrong and unknown
// parameter at once.
func Params(schema json.RawMessage, layers ...json.RawMessage) (json.RawMessage, error) {
	compiled, faults := compileSchema(schema)
	if len(faults) > 0 {
		return nil, hostler.InvalidFields(faults...)
	}
	merged := defaults(schema)
	for _, layer := range layers {
		values, ok := decodeObject(layer)
		if !ok {
			return nil, hostler.Invalid(paramsRoot, "must be an object", "须为对象")
		}
		maps.Copy(merged, values)
	}
	b, err := Canonical(merged)
	if err != nil {
		return nil, hostler.Invalid(paramsRoot, "cannot be encoded", "无法编码")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return nil, hostler.Invalid(paramsRoot, "cannot be read", "无法读取")
	}
	if err := compiled.Validate(doc); err != nil {
		faults := check.SchemaFaults(paramsRoot, err)
		e := hostler.Errorf(hostler.CodeInvalid, "the parameters do not match the template", "参数匹配失败")
		e.Fields = faults
		return nil, e
	}
	return b, nil
}

// defaults returns the defaults of the schema's properties.
func defaults(schema json.RawMessage) map[string]any {
	out := map[string]any{}
	doc, _ := decodeObject(schema)
	properties, _ := doc["properties"].(map[string]any)
	for name, p := range properties {
		if p, ok := p.(map[string]any); ok {
			if d, given := p["default"]; given {
				out[name] = d
			}
		}
	}
	return out
}

// knowsParam reports whether the schema allows a parameter.
func knowsParam(schema json.RawMessage, name string) bool {
	doc, _ := decodeObject(schema)
	properties, _ := doc["properties"].(map[string]any)
	_, known := properties[name]
	more, given := doc["additionalProperties"]
	return known || given && more != false
}

// ParamValues returns checked parameters as look-ups and conditions see them.
func ParamValues(params json.RawMessage) map[string]any {
	m, _ := decodeObject(params)
	if m == nil {
		m = map[string]any{}
	}
	return m
}
