package cli

import (
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/cli/term"
)

func TestSparkline(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 3, n, 0, 0, 0, 0, time.UTC) }
	point := func(n int, count int64) hostler.StatsPoint {
		return hostler.StatsPoint{At: day(n), Figures: hostler.Figures{Count: count}}
	}
	week := hostler.Stats{From: day(1), To: day(8), Step: hostler.StatsDay}
	if got := sparkline(counts(week, []hostler.StatsPoint{point(1, 1), point(3, 100), point(7, 50)})); got != "▁·█···▄" {
		t.Errorf("a week: %q", got)
	}
	year := hostler.Stats{From: day(1), To: day(1).AddDate(1, 0, 0), Step: hostler.StatsDay}
	got := sparkline(counts(year, []hostler.StatsPoint{point(1, 3), point(400, 5)}))
	if term.Width(got) > sparkCells || got[:3] != "█" {
		t.Errorf("a year: %q", got)
	}
	if got := sparkline(counts(week, nil)); got != "·······" {
		t.Errorf("nothing: %q", got)
	}
}

func TestBars(t *testing.T) {
	for _, tt := range []struct {
		count, failed, most int64
		want                string
	}{
		{100, 0, 100, "████████████████"},
		{100, 1, 100, "███████████████░"},
		{100, 100, 100, "░░░░░░░░░░░░░░░░"},
		{1, 0, 1_000_000, "█"},
		{0, 0, 0, ""},
	} {
		if got := bar(hostler.Figures{Count: tt.count, Failure: tt.failed}, tt.most); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

// TestStatsFit80Columns: with long names and large figures, in both languages, the columns
// that are never left out fit into 80 cells.
func TestStatsFit80Columns(t *testing.T) {
	rate, change := 0.123, -0.99
	item := hostler.StatsItem{Name: "restart_service_x", Figures: hostler.Figures{
		Count: 10_000_000, Failure: 10, SuccessRate: &rate,
		Run:  hostler.Times{P50: 3599.999, P95: 86399.999},
		Wait: hostler.Times{P50: 3599.999, P95: 86399.999},
	}, Trend: hostler.Trend{Count: &change, RunP95: &change}}
	cols := statsColumns(hostler.Stats{})
	for _, lang := range []hostler.Lang{hostler.LangEN, hostler.LangZH} {
		a := &app{lang: lang}
		kept := fitColumns(a, []hostler.StatsItem{item}, cols, 80, optionalStats)
		if w := tableWidth(a, []hostler.StatsItem{item}, kept); w > 80 || len(kept) < 5 || len(kept) == len(cols) {
			t.Errorf("%s: %d columns of %d are %d wide", lang, len(kept), len(cols), w)
		}
	}
}
