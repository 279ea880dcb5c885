package notify

import (
	"testing"
	"time"

	"hostler.dev/hostler/internal/wait"
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
			if got := wait.Jitter(d, retryJitter); got < d*4/5 || got > d*6/5 {
				t.Fatalf("%v became %v", d, got)
			}
		}
	}
	if n := len(DefaultRetry()) + 1; n != 10 || total.Round(time.Hour) != 76*time.Hour {
		t.Errorf("%d tries in %v", n, total)
	}
}
