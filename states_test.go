package hostler_test

import (
	"cmp"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store/schema"
)

// TestStatesAgree compares the state machine in Go with the diagram in the
// documents and with the CHECKs of the schema.
func TestStatesAgree(t *testing.T) {
	text, err := os.ReadFile("docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)

	want := sorted(hostler.Transitions())
	if diff := gocmp.Diff(want, sorted(drawn(doc))); diff != "" {
		t.Errorf("transitions of the diagram (-code +diagram):\n%s", diff)
	}

	var terminal []string
	for _, s := range hostler.States() {
		ends := strings.Contains(doc, "    "+string(s)+" --> [*]\n")
		if ends != s.Terminal() {
			t.Errorf("%s: the diagram ends there: %t; Terminal() = %t", s, ends, s.Terminal())
		}
		if !strings.Contains(doc, "| "+string(s)+" | ") {
			t.Errorf("%s is not in the table of states", s)
		}
		if s.Terminal() {
			terminal = append(terminal, string(s))
		}
	}
	if diff := gocmp.Diff(terminal, checked(t, historyTable(t), "state")); diff != "" {
		t.Errorf("states of the history table (-code +CHECK):\n%s", diff)
	}
	for _, tr := range hostler.Transitions() {
		if !strings.Contains(doc, "\n| "+string(tr.Cause)+" | ") {
			t.Errorf("%s is not in the table of causes", tr.Cause)
		}
	}
}

// TestAttemptOutcomesAreCauses: what the schema lets an unfinished attempt be is
// a cause that leaves running for a live state, or the state unknown.
func TestAttemptOutcomesAreCauses(t *testing.T) {
	schema, err := schema.Migrations.ReadFile("main/00001_init.sql")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, tr := range hostler.Transitions() {
		if tr.From != hostler.StateRunning || tr.To.Terminal() {
			continue
		}
		outcome := string(tr.Cause)
		if tr.To == hostler.StateUnknown {
			outcome = string(tr.To)
		}
		if !slices.Contains(want, outcome) {
			want = append(want, outcome)
		}
	}
	if diff := gocmp.Diff(want, checked(t, string(schema), "outcome")); diff != "" {
		t.Errorf("outcomes of attempts (-code +CHECK):\n%s", diff)
	}
}

// historyTable is the part of the first migration that creates the history.
func historyTable(t *testing.T) string {
	t.Helper()
	text, err := schema.Migrations.ReadFile("main/00001_init.sql")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "CREATE TABLE ${HISTORY} (")
	if !ok {
		t.Fatal("the first migration does not create the history")
	}
	return table
}

func TestTerminalStatesAreFinal(t *testing.T) {
	for _, tr := range hostler.Transitions() {
		if tr.From.Terminal() {
			t.Errorf("%s is terminal, yet %s leads to %s", tr.From, tr.Cause, tr.To)
		}
	}
	if hostler.CanChange(hostler.StateSucceeded, hostler.CauseRetry, hostler.StateQueued) {
		t.Error("an ended job may be queued again")
	}
}

var arrow = regexp.MustCompile(`(?m)^ +(\w+) --> (\w+) : (\w+)$`)

func drawn(doc string) []hostler.Transition {
	var all []hostler.Transition
	for _, m := range arrow.FindAllStringSubmatch(doc, -1) {
		all = append(all, hostler.Transition{
			From: hostler.State(m[1]), To: hostler.State(m[2]), Cause: hostler.Cause(m[3]),
		})
	}
	return all
}

// checked lists the values of the CHECK (column IN (…)) in sql.
func checked(t *testing.T, sql, column string) []string {
	t.Helper()
	m := regexp.MustCompile(`CHECK \(` + column + ` IN \(([^)]*)\)`).FindStringSubmatch(sql)
	if m == nil {
		t.Fatalf("the schema has no CHECK on %s", column)
	}
	var values []string
	for value := range strings.SplitSeq(m[1], ",") {
		values = append(values, strings.Trim(strings.TrimSpace(value), "'"))
	}
	return values
}

func sorted(all []hostler.Transition) []hostler.Transition {
	return slices.SortedFunc(slices.Values(all), func(a, b hostler.Transition) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Cause, b.Cause))
	})
}
