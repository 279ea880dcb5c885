package action

import (
	"encoding/json"
	"fmt"
	"testing"

	"hostler.dev/hostler"
)

// TestArgsAreCheckedOnce counts the checks of an action: those of args that it accepted
// are not repeated, and those of args that it refused are.
func TestArgsAreCheckedOnce(t *testing.T) {
	checks := 0
	check := func(args json.RawMessage) []hostler.FieldError {
		checks++
		if string(args) == `{"n":0}` {
			return []hostler.FieldError{{Path: "n", Text: hostler.Text{EN: "is 0", ZH: "为 0"}}}
		}
		return nil
	}
	a := func(name string) Action {
		return Action{Name: name, Aliases: []string{name + "-alias"}, Schema: json.RawMessage(`{"type":"object"}`), Check: check}
	}
	r, err := NewRegistry(a("x"), a("y"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, args string
		valid      bool
		checks     int // in all
	}{
		{"x", `{"n":1}`, true, 1},
		{"x", `{"n":1}`, true, 1},
		{"x-alias", `{"n":1}`, true, 1},
		{"y", `{"n":1}`, true, 2},
		{"x", `{"n":0}`, false, 3},
		{"x", `{"n":0}`, false, 4},
		{"x", `{"n":2}`, true, 5},
	} {
		if err := r.Validate(tt.name, json.RawMessage(tt.args)); (err == nil) != tt.valid || checks != tt.checks {
			t.Errorf("%s %s: %v after %d checks, want %d", tt.name, tt.args, err, checks, tt.checks)
		}
	}
	for i := range 10_000 { // more than are remembered
		if err := r.Validate("x", json.RawMessage(fmt.Sprintf(`{"n":%d}`, i+3))); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Validate("x", json.RawMessage(`{"n":0}`)); err == nil {
		t.Error("refused args are accepted")
	}
}
