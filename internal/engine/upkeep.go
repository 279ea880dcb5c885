package engine

import (
	"context"
	"errors"
	"time"

	"hostler.dev/hostler/internal/store"
)

const (
	upkeepInterval = 20 * time.Second
	followInterval = time.Second
	// countsBatch is how many rows of counts one transaction adds up, every
	// countsInterval: as many as a busy server writes in that time.
	countsBatch    = 2000
	countsInterval = time.Second
	// eventRetention is how long a client may be disconnected and still resume the
	// stream of events without a gap.
	eventRetention = 24 * time.Hour
	// argsBatch is how many args one transaction deletes, which may have a megabyte each.
	argsBatch = 50
	// artefactBatch is how many artefacts one step looks for.
	artefactBatch = 50
)

// upkeepOnce promotes stranded jobs, and deletes what is no longer needed: idle lanes,
// dead workers, old events, idempotency keys, fires and attempts, args of runs whose jobs are gone,
// old statistics and alerts, artefacts, and the history beyond the retention. However much of it
// there is, it is gone at the end: a limit for each round
// is a rate that a busy server outgrows.
func (e *Engine) upkeepOnce(ctx context.Context) error {
	now := e.store.Now()
	return errors.Join(
		e.promoteStranded(ctx),
		e.prune(ctx, func(tx *store.Tx) (int64, error) { return tx.DeleteIdleLanes(batch) }),
		e.prune(ctx, func(tx *store.Tx) (int64, error) { return 0, tx.DeleteDeadWorkers() }),
		e.prune(ctx, func(tx *store.Tx) (int64, error) { return tx.DeleteEvents(now.Add(-eventRetention), batch) }),
		e.prune(ctx, func(tx *store.Tx) (int64, error) { return tx.DeleteIdem(batch) }),
		e.prune(ctx, func(tx *store.Tx) (int64, error) { return tx.DeleteAttempts(now.Add(-e.cfg.Retention), batch) }),
		e.prune(ctx, func(tx *store.Tx) (int64, error) { return tx.DeleteRuns(now.Add(-e.cfg.Retention), batch) }),
		e.prune(ctx, func(tx *store.Tx) (int64, error) { return tx.DeleteFires(now.Add(-e.cfg.Retention), batch) }),
		e.pruneBy(ctx, argsBatch, func(tx *store.Tx) (int64, error) {
			return tx.DeleteRunArgs(now.Add(-e.cfg.Retention), argsBatch)
		}),
		e.prune(ctx, func(tx *store.Tx) (int64, error) {
			return tx.DeleteStats(store.Hourly, now.Add(-store.HoursKept), batch)
		}),
		e.prune(ctx, func(tx *store.Tx) (int64, error) {
			return tx.DeleteStats(store.Daily, now.Add(-store.DaysKept), batch)
		}),
		e.store.PruneArtefacts(ctx, now.Add(-e.cfg.Retention), artefactBatch),
		e.prune(ctx, func(tx *store.Tx) (int64, error) { return tx.DeleteTraces(now.Add(-e.cfg.Retention), batch) }),
		e.prune(ctx, func(tx *store.Tx) (int64, error) { return tx.DeleteOldAlerts(now.Add(-alertsKept), batch) }),
		e.store.Maintain(ctx, e.cfg.Retention),
		e.spanHistory(ctx),
	)
}

// prune calls del in short transactions until it deletes less than a batch: heartbeats
// and claims go in between.
func (e *Engine) prune(ctx context.Context, del func(tx *store.Tx) (int64, error)) error {
	return e.pruneBy(ctx, batch, del)
}

// pruneBy is prune for a batch of its own size.
func (e *Engine) pruneBy(ctx context.Context, batch int64, del func(tx *store.Tx) (int64, error)) error {
	for {
		var n int64
		err := e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			n, err = del(tx)
			return err
		})
		if err != nil || n < batch {
			return err
		}
	}
}

