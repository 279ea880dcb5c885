package app

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"hostler.dev/hostler"
)

// TestImportsOfAProjectTakeTurns: an import waits for those of its project before it, gives
// up with a clear answer after a while, and never waits for another project.
func TestImportsOfAProjectTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns importTurns
		first, err := turns.begin(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		other, err := turns.begin(t.Context(), 2)
		if err != nil {
			t.Fatal("another project waits:", err)
		}
		other()
		start := time.Now()
		_, err = turns.begin(t.Context(), 1)
		if e, ok := err.(*hostler.Error); !ok || e.Code != hostler.CodeUnavailable || e.RetryAfter == 0 || //nolint:errorlint // as it is
			time.Since(start) != importWait {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := turns.begin(gone, 1); err == nil {
			t.Error("a client that has gone got a turn")
		}
		waited := make(chan time.Duration)
		go func() {
			start := time.Now()
			done, err := turns.begin(t.Context(), 1)
			if err != nil {
				t.Error(err)
			} else {
				done()
			}
			waited <- time.Since(start)
		}()
		<-time.After(10 * time.Second) // of the bubble's clock
		first()
		if d := <-waited; d != 10*time.Second {
			t.Errorf("the next one waited %v", d)
		}
		if len(turns.projects) != 0 {
			t.Errorf("%d projects are remembered", len(turns.projects))
		}
	})
}
