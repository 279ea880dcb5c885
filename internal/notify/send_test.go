package notify

import (
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// TestRetryAfter parses seconds and dates, and bounds both by maxRetryAfter.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	for h, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, " 120 ": 2 * time.Minute, "-5": 0, "1.5": 0, "soon": 0, "0x10": 0,
		"86401": maxRetryAfter, "99999999999": maxRetryAfter, "999999999999999999999999": maxRetryAfter,
		"Sat, 31 Jan 2026 11:00:00 GMT":    time.Hour,
		"Saturday, 31-Jan-26 10:00:30 GMT": 30 * time.Second,
		"Fri, 30 Jan 2026 11:00:00 GMT":    0,
		"Thu, 31 Dec 9999 23:59:59 GMT":    maxRetryAfter,
	} {
		if got := retryAfter(h, now); got != want {
			t.Errorf("Retry-After: %s: %v, want %v", h, got, want)
		}
	}
}

// TestOutcome decides between done, retried and given up, and when to retry: the
// wait of the schedule is spread by a fifth, and Retry-After may only extend it.
func TestOutcome(t *testing.T) {
	n := New(Config{Retry: []time.Duration{time.Minute, time.Hour}})
	now := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	refused := failed("refused", "拒绝")
	later := refused
	later.retryAfter = 3 * time.Hour
	gone := refused
	gone.gone = true
	for name, tt := range map[string]struct {
		delivery    store.ClaimedDelivery
		res         result
		state       hostler.DeliveryState
		least, most time.Duration // of the wait; 0 for none
	}{
		"accepted":  {store.ClaimedDelivery{}, result{}, hostler.DeliveryDelivered, 0, 0},
		"first try": {store.ClaimedDelivery{}, refused, hostler.DeliveryPending, 48 * time.Second, 72 * time.Second},
		"second try": {
			store.ClaimedDelivery{Round: 1}, refused, hostler.DeliveryPending, 48 * time.Minute, 72 * time.Minute,
		},
		"last try":         {store.ClaimedDelivery{Round: 2}, refused, hostler.DeliveryFailed, 0, 0},
		"with Retry-After": {store.ClaimedDelivery{}, later, hostler.DeliveryPending, 3 * time.Hour, 3 * time.Hour},
		"gone":             {store.ClaimedDelivery{}, gone, hostler.DeliveryFailed, 0, 0},
		"a test": {
			store.ClaimedDelivery{Event: store.Event{Type: hostler.EventWebhookPing}}, refused, hostler.DeliveryFailed, 0, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 100 {
				o := n.outcome(now, tt.delivery, tt.res, "", hostler.DeliveryAttempt{})
				var after time.Duration
				if !o.Next.IsZero() {
					after = o.Next.Sub(now)
				}
				if o.State != tt.state || after < tt.least || after > tt.most {
					t.Fatalf("%s, retried after %v; want %s and %v to %v", o.State, after, tt.state, tt.least, tt.most)
				}
			}
		})
	}
}
