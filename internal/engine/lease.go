package engine

import (
	"context"
	"errors"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// sharedPoll is how often a waiting lease polls a database that several servers use:
// a notification of another server is lost when the listening connection breaks.
const sharedPoll = 250 * time.Millisecond

// Register implements [hostler.Dispatcher].
func (e *Engine) Register(ctx context.Context, w hostler.WorkerInfo) (id hostler.WorkerID, err error) {
	err = e.leases.InTx(ctx, func(tx *store.Tx) error {
		id, err = tx.RegisterWorker(w)
		return err
	})
	return id, err
}

// Lease implements [hostler.Dispatcher]. It waits up to req.Wait for the first job.
func (e *Engine) Lease(ctx context.Context, req hostler.LeaseRequest) ([]hostler.Lease, error) {
	notified, stop := e.store.Subscribe(store.TopicWork)
	defer stop()
	timeout := time.NewTimer(req.Wait)
	defer timeout.Stop()
	poll := time.NewTimer(req.Wait)
	defer poll.Stop()
	t := e.turns.open(req)
	for {
		claimed, err := e.leaseNow(ctx, req, t)
		if err != nil || len(claimed.Leases) > 0 {
			return e.lastLeases(ctx, req, t, claimed.Leases, err)
		}
		poll.Reset(e.nextPoll(req.Wait, &claimed))
		select {
		case <-ctx.Done():
			return e.lastLeases(ctx, req, t, nil, ctx.Err())
		case <-timeout.C:
			return e.lastLeases(ctx, req, t, nil, nil)
		case d := <-t.leased:
			t.mine = true
			e.turns.end(req.Worker, t)
			return e.resolve(ctx, req.Worker, d.began, d.leases)
		case <-notified:
		case <-poll.C:
		}
	}
}

// leaseNow claims jobs with the turn of a request, or takes those that a report leased
// with it.
func (e *Engine) leaseNow(ctx context.Context, req hostler.LeaseRequest, t *turn) (store.Claimed, error) {
	for {
		claimed, err := e.claim(ctx, req, t)
		if err != nil || len(claimed.Leases) > 0 {
			return claimed, err
		}
		if !t.lost {
			t.yield()
			return claimed, nil
		}
		if d := t.await(); len(d.leases) > 0 {
			leases, err := e.resolve(ctx, req.Worker, d.began, d.leases)
			return store.Claimed{Leases: leases}, err
		}
	}
}

// lastLeases ends the turn of a request, and adds what a report leased with it meanwhile.
func (e *Engine) lastLeases(
	ctx context.Context, req hostler.LeaseRequest, t *turn, leases []hostler.Lease, err error,
) ([]hostler.Lease, error) {
	d := e.turns.end(req.Worker, t)
	if len(d.leases) == 0 {
		return leases, err
	}
	more, resolveErr := e.resolve(ctx, req.Worker, d.began, d.leases)
	if leases = append(leases, more...); len(leases) > 0 {
		return leases, nil
	}
	return nil, errors.Join(err, resolveErr)
}

// nextPoll returns when a waiting lease claims again without a notification. Jobs
// that have an affinity to another worker become free to all without one, and slots for
// jobs that were withheld may.
func (e *Engine) nextPoll(wait time.Duration, claimed *store.Claimed) time.Duration {
	if !e.cfg.Sole || claimed.Withheld {
		wait = min(wait, sharedPoll)
	}
	if until := claimed.AffinityUntil; !until.IsZero() {
		wait = min(wait, max(until.Sub(e.store.Now()), time.Millisecond))
	}
	return wait
}

// claim leases ready jobs and resolves them. When it found only jobs that are overdue or
// may not start, it takes these out of the queue and claims again, since the jobs behind
// them cause no notification.
func (e *Engine) claim(ctx context.Context, req hostler.LeaseRequest, t *turn) (claimed store.Claimed, err error) {
	for {
		began := e.cfg.Now()
		claimed, err := e.claimGroups(ctx, req, t)
		if err != nil {
			return store.Claimed{}, err
		}
		if claimed.Overdue {
			_, err := e.dueOnce(ctx)
			if err == nil && len(claimed.Leases) == 0 {
				continue
			}
			if err != nil {
				e.log.ErrorContext(ctx, "expire overdue jobs; will retry", "err", err)
			}
		}
		if len(claimed.Forbidden) > 0 {
			err := e.holdForbidden(ctx, claimed.Forbidden)
			if err == nil && len(claimed.Leases) == 0 {
				continue
			}
			if err != nil {
				e.log.ErrorContext(ctx, "hold jobs that may not start; will retry", "err", err)
			}
		}
		claimed.Leases, err = e.resolve(ctx, req.Worker, began, claimed.Leases)
		if len(claimed.Leases) > 0 {
			e.cfg.Live.Leased(e.cfg.Now().Sub(began))
		}
		return claimed, err
	}
}

// holdForbidden delays jobs whose users may not run them now.
func (e *Engine) holdForbidden(ctx context.Context, ids []hostler.JobID) error {
	return e.store.InTx(ctx, func(tx *store.Tx) error {
		_, err := tx.HoldJobs(ids)
		return err
	})
}

// claimGroups claims jobs of some groups at a time, from where the last claim stopped,
// until it finds any or has looked at all.
func (e *Engine) claimGroups(ctx context.Context, req hostler.LeaseRequest, t *turn) (claimed store.Claimed, err error) {
	var from, none store.Group
	if at := e.claimedTo.Load(); at != nil {
		from = *at
	}
	withheld := false
	for after, turned := from, from == none; ; {
		err := e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			if claimed = (store.Claimed{}); !t.retake() {
				return nil
			}
			claimed, err = tx.ClaimAfter(req.Worker, req.Slots, after)
			if err == nil && turned && claimed.None() {
				t.yield() // for reports that are committed together with this claim
			}
			return err
		})
		if err != nil {
			return store.Claimed{}, err
		}
		e.claimedTo.Store(claimed.More)
		withheld = withheld || claimed.Withheld
		claimed.Withheld = withheld
		e.withheld.Store(withheld)
		switch {
		case len(claimed.Leases) > 0 || claimed.Overdue || len(claimed.Forbidden) > 0:
			return claimed, nil
		case claimed.More != nil:
			after = *claimed.More
		case turned:
			return claimed, nil
		default:
			after, turned = none, true
		}
	}
}

