// Package storetest runs the same tests against every supported database: real servers
// and files, fresh for each test, with a clock that the test sets.
package storetest

import (
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler/internal/store"
)

// Harness is a fresh store on one database.
type Harness struct {
	Store *store.Store
	Kind  string // "sqlite" or "postgres"
	clock *Clock
	open  func(tb testing.TB, c *Clock) *store.Store
}

// Now returns the time of the test's clock.
func (h *Harness) Now() time.Time { return h.clock.Now() }

// Advance advances the test's clock.
func (h *Harness) Advance(d time.Duration) { h.clock.Advance(d) }

// Reset replaces the store with an empty one.
func (h *Harness) Reset(tb testing.TB) {
	tb.Helper()
	if err := h.Store.Close(); err != nil {
		tb.Fatalf("close: %v", err)
	}
	h.Store = h.open(tb, h.clock)
}

// Each runs fn once per database.
func Each(t *testing.T, fn func(t *testing.T, h *Harness)) {
	t.Helper()
	for _, d := range []struct {
		kind string
		open func(tb testing.TB, c *Clock) *store.Store
	}{
		{"sqlite", openSQLite()},
		{"postgres", openPostgres()},
	} {
		t.Run(d.kind, func(t *testing.T) {
			c := NewClock()
			fn(t, &Harness{Store: d.open(t, c), Kind: d.kind, clock: c, open: d.open})
		})
	}
}

// Clock is a manual clock: its time changes only by [Clock.Advance].
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock set to the current time, truncated to a microsecond.
func NewClock() *Clock { return &Clock{now: time.Now().UTC().Truncate(time.Microsecond)} }

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock by d, back if d is negative.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
