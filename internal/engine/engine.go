// Package engine moves jobs: it hands them to workers, takes their reports, and
// runs the loops that need nobody to ask: due jobs, ttl, lost workers, upkeep.
//
// Model: an Engine is the hostler.Dispatcher of one server. All state is in the
// store; an Engine may die at any moment, and any number of them may work on one
// PostgreSQL database. Each loop is Run around a runOnce that tests call
// directly; what a loop does is compare-and-swap, so that two servers doing it
// at once do it once.
package engine

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/wait"
)

// Config is what an Engine needs.
type Config struct {
	Store *store.Store
	// Resolve fills in the assets and credentials of leases.
	Resolve func(ctx context.Context, leases []*hostler.Lease) error
	// Pin decides about a host key that a leased job was offered.
	Pin func(ctx context.Context, job store.LeasedJob, k hostler.HostKeyOffer) error
	// Retention is how long ended jobs and their output are kept.
	Retention time.Duration
	// Sole says that no other server uses the database, so that whoever held
	// jobs before this start is gone.
	Sole bool
	// Now measures spans on this server; nil means time.Now, whose monotonic clock
	// no step of the wall clock moves.
	Now func() time.Time
	Log *slog.Logger
}

// Engine implements hostler.Dispatcher over the store.
type Engine struct {
	cfg   Config
	store *store.Store
	log   *slog.Logger

	pulses pulses // of the rescue loop alone

	mu      sync.Mutex
	told    map[hostler.WorkerID]map[hostler.LeaseRef]bool // cancels that a worker was told of
	missing map[hostler.WorkerID]missing
}

var _ hostler.Dispatcher = (*Engine)(nil)

// New makes an Engine; Run starts its loops.
func New(cfg Config) *Engine {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Engine{
		cfg: cfg, store: cfg.Store, log: cfg.Log,
		told: map[hostler.WorkerID]map[hostler.LeaseRef]bool{}, missing: map[hostler.WorkerID]missing{},
	}
}

// Recover deals with the jobs that an earlier process of a sole server left
// running. It must end before workers register.
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
		e.log.WarnContext(ctx, "jobs of the process before this one were rescued", "jobs", n)
	}
	return err
}

// Run runs the loops until ctx is done.
func (e *Engine) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.dueLoop(ctx) })
	g.Go(func() error { return e.loop(ctx, "rescue", rescueEvery, e.rescueOnce) })
	g.Go(func() error { return e.loop(ctx, "upkeep", upkeepEvery, e.upkeepOnce) })
	return g.Wait()
}

// How often the loops look, and how much one transaction takes on.
const (
	dueEvery    = time.Second
	dueAtMost   = 50 * time.Millisecond // no more often than this, however much comes
	rescueEvery = 2 * time.Second
	upkeepEvery = 20 * time.Second
	batch       = 500
	// eventsKept is how long a client may be away and still resume the stream of
	// events without a gap.
	eventsKept = 24 * time.Hour
)

// loop calls once at every tick. A failing store is logged, not fatal: the next
// tick tries again.
func (e *Engine) loop(ctx context.Context, name string, every time.Duration, once func(context.Context) error) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if err := once(ctx); err != nil && ctx.Err() == nil {
			e.log.ErrorContext(ctx, "a loop of the engine failed; it goes on", "loop", name, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// dueLoop looks at what is due when the next job is, and when something was
// enqueued, but no more often than dueAtMost.
func (e *Engine) dueLoop(ctx context.Context) error {
	woken, stop := e.store.Subscribe(store.TopicWork)
	defer stop()
	for {
		next, err := e.dueOnce(ctx)
		if err != nil && ctx.Err() == nil {
			e.log.ErrorContext(ctx, "a loop of the engine failed; it goes on", "loop", "due", "err", err)
		}
		if wait.Sleep(ctx, dueAtMost) != nil {
			return nil
		}
		if _, err := wait.Signal(ctx, next-dueAtMost, woken); err != nil {
			return nil
		}
	}
}

// dueOnce queues what is due and expires what is overdue. It returns how long
// nothing more is due.
func (e *Engine) dueOnce(ctx context.Context) (time.Duration, error) {
	for {
		var n, expired int
		var next time.Time
		// Apart, because each locks its lanes in order.
		err := e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			n, next, err = tx.DueJobs(batch)
			return err
		})
		if err != nil {
			return dueEvery, err
		}
		err = e.store.InTx(ctx, func(tx *store.Tx) (err error) {
			expired, err = tx.ExpireJobs(batch)
			return err
		})
		if err != nil {
			return dueEvery, err
		}
		if n == batch || expired == batch {
			continue
		}
		if next.IsZero() {
			return dueEvery, nil
		}
		return min(dueEvery, max(0, next.Sub(e.store.Now()))), nil
	}
}

// rescueOnce takes the jobs of workers that have been silent for as long as a
// lease lasts.
func (e *Engine) rescueOnce(ctx context.Context) error {
	var live []store.Pulse
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		live, err = tx.Pulses()
		return err
	})
	if err != nil {
		return err
	}
	silent := e.pulses.observe(e.cfg.Now(), live)
	if e.cfg.Sole {
		silent = slices.DeleteFunc(silent, func(p store.Pulse) bool { return !p.Idle }) // see soleLease
	}
	var lost []hostler.WorkerID
	if len(silent) > 0 {
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
		e.log.WarnContext(ctx, "workers were lost", "workers", lost, "jobs", n)
	}
	return err
}

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

// upkeepOnce does what keeps the store small and true.
func (e *Engine) upkeepOnce(ctx context.Context) error {
	sweep := e.sweepLanes(ctx)
	tidy := e.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.ForgetWorkers(); err != nil {
			return err
		}
		if err := tx.ForgetEvents(e.store.Now().Add(-eventsKept), batch); err != nil {
			return err
		}
		return tx.ForgetIdem(batch)
	})
	return errors.Join(sweep, tidy, e.store.Maintain(ctx, e.cfg.Retention))
}

// sweepLanes promotes what should never be left waiting, and deletes idle lanes.
func (e *Engine) sweepLanes(ctx context.Context) error {
	var stranded []int64
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		stranded, err = tx.StrandedLanes(batch)
		return err
	})
	if err != nil {
		return err
	}
	var promoted int
	err = e.store.InTx(ctx, func(tx *store.Tx) (err error) {
		promoted, _, err = tx.SweepLanes(stranded, batch)
		return err
	})
	if promoted > 0 {
		e.log.ErrorContext(ctx, "jobs were left waiting in free lanes; please report this", "jobs", promoted)
	}
	return err
}
