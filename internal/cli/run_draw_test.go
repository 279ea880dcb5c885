package cli

import (
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/cli/term"
)

// TestPictureOfARun: each step has a line below those that it needs, no line is wider than
// the terminal, and steps that do not fit are counted.
func TestPictureOfARun(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := hostler.Run{State: hostler.RunRunning, Name: "game-update", Version: 3, StartedAt: &began, Steps: []hostler.RunStep{
		{ID: "stop", Action: "ssh_command", State: hostler.StepSucceeded, Hosts: 4, Succeeded: 4},
		{ID: "update", Action: "ssh_script", Needs: []string{"stop"}, State: hostler.StepRunning, Hosts: 4, Succeeded: 1, Failed: 1},
		{ID: "check-a-very-long-name-of-a-step-that-does-not-fit", Action: "check_port", Needs: []string{"stop"}, State: hostler.StepPending},
		{ID: "open", Action: "ssh_command", Needs: []string{"update", "check"}, State: hostler.StepPending},
	}}
	p := picture{width: 79, height: 24, now: began.Add(90 * time.Second), lang: hostler.LangEN}
	lines := p.draw(r)
	text := strings.Join(lines, "\n")
	for _, want := range []string{"game-update 3  running  1m30s", "✓ stop", "▶ └ update", "█████░░░░░ 2/4 ✗1", "← update, check"} {
		if !strings.Contains(text, want) {
			t.Errorf("the picture lacks %q:\n%s", want, text)
		}
	}
	for _, l := range lines {
		if term.Width(l) > 79 {
			t.Errorf("%d cells wide: %s", term.Width(l), l)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("colours without a terminal that has them")
	}
	p.color = true
	if !strings.Contains(p.draw(r)[1], "\x1b[32m✓") {
		t.Error("no colours")
	}
	for range 60 {
		r.Steps = append(r.Steps, hostler.RunStep{ID: "more", State: hostler.StepPending})
	}
	lines = p.draw(r)
	if len(lines) != 21 || !strings.Contains(lines[20], "more") || !strings.Contains(strings.Join(lines, "\n"), "update") {
		t.Errorf("%d lines of 24:\n%s", len(lines), strings.Join(lines, "\n"))
	}
}
