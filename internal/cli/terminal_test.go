package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

// hostile is what a job, a host name or a label may hold.
var hostile = []string{
	"\x1b[2J\x1b]0;title\x07", "\x1b]52;c;ZXZpbA==\x07", "\u009b31m", "\u0085", "a\rb", "\x00\x08\x7f",
	"user\u202eresu", "\u2066x\u2069", "zero\u200bwidth", "\u2028", "\U000e0041", "\xff\xfe", "\ufeff",
}

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
		for name, got := range map[string]string{"clean": clean(s), "cleanText": cleanText(s)} {
			if !inert(got) || got == "" {
				t.Errorf("%s(%q) = %q", name, s, got)
			}
		}
		var b bytes.Buffer
		if err := writeTable(&b, []string{"A"}, [][]string{{s}}); err != nil || !inert(b.String()) {
			t.Errorf("table of %q = %q, %v", s, b.String(), err)
		}
	}
}

func TestStructuredOutputIsInertAndFaithful(t *testing.T) {
	for _, s := range hostile {
		if !utf8.ValidString(s) {
			continue // cannot come out of the API's JSON
		}
		want := map[string]string{"k": s, "n": "a\nb\tc", "z": "中文"}
		for _, format := range []string{"json", "yaml"} {
			var b bytes.Buffer
			a := &app{out: &b, output: format}
			if err := a.structured(want); err != nil {
				t.Fatal(err)
			}
			if !inert(b.String()) {
				t.Errorf("%s of %q is not inert: %q", format, s, b.String())
			}
			got := map[string]string{}
			read := json.Unmarshal
			if format == "yaml" {
				read = func(text []byte, v any) error { return yaml.Unmarshal(text, v) }
			}
			if err := read(b.Bytes(), &got); err != nil {
				t.Fatalf("%s of %q: %v\n%s", format, s, err, b.String())
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", format, diff)
			}
		}
	}
}

func TestPlainTextStays(t *testing.T) {
	for _, s := range []string{"", "abc", "主机 web1", "naïve é", "👩‍🔧", "नमस्ते", "a\ufffdb"} {
		if got := clean(s); got != s {
			t.Errorf("clean(%q) = %q", s, got)
		}
	}
	if got := cleanText("a\tb\r\nc\n"); got != "a\tb\nc\n" {
		t.Errorf("cleanText = %q", got)
	}
}

func TestTableAlignsWideText(t *testing.T) {
	var b bytes.Buffer
	err := writeTable(&b, []string{"名称", "STATE"}, [][]string{{"核心交换机", "ok"}, {"web1", "x"}, {"é", "y"}})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"名称        STATE",
		"核心交换机  ok",
		"web1        x",
		"é           y",
		"",
	}, "\n")
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		in   string
		most int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"中文字", 5, "中文…"}, {"中文字", 4, "中…"}} {
		if got := cut(tt.in, tt.most); got != tt.want || columns(got) > tt.most {
			t.Errorf("cut(%q, %d) = %q", tt.in, tt.most, got)
		}
	}
}

// FuzzClean: no text makes a terminal do anything.
func FuzzClean(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := clean(s); !inert(got) || strings.Contains(got, "\n") {
			t.Errorf("clean(%q) = %q", s, got)
		}
	})
}
