package check

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Storable reports whether a text can be stored: PostgreSQL accepts neither
// invalid UTF-8 nor NUL.
func Storable(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// SingleLine reports whether a text is one line that is shown as it is: valid
// UTF-8 without a [Forbidden] character.
func SingleLine(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, Forbidden)
}

// Forbidden reports whether a character must not be in a line of text: control
// characters, which terminals and devices interpret; line and paragraph separators; and
// bidirectional controls (Unicode UAX #9), which show a text in another order than
// programs read it.
func Forbidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// Option reports whether a program would read a text as an option and not as an
// operand: it begins with '-'.
func Option(s string) bool { return strings.HasPrefix(s, "-") }

// HostName reports whether a text in lower case is a host name by RFC 1123 §2.1,
// or one with underscores, which real networks have.
func HostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if len(label) == 0 || len(label) > 63 || Option(label) || strings.HasSuffix(label, "-") {
			return false
		}
		for _, c := range []byte(label) {
			alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
			if !alnum && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// maxKey is how many bytes of a caller's key a path shows.
const maxKey = 80

// Key makes a name that the caller chose, such as a label's key, fit to be part of
// a path: printable, and shortened when it is long.
func Key(name string) string {
	q := strconv.QuoteToGraphic(name)
	q = q[1 : len(q)-1]
	if len(q) > maxKey {
		q = strings.ToValidUTF8(q[:maxKey], "") + "…"
	}
	return q
}

// Member is the path of an object's member: args and ports make args.ports. The
// path of the outermost value is "".
func Member(path, name string) string {
	if path == "" {
		return Key(name)
	}
	return path + "." + Key(name)
}

// Item is the path of an array's item: args.ports and 2 make args.ports[2].
func Item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
