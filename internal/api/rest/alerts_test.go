package rest

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAlertsAreRare reaches a limit many times: it is logged at once, and later once with
// how often it was reached since.
func TestAlertsAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a alerts
		if n, now := a.due("x"); n != 1 || !now {
			t.Errorf("first: %d, %v", n, now)
		}
		for range 100 {
			if _, now := a.due("x"); now {
				t.Error("it is logged again at once")
			}
		}
		if _, now := a.due("y"); !now {
			t.Error("another limit is not logged")
		}
		<-time.After(alertEvery)
		if n, now := a.due("x"); n != 101 || !now {
			t.Errorf("later: %d, %v, want 101", n, now)
		}
	})
}
