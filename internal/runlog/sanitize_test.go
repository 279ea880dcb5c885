package runlog

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSanitize(t *testing.T) {
	for _, c := range []struct {
		in     string
		colour bool
		want   string
	}{
		{"plain 中文\n\ttab", false, "plain 中文\n\ttab"},
		{"dos\r\nlines", false, "dos\nlines"},
		{"safe\rrm -rf", false, "safe␍rm -rf"},
		{"\x1b[2J\x1b]0;title\a", true, "␛[2J␛]0;title␇"},
		{"\x1b[31mred\x1b[0m", false, "␛[31mred␛[0m"},
		{"\x1b[31mred\x1b[0m", true, "\x1b[31mred\x1b[0m"},
		{"\x1b[1;38;5;8mgrey", true, "\x1b[1;38;5;8mgrey\x1b[0m"},
		{"\x1b[8mhidden", true, "␛[8mhidden"},
		{"\x1b[1;08mhidden", true, "␛[1;08mhidden"},
		{"\x1b[31", true, "␛[31"},
		{"c1 \u009b31m", true, "c1 <U+009B>31m"},
		{"raw \x9b31m", true, "raw \ufffd31m"},
		{"abc\u202etxt.exe", false, "abc<U+202E>txt.exe"},
		{"nul \x00 del \x7f", false, "nul ␀ del ␡"},
	} {
		if got := Sanitize(c.in, c.colour); got != c.want {
			t.Errorf("Sanitize(%q, %v) = %q, want %q", c.in, c.colour, got, c.want)
		}
	}
}

func FuzzSanitize(f *testing.F) {
	f.Add("\x1b[31mred\x1b]8;;x\x07\u202e\xff\r\n", true)
	f.Add("plain", false)
	f.Fuzz(func(t *testing.T, s string, colour bool) {
		got := Sanitize(s, colour)
		if !utf8.ValidString(got) {
			t.Fatalf("%q is not UTF-8", got)
		}
		rest := got
		for colour && rest != "" {
			i := strings.IndexByte(rest, '\x1b')
			if i < 0 {
				break
			}
			sgr := sgrAt(rest[i:])
			if sgr == "" {
				t.Fatalf("an escape sequence is left in %q", got)
			}
			rest = rest[:i] + rest[i+len(sgr):]
		}
		if suspicious(rest) {
			t.Fatalf("%q became %q", s, got)
		}
		if again := Sanitize(got, colour); again != got {
			t.Fatalf("not stable: %q, then %q", got, again)
		}
	})
}
