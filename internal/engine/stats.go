package engine

import (
	"context"
	"time"

	"hostler.dev/hostler/internal/store"
)

const (
	statsInterval = 2 * time.Second
	// statsPastSteps is how many steps into the history are taken at a time, in which a server
	// that was upgraded counts the jobs that ended before.
	statsPastSteps = 3
)

// statsOnce adds the jobs that ended to the statistics.
func (e *Engine) statsOnce(ctx context.Context) error {
	for more := true; more; {
		var err error
		if more, err = e.statsStep(ctx, (*store.Tx).EndedEvents); err != nil {
			return err
		}
	}
	for range statsPastSteps {
		if more, err := e.statsStep(ctx, (*store.Tx).EndedPast); err != nil || !more {
			return err
		}
	}
	return nil
}

// statsStep reads a step apart from the transaction that stores it, which is short.
func (e *Engine) statsStep(
	ctx context.Context, read func(tx *store.Tx) (*store.StatsStep, error),
) (more bool, err error) {
	var s *store.StatsStep
	err = e.store.View(ctx, func(tx *store.Tx) (err error) {
		s, err = read(tx)
		return err
	})
	if err != nil || s == nil || s.Idle() {
		return false, err
	}
	added := false
	err = e.store.InTx(ctx, func(tx *store.Tx) (err error) {
		added, err = tx.AddStats(s)
		return err
	})
	if err == nil && added && s.Missed > 0 {
		e.log.ErrorContext(ctx, "events were lost before the statistics counted them", "events", s.Missed)
	}
	return added && s.More, err
}
