// Package wait sleeps, for all packages: until a time has passed, until a
// signal arrives, and between the tries of something that failed.
//
// # Model
//
// Every wait ends early when its context does and then returns the context's
// error, so that a loop reads
//
//	retry := wait.Backoff{First: 100 * time.Millisecond, Max: 5 * time.Second}
//	for {
//		if err := connect(ctx); err == nil {
//			return nil
//		}
//		if err := retry.Sleep(ctx); err != nil {
//			return err
//		}
//	}
//
// Tests run waits in a [testing/synctest] bubble, where time is virtual, and set
// [Backoff.Rand] where they compare durations.
package wait

import (
	"context"
	"math/rand/v2"
	"time"
)

// Sleep waits for d, or until ctx is done, whose error it then returns. It
// returns at once when d is zero or negative.
func Sleep(ctx context.Context, d time.Duration) error {
	_, err := Signal(ctx, d, nil)
	return err
}

// Signal waits until c delivers a value or is closed, but for d at most. It
// reports whether the signal arrived. When ctx is done first, it returns the
// context's error. It returns at once when d is zero or negative.
func Signal(ctx context.Context, d time.Duration, c <-chan struct{}) (bool, error) {
	// A select picks at random among what is ready; a finished context takes
	// precedence, so that a loop of short waits ends with its context.
	if err := ctx.Err(); err != nil || d <= 0 {
		return false, err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-c:
		return true, nil
	case <-t.C:
		return false, nil
	}
}

// Jitter returns a random duration between d·(1-share) and d·(1+share), so that
// waits which began together do not end together.
func Jitter(d time.Duration, share float64) time.Duration {
	//nolint:gosec // spreading load needs no secret randomness
	return d + time.Duration((2*rand.Float64()-1)*share*float64(d))
}

// Backoff gives the waits between the tries of something that fails. Its steps
// are First, First·Factor, First·Factor² … up to Max; a wait is a random duration
// between half a step and a whole one ("equal jitter"), so that callers which
// failed together do not try again together, and none tries again at once.
//
// The zero value of Factor means 2. A Backoff is used by one goroutine.
type Backoff struct {
	First, Max time.Duration
	Factor     float64
	// Rand returns a number in [0, 1); nil means the generator of math/rand/v2.
	Rand func() float64

	step time.Duration // of the last wait; 0 before the first
}

// Next returns how long to wait before the next try.
func (b *Backoff) Next() time.Duration {
	switch {
	case b.step == 0:
		b.step = min(b.First, b.Max)
	default:
		// In floats, since a step above half of the largest duration overflows.
		b.step = time.Duration(min(float64(b.step)*b.factor(), float64(b.Max)))
	}
	return time.Duration((1 + b.rand()) / 2 * float64(b.step))
}

// Sleep waits for the next step; see [Backoff.Next] and [Sleep].
func (b *Backoff) Sleep(ctx context.Context) error { return Sleep(ctx, b.Next()) }

// Reset starts again at First, after a success.
func (b *Backoff) Reset() { b.step = 0 }

func (b *Backoff) factor() float64 {
	if b.Factor == 0 {
		return 2
	}
	return b.Factor
}

func (b *Backoff) rand() float64 {
	if b.Rand == nil {
		return rand.Float64() //nolint:gosec // see Jitter
	}
	return b.Rand()
}
