package app

import (
	"encoding/json"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// What a job does is not known while its args look up outputs: it counts as one that changes
// its host and is not repeated.
func TestLateArgsAreNotTrusted(t *testing.T) {
	reads := &action.Action{Name: "reads", Traits: func(json.RawMessage) action.Traits {
		return action.Traits{Idempotent: true}
	}}
	for late, want := range map[bool]struct {
		lost hostler.OnLost
		lane string
	}{false: {hostler.OnLostRetry, hostler.LaneNone}, true: {hostler.OnLostAsk, hostler.LaneAsset}} {
		p := &plan{act: reads, lane: hostler.LaneDefault, onAssets: true}
		p.setLane(hostler.JobRequest{}, late)
		if p.spec.OnLost != want.lost || p.lane != want.lane {
			t.Errorf("late %t: on_lost %s, lane %s", late, p.spec.OnLost, p.lane)
		}
	}
}

// A host that prints the name of a credential does not choose it.
func TestOutputsNameNoCredential(t *testing.T) {
	sudo := &action.Action{Name: "sudo", Credentials: func(args json.RawMessage) (uses []action.CredentialUse) {
		var in struct{ Sudo, Stdin string }
		if json.Unmarshal(args, &in) == nil {
			for _, name := range []string{in.Sudo, in.Stdin} {
				if name != "" {
					uses = append(uses, action.CredentialUse{Name: name, Use: hostler.UseSudo})
				}
			}
		}
		return uses
	}}
	for before, c := range map[string]struct {
		after string
		code  hostler.Code
	}{
		`{"sudo":"ops"}`:                                    {`{"sudo":"ops"}`, ""},
		`{"sudo":"${{ steps.a.outputs.v }}"}`:               {`{"sudo":"root"}`, hostler.CodeInvalid},
		`{"sudo":"ops","x":"${{ steps.a.outputs.v }}"}`:     {`{"sudo":"ops","stdin":"root"}`, hostler.CodeInvalid},
		`{"sudo":"ops","x":"${{ steps.a.outputs.other }}"}`: {`{"sudo":"ops","x":"root"}`, ""},
	} {
		if err := sameCredentials(sudo, json.RawMessage(before), json.RawMessage(c.after)); hostler.CodeOf(err) != c.code {
			t.Errorf("%s → %s: %v, want %q", before, c.after, err, c.code)
		}
	}
}
