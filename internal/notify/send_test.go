package notify

import (
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// TestRetryAfter: seconds or a date, and nothing that would hold a delivery for
// longer than longestWait.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	for h, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, " 120 ": 2 * time.Minute, "-5": 0, "1.5": 0, "soon": 0, "0x10": 0,
		"86401": longestWait, "99999999999": longestWait, "999999999999999999999999": longestWait,
		"Sat, 31 Jan 2026 11:00:00 GMT":    time.Hour,
		"Saturday, 31-Jan-26 10:00:30 GMT": 30 * time.Second,
		"Fri, 30 Jan 2026 11:00:00 GMT":    0,
		"Thu, 31 Dec 9999 23:59:59 GMT":    longestWait,
	} {
		if got := retryAfter(h, now); got != want {
			t.Errorf("Retry-After: %s: %v, want %v", h, got, want)
		}
	}
}

// TestJitter: a wait is spread by a fifth at most, so that ten tries take about 75
// hours.
func TestJitter(t *testing.T) {
	var total time.Duration
	for _, d := range DefaultRetry() {
		total += d
		for range 100 {
			if got := jittered(d); got < d*4/5 || got > d*6/5 {
				t.Fatalf("%v became %v", d, got)
			}
		}
	}
	if n := len(DefaultRetry()) + 1; n != 10 || total.Round(time.Hour) != 76*time.Hour {
		t.Errorf("%d tries in %v", n, total)
	}
}

// TestRunsOfADeadHost: a round does not read the webhooks of runs that find no
// place, however many they are, and as many as there are places once there are.
func TestRunsOfADeadHost(t *testing.T) {
	n := New(Config{})
	hook := func(id hostler.WebhookID, run hostler.RunID) store.WebhookRow {
		return store.WebhookRow{Run: run, Webhook: hostler.Webhook{ID: id, URL: "http://dead.example.com/", Limit: 4}}
	}
	for id := range hostler.WebhookID(1000) {
		n.reserve(hook(id+1, 7))
	}
	named := hook(2000, 0)
	n.reserve(named)
	due := func() (ids []hostler.WebhookID) {
		for id := range hostler.WebhookID(1000) {
			ids = append(ids, id+1)
		}
		return append(ids, named.ID, 3000)
	}
	// The one that got the places may have more to send; the named one may have been
	// changed; nothing is known of 3000.
	if got := n.startable(due()); len(got) != 3 {
		t.Errorf("with all places taken %d webhooks are read, want 3", len(got))
	}
	n.release(hook(1, 7), 1)
	if got := n.startable(due()); len(got) != 4 {
		t.Errorf("with one place %d webhooks are read, want 4", len(got))
	}
}
