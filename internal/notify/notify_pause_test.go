package notify

import (
	"testing"
	"time"
)

// TestPauseAfterARound: a round that was long because the database was slow must not
// delay the deliveries for minutes.
func TestPauseAfterARound(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		10 * time.Millisecond: 40 * time.Millisecond,
		time.Second:           time.Second,
		30 * time.Second:      time.Second,
	} {
		if got := pauseAfter(took); got != want {
			t.Errorf("after a round of %v the loop waits %v, want %v", took, got, want)
		}
	}
}
