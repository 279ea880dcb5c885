package engine

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// ambiguousTries is how often a report whose commit has an unknown outcome is
// written: it is idempotent.
const ambiguousTries = 3

// Report implements [hostler.Dispatcher].
func (e *Engine) Report(ctx context.Context, w hostler.WorkerID, reports []hostler.Report) ([]error, error) {
	if err := e.storeOutput(ctx, w, reports); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		var acks []error
		err := e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			acks, err = tx.Finish(w, reports)
			return err
		})
		if store.IsAmbiguous(err) && try < ambiguousTries {
			continue
		}
		return acks, err
	}
}

// storeOutput stores the output in the reports of attempts that may not end their
// job, as the last chunk of the attempt. The output of an attempt that ends the job
// is written with the job's row in the history.
func (e *Engine) storeOutput(ctx context.Context, w hostler.WorkerID, reports []hostler.Report) error {
	for i := range reports {
		r := &reports[i]
		if len(r.Output) == 0 || r.Outcome == hostler.OutcomeSucceeded || r.Outcome == hostler.OutcomeCancelled {
			continue
		}
		chunk := hostler.LogChunk{LeaseRef: r.LeaseRef, Attempt: r.Attempt, Seq: store.LastLogSeq, Lines: r.Output}
		err := e.AppendLog(ctx, w, chunk)
		if err != nil && hostler.CodeOf(err) != hostler.CodeStale { // stale: Finish refuses the report
			return err
		}
		r.Output = nil
	}
	return nil
}

// AppendLog implements [hostler.Dispatcher].
func (e *Engine) AppendLog(ctx context.Context, w hostler.WorkerID, c hostler.LogChunk) error {
	var holds bool
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		holds, err = tx.HoldsLease(w, c.LeaseRef)
		return err
	})
	if err != nil {
		return err
	}
	if !holds {
		return hostler.Errorf(hostler.CodeStale, "the lease of this job has ended", "该作业的租约已失效")
	}
	return e.store.AppendLog(ctx, c.Job, c.Fence, c.Attempt, c.Seq, c.Lines)
}

// SetProgress implements [hostler.Dispatcher].
func (e *Engine) SetProgress(
	ctx context.Context, w hostler.WorkerID, l hostler.LeaseRef, p hostler.Progress,
) error {
	return e.store.InTx(ctx, func(tx *store.Tx) error { return tx.SetProgress(w, l, p) })
}

// PinHostKey implements [hostler.Dispatcher].
func (e *Engine) PinHostKey(
	ctx context.Context, w hostler.WorkerID, l hostler.LeaseRef, k hostler.HostKeyOffer,
) error {
	var job store.LeasedJob
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		job, err = tx.LeasedJob(w, l)
		return err
	})
	if err != nil {
		return err
	}
	return e.cfg.Pin(ctx, job, k)
}
