package native

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hostler.dev/hostler/internal/wait"
)

// TestFollowersShareTheirLooks: 256 followers of a silent job cost as many reads as one, and
// each notices what is new.
func TestFollowersShareTheirLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all glances
		sleep := func(d time.Duration) { _ = wait.Sleep(t.Context(), d) } // the test does not end before
		var mu sync.Mutex
		looks, last, live := 0, int64(7), true
		look := func() (int64, bool, error) {
			mu.Lock()
			defer mu.Unlock()
			looks++
			return last, live, nil
		}
		const span = 10 * time.Second
		var g sync.WaitGroup
		for n := range 256 {
			g.Go(func() {
				one, leave := all.join(1)
				defer leave()
				sleep(time.Duration(n) * time.Millisecond)
				for start := time.Now(); time.Since(start) < span; sleep(500 * time.Millisecond) {
					if !one.unchanged(7, look) {
						t.Error("a silent job changed")
					}
				}
			})
		}
		g.Wait()
		if most := int((span+time.Second)/glanceEvery) + 1; looks > most {
			t.Errorf("%d looks in %v, want at most %d", looks, span, most)
		}
		if len(all.all) != 0 {
			t.Errorf("%d jobs in memory that nobody follows", len(all.all))
		}
		one, leave := all.join(1)
		defer leave()
		if one.unchanged(6, look) {
			t.Error("a new line is not noticed")
		}
		sleep(glanceEvery)
		if live = false; one.unchanged(7, look) {
			t.Error("the end is not noticed")
		}
		sleep(glanceEvery)
		if one.unchanged(7, func() (int64, bool, error) { return 7, true, errors.New("no right") }) {
			t.Error("a follower takes the failure of another for silence")
		}
	})
}
