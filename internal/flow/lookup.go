package flow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// This file holds look-ups: ${{ params.version }}. $${{ stands for ${{ itself.

const (
	lookupOpen  = "${{"
	lookupClose = "}}"
	maxLookup   = 200
	// maxRendered bounds the values that look-ups put into one value: a small text can look up
	// a large one many times. Args larger than that are refused anyway. maxRenderedText bounds
	// a text for people.
	maxRendered     = hostler.MaxArgsBytes
	maxRenderedText = 64 << 10
)

// piece is a part of a text: literal, or the path of a look-up.
type piece struct {
	text string
	path []string // nil: literal
}

// split divides a text into literals and look-ups.
func split(s string) ([]piece, error) {
	var out []piece
	literal := ""
	for {
		before, rest, found := strings.Cut(s, lookupOpen)
		if !found {
			literal += s
			break
		}
		if escaped, ok := strings.CutSuffix(before, "$"); ok {
			literal, s = literal+escaped+lookupOpen, rest
			continue
		}
		inside, after, closed := strings.Cut(rest, lookupClose)
		path, ok := lookupPath(strings.TrimSpace(inside))
		if !closed || !ok {
			return nil, hostler.Errorf(hostler.CodeInvalid,
				"has a look-up that is not of the form ${{ params.name }}",
				"含有不符合 ${{ params.name }} 形式的取值")
		}
		if literal += before; literal != "" {
			out = append(out, piece{text: literal})
		}
		literal = ""
		out = append(out, piece{path: path})
		s = after
	}
	if literal != "" {
		out = append(out, piece{text: literal})
	}
	return out, nil
}

// lookupPath reads the path of a look-up: names and numbers of items, with dots.
func lookupPath(s string) ([]string, bool) {
	if s == "" || len(s) > maxLookup {
		return nil, false
	}
	parts := strings.Split(s, ".")
	for _, p := range parts {
		if p == "" || strings.ContainsFunc(p, func(r rune) bool {
			return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			return nil, false
		}
	}
	return parts, true
}

// lookup is a look-up in a value.
type lookup struct {
	at   string   // path of the text
	path []string // what is looked up
}

// lookups calls fn for each look-up in the texts of a value of JSON, and returns the faults
// of texts that cannot be read.
func lookups(v any, at string, fn func(l lookup)) (faults []hostler.FieldError) {
	switch v := v.(type) {
	case string:
		pieces, err := split(v)
		if err != nil {
			return []hostler.FieldError{{Path: at, Text: textOf(err)}}
		}
		for _, p := range pieces {
			if p.path != nil {
				fn(lookup{at, p.path})
			}
		}
	case []any:
		for i, item := range v {
			faults = append(faults, lookups(item, check.Item(at, i), fn)...)
		}
	case map[string]any:
		for _, key := range sortedKeys(v) {
			if strings.Contains(key, lookupOpen) {
				faults = append(faults, hostler.FieldError{Path: check.Member(at, key), Text: hostler.Text{
					EN: "a look-up is not allowed in a key", ZH: "键中不允许取值",
				}})
				continue
			}
			faults = append(faults, lookups(v[key], check.Member(at, key), fn)...)
		}
	}
	return faults
}

// LookupsIn lists the paths of the texts in args that contain look-ups.
func LookupsIn(args json.RawMessage, at string) []string {
	var out []string
	v, err := decodeJSON(args)
	if err == nil {
		lookups(v, at, func(l lookup) { out = append(out, l.at) })
	}
	return slices.Compact(out)
}

// Values are what look-ups and conditions see: params, run and steps.
type Values map[string]any

// find returns the value at a path.
func (v Values) find(path []string) (any, bool) {
	var at any = map[string]any(v)
	for _, name := range path {
		switch in := at.(type) {
		case map[string]any:
			next, ok := in[name]
			if !ok {
				return nil, false
			}
			at = next
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(in) {
				return nil, false
			}
			at = in[i]
		default:
			return nil, false
		}
	}
	return at, at != nil
}

// Render replaces the look-ups in args. A text that is one look-up becomes its value, of
// whatever type; in a longer text, values are put in as text. What is looked up must not be
// larger than args may be.
func Render(args json.RawMessage, at string, values Values) (json.RawMessage, []hostler.FieldError) {
	if len(args) == 0 {
		return args, nil
	}
	v, err := decodeJSON(args)
	if err != nil {
		return nil, []hostler.FieldError{{Path: at, Text: hostler.Text{EN: "is not valid JSON", ZH: "不是合法的 JSON"}}}
	}
	r := renderer{values: values, left: maxRendered}
	out := r.render(v, at)
	if r.left < 0 {
		r.faults.Add(at, "look up values of more than %d KiB together", "取值合计超过 %d KiB", maxRendered>>10)
		return nil, r.faults.Faults()
	}
	b, err := json.Marshal(out)
	if err != nil {
		r.faults.Add(at, "cannot be encoded", "无法编码")
	}
	return b, r.faults.Faults()
}

// renderer replaces look-ups until they have looked up too much.
type renderer struct {
	values Values
	faults check.Fields
	left   int // bytes that may still be looked up; below 0: it was too much
}

func (r *renderer) render(v any, at string) any {
	switch v := v.(type) {
	case string:
		return r.text(v, at)
	case []any:
		for i := range v {
			v[i] = r.render(v[i], check.Item(at, i))
		}
	case map[string]any:
		for _, key := range sortedKeys(v) {
			v[key] = r.render(v[key], check.Member(at, key))
		}
	}
	return v
}

func (r *renderer) text(s, at string) any {
	pieces, err := split(s)
	if err != nil {
		r.faults.AddText(at, textOf(err))
		return s
	}
	var b strings.Builder
	for _, p := range pieces {
		if r.left < 0 {
			return s
		}
		if p.path == nil {
			b.WriteString(p.text)
			continue
		}
		value, ok := r.values.find(p.path)
		if _, early := r.values[earlyKey]; early && outputOf(p.path) {
			continue
		}
		if !ok {
			r.faults.Add(at, "%s has no value: give it, or set a default", "%s 没有值：请提供，或设置默认值",
				check.Key(strings.Join(p.path, ".")))
			continue
		}
		if len(pieces) == 1 {
			r.left -= sizeOf(value)
			return value
		}
		text := asText(value)
		if r.left -= len(text); r.left >= 0 {
			b.WriteString(text)
		}
	}
	return b.String()
}

// sizeOf is about the size of a value as JSON.
func sizeOf(v any) int {
	size := 2
	switch v := v.(type) {
	case string:
		size += len(v)
	case json.Number:
		size += len(v)
	case []any:
		for _, item := range v {
			size += 1 + sizeOf(item)
		}
	case map[string]any:
		for key, item := range v {
			size += len(key) + 4 + sizeOf(item)
		}
	}
	return size
}

// RenderText replaces the look-ups in a text for people. What has no value is left empty, and
// what is too long is cut.
func RenderText(s string, values Values) string {
	pieces, err := split(s)
	if err != nil {
		return s
	}
	var b strings.Builder
	for _, p := range pieces {
		if b.Len() > maxRenderedText {
			break
		}
		if p.path == nil {
			b.WriteString(p.text)
		} else if v, ok := values.find(p.path); ok {
			text := asText(v)
			b.WriteString(text[:min(len(text), maxRenderedText+1)])
		}
	}
	if b.Len() > maxRenderedText {
		return strings.ToValidUTF8(b.String()[:maxRenderedText], "") + "…"
	}
	return b.String()
}

func asText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case map[string]any, []any:
		b, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(b)
	}
	return fmt.Sprint(v)
}
