package runlog

import (
	"bytes"
	"unicode/utf8"
)

var replacement = []byte(string(utf8.RuneError))

// validUTF8 replaces each run of invalid bytes by U+FFFD.
func validUTF8(p []byte) []byte {
	if utf8.Valid(p) {
		return p
	}
	return bytes.ToValidUTF8(p, replacement)
}

// wholeRunes returns the length of p without an incomplete rune at its end.
func wholeRunes(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		i := len(p) - n
		if !utf8.RuneStart(p[i]) {
			continue
		}
		if !utf8.FullRune(p[i:]) {
			return i
		}
		break
	}
	return len(p)
}

// runeBoundary returns the greatest n ≤ at that does not split a rune of the valid text p; 0
// if not even the first rune fits.
func runeBoundary(p []byte, at int) int {
	n := min(at, len(p))
	for n > 0 && n < len(p) && !utf8.RuneStart(p[n]) {
		n--
	}
	return n
}
