package term

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Width returns how many cells of a terminal the text takes (UAX #11): Chinese
// characters take two, combining marks none.
func Width(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case isWide(r):
			n += 2
		default:
			n++
		}
	}
	return n
}

func isWide(r rune) bool {
	k := width.LookupRune(r).Kind()
	return k == width.EastAsianWide || k == width.EastAsianFullwidth
}

// Truncate shortens text to at most n cells; "…" marks what was cut.
func Truncate(s string, n int) string {
	if Width(s) <= n {
		return s
	}
	used := 0
	for i, r := range s {
		w := Width(string(r))
		if used+w > n-1 {
			return s[:i] + "…"
		}
		used += w
	}
	return s
}

// padRight fills text with spaces to n cells.
func padRight(s string, n int) string { return s + strings.Repeat(" ", n-Width(s)) }
