package engine

import (
	"context"
	"slices"

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
		next := reporting{e: e, worker: w}
		err := e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			acks, err = next.finish(tx, reports)
			if e.withheld.Load() {
				tx.Notify(store.TopicWork) // there are free slots
			}
			return err
		})
		next.deliver(err)
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
	var chunks []hostler.LogChunk
	for i := range reports {
		r := &reports[i]
		if len(r.Output) == 0 || r.Outcome == hostler.OutcomeSucceeded || r.Outcome == hostler.OutcomeCancelled {
			continue
		}
		chunks = append(chunks, hostler.LogChunk{
			LeaseRef: r.LeaseRef, Attempt: r.Attempt, Seq: store.LastLogSeq, Lines: r.Output,
		})
	}
	if len(chunks) == 0 {
		return nil
	}
	held, err := e.held(ctx, w, chunks)
	if err != nil {
		return err
	}
	if err := e.store.AppendLogs(ctx, held); err != nil {
		return err
	}
	for i := range reports {
		if r := &reports[i]; r.Outcome != hostler.OutcomeSucceeded && r.Outcome != hostler.OutcomeCancelled {
			r.Output = nil
		}
	}
	return nil
}

// held returns the chunks whose lease is still the worker's. Finish refuses the reports
// of the others.
func (e *Engine) held(ctx context.Context, w hostler.WorkerID, chunks []hostler.LogChunk) ([]hostler.LogChunk, error) {
	refs := make([]hostler.LeaseRef, len(chunks))
	for i := range chunks {
		refs[i] = chunks[i].LeaseRef
	}
	var holds map[hostler.LeaseRef]bool
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		holds, err = tx.HeldLeases(w, refs)
		return err
	})
	return slices.DeleteFunc(chunks, func(c hostler.LogChunk) bool { return !holds[c.LeaseRef] }), err
}

// AppendLog implements [hostler.Dispatcher].
func (e *Engine) AppendLog(ctx context.Context, w hostler.WorkerID, c hostler.LogChunk) error {
	held, err := e.held(ctx, w, []hostler.LogChunk{c})
	if err != nil {
		return err
	}
	if len(held) == 0 {
		return hostler.Errorf(hostler.CodeStale, "the lease of this job has ended", "该作业的租约已失效")
	}
	return e.store.AppendLogs(ctx, held)
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
