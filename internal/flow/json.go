package flow

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"hostler.dev/hostler"
)

// decodeJSON reads a value and keeps its numbers as they are written.
func decodeJSON(b json.RawMessage) (any, error) {
	if len(b) == 0 {
		return map[string]any{}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}

// decodeObject is decodeJSON for an object; nil counts as an empty one.
func decodeObject(b json.RawMessage) (map[string]any, bool) {
	v, err := decodeJSON(b)
	if err != nil {
		return nil, false
	}
	if v == nil {
		return map[string]any{}, true
	}
	m, ok := v.(map[string]any)
	return m, ok
}

// Canonical returns a value as JSON in one form: keys in order, no spaces, no escapes for
// HTML. Equal values give equal texts, so that their hashes can be compared.
func Canonical(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	plain, err := decodeJSON(b)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(plain); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// textOf returns the text of an error for people.
func textOf(err error) hostler.Text {
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		return e.Text
	}
	return hostler.Text{EN: "is not valid", ZH: "无效"}
}
