package app

import (
	"encoding/json"
	"errors"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/risk"
)

// In a transaction nothing is judged: what was not judged before is refused.
func TestClosedCommandCheck(t *testing.T) {
	loads := 0
	c := newCommandCheck(grant{}, nil, func() ([]hostler.CommandRule, error) {
		loads++
		return nil, nil
	})
	shell := &action.Action{Name: "shell", Commands: func(args json.RawMessage) []risk.Command {
		return []risk.Command{{Kind: risk.Shell, Text: string(args)}}
	}}
	seen := []byte("uptime")
	if err := c.check(shell, seen); err != nil || loads != 1 {
		t.Fatalf("%v after %d reads of the rules", err, loads)
	}
	c.close()
	if err := c.check(shell, seen); err != nil {
		t.Errorf("what was judged is refused: %v", err)
	}
	other := *shell
	other.Name = "other"
	for _, try := range []func() error{
		func() error { return c.check(shell, []byte("reboot")) },
		func() error { return c.check(&other, seen) },
		func() error { c.approved = true; return c.check(shell, seen) },
	} {
		if err := try(); !errors.Is(err, errUnjudged) || hostler.CodeOf(err) != hostler.CodeConflict {
			t.Errorf("what was not judged: %v", err)
		}
	}
	if err := c.check(&action.Action{Name: "check_port"}, nil); err != nil || loads != 1 {
		t.Errorf("an action without commands: %v", err)
	}
}
