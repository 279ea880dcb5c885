package compat

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// anything replaces a value that was not the same in two runs of the older server.
const anything = "~"

// texts are the keys whose values are texts for people, which may change.
var texts = map[string]bool{
	"en": true, "zh": true, "title": true, "description": true, "help": true, "x-title-zh": true, "x-description-zh": true,
	"detail": true, "error": true, "result": true, "message": true, "reason": true, "retval": true,
}

// volatile are the keys whose values depend on when and by what an answer is made.
var volatile = map[string]bool{"last_used": true, "version": true}

// workerFigures are those keys of workers, which count what they did since they started.
var workerFigures = map[string]bool{
	"cpu_percent": true, "succeeded": true, "failed": true, "successful_job_count": true, "failed_job_count": true,
}

// differences compares an answer with the recorded one: the new one must have each
// key and value of the old one, except texts for people.
func differences(path string, want, got any) []string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s: got %v, want an object", path, got)}
		}
		var out []string
		_, isWorker := w["cpu_percent"]
		for _, k := range sortedKeys(w) {
			v, ok := g[k]
			_, isText := w[k].(string)
			switch {
			case !ok:
				out = append(out, fmt.Sprintf("%s.%s is missing, want %v", path, k, w[k]))
			case texts[k] && isText, volatile[k], isWorker && workerFigures[k]:
				out = append(out, sameType(path+"."+k, w[k], v)...)
			default:
				out = append(out, differences(path+"."+k, w[k], v)...)
			}
		}
		return out
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return []string{fmt.Sprintf("%s: got %d items, want %d", path, len(g), len(w))}
		}
		var out []string
		for i := range w {
			out = append(out, differences(fmt.Sprintf("%s[%d]", path, i), w[i], g[i])...)
		}
		return out
	case string:
		if w == anything {
			return nil
		}
		if inner, ok := object(w); ok { // a body of JSON as text
			other, _ := got.(string)
			g, _ := object(other)
			return differences(path, inner, g)
		}
	}
	if want != got {
		return []string{fmt.Sprintf("%s: got %v, want %v", path, got, want)}
	}
	return nil
}

func sameType(path string, want, got any) []string {
	if want != anything && typeOf(want) != typeOf(got) {
		return []string{fmt.Sprintf("%s: got %s, want %s", path, typeOf(got), typeOf(want))}
	}
	return nil
}

func object(text string) (map[string]any, bool) {
	var m map[string]any
	if !strings.HasPrefix(text, "{") {
		return nil, false
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return m, d.Decode(&m) == nil
}

func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case json.Number, float64:
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}

// shape is the form of a JSON value: its type, the shapes of its fields, and the one
// that all items of an array share.
type shape struct {
	Type   string            `json:"type"`
	Fields map[string]*shape `json:"fields,omitempty"`
	// Optional are the fields that some items of an array lack.
	Optional []string `json:"optional,omitempty"`
	Items    *shape   `json:"items,omitempty"`
}

func shapeOf(v any) *shape {
	s := &shape{Type: typeOf(v)}
	switch x := v.(type) {
	case map[string]any:
		s.Fields = map[string]*shape{}
		for k, f := range x {
			s.Fields[k] = shapeOf(f)
		}
	case []any:
		for _, item := range x {
			s.Items = merge(s.Items, shapeOf(item))
		}
	}
	return s
}

// merge is the shape of a set of values, some of shape a and some of shape b.
func merge(a, b *shape) *shape {
	switch {
	case a == nil || a.Type == "null" && b != nil:
		return b
	case b == nil || b.Type == "null":
		return a
	case a.Type != b.Type:
		return &shape{Type: anything}
	}
	out := &shape{Type: a.Type, Items: merge(a.Items, b.Items)}
	if a.Fields == nil && b.Fields == nil {
		return out
	}
	out.Fields = map[string]*shape{}
	optional := map[string]bool{}
	for _, k := range slices.Concat(a.Optional, b.Optional) {
		optional[k] = true
	}
	for _, pair := range [][2]*shape{{a, b}, {b, a}} {
		for k, f := range pair[0].Fields {
			other, both := pair[1].Fields[k]
			if !both {
				optional[k] = true
			}
			out.Fields[k] = merge(f, other)
		}
	}
	out.Optional = slices.Sorted(maps.Keys(optional))
	return out
}

// lost lists what a shape lacks of an older one: fields that vanished or changed
// their type.
func lost(path string, old, now *shape) []string {
	switch {
	case old == nil || now == nil || old.Type == anything || old.Type == "null" || now.Type == "null":
		return nil
	case old.Type != now.Type:
		return []string{fmt.Sprintf("%s is %s, was %s", path, now.Type, old.Type)}
	}
	if strings.HasSuffix(path, ".schema") {
		return nil // a document, of another form for each action; [differences] compares those of older ones
	}
	out := lost(path+"[]", old.Items, now.Items)
	for _, k := range sortedKeys(old.Fields) {
		f, ok := now.Fields[k]
		if !ok {
			// The keys of a summary are the states that its jobs happen to be in.
			if !slices.Contains(old.Optional, k) && !strings.HasSuffix(path, ".states") {
				out = append(out, path+"."+k+" is missing")
			}
			continue
		}
		out = append(out, lost(path+"."+k, old.Fields[k], f)...)
		if slices.Contains(now.Optional, k) && !slices.Contains(old.Optional, k) {
			out = append(out, path+"."+k+" is missing in some items")
		}
	}
	return out
}
