package notify

import (
	"context"
	"log/slog"
	"time"

	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/wait"
)

const (
	// publishPace is the least time between two rounds, so that many small
	// changes are published together.
	publishPace = 20 * time.Millisecond
	// publishRows bounds one transaction.
	publishRows = 256
	// retryPublish is the pause after a failure.
	retryPublish = time.Second
)

// Publisher publishes what is in the outbox: it gives the events their order,
// and has deliveries made of them in the same transaction. Each server runs one;
// the database lets one of them work at a time.
type Publisher struct {
	Store *store.Store
	// Deliver queues deliveries of the events; nil does nothing. It may run more
	// than once for the same events, in transactions that did not commit.
	Deliver func(tx *store.Tx, p store.Published) error
	Log     *slog.Logger
}

// Run publishes until ctx is done.
func (p *Publisher) Run(ctx context.Context) error {
	woken, stop := p.Store.Subscribe(store.TopicOutbox)
	defer stop()
	for {
		pace := publishPace
		if err := p.drain(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			p.Log.ErrorContext(ctx, "events could not be published; trying again", "err", err)
			pace = retryPublish
		}
		if wait.Sleep(ctx, pace) != nil {
			return nil
		}
		if pace == retryPublish {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-woken:
		}
	}
}

// drain publishes all that is there. It looks first, since others publish too.
func (p *Publisher) drain(ctx context.Context) error {
	for more := true; more; {
		var any bool
		err := p.Store.View(ctx, func(tx *store.Tx) (err error) {
			any, err = tx.Unpublished()
			return err
		})
		if err != nil || !any {
			return err
		}
		err = p.Store.InTx(ctx, func(tx *store.Tx) error {
			published, full, err := tx.Publish(publishRows)
			more = full
			if err != nil || published.N == 0 || p.Deliver == nil {
				return err
			}
			return p.Deliver(tx, published)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
