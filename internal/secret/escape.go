package secret

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// named are the names of characters in HTML that escaping functions use.
var named = map[rune][]string{
	'&': {"&amp;"}, '<': {"&lt;"}, '>': {"&gt;"}, '"': {"&quot;"}, '\'': {"&apos;"}, '\u00a0': {"&nbsp;"},
}

// short are the short escapes of JSON (RFC 8259, 7).
var short = map[rune]string{
	'"': `\"`, '\\': `\\`, '/': `\/`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`,
}

// escapes lists the texts as which one character of a secret may appear, but for the case of
// hexadecimal digits. size is how many bytes of the secret it is; a byte that is not UTF-8 is
// a character of its own.
func escapes(s string) (forms []string, size int) {
	c, size := utf8.DecodeRuneInString(s)
	raw := s[:size]
	var percent, units strings.Builder
	for _, b := range []byte(raw) {
		percent.WriteString("%" + hexDigits(uint32(b), 2))
	}
	forms = []string{raw, percent.String()}
	if c == utf8.RuneError && size == 1 {
		return forms, size
	}
	if c == ' ' {
		forms = append(forms, "+")
	}
	if f, ok := short[c]; ok {
		forms = append(forms, f)
	}
	for _, unit := range utf16.Encode([]rune{c}) {
		units.WriteString(`\u` + hexDigits(uint32(unit), 4))
	}
	forms = append(forms, units.String(), "&#"+strconv.Itoa(int(c))+";", "&#x"+strconv.FormatInt(int64(c), 16)+";")
	if c < 100 {
		forms = append(forms, "&#0"+strconv.Itoa(int(c))+";") // &#039;
	}
	return append(forms, named[c]...), size
}

func hexDigits(n uint32, digits int) string {
	s := strconv.FormatUint(uint64(n), 16)
	return strings.Repeat("0", digits-len(s)) + s
}

// foldsTo reports whether a byte of output is a byte of an escape. The escape has its
// letters in lower case; only those of escapes fold, not the raw character.
func foldsTo(got, want byte, escaped bool) bool {
	return got == want || escaped && want >= 'a' && want <= 'z' && got == want-('a'-'A')
}

// matchForm compares the beginning of b with one form of a character. n is its length, 0 when
// it does not match; cut reports that b is too short to tell.
func matchForm(b []byte, form string, escaped bool) (n int, cut bool) {
	for i := range len(form) {
		if i == len(b) {
			return 0, true
		}
		if !foldsTo(b[i], form[i], escaped) {
			return 0, false
		}
	}
	return len(form), false
}

// matchEscaped returns the length of the longest text that b begins with and that is the
// secret with any of its characters escaped, and whether b may be the beginning of a longer
// one. ends holds the possible ends of the characters so far: two forms of a character may
// begin alike, such as & and &amp;.
func matchEscaped(b []byte, secret string) (n int, cut bool) {
	var spaceA, spaceB [4]int // one of them has the ends before a character, one those after
	ends, next := append(spaceA[:0], 0), spaceB[:0]
	for rest := secret; rest != ""; {
		_, size := utf8.DecodeRuneInString(rest)
		next = next[:0]
		for _, at := range ends {
			m, more := matchForm(b[at:], rest[:size], false)
			cut = cut || more
			next = addEnd(next, at, m)
			if at == len(b) || !escaping(b[at]) {
				continue
			}
			forms, _ := escapes(rest)
			for _, form := range forms[1:] {
				m, more := matchForm(b[at:], form, true)
				cut = cut || more
				next = addEnd(next, at, m)
			}
		}
		if len(next) == 0 {
			return 0, cut
		}
		ends, next = next, ends
		rest = rest[size:]
	}
	for _, at := range ends {
		n = max(n, at)
	}
	return n, cut
}

// escaping reports whether an escaped character may begin with a byte.
func escaping(b byte) bool { return b == '%' || b == '\\' || b == '&' || b == '+' }

// addEnd adds the end of a character that begins at a place, if it matched.
func addEnd(ends []int, at, n int) []int {
	if n == 0 || slices.Contains(ends, at+n) {
		return ends
	}
	return append(ends, at+n)
}

// headsOf lists the first two bytes of the forms of a secret of at least two bytes.
func headsOf(secret string) []uint16 {
	forms, size := escapes(secret)
	var following []string
	if size < len(secret) {
		following, _ = escapes(secret[size:])
	}
	var heads []uint16
	add := func(a, b byte, foldA, foldB bool) {
		for _, x := range folded(a, foldA) {
			for _, y := range folded(b, foldB) {
				heads = append(heads, pair(x, y))
			}
		}
	}
	for i, f := range forms {
		if len(f) > 1 {
			add(f[0], f[1], i > 0, i > 0)
			continue
		}
		for j, g := range following {
			add(f[0], g[0], false, j > 0)
		}
	}
	return heads
}

// folded lists the bytes that a byte of a form matches.
func folded(b byte, fold bool) []byte {
	if fold && b >= 'a' && b <= 'z' {
		return []byte{b, b - ('a' - 'A')}
	}
	return []byte{b}
}
