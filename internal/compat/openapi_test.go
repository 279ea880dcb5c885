package compat

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestOpenAPI compares the description of the API with the older one: a client that
// was written, or generated, from the older one still works.
func TestOpenAPI(t *testing.T) {
	var want map[string]any
	readGzip(t, filepath.Join("testdata", "openapi.json.gz"), &want)
	s := start(t, binary, t.TempDir(), "", "")
	got, _ := s.send(http.MethodGet, "/api/v1/openapi.json", "").decode(t).(map[string]any)
	for _, m := range compareDocuments(want, got) {
		t.Error(m)
	}
}

// comparison walks two documents side by side; references are followed, so that the
// names of schemas do not count.
type comparison struct {
	old, now map[string]any
	visited  map[string]bool
	out      []string
}

func compareDocuments(old, now map[string]any) []string {
	c := &comparison{old: old, now: now, visited: map[string]bool{}}
	paths := at(old, "paths")
	for _, path := range sortedKeys(paths) {
		for _, method := range sortedKeys(at(paths, path)) {
			was := at(paths, path, method)
			is := at(now, "paths", path, method)
			where := strings.ToUpper(method) + " " + path
			if len(is) == 0 {
				c.add("%s is missing", where)
				continue
			}
			c.operation(where, was, is)
		}
	}
	return c.out
}

// at is the object below keys; an empty one when there is none.
func at(m map[string]any, keys ...string) map[string]any {
	for _, k := range keys {
		m, _ = m[k].(map[string]any)
	}
	return m
}

func (c *comparison) add(format string, args ...any) {
	if m := fmt.Sprintf(format, args...); !slices.Contains(c.out, m) {
		c.out = append(c.out, m)
	}
}

func (c *comparison) operation(where string, was, is map[string]any) {
	old, now := parameters(was), parameters(is)
	for _, name := range sortedKeys(old) {
		p, ok := now[name]
		if !ok {
			c.add("%s: parameter %s is missing", where, name)
			continue
		}
		if old[name]["required"] != true && p["required"] == true {
			c.add("%s: parameter %s is required now", where, name)
		}
		c.schema(where+" "+name, at(old[name], "schema"), at(p, "schema"), true)
	}
	for _, name := range sortedKeys(now) {
		if old[name] == nil && now[name]["required"] == true {
			c.add("%s: the new parameter %s is required", where, name)
		}
	}
	if at(was, "requestBody")["required"] != true && at(is, "requestBody")["required"] == true {
		c.add("%s: the body is required now", where)
	}
	c.content(where+" body", at(was, "requestBody", "content"), at(is, "requestBody", "content"), true)
	for _, status := range sortedKeys(at(was, "responses")) {
		answer, ok := at(is, "responses")[status].(map[string]any)
		if !ok {
			c.add("%s: the answer %s is missing", where, status)
			continue
		}
		c.content(where+" "+status, at(was, "responses", status, "content"), at(answer, "content"), false)
	}
}

func parameters(op map[string]any) map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, p := range objects(op["parameters"]) {
		out[fmt.Sprintf("%v %v", p["in"], p["name"])] = p
	}
	return out
}

func (c *comparison) content(where string, was, is map[string]any, input bool) {
	for _, kind := range sortedKeys(was) {
		if _, ok := is[kind]; !ok {
			c.add("%s: %s is missing", where, kind)
			continue
		}
		c.schema(where, at(was, kind, "schema"), at(is, kind, "schema"), input)
	}
}

// schema compares two schemas. An input may require no more than before and must
// accept all that it accepted; an output must have all fields that it had.
func (c *comparison) schema(where string, was, is map[string]any, input bool) {
	oldRef, _ := was["$ref"].(string)
	newRef, _ := is["$ref"].(string)
	if oldRef != "" {
		key := fmt.Sprint(oldRef, newRef, input)
		if c.visited[key] {
			return
		}
		c.visited[key] = true
	}
	was, is = resolve(c.old, was), resolve(c.now, is)
	for _, k := range []string{"type", "format", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "contentEncoding", "writeOnly", "nullable"} {
		if fmt.Sprint(was[k]) != fmt.Sprint(is[k]) {
			c.add("%s: %s is %v, was %v", where, k, is[k], was[k])
		}
	}
	for _, v := range list(was["enum"]) {
		if !slices.Contains(list(is["enum"]), v) && is["enum"] != nil {
			c.add("%s: the value %v is missing", where, v)
		}
	}
	if was["enum"] == nil && is["enum"] != nil {
		c.add("%s: only %v are allowed now", where, is["enum"])
	}
	old, now := at(was, "properties"), at(is, "properties")
	for _, name := range sortedKeys(old) {
		p, ok := now[name].(map[string]any)
		if !ok {
			c.add("%s: the property %s is missing", where, name)
			continue
		}
		c.schema(where+"."+name, at(old, name), p, input)
	}
	for _, name := range list(is["required"]) {
		if input && !slices.Contains(list(was["required"]), name) {
			c.add("%s: the property %s is required now", where, name)
		}
	}
	for _, name := range list(was["required"]) {
		if !input && !slices.Contains(list(is["required"]), name) {
			c.add("%s: the property %s may be absent now", where, name)
		}
	}
	for _, k := range []string{"items", "additionalProperties"} {
		if w := at(was, k); w != nil {
			c.schema(where+"[]", w, at(is, k), input)
		}
	}
	if was["additionalProperties"] != false && is["additionalProperties"] == false {
		c.add("%s: no further properties are allowed now", where)
	}
}

func resolve(doc, schema map[string]any) map[string]any {
	for {
		ref, ok := schema["$ref"].(string)
		if !ok {
			return schema
		}
		schema = at(doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
}

func list(v any) []string {
	var out []string
	items, _ := v.([]any)
	for _, item := range items {
		out = append(out, fmt.Sprint(item))
	}
	return out
}
