// Package selector selects assets by their labels.
//
// # Model
//
// A [Selector] is a list of [Term]s, all of which the labels of an asset must match. Its text
// is that of Kubernetes:
//
//	app=web            the label has this value; == is the same
//	app in (web, db)   it has one of these
//	env!=test          it has another value, or the asset has no such label
//	env notin (a, b)   the same for several values
//	rack               the asset has the label
//	!rack              it does not
//
// Terms are separated by commas. A value with a comma, a parenthesis or spaces around it is
// quoted as in Go: "a, b". The package is pure: [Selector.Match] decides for labels in memory, and
// package store makes the same decision in SQL.
//
// # Invariants
//
//   - Several values wanted of one key are alternatives: app=web,app=db is app in (web, db).
//     No term is ignored.
//   - The length of a text and the numbers of its terms and values are bounded.
package selector

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"hostler.dev/hostler"
)

// Limits of a text.
const (
	MaxLength = 4096
	MaxTerms  = 32
	MaxValues = 256
)

// Op is what a term requires of a label.
type Op string

// The operators of terms.
const (
	In     Op = "in"     // it has one of the values
	NotIn  Op = "notin"  // it has none of them, or does not exist
	Exists Op = "exists" // it exists
	Absent Op = "absent" // it does not
)

// Term is a requirement on one label.
type Term struct {
	Key    string
	Op     Op
	Values []string // of In and NotIn
}

// Selector matches labels that match all of its terms. The zero value matches all.
type Selector []Term

// Of returns the selector of labels that all must be there.
func Of(labels map[string]string) Selector {
	var s Selector
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		s = append(s, Term{key, In, []string{labels[key]}})
	}
	return s
}

// Match reports whether the labels match all terms.
func (s Selector) Match(labels map[string]string) bool {
	for _, t := range s {
		value, has := labels[t.Key]
		ok := false
		switch t.Op {
		case In:
			ok = has && slices.Contains(t.Values, value)
		case NotIn:
			ok = !has || !slices.Contains(t.Values, value)
		case Exists:
			ok = has
		case Absent:
			ok = !has
		}
		if !ok {
			return false
		}
	}
	return true
}

// String returns a text that Parse reads.
func (t Term) String() string {
	values := make([]string, len(t.Values))
	for i, v := range t.Values {
		values[i] = strconv.Quote(v)
	}
	switch t.Op {
	case Exists:
		return t.Key
	case Absent:
		return "!" + t.Key
	case In, NotIn:
	}
	return t.Key + " " + string(t.Op) + " (" + strings.Join(values, ",") + ")"
}

// Parse reads the text of a selector; "" has no terms. The error says where the text is
// wrong, and names no field.
func Parse(text string) (Selector, error) {
	if len(text) > MaxLength {
		return nil, hostler.Errorf(hostler.CodeInvalid, "must be at most %d bytes", "最多 %d 字节", MaxLength)
	}
	p := parser{rest: text}
	var s Selector
	for p.skip(); p.rest != "" || len(s) > 0; p.skip() {
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		s = s.with(t)
		if len(s) > MaxTerms {
			return nil, hostler.Errorf(hostler.CodeInvalid, "must have at most %d conditions", "最多 %d 个条件", MaxTerms)
		}
		if p.skip(); p.rest == "" {
			break
		}
		if !p.eat(",") {
			return nil, p.fault()
		}
	}
	if len(s) == 0 && text != "" {
		return nil, p.fault() // blanks must not select everything
	}
	for _, t := range s {
		if len(t.Values) > MaxValues {
			return nil, hostler.Errorf(hostler.CodeInvalid, "must have at most %d values of %s", "%[2]s 最多 %[1]d 个值",
				MaxValues, t.Key)
		}
	}
	return s, nil
}

// with adds a term. Values that are wanted of the same key are alternatives.
func (s Selector) with(t Term) Selector {
	if t.Op == In {
		for i := range s {
			if s[i].Key == t.Key && s[i].Op == In {
				s[i].Values = append(s[i].Values, t.Values...)
				return s
			}
		}
	}
	return append(s, t)
}

// parser reads a text from its start.
type parser struct{ rest string }

func (p *parser) skip() { p.rest = strings.TrimLeft(p.rest, " \t") }

// eat reads a prefix, if it is there.
func (p *parser) eat(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	p.rest = rest
	return ok
}

// word reads the letters of keys.
func (p *parser) word() string {
	end := strings.IndexFunc(p.rest, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune("._-@:+/", r)
	})
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word
}

func (p *parser) term() (Term, error) {
	absent := !strings.HasPrefix(p.rest, "!=") && p.eat("!")
	p.skip()
	t := Term{Key: p.word(), Op: Exists}
	if t.Key == "" {
		return t, p.fault()
	}
	if absent {
		t.Op = Absent
		return t, nil
	}
	p.skip()
	switch {
	case p.eat("!="):
		t.Op = NotIn
	case p.eat("=="), p.eat("="):
		t.Op = In
	default:
		return p.list(t)
	}
	value, err := p.value()
	t.Values = []string{value}
	return t, err
}

// list reads in (…) or notin (…), if they follow a key.
func (p *parser) list(t Term) (Term, error) {
	before := p.rest
	switch op := Op(p.word()); op {
	case In, NotIn:
		t.Op = op
	default:
		p.rest = before
		return t, nil
	}
	if p.skip(); !p.eat("(") {
		return t, p.fault()
	}
	for {
		value, err := p.value()
		if err != nil {
			return t, err
		}
		t.Values = append(t.Values, value)
		if p.eat(")") {
			return t, nil
		}
		if !p.eat(",") {
			return t, p.fault()
		}
	}
}

// value reads a value: up to a comma or a parenthesis, or between quotes.
func (p *parser) value() (string, error) {
	p.skip()
	if strings.HasPrefix(p.rest, `"`) {
		quoted, err := strconv.QuotedPrefix(p.rest)
		if err != nil {
			return "", p.fault()
		}
		p.rest = p.rest[len(quoted):]
		p.skip()
		return strconv.Unquote(quoted)
	}
	end := strings.IndexAny(p.rest, `,()"=`)
	if end < 0 {
		end = len(p.rest)
	}
	value := strings.TrimRight(p.rest[:end], " \t")
	p.rest = p.rest[end:]
	return value, nil
}

// fault reports where the text is wrong.
func (p *parser) fault() error {
	const forms = "app=web, env!=test, app in (web, db), rack, !rack"
	if p.rest == "" {
		return hostler.Errorf(hostler.CodeInvalid, "ends too early; conditions are: %s", "不完整；条件的写法：%s", forms)
	}
	rest := []rune(p.rest)
	return hostler.Errorf(hostler.CodeInvalid, "is wrong at %q; conditions are: %s", "在 %q 处有误；条件的写法：%s",
		string(rest[:min(len(rest), 20)]), forms)
}
