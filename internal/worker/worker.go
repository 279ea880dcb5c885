// Package worker takes leases, runs their actions and reports how they ended.
//
// Model: a Worker registers and works through one session after another, each
// under a fresh worker id. In a session three loops run: one leases exactly as
// many jobs as there are free slots, one sends heartbeats back to back, one
// delivers reports in batches; each job has a goroutine. All that the worker
// knows of Hostler is the hostler.Dispatcher: in a server it is the engine,
// elsewhere an HTTP client.
//
// Invariants:
//   - A session whose heartbeats fail ends hostler.LeaseMargin before its lease
//     does, by the monotonic clock: every job's context is cancelled with
//     action.ErrFenced and nothing of it is reported.
//   - A report is repeated until it is acknowledged or the lease is known to be
//     lost; a job counts as held until then.
//   - An action that has begun is never handed back; one that has not is.
//   - An action that does not return after its context was cancelled gives its
//     slot back after a grace time, as unknown unless it is idempotent.
package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/runlog"
)

const (
	leaseWait = 20 * time.Second // long poll for work
	beatWait  = 5 * time.Second  // long poll for orders
	// beatTimeout is when an answer to a heartbeat counts as lost.
	beatTimeout = 2 * beatWait
	// stopWait is what actions get to stop when nothing will be reported.
	stopWait = 2 * time.Second
)

// Actions is what the worker needs of the registry of actions.
type Actions interface {
	// Lookup finds an action by its name or an alias.
	Lookup(name string) (*action.Action, bool)
	// Validate checks args against the action's schema and rules.
	Validate(name string, args json.RawMessage) error
}

// Config is what a Worker needs. Info, Dispatcher, Actions and Redactor are
// required.
type Config struct {
	Info       hostler.WorkerInfo
	Dispatcher hostler.Dispatcher
	Actions    Actions
	// Redactor makes the redactor of one job, seeded with the job's secrets.
	Redactor func(values ...string) runlog.Redactor
	Log      *slog.Logger // nil discards
	// DefaultTimeout is for attempts whose lease names none; 0 means 5 minutes.
	DefaultTimeout time.Duration
	// Grace is how long an action may take to return after its context was
	// cancelled; 0 means 30 seconds.
	Grace time.Duration
	// OutputLimit is how many bytes of output a job keeps; 0 means
	// runlog.DefaultLimit.
	OutputLimit int
	// Sessions lists the connections to hosts that the actions keep, and CloseHost
	// closes those to an address, without waiting for anything, and says how many
	// there were. Nil when nothing is kept.
	Sessions  func() []hostler.HostSession
	CloseHost func(address string) int
}

// Worker runs jobs. Make it with New, start it with Run, stop it with Drain.
type Worker struct {
	cfg      Config
	draining chan struct{} // closed by the first Drain
	killed   chan struct{} // closed when a Drain runs out of time
	done     chan struct{} // closed when Run returns
	started  atomic.Bool
	drain    sync.Once
	kill     sync.Once
	meter    meter

	mu  sync.Mutex
	now *session // nil between sessions
}

// New makes a Worker; it starts nothing.
func New(cfg Config) (*Worker, error) {
	if cfg.Dispatcher == nil || cfg.Actions == nil || cfg.Redactor == nil {
		return nil, errors.New("worker: Dispatcher, Actions and Redactor are required")
	}
	if cfg.Info.Slots < 1 {
		return nil, hostler.Invalid("slots", "a worker needs at least one slot", "工作节点至少需要一个并发数")
	}
	cfg.DefaultTimeout = cmp.Or(cfg.DefaultTimeout, 5*time.Minute)
	cfg.Grace = cmp.Or(cfg.Grace, 30*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Worker{
		cfg:      cfg,
		draining: make(chan struct{}),
		killed:   make(chan struct{}),
		done:     make(chan struct{}),
	}, nil
}

// Run works until Drain is called or the context is done; it is called once. A
// drained worker returns nil. When the context is done, running actions are
// stopped unreported, so that each job's on_lost decides, and its cause is
// returned.
func (w *Worker) Run(ctx context.Context) error {
	if w.started.Swap(true) {
		return errors.New("worker: Run was called before")
	}
	defer close(w.done)
	for {
		id, until, err := w.register(ctx)
		if err != nil {
			return err
		}
		if id == 0 {
			return nil
		}
		s := newSession(ctx, w, id, until)
		w.setSession(s)
		over, err := s.run(ctx)
		w.setSession(nil)
		if over {
			return err
		}
	}
}

func (w *Worker) setSession(s *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = s
}

// Drain stops leasing at once, hands back what has not begun, and waits until
// what runs has ended and is reported. When the context is done first, running
// actions are stopped unreported, so that each job's on_lost decides; Drain then
// returns the context's cause.
func (w *Worker) Drain(ctx context.Context) error {
	w.drain.Do(func() { close(w.draining) })
	if !w.started.Load() {
		return nil
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	w.kill.Do(func() { close(w.killed) })
	<-w.done
	return context.Cause(ctx)
}

func (w *Worker) isDraining() bool {
	select {
	case <-w.draining:
		return true
	default:
		return false
	}
}

// register makes a fresh worker id, trying until it works. The id is 0 when the
// worker is drained meanwhile. It also returns when the first lease ends.
func (w *Worker) register(ctx context.Context) (hostler.WorkerID, time.Time, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer afterClose(w.draining, func() { cancel(errDrained) })()
	delay := newBackoff(200*time.Millisecond, 5*time.Second)
	for {
		if w.isDraining() {
			return 0, time.Time{}, nil
		}
		sent := time.Now()
		id, err := w.cfg.Dispatcher.Register(ctx, w.cfg.Info)
		if err == nil {
			w.cfg.Log.Info("worker registered", "worker", id, "slots", w.cfg.Info.Slots)
			return id, sent.Add(hostler.LeaseTTL - hostler.LeaseMargin), nil
		}
		if ctx.Err() == nil {
			w.cfg.Log.Warn("worker cannot register; it tries again", "err", err)
			delay.wait(ctx)
		}
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errDrained) {
			return 0, time.Time{}, cause
		}
	}
}

var errDrained = errors.New("drained")

// Running is a job that the worker runs.
type Running struct {
	hostler.LeaseRef
	Action  string
	Asset   string // its name; "" for none
	Attempt int
	Since   time.Time
}

// Running lists the jobs that the worker runs, by id.
func (w *Worker) Running() []Running {
	w.mu.Lock()
	s := w.now
	w.mu.Unlock()
	if s == nil {
		return nil
	}
	all := s.running()
	slices.SortFunc(all, func(a, b Running) int { return cmp.Compare(a.Job, b.Job) })
	return all
}
