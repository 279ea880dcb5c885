package netcli_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action/netcli"
	"hostler.dev/hostler/internal/action/netcli/devicetest"
)

// VRP 8 collects lines: all of them are committed, or none.
func TestCandidate(t *testing.T) {
	d := device(t, "127.0.2.1", devicetest.Options{Dialect: devicetest.VRP, Candidate: true, AskFile: true})
	e := newEnv(t, netcli.Options{})
	a := asset(d, devicetest.VRP, "")
	got := e.cli(a, m{"config": []string{"interface LoopBack0", "description managed", "sysname R9"}, "save": true})
	got.MustEnd(t, hostler.OutcomeSucceeded, "")
	want := []string{"description managed", "sysname R9"}
	if diff := cmp.Diff(want, d.Running()); diff != "" {
		t.Errorf("running (-want +got):\n%s", diff)
	}
	if !got.report.Saved || d.Saved() != 1 || got.report.Prompt != "<R9>" {
		t.Errorf("saved %d times, report %+v", d.Saved(), got.report)
	}
	for _, stop := range []bool{true, false} {
		got = e.cli(a, m{"config": []string{"vlan 7", "bogus", "vlan 8"}, "save": true, "stop_on_error": stop})
		got.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
		if !strings.Contains(got.Error.Text.EN, "nothing was committed") ||
			!strings.Contains(got.Error.Text.ZH, "未提交") {
			t.Errorf("error %q / %q", got.Error.Text.EN, got.Error.Text.ZH)
		}
		if diff := cmp.Diff(want, d.Running()); diff != "" {
			t.Errorf("running after a refusal (-want +got):\n%s", diff)
		}
	}
	e.cli(a, m{"config": []string{"vlan 9"}}).MustEnd(t, hostler.OutcomeSucceeded, "")
	if diff := cmp.Diff(append(want, "vlan 9"), d.Running()); diff != "" {
		t.Errorf("running (-want +got):\n%s", diff)
	}
	if d.Saved() != 1 {
		t.Errorf("saved %d times", d.Saved())
	}
}
