package engine

import (
	"context"
	"errors"
	"time"

	"hostler.dev/hostler/internal/store"
)

const (
	upkeepInterval = 20 * time.Second
	// eventRetention is how long a client may be disconnected and still resume the
	// stream of events without a gap.
	eventRetention = 24 * time.Hour
)

// upkeepOnce sweeps lanes, and deletes dead workers, old events, expired idempotency
// keys and the history beyond the retention.
func (e *Engine) upkeepOnce(ctx context.Context) error {
	sweep := e.sweepLanes(ctx)
	prune := e.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.DeleteDeadWorkers(); err != nil {
			return err
		}
		if err := tx.DeleteEvents(e.store.Now().Add(-eventRetention), batch); err != nil {
			return err
		}
		return tx.DeleteIdem(batch)
	})
	return errors.Join(sweep, prune, e.store.Maintain(ctx, e.cfg.Retention))
}

// sweepLanes deletes idle lanes. It also promotes jobs that wait in a lane with
// capacity: by the store's invariants there are none, and if there are, they would
// wait until the lane is used again.
func (e *Engine) sweepLanes(ctx context.Context) error {
	var stranded []int64
	// A read of every lane, apart from the transaction that locks some.
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		stranded, err = tx.StrandedLanes(batch)
		return err
	})
	if err != nil {
		return err
	}
	var promoted int
	err = e.store.InTx(ctx, func(tx *store.Tx) (err error) {
		promoted, _, err = tx.SweepLanes(stranded, batch)
		return err
	})
	if promoted > 0 {
		e.log.ErrorContext(ctx, "jobs were stranded in lanes with capacity; please report this", "jobs", promoted)
	}
	return err
}
