package flow

import (
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// reader decodes nodes strictly: no unknown key, no key twice, no value of another type,
// no alias. It notes where each value is.
type reader struct {
	fields check.Fields
	places map[string]Place
	nodes  int
	loose  bool // unknown keys are passed over
}

// measure refuses documents that are too large or deep, and what templates need not have:
// aliases, with which a few lines could stand for gigabytes, and tags.
func (r *reader) measure(n *yaml.Node, depth int) {
	r.nodes++
	fault := func(en, zh string, args ...any) {
		f := hostler.FieldError{Line: n.Line, Column: n.Column, Text: hostler.Textf(en, zh, args...)}
		r.fields.AddFault(f)
	}
	switch {
	case r.nodes > maxNodes:
		if r.nodes == maxNodes+1 {
			fault("has more than %d values", "值超过 %d 个", maxNodes)
		}
		return
	case depth > maxDepth:
		fault("nests deeper than %d levels", "嵌套超过 %d 层", maxDepth)
		return
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		fault("anchors and aliases are not allowed", "不允许使用锚点和别名")
		return
	case n.Style&yaml.TaggedStyle != 0:
		fault("tags are not allowed", "不允许使用标签")
		return
	case n.Kind == yaml.ScalarNode && !check.Storable(n.Value):
		fault("must be valid UTF-8 without NUL", "须为合法 UTF-8 且不含 NUL")
		return
	}
	for _, c := range n.Content {
		r.measure(c, depth+1)
	}
}

func (r *reader) fault(n *yaml.Node, path, en, zh string, args ...any) {
	r.fields.AddFault(hostler.FieldError{
		Path: path, Text: hostler.Textf(en, zh, args...), Line: n.Line, Column: n.Column,
	})
}

var rawType = reflect.TypeFor[json.RawMessage]()

// value decodes the node of a document into what the pointer points to.
func (r *reader) value(n *yaml.Node, into any) {
	r.decode(n, "", reflect.ValueOf(into).Elem())
}

func (r *reader) decode(n *yaml.Node, path string, v reflect.Value) {
	r.places[path] = Place{n.Line, n.Column}
	if v.Type() == rawType {
		if j := r.json(n, path); j != nil {
			b, err := json.Marshal(j)
			if err == nil {
				v.SetBytes(b)
			}
		}
		return
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		r.text(n, path, u)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.decode(n, path, v.Elem())
	case reflect.Struct:
		r.object(n, path, v)
	case reflect.Map:
		r.mapping(n, path, v)
	case reflect.Slice:
		r.list(n, path, v)
	default:
		r.scalar(n, path, v)
	}
}

func (r *reader) text(n *yaml.Node, path string, u encoding.TextUnmarshaler) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.fault(n, path, "must be a single value", "须为单个值")
		return
	}
	if err := u.UnmarshalText([]byte(n.Value)); err != nil {
		text := hostler.Text{EN: "is not valid", ZH: "无效"}
		if e, ok := errors.AsType[*hostler.Error](err); ok {
			text = e.Text
		}
		r.fields.AddFault(hostler.FieldError{Path: path, Text: text, Line: n.Line, Column: n.Column})
	}
}

func (r *reader) object(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		r.fault(n, path, "must have the form key: value", "须为 key: value 形式")
		return
	}
	fields := map[string]reflect.Value{}
	collectFields(v, fields)
	r.each(n, path, func(key, val *yaml.Node, at string) {
		field, ok := fields[key.Value]
		switch {
		case ok:
			r.decode(val, at, field)
		case !r.loose:
			r.fault(key, at, "is not a known field; known are %s", "未知字段；可用字段为 %s", knownFields(fields))
		}
	})
}

// collectFields finds the fields of a struct by their JSON names.
func collectFields(v reflect.Value, into map[string]reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			collectFields(v.Field(i), into)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		into[name] = v.Field(i)
	}
}

func knownFields(fields map[string]reflect.Value) string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// each calls fn for the members of a mapping, and refuses keys that are no text or are
// there twice.
func (r *reader) each(n *yaml.Node, path string, fn func(key, val *yaml.Node, at string)) {
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!null" || key.Tag == "!!merge" {
			r.fault(key, path, "must have keys that are plain text", "键须为普通文本")
			continue
		}
		at := check.Member(path, key.Value)
		if seen[key.Value] {
			r.fault(key, at, "is given twice", "重复出现")
			continue
		}
		seen[key.Value] = true
		fn(key, val, at)
	}
}

func (r *reader) mapping(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		r.fault(n, path, "must have the form key: value", "须为 key: value 形式")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	r.each(n, path, func(key, val *yaml.Node, at string) {
		item := reflect.New(v.Type().Elem()).Elem()
		r.decode(val, at, item)
		v.SetMapIndex(reflect.ValueOf(key.Value), item)
	})
}

func (r *reader) list(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		r.fault(n, path, "must be a list", "须为列表")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, c := range n.Content {
		r.decode(c, check.Item(path, i), v.Index(i))
	}
}

func (r *reader) scalar(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		r.fault(n, path, "must be a single value", "须为单个值")
		return
	}
	switch v.Kind() {
	case reflect.String:
		if n.Tag != "!!str" && n.Tag != "!!timestamp" {
			r.fault(n, path, "must be text; put it in quotes", "须为文本；请加引号")
			return
		}
		v.SetString(n.Value)
	case reflect.Bool:
		b, err := strconv.ParseBool(n.Value)
		if n.Tag != "!!bool" || err != nil {
			r.fault(n, path, "must be true or false", "须为 true 或 false")
			return
		}
		v.SetBool(b)
	default:
		i, err := strconv.ParseInt(n.Value, 10, 32)
		if n.Tag != "!!int" || err != nil {
			r.fault(n, path, "must be a whole number", "须为整数")
			return
		}
		v.SetInt(i)
	}
}

// json returns a node as a value of JSON; nil with a fault when it is none, and for null.
func (r *reader) json(n *yaml.Node, path string) any {
	r.places[path] = Place{n.Line, n.Column}
	switch n.Kind { //nolint:exhaustive // measure has refused aliases; the others are scalars
	case yaml.MappingNode:
		out := make(map[string]any, len(n.Content)/2)
		r.each(n, path, func(key, val *yaml.Node, at string) { out[key.Value] = r.json(val, at) })
		return out
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, c := range n.Content {
			out[i] = r.json(c, check.Item(path, i))
		}
		return out
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if isNumber(n.Value) {
			return json.Number(n.Value)
		}
		r.fault(n, path, "must be a decimal number; put text in quotes", "须为十进制数字；文本请加引号")
		return nil
	}
	return n.Value
}

// isNumber reports whether a text is a number of JSON of a bounded length.
func isNumber(s string) bool {
	return len(s) <= 32 && json.Valid([]byte(s)) && !strings.ContainsAny(s, "eE")
}
