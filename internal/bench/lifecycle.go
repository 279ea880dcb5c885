package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/engine"
	"hostler.dev/hostler/internal/outbox"
	"hostler.dev/hostler/internal/runlog"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/wait"
	"hostler.dev/hostler/internal/worker"
)

const (
	// producers is how many goroutines enqueue at the same time.
	producers = 4
	// stallTimeout is how long no job may end before the benchmark gives up.
	stallTimeout = 30 * time.Second
)

// countingDispatcher counts the jobs whose reports were acknowledged, which is after
// the commit, and remembers the id of the worker.
type countingDispatcher struct {
	hostler.Dispatcher
	ended  atomic.Int64
	worker atomic.Int64
}

// Register implements hostler.Dispatcher.
func (c *countingDispatcher) Register(ctx context.Context, info hostler.WorkerInfo) (hostler.WorkerID, error) {
	id, err := c.Dispatcher.Register(ctx, info)
	c.worker.Store(int64(id))
	return id, err
}

// Report implements hostler.Dispatcher.
func (c *countingDispatcher) Report(
	ctx context.Context, w hostler.WorkerID, reports []hostler.Report,
) ([]error, error) {
	acks, err := c.Dispatcher.Report(ctx, w, reports)
	for _, ack := range acks {
		if ack == nil {
			c.ended.Add(1)
		}
	}
	return acks, err
}

// lifecycle starts an engine, a publisher and a worker, as a server does, and measures
// one scenario: it works off its jobs as fast as it can for the rate, and then enqueues
// at half that rate for the delay from enqueue to start.
func (b *bench) lifecycle(ctx context.Context, lanes int) (s sample, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	started := &delays{}
	e := engine.New(engine.Config{
		Store: b.store, Retention: 24 * time.Hour, Sole: b.db.Name() == string(sqldb.SQLite), Log: discard(),
		Resolve: func(context.Context, []*hostler.Lease) error { return nil },
		Pin:     func(context.Context, store.LeasedJob, hostler.HostKeyOffer) error { return nil },
	})
	d := &countingDispatcher{Dispatcher: e}
	w, err := b.worker(d, started)
	if err != nil {
		return s, err
	}
	var g errgroup.Group
	g.Go(func() error { return e.Run(ctx) })
	g.Go(func() error { return w.Run(ctx) })
	p := outbox.Publisher{Store: b.store, Log: discard()}
	g.Go(func() error { return p.Run(ctx) })
	defer func() {
		drain, end := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer end()
		// As a server does when it stops: ready jobs have an affinity to the worker that
		// ran their lane last, and those of the next round would wait for this one.
		err = errors.Join(err, w.Drain(drain), e.Retire(drain, hostler.WorkerID(d.worker.Load())))
		cancel()
		err = errors.Join(err, g.Wait())
	}()
	if s, err = b.burn(ctx, d, lanes); err != nil {
		return s, err
	}
	started.enable()
	if err := b.steady(ctx, d, lanes, s.rate/2); err != nil {
		return s, err
	}
	s.p50, s.p99 = started.quantile(0.5), started.quantile(0.99)
	return s, nil
}

// worker returns a worker whose only action does nothing for Options.Work.
func (b *bench) worker(d hostler.Dispatcher, started *delays) (*worker.Worker, error) {
	actions, err := action.NewRegistry(action.Action{
		Name: "noop", Title: hostler.Text{EN: "Nothing", ZH: "空操作"},
		Schema: json.RawMessage(`{"type":"object"}`), Asset: action.AssetNever,
		Traits:  func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Enabled: true,
		Run: func(ctx context.Context, c *action.Call) action.Result {
			var a struct {
				At int64 `json:"at"`
			}
			if err := json.Unmarshal(c.Args, &a); err == nil {
				started.add(time.Since(time.UnixMicro(a.At)))
			}
			_ = wait.Sleep(ctx, b.o.Work) // a cancelled job ends early
			return action.Succeeded(nil)
		},
	})
	if err != nil {
		return nil, err
	}
	return worker.New(worker.Config{
		Info: hostler.WorkerInfo{
			Name: "bench", Hostname: "bench", Version: "bench", Queues: []string{benchQueue}, Slots: b.o.Slots,
		},
		Dispatcher: d, Actions: actions, Log: discard(),
		Redactor: func(values ...string) runlog.Redactor { return secret.NewRedactor(values...) },
	})
}

// burn enqueues the jobs of a scenario as fast as it can, and waits until all have
// ended.
func (b *bench) burn(ctx context.Context, d *countingDispatcher, lanes int) (sample, error) {
	before, err := b.meter(ctx)
	if err != nil {
		return sample{}, err
	}
	var next atomic.Int64
	var g errgroup.Group
	for range producers {
		g.Go(func() error {
			for {
				from := int(next.Add(int64(b.o.Batch))) - b.o.Batch
				if from >= b.o.Jobs {
					return nil
				}
				if err := b.enqueue(ctx, from, min(b.o.Batch, b.o.Jobs-from), lanes); err != nil {
					return err
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return sample{}, err
	}
	if err := await(ctx, d, int64(b.o.Jobs)); err != nil {
		return sample{}, err
	}
	after, err := b.meter(ctx)
	if err != nil {
		return sample{}, err
	}
	return after.since(before, b.o.Jobs), nil
}

// steady enqueues at a rate for Options.Steady, however far the engine falls behind,
// and then waits until all jobs have ended.
func (b *bench) steady(ctx context.Context, d *countingDispatcher, lanes int, rate float64) error {
	const tick = time.Millisecond
	done := d.ended.Load()
	t := time.NewTicker(tick)
	defer t.Stop()
	start, made := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		since := time.Since(start)
		if since > b.o.Steady {
			return await(ctx, d, done+int64(made))
		}
		if n := int(rate*since.Seconds()) - made; n > 0 {
			if err := b.enqueue(ctx, made, n, lanes); err != nil {
				return err
			}
			made += n
		}
	}
}

// enqueue inserts n jobs in one transaction. Jobs of a scenario with lanes are spread
// over them in turn, so that the lanes fill evenly.
func (b *bench) enqueue(ctx context.Context, from, n, lanes int) error {
	specs := make([]hostler.JobSpec, n)
	now := time.Now() // in the args: the worker computes the delay to its start
	for i := range specs {
		specs[i] = hostler.JobSpec{
			Project: b.project, Queue: benchQueue, Action: "noop", Args: args(now),
			Priority: hostler.PriorityDefault, MaxAttempts: 1,
			OnLost: hostler.OnLostRetry, OnUnknown: hostler.OnUnknownHold, OnRetry: hostler.OnRetryHold,
		}
		if lanes > 0 {
			specs[i].LaneKey, specs[i].LaneLimit = fmt.Sprintf("device:%d", (from+i)%lanes), 1
		}
	}
	return b.store.InTx(ctx, func(tx *store.Tx) error {
		_, err := tx.Enqueue(specs)
		return err
	})
}

// await waits until want jobs have ended. It fails when none ends for stallTimeout.
func await(ctx context.Context, d *countingDispatcher, want int64) error {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	last, at := d.ended.Load(), time.Now()
	for {
		n := d.ended.Load()
		switch {
		case n >= want:
			return nil
		case n != last:
			last, at = n, time.Now()
		case time.Since(at) > stallTimeout:
			return fmt.Errorf("%d of %d jobs ended, and none in the last %v", n, want, stallTimeout)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}
