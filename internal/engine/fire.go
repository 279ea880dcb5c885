package engine

import (
	"context"
	"time"

	"hostler.dev/hostler/internal/wait"
)

const (
	// maxFireWait is the longest time between two looks at what schedules are due, and how
	// late the first fire of a new one may be; minFireWait is the shortest.
	maxFireWait = time.Second
	minFireWait = 10 * time.Millisecond
)

// fireLoop fires schedules when they are due.
func (e *Engine) fireLoop(ctx context.Context) error {
	if e.cfg.Fire == nil {
		return nil
	}
	for {
		next, err := e.cfg.Fire(ctx)
		if err != nil && ctx.Err() == nil {
			e.logLoop(ctx, "fire", err)
			next = time.Time{}
		}
		pause := maxFireWait
		if !next.IsZero() {
			pause = min(maxFireWait, max(minFireWait, next.Sub(e.store.Now())))
		}
		if wait.Sleep(ctx, pause) != nil {
			return nil
		}
	}
}

// followUps starts what follows runs that have ended.
func (e *Engine) followUps(ctx context.Context) error {
	if e.cfg.FollowUps == nil {
		return nil
	}
	for {
		if more, err := e.cfg.FollowUps(ctx); err != nil || !more {
			return err
		}
	}
}

// cancelReplaced cancels the jobs of runs that later fires replaced.
func (e *Engine) cancelReplaced(ctx context.Context) error {
	if e.cfg.CancelReplaced == nil {
		return nil
	}
	for {
		if more, err := e.cfg.CancelReplaced(ctx); err != nil || !more {
			return err
		}
	}
}
