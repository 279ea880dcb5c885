package cli

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/cli/term"
)

// newApp returns an invocation without a terminal, and its two streams.
func newApp(lang hostler.Lang) (*app, *bytes.Buffer, *bytes.Buffer) {
	var out, err bytes.Buffer
	in := term.NewInput(strings.NewReader(""), nil)
	return &app{in: in, out: &out, err: &err, lang: lang, now: time.Now}, &out, &err
}

// TestEveryCommandIsDocumentedInBothLanguages walks the whole tree.
func TestEveryCommandIsDocumentedInBothLanguages(t *testing.T) {
	en, _, _ := newApp(hostler.LangEN)
	zh, _, _ := newApp(hostler.LangZH)
	english, chinese := texts(en.root()), texts(zh.root())
	if len(english) < 50 {
		t.Fatalf("only %d commands were found", len(english))
	}
	for path, e := range english {
		c := chinese[path]
		for what, pair := range map[string][2]string{"Short": {e.short, c.short}, "Long": {e.long, c.long}} {
			if pair[0] == "" || hasHan(pair[0]) {
				t.Errorf("%s: English %s is %q", path, what, pair[0])
			}
			if !hasHan(pair[1]) {
				t.Errorf("%s: Chinese %s is %q", path, what, pair[1])
			}
		}
		if !strings.Contains(e.example, path) {
			t.Errorf("%s: the example %q does not show it", path, e.example)
		}
		for flag, usage := range e.flags {
			if usage == "" || hasHan(usage) || !hasHan(c.flags[flag]) {
				t.Errorf("%s --%s: %q, %q", path, flag, usage, c.flags[flag])
			}
		}
	}
}

type helpTexts struct {
	short, long, example string
	flags                map[string]string
}

func texts(root *cobra.Command) map[string]helpTexts {
	all := map[string]helpTexts{}
	eachCommand(root, func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		h := helpTexts{c.Short, c.Long, c.Example, map[string]string{}}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { h.flags[f.Name] = f.Usage })
		all[c.CommandPath()] = h
	})
	return all
}

func hasHan(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Han, r) })
}

