package secret

import (
	"encoding/base64"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"sync"
)

// Mask replaces a secret.
const Mask = "******"

// minForm is the shortest secret that is searched for. Shorter ones occur in ordinary output,
// and protect nothing.
const minForm = 4

// minPart is the shortest part of a secret that is searched for: a line of a key, or its
// base64 inside longer base64.
const minPart = 8

// Redactor removes secrets from output. It is safe for concurrent use.
//
// It searches for two kinds of form. Hex and base64 are fixed texts. In all other forms each
// character of the secret is either itself or escaped: for URLs (%2f, %2F, +), JSON (\/,
// \u00e9, \n) or HTML (&amp;, &#38;, &#x26;), in any mixture; see [escapes].
//
// It reads output once, whatever the number of forms: a form is only compared where its first
// two bytes occur, which a bit set of all pairs decides.
type Redactor struct {
	mu    sync.RWMutex
	known map[string]bool
	heads map[uint16][]string  // fixed forms by their first two bytes
	texts map[uint16][]string  // secrets by the first two bytes of any of their escaped forms
	pairs [1 << 16 / 64]uint64 // the keys of heads and texts, as a set
	first [256]bool            // first bytes of forms
}

// NewRedactor returns a Redactor of these secrets.
func NewRedactor(values ...string) *Redactor {
	r := &Redactor{known: map[string]bool{}, heads: map[uint16][]string{}, texts: map[uint16][]string{}}
	r.Add(values...)
	return r
}

// Add adds secrets. Output that was written before is not changed.
func (r *Redactor) Add(values ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range values {
		if len(v) < minForm || r.known[v] {
			continue
		}
		r.known[v] = true
		for _, f := range fixedForms(v) {
			r.addHead(r.heads, pair(f[0], f[1]), f)
		}
		for _, text := range append(lines(v), v) {
			for _, head := range headsOf(text) {
				r.addHead(r.texts, head, text)
			}
		}
	}
}

// addHead adds a form to those that begin with two bytes.
func (r *Redactor) addHead(to map[uint16][]string, head uint16, form string) {
	if slices.Contains(to[head], form) {
		return
	}
	to[head] = append(to[head], form)
	r.first[head>>8] = true
	r.pairs[head/64] |= 1 << (head % 64)
}

func pair(a, b byte) uint16 { return uint16(a)<<8 | uint16(b) }

// fixedForms lists the forms of a secret in which its characters are not escaped one by one.
func fixedForms(v string) []string {
	digits := hex.EncodeToString([]byte(v))
	forms := []string{digits, strings.ToUpper(digits)}
	for _, enc := range []*base64.Encoding{
		base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding,
	} {
		forms = append(forms, enc.EncodeToString([]byte(v)))
	}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		forms = append(forms, insideBase64(enc, v)...)
	}
	return forms
}

// insideBase64 lists the base64 of the secret inside a longer text, such as user:password, at
// each of the three offsets, without the digits that also encode neighbouring bytes.
func insideBase64(enc *base64.Encoding, v string) []string {
	var out []string
	for offset := range 3 {
		digits := enc.EncodeToString([]byte(strings.Repeat("\x00", offset) + v))
		digits = digits[[]int{0, 2, 3}[offset]:]
		if (offset+len(v))%3 != 0 {
			digits = digits[:len(digits)-1]
		}
		if len(digits) >= minPart {
			out = append(out, digits)
		}
	}
	return out
}

// lines lists the lines of a secret of several lines, such as a private key, without the
// header and footer.
func lines(v string) []string {
	if !strings.Contains(v, "\n") {
		return nil
	}
	var out []string
	for l := range strings.Lines(v) {
		if l = strings.TrimSpace(l); len(l) >= minPart && !strings.HasPrefix(l, "-----") {
			out = append(out, l)
		}
	}
	return out
}

// String returns s without the secrets.
func (r *Redactor) String(s string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	spans, _ := r.scan([]byte(s))
	if len(spans) == 0 {
		return s
	}
	return string(appendMasked(nil, []byte(s), spans))
}

// span is the half-open interval [from, to) of a buffer.
type span struct{ from, to int }

// scan lists the spans of secrets in order, with overlapping ones merged. undecided is where
// the first form may begin that is not complete yet; len(b) if there is none. Callers hold the
// lock.
func (r *Redactor) scan(b []byte) (spans []span, undecided int) {
	undecided = len(b)
	if len(r.known) == 0 || len(b) == 0 {
		return nil, undecided
	}
	for i := range len(b) - 1 {
		head := pair(b[i], b[i+1])
		if r.pairs[head/64]&(1<<(head%64)) == 0 {
			continue
		}
		n, cut := longest(b[i:], r.heads[head])
		for _, text := range r.texts[head] {
			m, more := matchEscaped(b[i:], text)
			n, cut = max(n, m), cut || more
		}
		if n > 0 {
			spans = add(spans, span{i, i + n})
		}
		if cut {
			undecided = min(undecided, i)
		}
	}
	if last := len(b) - 1; r.first[b[last]] {
		undecided = min(undecided, last)
	}
	return spans, undecided
}

// longest returns the length of the longest form that b begins with, and whether b may be the
// beginning of a form that is longer than b.
func longest(b []byte, forms []string) (n int, cut bool) {
	for _, f := range forms {
		if len(f) > len(b) {
			cut = cut || f[:len(b)] == string(b)
		} else if string(b[:len(f)]) == f {
			n = max(n, len(f))
		}
	}
	return n, cut
}

// add appends a span that begins after the others, or merges it with the last.
func add(spans []span, s span) []span {
	if n := len(spans); n > 0 && s.from < spans[n-1].to {
		spans[n-1].to = max(spans[n-1].to, s.to)
		return spans
	}
	return append(spans, s)
}

func appendMasked(dst, b []byte, spans []span) []byte {
	at := 0
	for _, s := range spans {
		dst = append(dst, b[at:s.from]...)
		dst = append(dst, Mask...)
		at = s.to
	}
	return append(dst, b[at:]...)
}

// Writer returns a writer to next that removes the secrets. It holds back what may be the
// beginning of one; Close writes that, and does not close next.
func (r *Redactor) Writer(next io.Writer) io.WriteCloser { return &redacting{r: r, next: next} }

type redacting struct {
	r    *Redactor
	next io.Writer
	held []byte
}

// Write implements io.Writer. It reports all of p as written unless next fails.
func (w *redacting) Write(p []byte) (int, error) {
	w.held = append(w.held, p...)
	w.r.mu.RLock()
	spans, cut := w.r.scan(w.held)
	w.r.mu.RUnlock()
	// A secret that ends after the cut is held back as a whole.
	for i, span := range slices.Backward(spans) {
		if span.to > cut {
			cut = min(cut, span.from)
			spans = spans[:i]
		}
	}
	if err := w.pass(cut, spans); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what was held back.
func (w *redacting) Close() error {
	w.r.mu.RLock()
	spans, _ := w.r.scan(w.held)
	w.r.mu.RUnlock()
	return w.pass(len(w.held), spans)
}

func (w *redacting) pass(n int, spans []span) error {
	if n == 0 {
		return nil
	}
	out := w.held[:n]
	if len(spans) > 0 {
		out = appendMasked(make([]byte, 0, n), out, spans)
	}
	_, err := w.next.Write(out)
	w.held = append(w.held[:0], w.held[n:]...)
	return err
}
