package runlog

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Sanitize makes output safe to write to a terminal: what it shows cannot move
// the cursor, change the window, forge other lines or reorder text. Control
// characters become their pictures (ESC is ␛), C1 and bidirectional controls
// their number, and bytes that are no UTF-8 U+FFFD. Line feeds and tabs stay, and
// "\r\n" becomes a line feed.
//
// With keepColour, SGR sequences (colours, bold) stay too, except one that
// conceals text, and the result ends with a reset.
func Sanitize(s string, keepColour bool) string {
	if !suspicious(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 32)
	coloured := false
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == '\x1b' && keepColour {
			if sgr := sgrAt(s[i:]); sgr != "" {
				b.WriteString(sgr)
				coloured = sgr != resetSGR && sgr != "\x1b[m"
				i += len(sgr)
				continue
			}
		}
		if r != '\r' || !strings.HasPrefix(s[i+1:], "\n") {
			writeInert(&b, r)
		}
		i += n
	}
	if coloured {
		b.WriteString(resetSGR)
	}
	return b.String()
}

const resetSGR = "\x1b[0m"

// maxSGR is the longest SGR sequence that is let through.
const maxSGR = 40

// suspicious reports whether s holds anything but plain text.
func suspicious(s string) bool {
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 || inertForm(r) != "" {
				return true
			}
			i += n
			continue
		case c < ' ' && c != '\n' && c != '\t', c == 0x7f:
			return true
		}
		i++
	}
	return false
}

func writeInert(b *strings.Builder, r rune) {
	if form := inertForm(r); form != "" {
		b.WriteString(form)
		return
	}
	b.WriteRune(r)
}

// inertForm is what stands for a rune that a terminal acts on; "" for any other.
func inertForm(r rune) string {
	switch {
	case r == '\n' || r == '\t':
		return ""
	case r < ' ':
		return string('\u2400' + r)
	case r == 0x7f:
		return "\u2421"
	case r >= 0x80 && r <= 0x9f, bidi(r), r == '\u2028', r == '\u2029':
		return fmt.Sprintf("<U+%04X>", r)
	}
	return ""
}

// bidi reports whether r is a bidirectional control (Unicode UAX #9, table 1).
func bidi(r rune) bool {
	return r == '\u061c' || r == '\u200e' || r == '\u200f' ||
		r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// sgrAt returns the SGR sequence at the start of s (ECMA-48 §8.3.117), or "".
func sgrAt(s string) string {
	if !strings.HasPrefix(s, "\x1b[") {
		return ""
	}
	for i := 2; i < len(s) && i < maxSGR; i++ {
		switch c := s[i]; {
		case c == 'm':
			if conceals(s[2:i]) {
				return ""
			}
			return s[:i+1]
		case c >= '0' && c <= ';': // digits, colon, semicolon
		default:
			return ""
		}
	}
	return ""
}

// conceals reports whether SGR parameters include 8, hidden text, outside of a
// colour's own parameters (38;5;8 is grey).
func conceals(params string) bool {
	ps := strings.Split(params, ";")
	for i := 0; i < len(ps); i++ {
		switch strings.TrimLeft(ps[i], "0") {
		case "38", "48", "58":
			if i+1 < len(ps) && ps[i+1] == "5" {
				i += 2
			} else if i+1 < len(ps) && ps[i+1] == "2" {
				i += 4
			}
		case "8":
			return true
		}
	}
	return false
}
