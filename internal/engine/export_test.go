package engine

import (
	"context"
	"time"

	"hostler.dev/hostler"
)

// RescueOnce exports rescueOnce.
func (e *Engine) RescueOnce(ctx context.Context) error { return e.rescueOnce(ctx) }

// UpkeepOnce exports upkeepOnce: one round of upkeep.
func (e *Engine) UpkeepOnce(ctx context.Context) error { return e.upkeepOnce(ctx) }

// FollowOnce exports followOnce: what pauses and resumes have left to do.
func (e *Engine) FollowOnce(ctx context.Context) error { return e.followOnce(ctx) }

// Withheld reports whether the next report announces that slots are free.
func (e *Engine) Withheld() bool { return e.withheld.Load() }

// RunsOnce exports runsOnce: runs go on as far as they do by themselves.
func (e *Engine) RunsOnce(ctx context.Context) (time.Duration, error) { return e.runsOnce(ctx) }

// StatsOnce exports statsOnce: jobs that ended are added to the statistics.
func (e *Engine) StatsOnce(ctx context.Context) error { return e.statsOnce(ctx) }

// AlertsOnce exports alertsOnce: alert rules are evaluated.
func (e *Engine) AlertsOnce(ctx context.Context) error { return e.alertsOnce(ctx) }

// AlertRound is how often alert rules are evaluated.
const AlertRound = alertRound

// Waits reports whether a lease request of a worker has claimed what there was, and waits.
func (e *Engine) Waits(w hostler.WorkerID) bool {
	t := e.turns.waiting(w)
	return t != nil && t.yielded.Load()
}

// Turn is a turn with the report that has it.
type Turn struct {
	request *turn
	reporting
}

// OpenTurn opens the turn of a request.
func OpenTurn() *Turn {
	e := &Engine{cfg: Config{Now: time.Now}}
	t := &Turn{reporting: reporting{e: e, worker: 1}}
	t.request = e.turns.open(hostler.LeaseRequest{Worker: 1, Slots: 1})
	return t
}

// Take takes the turn for another report.
func (t *Turn) Take() bool {
	if t.has {
		return t.request.take()
	}
	return t.slots() == 1
}

// End ends the request.
func (t *Turn) End() []hostler.Lease { return t.e.turns.end(1, t.request).leases }

// Deliver ends the transaction of the report that has the turn.
func (t *Turn) Deliver(_ context.Context, leases []hostler.Lease, err error) {
	t.claimed.Leases = leases
	t.deliver(err)
}
