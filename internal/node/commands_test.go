package node_test

import (
	"encoding/json"
	"testing"

	"hostler.dev/hostler/internal/node"
)

// Command rules see what an action runs only if it declares that.
func TestActionsThatChangeHostsDeclareTheirCommands(t *testing.T) {
	n, err := node.New(node.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	declared := 0
	for _, a := range n.Actions().List() {
		if a.Commands != nil {
			declared++
		}
		if a.Traits(json.RawMessage(`{}`)).Changes && a.Commands == nil {
			t.Errorf("%s may change a host and declares no commands", a.Name)
		}
	}
	if declared < 6 {
		t.Errorf("%d actions declare commands", declared)
	}
}
