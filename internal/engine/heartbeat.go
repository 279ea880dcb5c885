package engine

import (
	"context"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

const (
	// commandPoll is how often a long poll looks for commands to its worker.
	commandPoll = 250 * time.Millisecond
	// soleLease is the lease of the worker of a sole server. No other server could run
	// its jobs, and after its process has ended, the next one rescues them at start: a
	// disk that stalls, or a machine that was suspended, is no reason to kill them.
	soleLease = 365 * 24 * time.Hour
)

// Heartbeat implements [hostler.Dispatcher]. It extends the lease at once; the reply
// waits up to hb.Wait for something that the worker does not know yet.
func (e *Engine) Heartbeat(ctx context.Context, hb hostler.Heartbeat) (hostler.HeartbeatReply, error) {
	var reply hostler.HeartbeatReply
	var missing []hostler.LeaseRef
	err := e.leases.InTx(ctx, func(tx *store.Tx) (err error) {
		reply, missing, err = tx.Heartbeat(hb)
		return err
	})
	if err != nil {
		e.forgetCancels(hb.Worker) // the reply that announced them may be the one that failed
		return reply, err
	}
	reply.LeaseFor = e.leaseFor()
	if err := e.handBackMissing(ctx, hb.Worker, missing); err != nil {
		// Not an error of the heartbeat: the worker must learn in time that its lease
		// was extended.
		e.log.ErrorContext(ctx, "hand back leases whose answer was lost; will retry", "worker", hb.Worker, "err", err)
	}
	if e.announce(hb.Worker, reply.Cancel) || len(reply.Drop) > 0 || len(reply.CloseHosts) > 0 || hb.Wait <= 0 {
		return reply, nil
	}
	return e.longPoll(ctx, hb, reply)
}

func (e *Engine) leaseFor() time.Duration {
	if e.cfg.Sole {
		return soleLease
	}
	return hostler.LeaseTTL
}

// handBackMissing hands back the leases that a worker's heartbeats have not listed
// for so long that the answer to its lease request must be lost.
func (e *Engine) handBackMissing(ctx context.Context, w hostler.WorkerID, missing []hostler.LeaseRef) error {
	e.mu.Lock()
	still, lost := e.unlisted[w].observe(e.cfg.Now(), missing)
	if e.unlisted[w] = still; len(still) == 0 {
		delete(e.unlisted, w)
	}
	e.mu.Unlock()
	if len(lost) == 0 {
		return nil
	}
	return e.store.InTx(ctx, func(tx *store.Tx) error { return tx.HandBack(w, lost) })
}

// longPoll waits up to hb.Wait for a command to the worker. Whatever fails here is
// left to the next heartbeat: the lease was extended, and reply states that.
func (e *Engine) longPoll(
	ctx context.Context, hb hostler.Heartbeat, reply hostler.HeartbeatReply,
) (hostler.HeartbeatReply, error) {
	timeout := time.NewTimer(hb.Wait)
	defer timeout.Stop()
	poll := time.NewTicker(commandPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return reply, nil
		case <-timeout.C:
			return reply, nil
		case <-poll.C:
		}
		var commands store.WorkerCommands
		err := e.store.View(ctx, func(tx *store.Tx) (err error) {
			commands, err = tx.WorkerCommands(hb.Worker)
			return err
		})
		if err != nil {
			return reply, nil
		}
		if commands.Fenced {
			hb.Wait = 0
			return e.Heartbeat(ctx, hb) // which returns CodeStale
		}
		reply.Cancel = commands.Cancel
		isNew := e.announce(hb.Worker, reply.Cancel)
		if len(commands.CloseHosts) > 0 {
			reply.CloseHosts = e.takeCloseHosts(ctx, hb.Worker)
		}
		if isNew || len(reply.CloseHosts) > 0 {
			return reply, nil
		}
	}
}

// takeCloseHosts takes the addresses whose connections the worker must close.
func (e *Engine) takeCloseHosts(ctx context.Context, w hostler.WorkerID) (addresses []string) {
	err := e.store.InTx(ctx, func(tx *store.Tx) (err error) {
		addresses, err = tx.TakeCloseCommands(w)
		return err
	})
	if err != nil {
		return nil
	}
	return addresses
}

// announce records that a reply lists the cancels, and reports whether one of them
// was in no reply before. The cancels stay in every reply until their jobs end;
// without this record each long poll would return at once.
func (e *Engine) announce(w hostler.WorkerID, cancels []hostler.LeaseRef) (isNew bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before, now := e.announced[w], make(map[hostler.LeaseRef]bool, len(cancels))
	for _, ref := range cancels {
		isNew = isNew || !before[ref]
		now[ref] = true
	}
	if e.announced[w] = now; len(now) == 0 {
		delete(e.announced, w) // also for workers that never return
	}
	return isNew
}

// forgetCancels lets the next reply announce the cancels of a worker again.
func (e *Engine) forgetCancels(w hostler.WorkerID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.announced, w)
}

// forget deletes what is in memory about a worker that is dead.
func (e *Engine) forget(w hostler.WorkerID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.announced, w)
	delete(e.unlisted, w)
}
