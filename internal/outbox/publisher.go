package outbox

import (
	"context"
	"log/slog"
	"time"

	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/wait"
)

const (
	// publishInterval is the least time between two rounds, so that many small
	// changes are published in one transaction.
	publishInterval = 20 * time.Millisecond
	// publishRows bounds the outbox rows of one transaction.
	publishRows = 256
	// publishRetry is the wait after a failure.
	publishRetry = time.Second
)

// Publisher publishes the events of the outbox: it gives them their positions. Every
// server runs one; a lock in the database lets one of them publish at a time.
type Publisher struct {
	Store *store.Store
	Log   *slog.Logger

	rows int // of the next transaction; 0: publishRows
}

// Run publishes until ctx is done. A failing store is logged, and tried again.
func (p *Publisher) Run(ctx context.Context) error {
	notified, stop := p.Store.Subscribe(store.TopicOutbox)
	defer stop()
	for {
		if err := p.runOnce(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			p.Log.ErrorContext(ctx, "publish events; will retry", "err", err)
			if wait.Sleep(ctx, publishRetry) != nil {
				return nil
			}
			continue // without waiting for a notification: the events are there
		}
		if wait.Sleep(ctx, publishInterval) != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-notified:
		}
	}
}

// runOnce publishes everything in the outbox, in transactions of publishRows, or of
// fewer after one that failed: it may have been too large for a slow database. It
// reads before it locks, because the publisher of another server may have done the
// work.
func (p *Publisher) runOnce(ctx context.Context) error {
	st := p.Store.ForWork()
	for more := true; more; {
		var pending bool
		err := st.View(ctx, func(tx *store.Tx) (err error) {
			pending, err = tx.Unpublished()
			return err
		})
		if err != nil || !pending {
			return err
		}
		if p.rows == 0 {
			p.rows = publishRows
		}
		err = st.InTx(ctx, func(tx *store.Tx) (err error) {
			_, more, err = tx.Publish(p.rows)
			return err
		})
		if err != nil {
			p.rows = max(1, p.rows/2)
			return err
		}
		p.rows = min(publishRows, 2*p.rows)
	}
	return nil
}
