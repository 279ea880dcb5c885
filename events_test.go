package hostler_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
)

// TestEventsDocument compares the tables of docs/events*.md with the code. To
// update them: UPDATE_DOCS=1 go test -run TestEventsDocument .
func TestEventsDocument(t *testing.T) {
	const begin, end = "<!-- types -->\n", "<!-- end of types -->\n"
	for file, lang := range map[string]hostler.Lang{"docs/events.md": hostler.LangEN, "docs/events.zh.md": hostler.LangZH} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, rest, ok := strings.Cut(string(text), begin)
		got, tail, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no %q … %q", file, begin, end)
		}
		var want strings.Builder
		want.WriteString(map[hostler.Lang]string{hostler.LangEN: "| type | when |\n|---|---|\n", hostler.LangZH: "| 类型 | 何时 |\n|---|---|\n"}[lang])
		for _, e := range hostler.EventCatalogue() {
			fmt.Fprintf(&want, "| `%s` | %s |\n", e.Type, e.Text.In(lang))
		}
		if os.Getenv("UPDATE_DOCS") != "" {
			if err := os.WriteFile(file, []byte(head+begin+want.String()+end+tail), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if diff := cmp.Diff(want.String(), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

// Each state that a job can come into has an event.
func TestEveryStateHasAnEvent(t *testing.T) {
	for _, s := range hostler.States() {
		want := hostler.EventType("job." + s)
		if s == hostler.StateRunning {
			want = hostler.EventJobStarted
		}
		found := false
		for _, typ := range hostler.EventTypes() {
			found = found || typ == want
		}
		if !found {
			t.Errorf("%s is not in the catalogue", want)
		}
	}
}

// TestSettlesJob checks every type of event against the states that it may state.
func TestSettlesJob(t *testing.T) {
	settling := map[hostler.EventType]bool{
		hostler.EventJobSucceeded: true, hostler.EventJobFailed: true, hostler.EventJobCancelled: true,
		hostler.EventJobExpired: true, hostler.EventJobUnknown: true,
	}
	for _, typ := range hostler.EventTypes() {
		if got := typ.SettlesJob(); got != settling[typ] {
			t.Errorf("%s.SettlesJob() = %v, want %v", typ, got, settling[typ])
		}
	}
}

func TestEventPatterns(t *testing.T) {
	for _, c := range []struct {
		typ     hostler.EventType
		pattern string
		want    bool
	}{
		{hostler.EventJobFailed, "job.failed", true},
		{hostler.EventJobFailed, "job.*", true},
		{hostler.EventJobFailed, "*", true},
		{hostler.EventJobFailed, "job", false},
		{hostler.EventJobFailed, "", false},
		{hostler.EventJobFailed, "asset.*", false},
		{hostler.EventJobFailed, "JOB.FAILED", false},
	} {
		if got := c.typ.Matches(c.pattern); got != c.want {
			t.Errorf("%s matches %q: %v", c.typ, c.pattern, got)
		}
	}
	for pattern, ok := range map[string]bool{"job.*": true, "*": true, "worker.lost": true, "job.exploded": false, "": false, "x*": false} {
		if err := hostler.CheckEventPattern("type", pattern); (err == nil) != ok {
			t.Errorf("check of %q: %v", pattern, err)
		}
	}
}
