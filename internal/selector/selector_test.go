package selector

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	term := func(key string, op Op, values ...string) Term { return Term{key, op, values} }
	for text, want := range map[string]Selector{
		"":                                nil,
		"app=web":                         {term("app", In, "web")},
		"app==web , env != test":          {term("app", In, "web"), term("env", NotIn, "test")},
		"app=web,app=db":                  {term("app", In, "web", "db")},
		"app in (web, db),app=x":          {term("app", In, "web", "db", "x")},
		"env notin (a,b)":                 {term("env", NotIn, "a", "b")},
		"rack, ! floor":                   {term("rack", Exists), term("floor", Absent)},
		`note="a, (b)",example.com/r=one`: {term("note", In, "a, (b)"), term("example.com/r", In, "one")},
		"app=":                            {term("app", In, "")},
		"角色=数据库":                          {term("角色", In, "数据库")},
		"in in (in)":                      {term("in", In, "in")},
		"a=b c":                           {term("a", In, "b c")},
	} {
		got, err := Parse(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		" ", ",", "a,", "=x", "!=x", "a=b=c", "a in", "a in b", "a in (b", "a in (b))", "a b", `a="b`, "a,,b", "!a=b", "(a)",
		strings.Repeat("a", MaxLength+1), strings.Repeat("a!=b,", MaxTerms) + "c",
		"a in (" + strings.Repeat("b,", MaxValues) + "c)",
	} {
		if s, err := Parse(text); err == nil {
			t.Errorf("%.30q is %v", text, s)
		}
	}
}

func TestMatch(t *testing.T) {
	labels := map[string]string{"app": "web", "env": "live", "empty": ""}
	for text, want := range map[string]bool{
		"":                                     true,
		"app=web":                              true,
		"app=db":                               false,
		"app=db,app=web":                       true,
		"env!=test":                            true,
		"env!=live":                            false,
		"rack!=7":                              true,
		"rack":                                 false,
		"!rack":                                true,
		"empty":                                true,
		"empty=":                               true,
		"app in (web,db),env notin (test,dev)": true,
		"app=web,env=test":                     false,
	} {
		s, err := Parse(text)
		if err != nil || s.Match(labels) != want {
			t.Errorf("%q matches: %v, %v", text, !want, err)
		}
	}
}

// TestEveryTextEndsParsing: a text is read in full or refused, and parsing its terms again
// gives the same.
func TestEveryTextEndsParsing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ab=!,() "in]{0,24}`).Draw(t, "text")
		s, err := Parse(text)
		if err != nil {
			return
		}
		if len(s) == 0 && text != "" {
			t.Fatalf("%q selects everything", text)
		}
		var texts []string
		for _, term := range s {
			texts = append(texts, term.String())
		}
		again, err := Parse(strings.Join(texts, ","))
		if diff := cmp.Diff(s, again); diff != "" || err != nil {
			t.Fatalf("%q again: %v (-want +got):\n%s", text, err, diff)
		}
	})
}
