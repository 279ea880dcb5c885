// Package worker takes leases, runs their actions and reports how they ended.
//
// # Model
//
// A [Worker] registers with a hostler.Dispatcher and works in sessions, each under a fresh
// worker id. The Dispatcher is all that the worker sees of Hostler: in a server it is the
// engine, elsewhere an HTTP client. In a session run three loops, and a goroutine per job:
//
//	lease loop       asks for as many jobs as there are free slots (long poll)
//	heartbeat loop   lists the held leases; the answer names the jobs to stop (long poll)
//	delivery loop    sends reports in batches until they are acknowledged
//
// A job passes through these steps; its lease is held, and listed in heartbeats, from the
// first to the last:
//
//	leased ─▶ prepared (action, asset and args are valid) ─▶ run ─▶ output stored
//	       ─▶ reported ─▶ acknowledged
//
// # Stopping
//
// A job's context ends with a cause: action.ErrCancelled (a person cancelled it),
// action.TimeoutError (it ran for longer than its timeout), or action.ErrFenced (the lease
// is lost). An action that has not returned Grace later is abandoned: its slot becomes free
// and it is reported as unknown, or as failed when it is idempotent.
//
// # Invariants
//
//   - FenceFirst: a session whose heartbeats fail ends hostler.LeaseMargin before its lease
//     does, by the monotonic clock, or within suspensionPoll after a suspension of the
//     machine that outlasted the lease. The context of every job is cancelled with
//     action.ErrFenced and none of them is reported.
//   - HeldUntilAcked: a report is repeated until it is acknowledged or the lease is known to
//     be lost; the job counts as held until then.
//   - HandBackUnstarted: a job is handed back only if its action was not started; one that
//     was leased too late for a fenced session too.
//   - SlotLimit: no more than Slots actions run at once, except abandoned ones.
package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/runlog"
	"hostler.dev/hostler/internal/wait"
)

const (
	leaseWait     = 20 * time.Second // long poll for jobs
	heartbeatWait = 5 * time.Second  // long poll for jobs to stop
	// heartbeatTimeout is when the answer to a heartbeat counts as lost.
	heartbeatTimeout = 2 * heartbeatWait
	// suspensionPoll is how often the worker looks whether the machine was suspended.
	suspensionPoll = time.Second
	// stopWait is how long actions may take to stop when they will not be reported.
	stopWait = 2 * time.Second
)

// Actions is what the worker needs of the registry of actions.
type Actions interface {
	// Lookup finds an action by its name or an alias.
	Lookup(name string) (*action.Action, bool)
	// Validate checks args against the action's schema and rules.
	Validate(name string, args json.RawMessage) error
}

// Config configures a Worker. Info, Dispatcher, Actions and Redactor are required.
type Config struct {
	Info       hostler.WorkerInfo
	Dispatcher hostler.Dispatcher
	Actions    Actions
	// Redactor returns the redactor of one job, with the job's secrets.
	Redactor func(values ...string) runlog.Redactor
	Log      *slog.Logger // nil discards
	// DefaultTimeout is for attempts whose lease has none; 0 means 5 minutes.
	DefaultTimeout time.Duration
	// Grace is how long an action may take to return after its context was cancelled; 0
	// means 30 seconds.
	Grace time.Duration
	// OutputLimit is how many bytes of output are stored per job; 0 means
	// runlog.DefaultLimit.
	OutputLimit int
	// Sessions lists the open connections to hosts. CloseHost closes those to an address
	// and returns their number; it must not block. Both are nil when there are none.
	Sessions  func() []hostler.HostSession
	CloseHost func(address string) int
	// Trace begins the span of a job, and returns what ends it; nil: there are no spans.
	Trace func(l *hostler.Lease) (end func(o hostler.Outcome))
	// Elapsed returns the time since a fixed moment, by a clock that is never set and that
	// also runs while the machine is suspended; nil means the system's.
	Elapsed func() time.Duration
}

// Worker runs jobs. Create it with New, start it with Run, stop it with Drain.
type Worker struct {
	cfg      Config
	draining chan struct{} // closed by the first Drain
	killed   chan struct{} // closed when a Drain runs out of time
	done     chan struct{} // closed when Run returns
	started  atomic.Bool
	drain    sync.Once
	kill     sync.Once
	meter    meter
	tails    *runlog.Tails
}

// tailBytes is the memory for the ends of long outputs, of all jobs together.
const tailBytes = 64 << 20

// New returns a Worker that is not started.
func New(cfg Config) (*Worker, error) {
	if cfg.Dispatcher == nil || cfg.Actions == nil || cfg.Redactor == nil {
		return nil, errors.New("worker: Dispatcher, Actions and Redactor are required")
	}
	if cfg.Info.Slots < 1 {
		return nil, hostler.Invalid("slots", "a worker needs at least one slot",
			"工作节点至少需要一个并发数")
	}
	cfg.DefaultTimeout = cmp.Or(cfg.DefaultTimeout, 5*time.Minute)
	cfg.Grace = cmp.Or(cfg.Grace, 30*time.Second)
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	if cfg.Elapsed == nil {
		cfg.Elapsed = elapsed
	}
	return &Worker{
		cfg:      cfg,
		draining: make(chan struct{}),
		killed:   make(chan struct{}),
		done:     make(chan struct{}),
		tails:    runlog.NewTails(tailBytes),
	}, nil
}

// Run works until Drain is called or the context is done. It may be called only once. A
// drained worker returns nil. When the context is done, running actions are stopped without
// a report, so that each job's on_lost decides, and the context's cause is returned.
func (w *Worker) Run(ctx context.Context) error {
	if w.started.Swap(true) {
		return errors.New("worker: Run was called before")
	}
	defer close(w.done)
	for {
		id, sent, err := w.register(ctx)
		if err != nil {
			return err
		}
		if id == 0 {
			return nil
		}
		if over, err := newSession(ctx, w, id, sent).run(ctx); over {
			return err
		}
	}
}

// Drain stops leasing at once, hands back jobs that were not started, and waits until the
// running ones have ended and are reported. When the context is done first, running actions
// are stopped without a report, so that each job's on_lost decides; Drain then returns the
// context's cause.
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

// moment is a time by two clocks: at has the monotonic one that timers use, elapsed is
// that of [Config.Elapsed].
type moment struct {
	at      time.Time
	elapsed time.Duration
}

func (w *Worker) now() moment { return moment{time.Now(), w.cfg.Elapsed()} }

// register registers under a fresh worker id, and retries until that succeeds. It returns
// the id and when the registration was sent; the id is 0 when the worker is drained
// meanwhile.
func (w *Worker) register(ctx context.Context) (hostler.WorkerID, moment, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer afterClose(w.draining, func() { cancel(errDrained) })()
	retry := wait.Backoff{First: 200 * time.Millisecond, Max: 5 * time.Second}
	for {
		if w.isDraining() {
			return 0, moment{}, nil
		}
		sent := w.now()
		id, err := w.cfg.Dispatcher.Register(ctx, w.cfg.Info)
		if err == nil {
			w.cfg.Log.Info("worker registered", "worker", id, "slots", w.cfg.Info.Slots)
			return id, sent, nil
		}
		if ctx.Err() == nil {
			w.cfg.Log.Warn("worker cannot register; trying again", "err", err)
			_ = retry.Sleep(ctx)
		}
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errDrained) {
			return 0, moment{}, cause
		}
	}
}

var errDrained = errors.New("drained")
