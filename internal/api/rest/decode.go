package rest

import (
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// wrongFormMark begins the error of unmarshal, by which [fieldError] recognises it.
// The path follows, and the rule in both languages if there is one; see textSep.
const wrongFormMark = "wrong form at "

// unmarshal is [json.Unmarshal] with an error that names the field and repeats no
// value.
func unmarshal(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	path, cause := faultyValue(data, reflect.TypeOf(v).Elem())
	if path == "" {
		path = "body"
	}
	msg := wrongFormMark + path
	if e, ok := errors.AsType[*hostler.Error](cause); ok {
		msg += textSep + joined(e.Text)
	}
	return errors.New(msg)
}

// faultyValue finds the first value in data, in the order of the type's fields, that
// does not decode into its type: its path, and the decoder's error for it alone.
//
// The decoder does not name the field whose text a type of its own refused.
// Therefore faultyValue decodes again level by level, a cost that only a refused body
// has.
func faultyValue(data []byte, t reflect.Type) (path string, err error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	err = json.Unmarshal(data, reflect.New(t).Interface())
	if err == nil || decodesItself(t) {
		return "", err
	}
	inside := func(name string, data []byte, t reflect.Type) bool {
		inner, cause := faultyValue(data, t)
		if cause == nil {
			return false
		}
		if inner != "" && inner[0] != '[' {
			inner = "." + inner
		}
		path, err = name+inner, cause
		return true
	}
	switch t.Kind() {
	case reflect.Struct:
		members := map[string]json.RawMessage{}
		_ = json.Unmarshal(data, &members) // not an object: no members
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if raw, given := members[name]; given && inside(name, raw, f.Type) {
				break
			}
		}
	case reflect.Slice, reflect.Array:
		var items []json.RawMessage
		_ = json.Unmarshal(data, &items)
		for i, raw := range items {
			if inside(check.Item("", i), raw, t.Elem()) {
				break
			}
		}
	default: // no parts, or a map, whose keys are the client's own and not repeated
	}
	return path, err
}

// decodesItself reports whether a type has a JSON form of its own.
func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}
