// Package engine moves jobs through their states: it leases them to workers, applies
// their reports, and runs the loops that need no request.
//
// # Model
//
// An [Engine] is the [hostler.Dispatcher] of one server. All state is in the store,
// so that an Engine may die at any time, and any number of them may work on one
// PostgreSQL database.
//
//	worker ──Register──▶ worker id, new for each start of a process
//	       ──Lease─────▶ ready jobs, each with a fence            lease.go
//	       ──Heartbeat─▶ the lease is extended; cancels           heartbeat.go
//	       ──AppendLog─▶ output     ──Report─▶ the job moves on   report.go
//	                     and the worker's waiting lease request is answered  turn.go
//	       ──StoreArtefact─▶ a file       ──OpenArtefact─▶ its content   artefact.go
//
//	loops    due      scheduled jobs are queued, overdue ones expire   due.go
//	         runs     runs go on when their steps or timers end            advance.go
//	         rescue   jobs of lost workers are retried or failed       rescue.go
//	         fire     schedules that are due make runs                  fire.go
//	         follow   lanes follow the pause or resume of a queue      upkeep.go
//	         counts   the counts of waiting jobs are added up          upkeep.go
//	         stats    jobs that ended are added to the statistics      stats.go
//	         alerts   alert rules are evaluated                         alert.go
//	         upkeep   lanes are swept, old rows deleted                upkeep.go
//
// A lease belongs to a worker, not to a job: a worker that sends no heartbeat loses
// all of its jobs. Which workers are silent is decided by observation, without a
// comparison of two clocks; see liveness.go.
//
// # Invariants
//
//   - A write on behalf of a lease matches (job, worker, fence). A worker that was
//     lost gets CodeStale, and stops.
//   - A job is leased only together with its resolved asset and credentials, and only
//     if its worker gets the lease in time; else it returns to the queue unstarted.
//   - Reports and heartbeats are idempotent: a worker repeats those whose answer it
//     did not get.
//   - Each loop is Run around a runOnce that tests call directly, and each of its
//     transactions re-checks what it changes, so that two servers that run the same
//     loop at the same time change every row once.
package engine

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/stats"
	"hostler.dev/hostler/internal/store"
)

// batch is how many rows one transaction of a loop changes: larger ones would delay
// the transactions of workers.
const batch = 500

// Check returns for each args of jobs of a step why they are refused; nil where they are
// not. See [Config].
type Check func(tx *store.Tx, r *store.RunRow, jobs *store.StepJobs, args []json.RawMessage) ([]*hostler.Text, error)

// Config is what an [Engine] needs.
type Config struct {
	Store *store.Store
	// Resolve fills in the assets and credentials of leases.
	Resolve func(ctx context.Context, leases []*hostler.Lease) error
	// Pin decides whether a host key that a leased job was offered is accepted.
	Pin func(ctx context.Context, job store.LeasedJob, k hostler.HostKeyOffer) error
	// Plan computes what an approval approves; nil in tests without approvals.
	Plan func(ctx context.Context, a store.ApprovalRow) (*store.ApprovalPlan, error)
	// Check refuses jobs of a step whose args are complete only now; nil: none.
	Check Check
	// Fire fires schedules that are due, and returns when to call it again; CancelReplaced
	// cancels jobs of runs that later fires replaced, and reports whether there are more.
	// Nil: there are no schedules.
	Fire           func(ctx context.Context) (time.Time, error)
	CancelReplaced func(ctx context.Context) (more bool, err error)
	// FollowUps starts what follows runs that have ended.
	FollowUps func(ctx context.Context) (more bool, err error)
	// Retention is how long ended jobs and their output are stored.
	Retention time.Duration
	// Artefacts are the limits of artefacts; 0 is none allowed.
	Artefacts store.ArtefactLimits
	// Traced states that traces are recorded: leases then name theirs.
	Traced bool
	// Live counts leases; nil: they are not counted.
	Live *stats.Live
	// Sole states that no other server uses the database. The workers found at start
	// are then dead, and a stall of this server costs its worker no job.
	Sole bool
	// Now measures spans of time on this server. Nil means [time.Now], whose monotonic
	// clock does not follow steps of the wall clock.
	Now func() time.Time
	Log *slog.Logger
}

// Engine implements [hostler.Dispatcher] over the store.
type Engine struct {
	cfg    Config
	store  *store.Store
	leases *store.Store // for heartbeats
	log    *slog.Logger

	liveness liveness // used by the rescue loop only

	// claimedTo is the group of ready jobs up to which the last claim looked; nil: all.
	claimedTo atomic.Pointer[store.Group]
	// turns are those of the lease requests that wait.
	turns turns
	// withheld: the last claim left jobs until slots of its worker become free.
	withheld atomic.Bool

	mu        sync.Mutex
	announced map[hostler.WorkerID]map[hostler.LeaseRef]bool // cancels that were in a heartbeat reply
	unlisted  map[hostler.WorkerID]unlisted
}

var _ hostler.Dispatcher = (*Engine)(nil)

// New returns an Engine; [Engine.Run] starts its loops.
func New(cfg Config) *Engine {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Engine{
		cfg: cfg, store: cfg.Store.ForWork(), leases: cfg.Store.ForLeases(), log: cfg.Log,
		announced: map[hostler.WorkerID]map[hostler.LeaseRef]bool{},
		unlisted:  map[hostler.WorkerID]unlisted{},
	}
}

// Run runs the loops until ctx is done.
func (e *Engine) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.dueLoop(ctx) })
	g.Go(func() error { return e.runLoop(ctx) })
	g.Go(func() error { return e.fireLoop(ctx) })
	g.Go(func() error { return e.loop(ctx, "replaced", followInterval, e.cancelReplaced) })
	g.Go(func() error { return e.loop(ctx, "follow-ups", followInterval, e.followUps) })
	g.Go(func() error { return e.loop(ctx, "rescue", rescueInterval, e.rescueOnce) })
	g.Go(func() error { return e.loop(ctx, "follow", followInterval, e.followOnce) })
	g.Go(func() error { return e.loop(ctx, "counts", countsInterval, e.sumCounts) })
	g.Go(func() error { return e.loop(ctx, "stats", statsInterval, e.statsOnce) })
	g.Go(func() error { return e.loop(ctx, "alerts", alertTick, e.alertsOnce) })
	g.Go(func() error { return e.loop(ctx, "upkeep", upkeepInterval, e.upkeepOnce) })
	return g.Wait()
}

// loop calls runOnce at every tick. An error is logged, and the next tick retries:
// a store that is away for a while must not end the server.
func (e *Engine) loop(
	ctx context.Context, name string, interval time.Duration, runOnce func(context.Context) error,
) error {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		if err := runOnce(ctx); err != nil && ctx.Err() == nil {
			e.logLoop(ctx, name, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func (e *Engine) logLoop(ctx context.Context, name string, err error) {
	e.log.ErrorContext(ctx, "engine loop failed; will retry", "loop", name, "err", err)
}