func TestLanguage(t *testing.T) {
	tests := []struct {
		env  map[string]string
		want hostler.Lang
	}{
		{nil, hostler.LangEN},
		{map[string]string{"LANG": "zh_CN.UTF-8"}, hostler.LangZH},
		{map[string]string{"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, hostler.LangEN},
		{map[string]string{"LC_MESSAGES": "zh_TW", "LANG": "en_US"}, hostler.LangZH},
		{map[string]string{"LC_ALL": "en_US", "HOSTLER_LANG": "zh"}, hostler.LangZH},
	}
	for _, tt := range tests {
		if got := language(func(k string) string { return tt.env[k] }); got != tt.want {
			t.Errorf("language(%v) = %s, want %s", tt.env, got, tt.want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	tests := map[string]struct {
		err  error
		want int
	}{
		"none":        {nil, 0},
		"invalid":     {hostler.Invalid("x", "no", "否"), 2},
		"forbidden":   {hostler.Errorf(hostler.CodeForbidden, "no", "否"), 4},
		"unavailable": {hostler.Errorf(hostler.CodeUnavailable, "no", "否"), 8},
		"interrupted": {context.Canceled, 130},
		"outcome":     {&outcomeError{exitUnknown}, 3},
	}
	for name, tt := range tests {
		a, _, _ := newApp(hostler.LangEN)
		if got := a.report(tt.err); got != tt.want {
			t.Errorf("%s: exit code %d, want %d", name, got, tt.want)
		}
	}
}

func TestOutcome(t *testing.T) {
	tests := []struct {
		states map[hostler.State]int
		want   int
	}{
		{map[hostler.State]int{hostler.StateSucceeded: 3}, 0},
		{map[hostler.State]int{hostler.StateSucceeded: 3, hostler.StateFailed: 0}, 0},
		{map[hostler.State]int{hostler.StateSucceeded: 3, hostler.StateFailed: 1}, exitNotSucceeded},
		{map[hostler.State]int{hostler.StateExpired: 1}, exitNotSucceeded},
		{map[hostler.State]int{hostler.StateFailed: 1, hostler.StateUnknown: 1}, exitUnknown},
	}
	for _, tt := range tests {
		a, _, _ := newApp(hostler.LangEN)
		if got := a.report(outcomeOf(tt.states)); got != tt.want {
			t.Errorf("outcomeOf(%v) = %d, want %d", tt.states, got, tt.want)
		}
	}
}

func TestArity(t *testing.T) {
	for use, want := range map[string][2]int{
		"list": {0, 0}, "get A": {1, 1}, "run A [flags]": {1, 1}, "delete A...": {1, -1},
		"cancel [A...] [flags]": {0, -1}, "x A B": {2, 2}, "x A [B]": {1, 2},
	} {
		least, most := arity(use)
		if diff := cmp.Diff(want, [2]int{least, most}); diff != "" {
			t.Errorf("arity(%q) (-want +got):\n%s", use, diff)
		}
	}
}

func TestErrorsOfUseAreBilingual(t *testing.T) {
	for _, args := range [][]string{
		{"nonsense"},
		{"job", "lst"},
		{"asset", "get"},
		{"job", "list", "--nonsense"},
		{"job", "list", "-o", "xml"},
		{"job", "list", "--state", "done"},
		{"job", "list", "-x"},
		{"job", "list", "--state"},
		{"job", "list", "--limit", "many"},
		{"events", "--after", "-5"},
		{"asset", "add", "w", "--label", "x"},
		{"job", "get", "7"},
		{"job", "cancel"},
	} {
		for lang, han := range map[hostler.Lang]bool{hostler.LangEN: false, hostler.LangZH: true} {
			t.Setenv("HOSTLER_CONTEXT_FILE", os.DevNull)
			a, out, err := newApp(lang)
			if code := a.run(t.Context(), args); code != 2 {
				t.Errorf("%v: exit code %d, want 2", args, code)
			}
			if out.Len() > 0 || err.Len() == 0 || hasHan(err.String()) != han {
				t.Errorf("%v in %s: stdout %q, stderr %q", args, lang, out, err)
			}
		}
	}
}

func TestHelpInChinese(t *testing.T) {
	a, _, _ := newApp(hostler.LangZH)
	english := regexp.MustCompile(`\(default|Usage:|Flags:|Examples:|Commands:|\[flags\]|\[command\]|` +
		`--[a-z-]+ (string|int|duration|time|state)(\s|$)`)
	eachCommand(a.root(), func(c *cobra.Command) {
		if word := english.FindString(c.UsageString()); word != "" {
			t.Errorf("%s --help contains %q:\n%s", c.CommandPath(), word, c.UsageString())
		}
		for _, word := range regexp.MustCompile(`[A-Z]{2,}`).FindAllString(c.Use, -1) {
			if placeholders[word] != word {
				t.Errorf("%s: no Chinese word for the argument %s", c.CommandPath(), word)
			}
		}
	})
}

// TestHelpFitsATerminal: examples and use lines are command lines, which are not broken.
func TestHelpFitsATerminal(t *testing.T) {
	for _, lang := range []hostler.Lang{hostler.LangEN, hostler.LangZH} {
		a, _, _ := newApp(lang)
		eachCommand(a.root(), func(c *cobra.Command) {
			for line := range strings.Lines(c.Long + "\n" + c.UsageString()) {
				if term.Width(line) > helpWidth+1 && !strings.HasPrefix(line, "  hostler ") {
					t.Errorf("%s: %d cells: %s", c.CommandPath(), term.Width(line), line)
				}
			}
		})
	}
}

func TestChineseFlagsAreAligned(t *testing.T) {
	var s string
	var b bool
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.StringVarP(&s, "output", "o", "", "输出格式")
	flags.BoolVar(&b, "wait", false, "等待结果")
	a, _, _ := newApp(hostler.LangZH)
	flags.VisitAll(a.describeFlag)
	want := "  -o, --output 文本   输出格式\n      --wait          等待结果"
	if diff := cmp.Diff(want, flagUsages(flags)); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
}

// TestFlagErrorsInChinese checks that Chinese errors have no English words of pflag.
func TestFlagErrorsInChinese(t *testing.T) {
	for want, args := range map[string][]string{
		"没有选项 --nonsense；参见 'hostler job list --help'":                       {"job", "list", "--nonsense"},
		"没有选项 -x；参见 'hostler job list --help'":                               {"job", "list", "-x"},
		"选项 --state 需要一个值；参见 'hostler job list --help'":                      {"job", "list", "--state"},
		"选项 --limit 的值 \"many\" 无效；参见 'hostler job list --help'":             {"job", "list", "--limit", "many"},
		"选项 --label 的值 \"x\" 无效：请写成 key=value；参见 'hostler asset add --help'": {"asset", "add", "w", "--label", "x"},
	} {
		a, _, err := newApp(hostler.LangZH)
		if a.run(t.Context(), args); err.String() != "hostler: "+want+"\n" {
			t.Errorf("%v: %s, want %s", args, err, want)
		}
	}
}

func TestMergePairs(t *testing.T) {
	got := mergePairs(map[string]string{"a": "1", "b": "2"}, map[string]string{"b": "", "c": "3"})
	if diff := cmp.Diff(map[string]string{"a": "1", "c": "3"}, got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestTimeFlag(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"2h":                   now.Add(-2 * time.Hour),
		"2026-01-31T18:00:00Z": time.Date(2026, 1, 31, 18, 0, 0, 0, time.UTC),
		"2026-01-31":           time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local),
	} {
		var got *time.Time
		if err := (timeFlag{&got, func() time.Time { return now }}).Set(in); err != nil || !got.Equal(want) {
			t.Errorf("time %q = %v, %v; want %v", in, got, err, want)
		}
	}
}
