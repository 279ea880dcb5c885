package term

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape makes text safe to show on one line of a terminal. Control characters
// (C0, DEL, C1), invalid bytes, and characters that reorder or hide text (Unicode
// TR 36, "Trojan Source") become visible escapes.
func Escape(s string) string { return escape(s, func(rune) bool { return false }) }

// EscapeLines is [Escape] for text of several lines, such as a job's output: line
// ends and tabs stay.
func EscapeLines(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return escape(s, func(r rune) bool { return r == '\n' || r == '\t' })
}

func escape(s string, keep func(rune) bool) string {
	if !strings.ContainsFunc(s, harmful) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteRune(r) // a replacement character of the text itself
		case r == utf8.RuneError:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case keep(r) || !harmful(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// harmful reports whether a terminal may act on r, or a reader be deceived by it:
// controls, format characters (bidi controls, zero width, tags) and the line
// separators. The joiners that Indic scripts and emoji need are not harmful.
func harmful(r rune) bool {
	if r == utf8.RuneError {
		return true // an invalid byte, unless the text itself holds U+FFFD
	}
	if r == '\u200c' || r == '\u200d' {
		return false
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
}
