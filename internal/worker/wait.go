package worker

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff spaces tries: each wait is about twice as long as the one before, with
// jitter, so that many workers do not come back at once.
type backoff struct {
	next, first, most time.Duration
}

func newBackoff(first, most time.Duration) *backoff {
	return &backoff{next: first, first: first, most: most}
}

func (b *backoff) reset() { b.next = b.first }

// wait waits its time, or until the context is done.
func (b *backoff) wait(ctx context.Context) {
	d := b.next
	b.next = min(2*d, b.most)
	pause(ctx, d-time.Duration(rand.Float64()*float64(d)/4)) //nolint:gosec // jitter is no secret
}

// pause waits for d, or until the context is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// afterClose runs f when c is closed; stop ends the watch.
func afterClose(c <-chan struct{}, f func()) (stop func()) {
	over := make(chan struct{})
	go func() {
		select {
		case <-c:
			f()
		case <-over:
		}
	}()
	return func() { close(over) }
}

// signal wakes the one receiver of a channel of capacity 1.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
