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
	// Shape is what the value must look like; nil allows anything.
	Shape Shape
	// NullAbsent makes a member that is null as good as absent.
	NullAbsent bool
	// Done ends the walk with [ErrStopped] when it is closed; nil never is.
	Done <-chan struct{}
}

// MaxValues is how many values one JSON document may have, with those inside
// others: a decoder may take a hundred bytes of memory for a value of two characters.
const MaxValues = 500_000

// Shape is what a JSON value must look like.
type Shape interface {
	// Check returns the faults of a value: nil, a bool, a json.Number or a string, or
	// the json.Delim that begins an object or an array, whose parts have shapes of
	// their own. It also returns the shape of the value itself, which is the receiver
	// or, where it has a choice, one of its alternatives; nil when the parts of the
	// value are not looked at.
	Check(token json.Token) (Shape, []hostler.Text)
	// Member returns the shape of an object's member; nil allows anything. The result
	// known is false when there is no such member.
	Member(name string) (s Shape, known bool)
	// Required lists the members that an object must have.
	Required() []string
	// Item returns the shape of an array's items, and how many there may be; most < 0
	// allows any number.
	Item() (s Shape, least, most int)
}

// ErrStopped reports that nobody waits for the result of [JSON] any more.
var ErrStopped = errors.New("the walk was stopped")

// errEnough ends a walk that has found as many faults as are reported.
var errEnough = errors.New("enough faults")

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
// would win; NUL, which PostgreSQL cannot store; numbers beyond the limits; and what
// does not have the shape. It stops at [MaxFaults] faults, so that the cost of a
// refusal does not grow with the number of faults.
//
// The error is about the value as a whole: a [DepthError], a [json.SyntaxError],
// [ErrStopped], or another error of the decoder. Its text may repeat a character of
// the input.
func JSON(raw []byte, limits JSONLimits) ([]hostler.FieldError, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	w := walker{dec: dec, limits: limits}
	err := w.value(&place{}, limits.Shape, 0)
	if errors.Is(err, errEnough) {
		return w.fields.Faults(), nil
	}
	if err != nil {
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
	values int
	null   bool // the last value was null
}

// place is where a value is. Its path is made only for a report.
type place struct {
	up    *place
	name  string // of a member
	index int    // of an item, when name is ""
	item  bool
}

func (w *walker) path(p *place) string {
	if p.up == nil {
		return w.limits.Root
	}
	if p.item {
		return Item(w.path(p.up), p.index)
	}
	return Member(w.path(p.up), p.name)
}

// report reports a fault, and ends the walk after the last one that is kept.
func (w *walker) report(p *place, text hostler.Text) error {
	w.fields.AddText(w.path(p), text)
	if w.fields.Full() {
		return errEnough
	}
	return nil
}

// value walks the next value. The depth counts the objects and arrays around it.
func (w *walker) value(p *place, s Shape, depth int) error {
	token, err := w.dec.Token()
	if err != nil {
		return err
	}
	if err := w.count(p); err != nil {
		return err
	}
	w.null = token == nil
	if w.null && w.limits.NullAbsent && p.up != nil && !p.item {
		return nil
	}
	if s != nil {
		var texts []hostler.Text
		s, texts = s.Check(token)
		for _, text := range texts {
			if err := w.report(p, text); err != nil {
				return err
			}
		}
	}
	switch v := token.(type) {
	case json.Delim:
		switch {
		case depth >= w.limits.Depth:
			return &DepthError{Path: w.path(p), Max: w.limits.Depth}
		case v == '{':
			return w.object(p, s, depth+1)
		default:
			return w.array(p, s, depth+1)
		}
	case string:
		if strings.ContainsRune(v, 0) {
			return w.report(p, hostler.Text{EN: "must not contain NUL", ZH: "不能包含 NUL 字符"})
		}
	case json.Number:
		return w.number(p, v)
	}
	return nil
}

// count counts a value, and looks from time to time whether to go on.
func (w *walker) count(p *place) error {
	w.values++
	if w.values > MaxValues {
		w.fields = Fields{}
		_ = w.report(p, hostler.Textf("is one of more than %d values, which is the limit of one document",
			"超出上限：一个文档最多 %d 个值", MaxValues))
		return errEnough
	}
	if w.values%1024 != 0 {
		return nil
	}
	select {
	case <-w.limits.Done:
		return ErrStopped
	default:
		return nil
	}
}

func (w *walker) number(p *place, n json.Number) error {
	most := w.limits.Number
	if _, err := n.Float64(); err != nil {
		return w.report(p, hostler.Text{EN: "is too large a number", ZH: "数字过大"})
	}
	if most > 0 && (len(n) > most || strings.ContainsAny(n.String(), "eE")) {
		return w.report(p, hostler.Textf("must be a number of at most %d characters without an exponent",
			"数字最多 %d 个字符，且不得使用指数", most))
	}
	return nil
}

func (w *walker) object(p *place, s Shape, depth int) error {
	seen := map[string]bool{} // the members; false for one that counts as absent
	for w.dec.More() {
		token, err := w.dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string) // the decoder refuses any other key
		member := &place{up: p, name: name}
		inner, err := w.member(member, s, seen)
		if err != nil {
			return err
		}
		if err := w.value(member, inner, depth); err != nil {
			return err
		}
		if w.null && w.limits.NullAbsent {
			seen[name] = false
		}
	}
	if err := w.required(p, s, seen); err != nil {
		return err
	}
	_, err := w.dec.Token()
	return err
}

// required reports the members that an object must have and has not.
func (w *walker) required(p *place, s Shape, seen map[string]bool) error {
	if s == nil {
		return nil
	}
	for _, name := range s.Required() {
		if seen[name] {
			continue
		}
		if err := w.report(&place{up: p, name: name}, hostler.Text{EN: "is required", ZH: "必填"}); err != nil {
			return err
		}
	}
	return nil
}

// member checks the name of a member and returns the shape of its value.
func (w *walker) member(p *place, s Shape, seen map[string]bool) (inner Shape, err error) {
	known := true
	_, twice := seen[p.name]
	if s != nil {
		inner, known = s.Member(p.name)
	}
	switch {
	case strings.ContainsRune(p.name, 0):
		err = w.report(p.up, hostler.Text{
			EN: "has a field whose name contains NUL", ZH: "字段名不能包含 NUL 字符",
		})
	case twice:
		err = w.report(p, hostler.Text{EN: "is given twice", ZH: "重复出现"})
	case !known:
		err = w.report(p, hostler.Text{EN: "is not a known field", ZH: "是未知字段"})
	}
	seen[p.name] = true
	return inner, err
}

func (w *walker) array(p *place, s Shape, depth int) error {
	var inner Shape
	least, most := 0, -1
	if s != nil {
		inner, least, most = s.Item()
	}
	n := 0
	for ; w.dec.More(); n++ {
		if most >= 0 && n == most {
			// What follows is not looked at: it may be millions of items.
			_ = w.report(p, hostler.Textf("must have at most %d item(s)", "最多 %d 项", most))
			return errEnough
		}
		if err := w.value(&place{up: p, index: n, item: true}, inner, depth); err != nil {
			return err
		}
	}
	if n < least {
		if err := w.report(p, hostler.Textf("must have at least %d item(s)", "至少 %d 项", least)); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}
