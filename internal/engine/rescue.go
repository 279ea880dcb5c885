package engine

import (
	"context"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// rescueInterval must be shorter than maxLookGap.
const rescueInterval = 2 * time.Second

// Recover rescues the jobs that an earlier process of a sole server left running. It
// must return before workers register.
func (e *Engine) Recover(ctx context.Context) error {
	if !e.cfg.Sole {
		return nil
	}
	err := e.store.InTx(ctx, func(tx *store.Tx) error {
		_, err := tx.RetireAllWorkers()
		return err
	})
	if err != nil {
		return err
	}
	n, err := e.rescueAll(ctx)
	if n > 0 {
		e.log.WarnContext(ctx, "rescued the jobs of the previous process", "jobs", n)
	}
	return err
}

// Retire ends the lease of a worker that stops, so that jobs that it still runs are
// rescued at once.
func (e *Engine) Retire(ctx context.Context, w hostler.WorkerID) error {
	err := e.store.InTx(ctx, func(tx *store.Tx) error {
		_, err := tx.RetireWorker(w)
		return err
	})
	if err != nil {
		return err
	}
	e.forget(w)
	_, err = e.rescueAll(ctx)
	return err
}

// rescueOnce marks the workers as lost that have been silent for as long as a lease
// lasts, and rescues their jobs.
func (e *Engine) rescueOnce(ctx context.Context) error {
	var live []store.Pulse
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		live, err = tx.Pulses()
		return err
	})
	if err != nil {
		return err
	}
	silent := e.liveness.observe(e.cfg.Now(), live)
	if e.cfg.Sole {
		silent = slices.DeleteFunc(silent, func(p store.Pulse) bool { return !p.Idle }) // see soleLease
	}
	var lost []hostler.WorkerID
	if len(silent) > 0 {
		// LoseWorkers re-checks that no heartbeat, and no claim, came since.
		err = e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			lost, err = tx.LoseWorkers(silent)
			return err
		})
	}
	if err != nil {
		return err
	}
	for _, w := range lost {
		e.forget(w)
	}
	n, err := e.rescueAll(ctx)
	if len(lost) > 0 || n > 0 {
		e.log.WarnContext(ctx, "workers lost; their jobs were rescued", "workers", lost, "jobs", n)
	}
	return err
}

// rescueAll takes the jobs of dead workers from them, and retries, fails or marks
// each as unknown, as its on_lost states. It returns their number.
func (e *Engine) rescueAll(ctx context.Context) (int, error) {
	for total := 0; ; {
		var n int
		err := e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			n, err = tx.RescueJobs(batch)
			return err
		})
		total += n
		if err != nil || n < batch {
			return total, err
		}
	}
}
