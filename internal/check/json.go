package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"hostler.dev/hostler"
)

// JSONLimits bound a JSON value.
type JSONLimits struct {
	// Root is the path of the value itself: "args"; "" for a request's body.
	Root string
	// Depth is how many levels objects and arrays may nest: decoders and
	// validators recurse.
	Depth int
	// Number, when it is not 0, forbids exponents and bounds the characters of a
	// number. With an exponent, a few characters would make a schema validator
	// compute with millions of digits.
	Number int
}

// DepthError reports a value that nests too deep.
type DepthError struct {
	Path string
	Max  int // levels that are allowed
}

// Error implements error.
func (e *DepthError) Error() string { return e.Text().EN }

// Text is the rule in both languages.
func (e *DepthError) Text() hostler.Text {
	return hostler.Textf("nests deeper than %d levels", "嵌套超过 %d 层", e.Max)
}

// JSON walks the one JSON value in raw and returns the fields that break a rule
// which decoding would not report: a member that is given twice, where the last
// would win; NUL, which PostgreSQL cannot store; and numbers beyond the limits.
//
// The error is about the value as a whole: a [DepthError], a [json.SyntaxError],
// or another error of the decoder. Its text may repeat a character of the input.
func JSON(raw []byte, limits JSONLimits) ([]hostler.FieldError, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	w := walker{dec: dec, limits: limits}
	if err := w.value(limits.Root, 0); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the JSON value")
	}
	return w.fields.Faults(), nil
}

// walker is one walk through a JSON value.
type walker struct {
	dec    *json.Decoder
	limits JSONLimits
	fields Fields
}

// value walks the next value. The depth counts the objects and arrays around it.
func (w *walker) value(path string, depth int) error {
	token, err := w.dec.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Delim:
		switch {
		case depth >= w.limits.Depth:
			return &DepthError{Path: path, Max: w.limits.Depth}
		case v == '{':
			return w.object(path, depth+1)
		default:
			return w.array(path, depth+1)
		}
	case string:
		w.fields.Require(!strings.ContainsRune(v, 0), path, "must not contain NUL", "不能包含 NUL 字符")
	case json.Number:
		w.number(path, v)
	}
	return nil
}

func (w *walker) number(path string, n json.Number) {
	most := w.limits.Number
	if _, err := n.Float64(); err != nil {
		w.fields.Add(path, "is too large a number", "数字过大")
	} else if most > 0 && (len(n) > most || strings.ContainsAny(n.String(), "eE")) {
		w.fields.Add(path, "must be a number of at most %d characters without an exponent",
			"数字最多 %d 个字符，且不得使用指数", most)
	}
}

func (w *walker) object(path string, depth int) error {
	seen := map[string]bool{}
	for w.dec.More() {
		token, err := w.dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string) // the decoder refuses any other key
		member := Member(path, name)
		w.fields.Require(!seen[name], member, "is given twice", "重复出现")
		w.fields.Require(!strings.ContainsRune(name, 0), path,
			"has a field whose name contains NUL", "字段名不能包含 NUL 字符")
		seen[name] = true
		if err := w.value(member, depth); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}

func (w *walker) array(path string, depth int) error {
	for i := 0; w.dec.More(); i++ {
		if err := w.value(Item(path, i), depth); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}
