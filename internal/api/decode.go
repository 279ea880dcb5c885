package api

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"

	"hostler.dev/hostler"
)

// wrongAt begins the message by which unmarshal tells humaField where a value
// does not fit; paramSep and the rule in both languages may follow the path.
const wrongAt = "wrong value at "

// unmarshal is encoding/json's, with errors that name the field and repeat no
// value.
func unmarshal(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	at, why := misfit(data, reflect.TypeOf(v).Elem())
	if at == "" {
		at = "body"
	}
	msg := wrongAt + at
	if e, ok := errors.AsType[*hostler.Error](why); ok {
		msg += paramSep + e.Text.EN + paramSep + e.Text.ZH
	}
	return errors.New(msg)
}

// misfitOf reads what unmarshal said of a field.
func misfitOf(msg string) (hostler.FieldError, bool) {
	said, ok := strings.CutPrefix(msg, wrongAt)
	if !ok {
		return hostler.FieldError{}, false
	}
	at, rule, ruled := strings.Cut(said, paramSep)
	en, zh, _ := strings.Cut(rule, paramSep)
	if !ruled {
		return hostler.FieldError{Path: at, Text: textWrongForm}, true
	}
	return hostler.FieldError{Path: at, Text: hostler.Text{EN: en, ZH: zh}}, true
}

// misfit finds the first value in data, in the order of the type's fields, that
// does not fit the type: its path, and the decoder's error for it alone. The
// decoder itself does not say which field held a text that the field's type
// refused. It is asked again level by level, which only a refused body costs.
func misfit(data []byte, t reflect.Type) (path string, err error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	err = json.Unmarshal(data, reflect.New(t).Interface())
	if err == nil || decodesItself(t) {
		return "", err
	}
	inside := func(name string, data []byte, t reflect.Type) bool {
		at, why := misfit(data, t)
		if why == nil {
			return false
		}
		if at != "" && at[0] != '[' {
			at = "." + at
		}
		path, err = name+at, why
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
			if inside("["+strconv.Itoa(i)+"]", raw, t.Elem()) {
				break
			}
		}
	default: // it holds no others; a map's keys are the client's words, not ours to repeat
	}
	return path, err
}

// decodesItself reports whether a type has its own say on its JSON form.
func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// newBody hands a body that was read on to Huma.
func newBody(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }
