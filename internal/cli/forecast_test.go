package cli

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"hostler.dev/hostler"
)

// TestDrawFires: a line for each day, no wider than a terminal, with the runs of each hour.
func TestDrawFires(t *testing.T) {
	from := time.Date(2026, 10, 24, 9, 0, 0, 0, time.UTC)
	at := func(hours int, over bool) hostler.ForecastFire {
		start := from.Add(time.Duration(hours) * time.Hour)
		return hostler.ForecastFire{At: start, Start: &start, Over: over}
	}
	f := hostler.Forecast{From: from, To: from.AddDate(0, 0, 2), Fires: []hostler.ForecastFire{
		at(0, false), at(0, false), at(15, true), {At: from},
	}}
	for range 12 {
		f.Fires = append(f.Fires, at(20, false))
	}
	lines := strings.Split(strings.TrimSpace(drawFires(f, time.UTC)), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[1], "Sat 2026-10-24  · · · · · · · · · 2 ·") ||
		!strings.HasPrefix(lines[2], "Sun 2026-10-25  1!· · · · + ") {
		t.Errorf("drawn\n%s", strings.Join(lines, "\n"))
	}
	for _, l := range lines {
		if utf8.RuneCountInString(l) > 80 {
			t.Errorf("wider than a terminal: %q", l)
		}
	}
}