// spanHistory notes which jobs the parts of the history have that get no more, so that
// reads pass over most of them. There is one such part a day, and all of them when the
// server was upgraded.
func (e *Engine) spanHistory(ctx context.Context) error {
	var parts []string
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		parts, err = tx.UnspannedParts(batch)
		return err
	})
	for i := 0; err == nil && i < len(parts); i++ {
		var spans []store.HistorySpan
		err = e.store.View(ctx, func(tx *store.Tx) (err error) {
			spans, err = tx.SpansOf(parts[i])
			return err
		})
		if err == nil {
			err = e.store.InTx(ctx, func(tx *store.Tx) error { return tx.InsertSpans(spans) })
		}
	}
	return err
}

// promoteStranded promotes jobs that wait in a lane with capacity. By the store's
// invariants there are none; if there are, they would wait until the lane is used again.
func (e *Engine) promoteStranded(ctx context.Context) error {
	var resumed store.ResumedQueues
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		resumed, _, err = tx.PendingQueues()
		return err
	})
	if err != nil || len(resumed) > 0 {
		return err // followOnce promotes
	}
	promoted, _, err := e.promoteAll(ctx)
	if promoted > 0 {
		e.log.ErrorContext(ctx, "jobs were stranded in lanes with capacity; please report this", "jobs", promoted)
	}
	return err
}

// promoteAll promotes what waits in lanes with capacity, in steps, and returns how many
// jobs. all is false when it stopped early, because another server promotes the same.
func (e *Engine) promoteAll(ctx context.Context) (promoted int, all bool, err error) {
	for {
		var stranded []int64
		// A read of every lane, apart from the transaction that locks some.
		err := e.store.View(ctx, func(tx *store.Tx) (err error) {
			stranded, err = tx.StrandedLanes(batch)
			return err
		})
		if err != nil || len(stranded) == 0 {
			return promoted, err == nil, err
		}
		var n int
		err = e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			n, err = tx.PromoteStranded(stranded)
			return err
		})
		promoted += n
		if all = err == nil && len(stranded) < batch; all || err != nil || n == 0 {
			return promoted, all, err
		}
	}
}

// sumCounts adds up the counts of waiting jobs that transactions have left.
func (e *Engine) sumCounts(ctx context.Context) error {
	for {
		var pending bool
		err := e.store.View(ctx, func(tx *store.Tx) (err error) {
			pending, err = tx.CountsPending()
			return err
		})
		if err != nil || !pending {
			return err
		}
		var n int64
		err = e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			n, err = tx.SumCounts(countsBatch)
			return err
		})
		if err != nil || n < countsBatch {
			return err
		}
	}
}

// followOnce lets the lanes of queues follow a pause or a resume, and the jobs of assets a
// change of their device keys, that were too large for one transaction.
func (e *Engine) followOnce(ctx context.Context) error {
	return errors.Join(e.followRelanes(ctx), e.followQueues(ctx), e.followHolds(ctx))
}

// followHolds ends holds whose time is over, and queues the jobs that waited for them.
func (e *Engine) followHolds(ctx context.Context) error {
	more := false
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		more, err = tx.HoldsEnding()
		return err
	})
	if err != nil || !more {
		return err
	}
	err = e.store.InTx(ctx, func(tx *store.Tx) error { return tx.ReleaseLate() })
	for more && err == nil {
		err = e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			more, err = tx.FollowHolds()
			return err
		})
	}
	return err
}

func (e *Engine) followRelanes(ctx context.Context) error {
	more := false
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		more, err = tx.Relaning()
		return err
	})
	for more && err == nil {
		err = e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			more, err = tx.FollowRelanes()
			return err
		})
	}
	return err
}

func (e *Engine) followQueues(ctx context.Context) error {
	var resumed store.ResumedQueues
	var paused bool
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		resumed, paused, err = tx.PendingQueues()
		return err
	})
	if err != nil {
		return err
	}
	for paused && err == nil {
		err = e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			paused, err = tx.FollowPauses()
			return err
		})
	}
	if err != nil || len(resumed) == 0 {
		return err
	}
	if _, all, err := e.promoteAll(ctx); err != nil || !all {
		return err
	}
	return e.store.InTx(ctx, func(tx *store.Tx) error { return tx.FollowedResumes(resumed) })
}
