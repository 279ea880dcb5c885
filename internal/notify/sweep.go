package notify

import (
	"context"
	"errors"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/wait"
)

const (
	// sweepInterval is the time between two looks for webhooks that were deleted,
	// dropInterval between two deletions of old deliveries, sweepRows the size of one
	// transaction.
	sweepInterval = 2 * time.Second
	dropInterval  = 10 * time.Minute
	sweepRows     = 1000
	maxEnded      = 100_000 // webhooks of runs that are deleted together
)

// sweepLoop deletes what nobody needs any more: deliveries of deleted webhooks, those
// older than the retention, and the webhooks of old runs. It does so in short
// transactions, and rests between two as long as one takes.
func (n *Notifier) sweepLoop(ctx context.Context) {
	var ended runWebhooks
	for dropped := (time.Time{}); ; {
		err := n.sweepDeleted(ctx)
		if time.Since(dropped) >= dropInterval {
			dropped = time.Now()
			err = errors.Join(err, n.dropOld(ctx), n.findEnded(ctx, &ended))
		}
		err = errors.Join(err, n.dropEnded(ctx, &ended))
		if err != nil && ctx.Err() == nil {
			n.log.ErrorContext(ctx, "delete old deliveries; will retry", "err", err)
		}
		if wait.Sleep(ctx, sweepInterval) != nil {
			return
		}
	}
}

// inSteps runs step in one transaction after the other. next is called after each commit,
// and reports whether to go on.
func (n *Notifier) inSteps(ctx context.Context, step func(tx *store.Tx) error, next func() bool) error {
	for {
		began := time.Now()
		if err := n.work.InTx(ctx, step); err != nil || !next() {
			return err
		}
		if err := wait.Sleep(ctx, time.Since(began)); err != nil {
			return err
		}
	}
}

// sweepDeleted deletes the deliveries of deleted webhooks, and fails those of webhooks
// of runs whose receivers are gone.
func (n *Notifier) sweepDeleted(ctx context.Context) error {
	var errs []error
	for after := hostler.WebhookID(0); ; {
		var hooks []store.SweptWebhook
		err := n.work.View(ctx, func(tx *store.Tx) (err error) {
			hooks, err = tx.SweptWebhooks(after, sweepRows)
			return err
		})
		if err != nil || len(hooks) == 0 {
			return errors.Join(append(errs, err)...)
		}
		for _, w := range hooks {
			after = w.ID
			errs = append(errs, n.sweepWebhook(ctx, w))
		}
	}
}

// sweepWebhook deals with the deliveries of one webhook, except those that are being
// sent: the next sweep finds them.
func (n *Notifier) sweepWebhook(ctx context.Context, w store.SweptWebhook) error {
	var at, reached store.SweepCursor
	var more bool
	return n.inSteps(ctx, func(tx *store.Tx) (err error) {
		reached, more, err = tx.SweepWebhook(w, at, sweepRows)
		return err
	}, func() bool {
		at = reached
		return more
	})
}

// dropOld deletes deliveries that are older than the retention, and events set aside.
func (n *Notifier) dropOld(ctx context.Context) error {
	before := n.store.Now().Add(-n.cfg.Retention)
	var more bool
	next := func() bool { return more }
	return errors.Join(
		n.inSteps(ctx, func(tx *store.Tx) (err error) {
			more, err = tx.DeleteDeliveries(before, sweepRows)
			return err
		}, next),
		n.inSteps(ctx, func(tx *store.Tx) error {
			deleted, err := tx.DeleteAside(before, sweepRows)
			more = deleted == sweepRows
			return err
		}, next))
}

// runWebhooks are webhooks of runs whose jobs had ended at a mark. They are deleted once
// the deliveries of all events before it are made, and none is left.
type runWebhooks struct {
	ids  []hostler.WebhookID
	mark store.EventMark
}

// findEnded finds the webhooks of runs that are older than the retention and have
// nothing to do, unless those of the last time still wait.
func (n *Notifier) findEnded(ctx context.Context, ended *runWebhooks) error {
	if len(ended.ids) > 0 {
		return nil
	}
	before := n.store.Now().Add(-n.cfg.Retention)
	for after := hostler.WebhookID(0); len(ended.ids) < maxEnded; {
		var ids []hostler.WebhookID
		var mark store.EventMark
		err := n.work.View(ctx, func(tx *store.Tx) (err error) {
			// In one snapshot: the end of each job is published, or in the outbox.
			if ids, err = tx.EndedRunWebhooks(before, after, sweepRows); err == nil {
				mark, err = tx.MarkEvents()
			}
			return err
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		ended.ids, ended.mark = append(ended.ids, ids...), mark
		after = ids[len(ids)-1]
	}
	return nil
}

// dropEnded deletes the webhooks that findEnded found, when the time has come.
func (n *Notifier) dropEnded(ctx context.Context, ended *runWebhooks) error {
	if len(ended.ids) == 0 {
		return nil
	}
	var made bool
	err := n.work.View(ctx, func(tx *store.Tx) (err error) {
		made, err = tx.MadeUpTo(&ended.mark)
		return err
	})
	if err != nil || !made {
		return err
	}
	var step []hostler.WebhookID
	return n.inSteps(ctx, func(tx *store.Tx) error {
		step = ended.ids[:min(sweepRows, len(ended.ids))]
		return tx.DeleteRunWebhooks(step)
	}, func() bool {
		ended.ids = ended.ids[len(step):]
		return len(ended.ids) > 0
	})
}
