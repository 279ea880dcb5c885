package monitor

import (
	"context"
	"sync"
	"time"
)

const (
	checkTime  = 2 * time.Second // bounds one query of the store
	checkEvery = time.Second     // how long its result serves every request
)

// cached is a value that is fetched at most once in checkEvery, within checkTime, on
// behalf of every request that arrives meanwhile.
type cached[T any] struct {
	fetch func(ctx context.Context) (T, error)

	mu    sync.Mutex
	at    time.Time
	value T
	err   error
}

func (c *cached[T]) get(ctx context.Context) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) >= checkEvery {
		c.value, c.err = bounded(ctx, c.fetch)
		c.at = time.Now()
	}
	return c.value, c.err
}

// bounded returns after checkTime even when fetch does not. It outlives the request
// that caused it, because other requests share the result.
func bounded[T any](ctx context.Context, fetch func(ctx context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTime)
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		defer cancel()
		v, err := fetch(ctx)
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		// fetch ends its context when it returns, with the answer sent before.
		select {
		case a := <-done:
			return a.value, a.err
		default:
			var zero T
			return zero, ctx.Err()
		}
	}
}
