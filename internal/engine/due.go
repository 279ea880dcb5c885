package engine

import (
	"context"
	"time"

	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/wait"
)

const (
	// maxDueWait is the longest time between two looks at what is due, minDueWait the
	// shortest, however many jobs are enqueued meanwhile.
	maxDueWait = time.Second
	minDueWait = 50 * time.Millisecond
)

// dueLoop runs dueOnce when the next job is due and after jobs were enqueued.
func (e *Engine) dueLoop(ctx context.Context) error {
	notified, stop := e.store.Subscribe(store.TopicWork)
	defer stop()
	for {
		next, err := e.dueOnce(ctx)
		if err != nil && ctx.Err() == nil {
			e.logLoop(ctx, "due", err)
		}
		if wait.Sleep(ctx, minDueWait) != nil {
			return nil
		}
		if _, err := wait.Signal(ctx, next-minDueWait, notified); err != nil {
			return nil
		}
	}
}

// dueOnce queues the jobs that are due and expires those that are overdue. It
// returns how long to wait for the next one.
func (e *Engine) dueOnce(ctx context.Context) (time.Duration, error) {
	for {
		var due, expired int
		var next time.Time
		// Two transactions: each locks the lanes of its jobs in the order of their ids,
		// and the second lot could be lower than the first.
		err := e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			due, next, err = tx.DueJobs(batch)
			return err
		})
		if err != nil {
			return maxDueWait, err
		}
		err = e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			expired, err = tx.ExpireJobs(batch)
			return err
		})
		if err != nil {
			return maxDueWait, err
		}
		if due == batch || expired == batch {
			continue // there may be more
		}
		if next.IsZero() {
			return maxDueWait, nil
		}
		return min(maxDueWait, max(0, next.Sub(e.store.Now()))), nil
	}
}
