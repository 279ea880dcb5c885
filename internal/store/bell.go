package store

import (
	"context"
	"sync"
)

// Bell wakes those who wait in this process for new work. Drivers use it for
// Wake and Woken. The zero value is ready.
type Bell struct {
	mu   sync.Mutex
	subs map[chan struct{}]bool
}

// Ring wakes every subscriber. It never blocks; rings that a subscriber has not
// seen yet are one.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.subs {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Listen subscribes. The channel is closed by stop.
func (b *Bell) Listen() (woken <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = map[chan struct{}]bool{}
	}
	b.subs[c] = true
	return c, sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs, c)
		close(c)
	})
}

type growKey struct{}

// Growing marks a context whose transaction brings new work. While the disk is
// full, a driver refuses such transactions with CodeDiskFull and keeps the space
// that is left for finishing what runs.
func Growing(ctx context.Context) context.Context {
	return context.WithValue(ctx, growKey{}, true)
}

// IsGrowing reports whether the context was marked by Growing.
func IsGrowing(ctx context.Context) bool { return ctx.Value(growKey{}) != nil }
