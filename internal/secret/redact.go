package secret

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Mask stands where a secret was.
const Mask = "******"

// minForm is the shortest text that is looked for. Removing shorter ones would
// eat ordinary output, and a secret that short protects nothing.
const minForm = 4

// minPart is the shortest part of a secret (a line of a key, its base64 inside
// other base64) that is looked for.
const minPart = 8

// Redactor removes secrets from output. It is safe for concurrent use.
type Redactor struct {
	mu      sync.RWMutex
	forms   [][]byte
	longest int
	first   [256]bool // bytes that a form begins with
}

// NewRedactor makes a Redactor for these secrets.
func NewRedactor(values ...string) *Redactor {
	r := &Redactor{}
	r.Add(values...)
	return r
}

// Add adds secrets. Output that was written before stays as it is.
func (r *Redactor) Add(values ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range values {
		for _, f := range formsOf(v) {
			if slices.ContainsFunc(r.forms, func(have []byte) bool { return string(have) == f }) {
				continue
			}
			r.forms = append(r.forms, []byte(f))
			r.longest = max(r.longest, len(f))
			r.first[f[0]] = true
		}
	}
}

// formsOf lists the texts under which a secret may appear.
func formsOf(v string) []string {
	if len(v) < minForm {
		return nil
	}
	forms := []string{v, url.QueryEscape(v), url.PathEscape(v), hex.EncodeToString([]byte(v)), strings.ToUpper(hex.EncodeToString([]byte(v)))}
	for _, html := range []bool{true, false} {
		forms = append(forms, jsonForm(v, html))
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		forms = append(forms, enc.EncodeToString([]byte(v)))
	}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		forms = append(forms, insideBase64(enc, v)...)
	}
	return append(forms, lines(v)...)
}

func jsonForm(v string, html bool) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	if err := e.Encode(v); err != nil {
		return v
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.String()), `"`), `"`)
}

// insideBase64 lists what the secret looks like inside the base64 of a longer
// text, such as user:password: at each of the three offsets, without the digits
// that its neighbours have a part in.
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

// lines lists the lines of a secret of several, such as a private key, but not
// the ones that say what it is.
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
	spans := r.find([]byte(s))
	if len(spans) == 0 {
		return s
	}
	return string(appendMasked(nil, []byte(s), spans))
}

// span is the half-open part [from, to) of a buffer.
type span struct{ from, to int }

// find lists where secrets are, in order; those that overlap are one. Callers hold
// the lock.
func (r *Redactor) find(b []byte) []span {
	var all []span
	for _, f := range r.forms {
		for from := 0; ; {
			i := bytes.Index(b[from:], f)
			if i < 0 {
				break
			}
			all = append(all, span{from + i, from + i + len(f)})
			from += i + 1 // forms may overlap themselves
		}
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	merged := all[:0]
	for _, s := range all {
		if n := len(merged); n > 0 && s.from < merged[n-1].to {
			merged[n-1].to = max(merged[n-1].to, s.to)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// undecided is where the first form may begin whose end has not come yet; len(b)
// when none may. Callers hold the lock.
func (r *Redactor) undecided(b []byte) int {
	for i := max(0, len(b)-r.longest+1); i < len(b); i++ {
		if !r.first[b[i]] {
			continue
		}
		for _, f := range r.forms {
			if len(f) > len(b)-i && bytes.HasPrefix(f, b[i:]) {
				return i
			}
		}
	}
	return len(b)
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

// Writer returns a writer that passes on to next what it gets, without the
// secrets. It holds back what may be the beginning of one; Close lets that go,
// and does not close next.
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
	spans := w.r.find(w.held)
	cut := w.r.undecided(w.held)
	w.r.mu.RUnlock()
	// A secret that ends after the cut stays whole, on the far side of it.
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

// Close passes on what was held back.
func (w *redacting) Close() error {
	w.r.mu.RLock()
	spans := w.r.find(w.held)
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