// trace names the traces that leased jobs belong to.
func (e *Engine) trace(ctx context.Context, leases []hostler.Lease) error {
	if !e.cfg.Traced || len(leases) == 0 {
		return nil
	}
	runs := make([]hostler.RunID, len(leases))
	for i := range leases {
		runs[i] = leases[i].Run
	}
	return e.store.View(ctx, func(tx *store.Tx) error {
		traces, err := tx.RunTraces(runs)
		for i := range leases {
			leases[i].Trace = traces[leases[i].Run]
		}
		return err
	})
}

// resolve fills in the assets and credentials of leases whose claim began at a time.
// When that fails, or took longer than maxLeaseAge, it hands the jobs back unstarted.
func (e *Engine) resolve(
	ctx context.Context, w hostler.WorkerID, began time.Time, leases []hostler.Lease,
) ([]hostler.Lease, error) {
	refs := make([]*hostler.Lease, len(leases))
	for i := range leases {
		refs[i] = &leases[i]
	}
	err := errors.Join(e.cfg.Resolve(ctx, refs), e.trace(ctx, leases))
	if len(leases) == 0 {
		return leases, err
	}
	if err == nil && e.cfg.Now().Sub(began) > maxLeaseAge {
		err = hostler.Errorf(hostler.CodeTimeout,
			"the database took too long to lease jobs; they were returned to the queue",
			"数据库分派作业用时过长，作业已退回队列")
	}
	if err == nil {
		return leases, nil
	}
	back := make([]hostler.Report, len(leases))
	for i := range leases {
		back[i] = hostler.Report{LeaseRef: leases[i].LeaseRef, Outcome: hostler.OutcomeHandBack}
	}
	// When this fails too, handBackMissing finds them: no heartbeat will list them.
	_, backErr := e.Report(context.WithoutCancel(ctx), w, back)
	return nil, errors.Join(err, backErr)
}
