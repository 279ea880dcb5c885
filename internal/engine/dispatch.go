package engine

import (
	"context"
	"errors"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

const (
	// sharedPoll is how often a waiting lease looks on a shared database, where a
	// wake-up may get lost with the connection that listens.
	sharedPoll = 250 * time.Millisecond
	// cancelPoll is how often a held-back heartbeat looks for cancels.
	cancelPoll = 250 * time.Millisecond
	// ambiguousTries is how often a report whose commit got lost is repeated.
	ambiguousTries = 3
)

// Register implements hostler.Dispatcher.
func (e *Engine) Register(ctx context.Context, w hostler.WorkerInfo) (id hostler.WorkerID, err error) {
	err = e.store.InTx(ctx, func(tx *store.Tx) error {
		id, err = tx.RegisterWorker(w)
		return err
	})
	return id, err
}

// Lease implements hostler.Dispatcher.
func (e *Engine) Lease(ctx context.Context, req hostler.LeaseRequest) ([]hostler.Lease, error) {
	woken, stop := e.store.Subscribe(store.TopicWork)
	defer stop()
	over := time.NewTimer(req.Wait)
	defer over.Stop()
	look := time.NewTimer(req.Wait)
	defer look.Stop()
	for {
		got, err := e.claim(ctx, req)
		if err != nil || len(got.Leases) > 0 {
			return got.Leases, err
		}
		look.Reset(e.lookIn(req.Wait, got.KeptUntil))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-over.C:
			return nil, nil
		case <-woken:
		case <-look.C:
		}
	}
}

// lookIn is when a waiting lease looks again although nobody woke it.
func (e *Engine) lookIn(wait time.Duration, keptUntil time.Time) time.Duration {
	if !e.cfg.Sole {
		wait = sharedPoll
	}
	if !keptUntil.IsZero() {
		wait = min(wait, max(keptUntil.Sub(e.store.Now()), time.Millisecond))
	}
	return wait
}

// claim takes what there is. When all of that was overdue, it looks at what stands
// behind: nobody wakes us for it.
func (e *Engine) claim(ctx context.Context, req hostler.LeaseRequest) (got store.Claimed, err error) {
	for {
		began := e.cfg.Now()
		err := e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			got, err = tx.Claim(req.Worker, req.Slots)
			return err
		})
		if err != nil {
			return store.Claimed{}, err
		}
		if got.Overdue {
			_, err := e.dueOnce(ctx)
			if err == nil && len(got.Leases) == 0 {
				continue
			}
			if err != nil {
				e.log.ErrorContext(ctx, "overdue jobs could not be expired", "err", err)
			}
		}
		got.Leases, err = e.resolve(ctx, req.Worker, began, got.Leases)
		return got, err
	}
}

// resolve fills in the assets and credentials of leases whose claim began at a
// time. When that fails, or took too long, the jobs are handed back: they were not
// started.
func (e *Engine) resolve(ctx context.Context, w hostler.WorkerID, began time.Time, leases []hostler.Lease) ([]hostler.Lease, error) {
	refs := make([]*hostler.Lease, len(leases))
	for i := range leases {
		refs[i] = &leases[i]
	}
	err := e.cfg.Resolve(ctx, refs)
	if len(leases) == 0 {
		return leases, err
	}
	if err == nil && e.cfg.Now().Sub(began) > lateAfter {
		err = hostler.Errorf(hostler.CodeTimeout, "the database took too long to lease jobs", "数据库分派作业用时过长")
	}
	if err == nil {
		return leases, nil
	}
	back := make([]hostler.Report, len(leases))
	for i := range leases {
		back[i] = hostler.Report{LeaseRef: leases[i].LeaseRef, Outcome: hostler.OutcomeHandBack}
	}
	// Should this fail too, the next heartbeat finds them leased and not held.
	_, backErr := e.Report(context.WithoutCancel(ctx), w, back)
	return nil, errors.Join(err, backErr)
}

// Heartbeat implements hostler.Dispatcher.
func (e *Engine) Heartbeat(ctx context.Context, hb hostler.Heartbeat) (hostler.HeartbeatReply, error) {
	var reply hostler.HeartbeatReply
	var missing []hostler.LeaseRef
	err := e.store.InTx(ctx, func(tx *store.Tx) (err error) {
		reply, missing, err = tx.Heartbeat(hb)
		return err
	})
	if err != nil {
		e.forgetCancels(hb.Worker) // the worker was not told of them
		return reply, err
	}
	reply.LeaseFor = e.leaseFor()
	if err := e.handBackMissing(ctx, hb.Worker, missing); err != nil {
		// The lease is extended, which is what the worker must hear of in time.
		e.log.ErrorContext(ctx, "cannot hand back leases whose answer was lost", "worker", hb.Worker, "err", err)
	}
	if e.news(hb.Worker, reply.Cancel) || len(reply.Drop) > 0 || len(reply.CloseHosts) > 0 || hb.Wait <= 0 {
		return reply, nil
	}
	return e.holdBack(ctx, hb, reply)
}

// soleLease is the lease of the worker of a sole server. Nobody else could run its
// jobs, and when its process ends, the next one rescues them at its start: a disk
// that stalls, or a machine that was suspended, is no reason to kill them.
const soleLease = 365 * 24 * time.Hour

