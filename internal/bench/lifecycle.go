package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
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

// producers enqueue at the same time.
const producers = 4

// counting counts the jobs whose end is durable, and knows the worker.
type counting struct {
	hostler.Dispatcher
	ended  atomic.Int64
	worker atomic.Int64
}

// Register implements hostler.Dispatcher.
func (c *counting) Register(ctx context.Context, info hostler.WorkerInfo) (hostler.WorkerID, error) {
	id, err := c.Dispatcher.Register(ctx, info)
	c.worker.Store(int64(id))
	return id, err
}

// Report implements hostler.Dispatcher.
func (c *counting) Report(ctx context.Context, w hostler.WorkerID, reports []hostler.Report) ([]error, error) {
	acks, err := c.Dispatcher.Report(ctx, w, reports)
	for _, ack := range acks {
		if ack == nil {
			c.ended.Add(1)
		}
	}
	return acks, err
}

// starts collects how long jobs waited for their start.
type starts struct {
	mu  sync.Mutex
	on  bool
	all []time.Duration
}

func (s *starts) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on {
		s.all = append(s.all, d)
	}
}

func (s *starts) quantile(q float64) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return 0
	}
	slices.Sort(s.all)
	return float64(s.all[min(len(s.all)-1, int(q*float64(len(s.all))))].Microseconds()) / 1000
}

// lifecycle burns down the scenario's jobs, and then keeps a steady half load for
// the time from enqueue to start.
func (b *bench) lifecycle(ctx context.Context, lanes int) (s sample, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	waits := &starts{}
	e := engine.New(engine.Config{
		Store: b.store, Retention: 24 * time.Hour, Sole: b.db.Name() == string(sqldb.SQLite), Log: discard(),
		Resolve: func(context.Context, []*hostler.Lease) error { return nil },
		Pin:     func(context.Context, store.LeasedJob, hostler.HostKeyOffer) error { return nil },
	})
	d := &counting{Dispatcher: e}
	w, err := b.worker(d, waits)
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
		// As a server does at its end: else the next round's jobs would wait for this
		// worker, which held their lanes.
		err = errors.Join(err, w.Drain(drain), e.Retire(drain, hostler.WorkerID(d.worker.Load())))
		cancel()
		err = errors.Join(err, g.Wait())
	}()
	if s, err = b.burn(ctx, d, lanes); err != nil {
		return s, err
	}
	waits.mu.Lock()
	waits.on = true
	waits.mu.Unlock()
	if err := b.steady(ctx, d, lanes, s.rate/2); err != nil {
		return s, err
	}
	s.p50, s.p99 = waits.quantile(0.5), waits.quantile(0.99)
	return s, nil
}

func (b *bench) worker(d hostler.Dispatcher, waits *starts) (*worker.Worker, error) {
	actions, err := action.NewRegistry(action.Action{
		Name: "noop", Title: hostler.Text{EN: "Nothing", ZH: "空操作"}, Schema: json.RawMessage(`{"type":"object"}`), Asset: action.AssetNever,
		Traits:  func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Enabled: true,
		Run: func(ctx context.Context, c *action.Call) action.Result {
			var a struct {
				At int64 `json:"at"`
			}
			if err := json.Unmarshal(c.Args, &a); err == nil {
				waits.add(time.Since(time.UnixMicro(a.At)))
			}
			_ = wait.Sleep(ctx, b.o.Work) // a cancelled job ends early
			return action.Succeeded(nil)
		},
	})
	if err != nil {
		return nil, err
	}
	return worker.New(worker.Config{
		Info:       hostler.WorkerInfo{Name: "bench", Hostname: "bench", Version: "bench", Queues: []string{benchQueue}, Slots: b.o.Slots},
		Dispatcher: d, Actions: actions, Log: discard(),
		Redactor: func(values ...string) runlog.Redactor { return secret.NewRedactor(values...) },
	})
}

// burn enqueues every job as fast as it can and waits until all have ended.
func (b *bench) burn(ctx context.Context, d *counting, lanes int) (sample, error) {
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

// steady enqueues at a rate, one job at a time, without waiting for them.
func (b *bench) steady(ctx context.Context, d *counting, lanes int, rate float64) error {
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

func (b *bench) enqueue(ctx context.Context, from, n, lanes int) error {
	specs := make([]hostler.JobSpec, n)
	now := time.Now()
	for i := range specs {
		specs[i] = hostler.JobSpec{
			Project: b.project, Queue: benchQueue, Action: "noop", Args: args(now), Priority: hostler.PriorityDefault, MaxAttempts: 1,
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

// patience bounds how long nothing may end before the benchmark gives up.
const patience = 30 * time.Second

func await(ctx context.Context, d *counting, want int64) error {
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
		case time.Since(at) > patience:
			return fmt.Errorf("%d of %d jobs ended, and none for %v", n, want, patience)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// reading is what the meters show at one moment.
type reading struct {
	at  time.Time
	cpu time.Duration
	wal int64
}

func (r reading) since(before reading, jobs int) sample {
	n := float64(jobs)
	return sample{
		rate: n / r.at.Sub(before.at).Seconds(),
		cpu:  float64((r.cpu - before.cpu).Microseconds()) / n,
		wal:  float64(r.wal-before.wal) / n,
	}
}

func (b *bench) meter(ctx context.Context) (reading, error) {
	wal, err := b.walBytes(ctx)
	if err != nil {
		return reading{}, err
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return reading{}, fmt.Errorf("read the CPU time: %w", err)
	}
	return reading{at: time.Now(), wal: wal, cpu: time.Duration(u.Utime.Nano() + u.Stime.Nano())}, nil
}
