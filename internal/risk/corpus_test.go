package risk_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"hostler.dev/hostler/internal/risk"
)

func builtins(t testing.TB) *risk.Set {
	t.Helper()
	s, err := risk.NewSet(risk.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type entry struct {
	kind    risk.Kind
	rule    string
	command string
}

// corpus reads a file of testdata; entries of harmful commands name their rule.
func corpus(t testing.TB, name string, rules bool) []entry {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var out []entry
	for line := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n") {
		if strings.HasPrefix(line, "# ") {
			continue
		}
		kind, rest, _ := strings.Cut(line, " ")
		e := entry{kind: map[string]risk.Kind{"shell": risk.Shell, "device": risk.Device}[kind]}
		if rules {
			e.rule, rest, _ = strings.Cut(rest, " ")
		}
		e.command = strings.ReplaceAll(rest, "⏎", "\n")
		out = append(out, e)
	}
	return out
}

func judge(s *risk.Set, e entry) []risk.Finding {
	return s.Judge(risk.Command{Path: "command", Kind: e.kind, Text: e.command})
}

// No harmful command of the corpus passes, and each is found by the rule that describes it.
func TestHarmfulCommandsAreFound(t *testing.T) {
	s, all := builtins(t), corpus(t, "harmful.txt", true)
	for _, e := range all {
		found := judge(s, e)
		if !slices.ContainsFunc(found, func(f risk.Finding) bool { return f.Rule == e.rule && f.Certain }) {
			t.Errorf("missed: %q: want %s, got %+v", e.command, e.rule, found)
		}
	}
	if len(all) < 300 {
		t.Errorf("only %d harmful commands", len(all))
	}
}

// At most two of a hundred harmless commands are refused.
func TestHarmlessCommandsPass(t *testing.T) {
	s, all := builtins(t), corpus(t, "harmless.txt", false)
	refused := 0
	for _, e := range all {
		if found := judge(s, e); len(found) > 0 {
			refused++
			t.Logf("refused: %q: %+v", e.command, found)
		}
	}
	if len(all) < 100 || refused*100 > len(all)*2 {
		t.Errorf("%d of %d harmless commands are refused", refused, len(all))
	}
}

// Every built-in rule has a command in the corpus, except those for what is not known.
func TestEveryRuleIsInTheCorpus(t *testing.T) {
	all := corpus(t, "harmful.txt", true)
	for _, r := range risk.Builtin() {
		if r.Name != risk.TooComplex && r.Name != risk.UnknownCommand &&
			!slices.ContainsFunc(all, func(e entry) bool { return e.rule == r.Name }) {
			t.Errorf("no harmful command for the rule %s", r.Name)
		}
		if r.Title.EN == "" || r.Title.ZH == "" || r.Effect == "" || r.Unknown == "" {
			t.Errorf("the rule %s is not complete: %+v", r.Name, r)
		}
	}
}
