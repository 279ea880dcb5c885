package term

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// hostile texts may come from a job, a host name or a label.
var hostile = []string{
	"\x1b[2J\x1b]0;title\x07", "\x1b]52;c;ZXZpbA==\x07", "\u009b31m", "\u0085", "a\rb", "\x00\x08\x7f",
	"user\u202eresu", "\u2066x\u2069", "zero\u200bwidth", "\u2028", "\U000e0041", "\xff\xfe", "\ufeff",
}

// inert reports whether a terminal only shows s.
func inert(s string) bool {
	for _, r := range s {
		if r != '\n' && harmful(r) && r != utf8.RuneError {
			return false
		}
	}
	return utf8.ValidString(s)
}

func TestHostileTextIsInert(t *testing.T) {
	for _, s := range hostile {
		for name, got := range map[string]string{"Escape": Escape(s), "EscapeLines": EscapeLines(s)} {
			if !inert(got) || got == "" {
				t.Errorf("%s(%q) = %q", name, s, got)
			}
		}
		var b bytes.Buffer
		if err := WriteTable(&b, []string{"A"}, [][]string{{s}}); err != nil || !inert(b.String()) {
			t.Errorf("table of %q = %q, %v", s, b.String(), err)
		}
	}
}

func TestPlainTextStays(t *testing.T) {
	for _, s := range []string{"", "abc", "主机 web1", "naïve é", "👩‍🔧", "नमस्ते", "a\ufffdb"} {
		if got := Escape(s); got != s {
			t.Errorf("Escape(%q) = %q", s, got)
		}
	}
	if got := EscapeLines("a\tb\r\nc\n"); got != "a\tb\nc\n" {
		t.Errorf("EscapeLines = %q", got)
	}
}

// FuzzEscape checks that no text controls a terminal.
func FuzzEscape(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := Escape(s); !inert(got) || strings.Contains(got, "\n") {
			t.Errorf("Escape(%q) = %q", s, got)
		}
	})
}