func (e *Engine) leaseFor() time.Duration {
	if e.cfg.Sole {
		return soleLease
	}
	return hostler.LeaseTTL
}

// handBackMissing hands back the leases that a worker's heartbeats have not listed
// for so long that their answer must be lost.
func (e *Engine) handBackMissing(ctx context.Context, w hostler.WorkerID, leases []hostler.LeaseRef) error {
	e.mu.Lock()
	still, lost := e.missing[w].observe(e.cfg.Now(), leases)
	if e.missing[w] = still; len(still) == 0 {
		delete(e.missing, w)
	}
	e.mu.Unlock()
	if len(lost) == 0 {
		return nil
	}
	return e.store.InTx(ctx, func(tx *store.Tx) error { return tx.HandBack(w, lost) })
}

// holdBack waits for something to tell the worker.
func (e *Engine) holdBack(ctx context.Context, hb hostler.Heartbeat, reply hostler.HeartbeatReply) (hostler.HeartbeatReply, error) {
	over := time.NewTimer(hb.Wait)
	defer over.Stop()
	look := time.NewTicker(cancelPoll)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return reply, nil // the lease was extended; that is the answer
		case <-over.C:
			return reply, nil
		case <-look.C:
		}
		var orders store.Orders
		err := e.store.View(ctx, func(tx *store.Tx) (err error) {
			orders, err = tx.Orders(hb.Worker)
			return err
		})
		if err != nil {
			return reply, nil // the next heartbeat will say
		}
		if orders.Fenced {
			hb.Wait = 0
			return e.Heartbeat(ctx, hb)
		}
		reply.Cancel = orders.Cancel
		news := e.news(hb.Worker, reply.Cancel)
		if len(orders.CloseHosts) > 0 {
			reply.CloseHosts = e.takeCloseOrders(ctx, hb.Worker)
		}
		if news || len(reply.CloseHosts) > 0 {
			return reply, nil
		}
	}
}

// takeCloseOrders takes what the look found; nothing when that fails, and then the
// next heartbeat does it.
func (e *Engine) takeCloseOrders(ctx context.Context, w hostler.WorkerID) (addresses []string) {
	err := e.store.InTx(ctx, func(tx *store.Tx) (err error) {
		addresses, err = tx.TakeCloseOrders(w)
		return err
	})
	if err != nil {
		return nil
	}
	return addresses
}

// news reports whether the worker has not been told of one of the cancels, and
// remembers that it is now.
func (e *Engine) news(w hostler.WorkerID, cancels []hostler.LeaseRef) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	was, is, news := e.told[w], make(map[hostler.LeaseRef]bool, len(cancels)), false
	for _, ref := range cancels {
		news = news || !was[ref]
		is[ref] = true
	}
	if e.told[w] = is; len(is) == 0 {
		delete(e.told, w) // a worker that vanishes leaves nothing behind
	}
	return news
}

func (e *Engine) forgetCancels(w hostler.WorkerID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.told, w)
}

func (e *Engine) forget(w hostler.WorkerID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.told, w)
	delete(e.missing, w)
}

// Report implements hostler.Dispatcher. A commit whose answer got lost is
// repeated: reports are idempotent.
func (e *Engine) Report(ctx context.Context, w hostler.WorkerID, reports []hostler.Report) ([]error, error) {
	if err := e.keepOutput(ctx, w, reports); err != nil {
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

// keepOutput stores the output of reports that may not end their job, whose
// place in the history does not exist yet: behind every chunk of its attempt.
func (e *Engine) keepOutput(ctx context.Context, w hostler.WorkerID, reports []hostler.Report) error {
	for i := range reports {
		r := &reports[i]
		if len(r.Output) == 0 || r.Outcome == hostler.OutcomeSucceeded || r.Outcome == hostler.OutcomeCancelled {
			continue
		}
		err := e.AppendLog(ctx, w, hostler.LogChunk{LeaseRef: r.LeaseRef, Attempt: r.Attempt, Seq: store.LastLogSeq, Lines: r.Output})
		if err != nil && hostler.CodeOf(err) != hostler.CodeStale {
			return err
		}
		r.Output = nil
	}
	return nil
}

// AppendLog implements hostler.Dispatcher.
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
		return hostler.Errorf(hostler.CodeStale, "the lease of this job is lost", "该作业的租约已失效")
	}
	return e.store.AppendLog(ctx, c.Job, c.Fence, c.Attempt, c.Seq, c.Lines)
}

// SetProgress implements hostler.Dispatcher.
func (e *Engine) SetProgress(ctx context.Context, w hostler.WorkerID, l hostler.LeaseRef, p hostler.Progress) error {
	return e.store.InTx(ctx, func(tx *store.Tx) error { return tx.SetProgress(w, l, p) })
}

// PinHostKey implements hostler.Dispatcher.
func (e *Engine) PinHostKey(ctx context.Context, w hostler.WorkerID, l hostler.LeaseRef, k hostler.HostKeyOffer) error {
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

// Retire ends a worker's lease at once, so that what it still runs is dealt with
// as on_lost says without waiting for the lease to end.
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
