package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/runlog"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// env is a worker with a fake dispatcher.
type env struct {
	t          *testing.T
	dispatcher *fakeDispatcher
	w          *worker.Worker
	stop       context.CancelCauseFunc
	err        chan error
}

var errStopped = errors.New("stopped by the test")

// setUp starts a worker with the actions, until the test's end.
func setUp(t *testing.T, d *fakeDispatcher, acts actions, edit ...func(c *worker.Config)) *env {
	t.Helper()
	for _, a := range acts {
		a.Enabled = true
	}
	cfg := worker.Config{
		Info: hostler.WorkerInfo{Name: "w", Slots: 4}, Dispatcher: d, Actions: acts,
		Redactor: func(values ...string) runlog.Redactor { return secret.NewRedactor(values...) },
	}
	for _, change := range edit {
		change(&cfg)
	}
	w, err := worker.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(context.WithoutCancel(t.Context()))
	e := &env{t: t, dispatcher: d, w: w, stop: stop, err: make(chan error, 1)}
	go func() { e.err <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop(errStopped)
		<-e.err
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, f := range d.faults {
			t.Error(f)
		}
	})
	return e
}

// ended waits until the job is done and returns its report.
func (e *env) ended(id hostler.JobID) hostler.Report {
	e.t.Helper()
	e.until(10*time.Minute, func() bool { return e.dispatcher.jobs[id].done })
	j := e.dispatcher.job(id)
	if !j.done {
		e.t.Fatalf("job %d does not end", id)
	}
	return j.report
}

func (e *env) until(limit time.Duration, done func() bool) {
	e.t.Helper()
	if err := e.dispatcher.await(e.t.Context(), limit, done); err != nil {
		e.t.Fatal(err)
	}
}

func pass(d time.Duration) { <-time.After(d) }

func run(f func(ctx context.Context, c *action.Call) action.Result) *action.Action {
	return &action.Action{Asset: action.AssetOptional, Run: f}
}

func idempotent(a *action.Action) *action.Action {
	a.Traits = func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} }
	return a
}

func nop(context.Context, *action.Call) action.Result { return action.Succeeded(nil) }

// untilStopped is an action that runs until its context ends, and records when and why.
type untilStopped struct {
	mu    sync.Mutex
	at    time.Time
	cause error
}

func (u *untilStopped) run(ctx context.Context, _ *action.Call) action.Result {
	<-ctx.Done()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.at, u.cause = time.Now(), context.Cause(ctx)
	return action.Cancelled(nil)
}

func (u *untilStopped) stopped() (time.Time, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.at, u.cause
}

func TestJobSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := setUp(t, newFakeDispatcher(), actions{"hello": run(func(_ context.Context, c *action.Call) action.Result {
			io.WriteString(c.Stdout, "hi\n")
			return action.Succeeded(map[string]int{"n": c.Attempt})
		})})
		id := e.dispatcher.submit("hello")
		want := hostler.Report{
			LeaseRef: hostler.LeaseRef{Job: id, Fence: 1}, Outcome: hostler.OutcomeSucceeded, Result: []byte(`{"n":1}`),
			Output: []hostler.LogLine{{At: time.Now(), Stream: hostler.StreamStdout, Text: "hi\n"}},
		}
		if d := cmp.Diff(want, e.ended(id)); d != "" {
			t.Error(d)
		}
	})
}

func TestIdleWorkerMakesFewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := setUp(t, newFakeDispatcher(), nil)
		pass(10 * time.Minute)
		if n := e.dispatcher.count("lease") + e.dispatcher.count("heartbeat"); n > 160 {
			t.Errorf("%d calls in 10 idle minutes", n)
		}
	})
}

// noLongPoll answers at once, empty, whatever wait was asked for.
type noLongPoll struct{ *fakeDispatcher }

func (h noLongPoll) Lease(ctx context.Context, r hostler.LeaseRequest) ([]hostler.Lease, error) {
	r.Wait = 0
	return h.fakeDispatcher.Lease(ctx, r)
}

func (h noLongPoll) Heartbeat(ctx context.Context, hb hostler.Heartbeat) (hostler.HeartbeatReply, error) {
	hb.Wait = 0
	return h.fakeDispatcher.Heartbeat(ctx, hb)
}

func TestADispatcherWithoutLongPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		setUp(t, d, nil, func(c *worker.Config) { c.Dispatcher = noLongPoll{d} })
		pass(time.Minute)
		if n := d.count("lease") + d.count("heartbeat"); n > 600 {
			t.Errorf("%d calls in an idle minute", n)
		}
	})
}

func TestManySmallJobs(t *testing.T) {
	const jobs, slots = 10_000, 64
	var now, most, ran atomic.Int64
	d := newFakeDispatcher()
	e := setUp(t, d, actions{"nop": run(func(context.Context, *action.Call) action.Result {
		ran.Add(1)
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		now.Add(-1)
		return action.Succeeded(nil)
	})}, func(c *worker.Config) { c.Info.Slots = slots })
	for range jobs {
		d.submit("nop")
	}
	e.until(time.Minute, func() bool {
		for _, j := range d.jobs {
			if !j.done {
				return false
			}
		}
		return true
	})
	if ran.Load() != jobs || most.Load() > slots {
		t.Errorf("%d runs of %d jobs, %d at once in %d slots", ran.Load(), jobs, most.Load(), slots)
	}
	if n := d.count("report"); n > jobs/4 {
		t.Errorf("%d report calls for %d jobs", n, jobs)
	}
}

func TestJobsOfLostLeaseAnswersRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		d.after = func(call string, n int) error {
			if call == "lease" && n%2 == 1 {
				return errors.New("answer lost")
			}
			return nil
		}
		e := setUp(t, d, actions{"nop": run(nop)})
		var ids []hostler.JobID
		for range 10 {
			ids = append(ids, d.submit("nop"))
		}
		for _, id := range ids {
			if r := e.ended(id); r.Outcome != hostler.OutcomeSucceeded {
				t.Errorf("job %d: %v", id, r.Outcome)
			}
		}
	})
}

func TestReportsAreRepeatedUntilAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		unavailable := hostler.Errorf(hostler.CodeUnavailable, "unavailable", "不可用")
		d.before = func(call string, n int) error {
			if call == "report" && n <= 3 {
				return unavailable
			}
			return nil
		}
		d.after = func(call string, n int) error {
			if call == "report" && n <= 6 {
				return errors.New("answer lost")
			}
			return nil
		}
		e := setUp(t, d, actions{"nop": run(nop)})
		id := d.submit("nop")
		e.ended(id)
		pass(10 * time.Second)
		if n := d.count("report"); n != 7 {
			t.Errorf("%d report calls, want 7: three failed, three answers lost, one acknowledged", n)
		}
		if j := d.job(id); j.leases != 1 {
			t.Errorf("leased %d times", j.leases)
		}
	})
}

func TestALostFenceIsNotReportedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		setUp(t, d, actions{"nop": run(func(context.Context, *action.Call) action.Result {
			d.revoke(1) // rescued while it runs; the report comes too late
			return action.Succeeded(nil)
		})})
		d.submit("nop")
		pass(time.Minute)
		if n := d.count("report"); n > 1 {
			t.Errorf("%d report calls", n)
		}
		if got := d.freeSlots(); got != 4 {
			t.Errorf("%d free slots, want 4", got)
		}
	})
}

func TestARefusedReportIsReduced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		d.before = func(call string, n int) error {
			if call == "report" && n == 1 {
				return hostler.Errorf(hostler.CodeTooLarge, "too large", "过大")
			}
			return nil
		}
		big := func(context.Context, *action.Call) action.Result { return action.Succeeded("big") }
		e := setUp(t, d, actions{"big": run(big)})
		r := e.ended(d.submit("big"))
		if r.Outcome != hostler.OutcomeSucceeded || r.Result != nil || r.Error == nil {
			t.Errorf("%+v", r)
		}
	})
}

// A report that is always refused holds up no other, and its job stays held: handed back, it
// would run again.
func TestAReportThatIsAlwaysRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		e := setUp(t, d, actions{"nop": run(nop)}, func(c *worker.Config) { c.Dispatcher = refusingOne{d, 1} })
		bad := d.submit("nop")
		for range 20 {
			pass(3 * time.Second)
			e.ended(d.submit("nop"))
		}
		if j := d.job(bad); j.leases != 1 || !j.running {
			t.Errorf("the refused job was handed back: %+v", j)
		}
	})
}

// refusingOne refuses every batch with a report of one job.
type refusingOne struct {
	*fakeDispatcher
	job hostler.JobID
}

func (p refusingOne) Report(ctx context.Context, w hostler.WorkerID, reports []hostler.Report) ([]error, error) {
	for _, r := range reports {
		if r.Job == p.job {
			return nil, hostler.Errorf(hostler.CodeInvalid, "no", "不")
		}
	}
	return p.fakeDispatcher.Report(ctx, w, reports)
}

func TestAWorkerFencesItselfBeforeItsLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		var u untilStopped
		setUp(t, d, actions{"long": run(u.run)})
		d.submit("long", func(l *hostler.Lease) { l.Timeout = time.Hour })
		pass(time.Minute)
		d.mu.Lock()
		last := d.workers[hostler.WorkerID(2)]
		for _, w := range d.workers {
			last = w
		}
		until := last.until
		d.before = func(string, int) error { return errors.New("network is down") }
		d.mu.Unlock()
		pass(time.Minute)
		at, cause := u.stopped()
		if !errors.Is(cause, action.ErrFenced) {
			t.Fatalf("the action was stopped by %v", cause)
		}
		if want := until.Add(-hostler.LeaseMargin); !at.Equal(want) {
			t.Errorf("fenced %v from the end of the lease, want %v", until.Sub(at), hostler.LeaseMargin)
		}
		d.inject(nil, nil)
		pass(time.Minute)
		if n := len(d.workers); n != 2 {
			t.Errorf("%d registrations, want a fresh one", n)
		}
		if n := d.count("report"); n != 0 {
			t.Errorf("%d reports of a fenced worker", n)
		}
		if got := d.freeSlots(); got != 4 {
			t.Errorf("%d free slots, want 4", got)
		}
	})
}

// Timers do not run while a machine is suspended: after a suspension for longer than the lease
// the jobs belong to another worker.
func TestASuspendedWorkerFencesItselfAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		var u untilStopped
		var suspended atomic.Int64
		start := time.Now()
		setUp(t, d, actions{"long": run(u.run)}, func(c *worker.Config) {
			c.Elapsed = func() time.Duration { return time.Since(start) + time.Duration(suspended.Load()) }
		})
		d.submit("long", func(l *hostler.Lease) { l.Timeout = time.Hour })
		pass(time.Minute)
		if _, cause := u.stopped(); cause != nil {
			t.Fatalf("stopped by %v before", cause)
		}
		suspended.Store(int64(hostler.LeaseTTL))
		pass(2 * time.Second)
		if _, cause := u.stopped(); !errors.Is(cause, action.ErrFenced) {
			t.Errorf("2s after the machine came back the action was stopped by %v, want %v", cause, action.ErrFenced)
		}
		if n := d.count("report"); n != 0 {
			t.Errorf("%d reports of a fenced worker", n)
		}
	})
}

// Leases whose answer arrives after the fence never started: they are handed back.
func TestLeasesThatArriveAfterTheFenceAreHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		s := slowLease{d, make(chan struct{})}
		var suspended atomic.Int64
		setUp(t, d, actions{"nop": run(nop)}, func(c *worker.Config) {
			c.Dispatcher = s
			c.Elapsed = func() time.Duration { return time.Duration(suspended.Load()) }
		})
		id := d.submit("nop")
		synctest.Wait()
		suspended.Store(int64(hostler.LeaseTTL))
		pass(2 * time.Second)
		close(s.arrive)
		pass(10 * time.Second)
		if j := d.job(id); j.handed != 1 || !j.done {
			t.Errorf("handed back %d times, done: %v; want once, and run by the next session", j.handed, j.done)
		}
	})
}

func TestAFencedWorkerRegistersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		var u untilStopped
		e := setUp(t, d, actions{"long": run(u.run), "nop": run(nop)})
		d.submit("long")
		pass(time.Second)
		d.kill()
		killed := time.Now()
		pass(10 * time.Second)
		if at, cause := u.stopped(); !errors.Is(cause, action.ErrFenced) || at.Sub(killed) > time.Second {
			t.Errorf("stopped by %v after %v", cause, at.Sub(killed))
		}
		if r := e.ended(d.submit("nop")); r.Outcome != hostler.OutcomeSucceeded {
			t.Errorf("the fresh worker: %v", r.Outcome)
		}
		if j := d.job(1); j.done {
			t.Errorf("the fenced job was reported: %+v", j.report)
		}
	})
}

func TestADroppedJobIsNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		var u untilStopped
		e := setUp(t, d, actions{"long": run(u.run), "nop": run(nop)})
		id := d.submit("long")
		pass(6 * time.Second) // a heartbeat lists it
		d.revoke(id)
		synctest.Wait()
		if _, cause := u.stopped(); !errors.Is(cause, action.ErrFenced) {
			t.Errorf("stopped by %v", cause)
		}
		e.ended(d.submit("nop"))
		if n := d.count("register"); n != 1 {
			t.Errorf("%d registrations: other jobs must not be affected", n)
		}
	})
}

// A job that is leased again while its lost lease still runs must not run twice at once.
func TestASupersededLeaseEndsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		var at atomic.Int64
		e := setUp(t, d, actions{"slow": run(func(ctx context.Context, c *action.Call) action.Result {
			if at.Add(1) > 1 {
				t.Error("two leases of one job run at once")
			}
			defer at.Add(-1)
			if c.Fence == 1 {
				<-ctx.Done()
				pass(3 * time.Second)
			}
			return action.Succeeded(c.Fence)
		})})
		id := d.submit("slow")
		pass(time.Second)
		d.mu.Lock()
		d.requeue(d.jobs[id])
		d.mu.Unlock()
		if r := e.ended(id); r.Fence != 2 || string(r.Result) != "2" {
			t.Errorf("%+v", r)
		}
	})
}

func TestCancelIsImmediate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		var u untilStopped
		e := setUp(t, d, actions{"long": run(u.run)})
		id := d.submit("long")
		pass(7 * time.Second)
		asked := time.Now()
		d.cancelJob(id)
		r := e.ended(id)
		at, cause := u.stopped()
		if !errors.Is(cause, action.ErrCancelled) || !at.Equal(asked) {
			t.Errorf("stopped by %v, %v after it was asked", cause, at.Sub(asked))
		}
		if r.Outcome != hostler.OutcomeCancelled || r.Error.Kind != hostler.ErrKindCancelled {
			t.Errorf("%+v", r)
		}
	})
}

func TestTimeout(t *testing.T) {
	for name, c := range map[string]struct{ lease, fallback, want time.Duration }{
		"of the job":    {time.Minute, 0, time.Minute},
		"of the worker": {0, 90 * time.Second, 90 * time.Second},
		"by default":    {0, 0, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newFakeDispatcher()
				var u untilStopped
				e := setUp(t, d, actions{"long": run(u.run)},
					func(cfg *worker.Config) { cfg.DefaultTimeout = c.fallback })
				began := time.Now()
				r := e.ended(d.submit("long", func(l *hostler.Lease) { l.Timeout = c.lease }))
				at, cause := u.stopped()
				if !errors.Is(cause, action.ErrTimeout) || at.Sub(began) != c.want {
					t.Errorf("stopped by %v after %v, want %v", cause, at.Sub(began), c.want)
				}
				if r.Outcome != hostler.OutcomeFailed || r.Error.Kind != hostler.ErrKindTimeout {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

func TestAnActionThatDoesNotStop(t *testing.T) {
	for _, safe := range []bool{false, true} {
		t.Run(fmt.Sprint("idempotent ", safe), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newFakeDispatcher()
				release := make(chan struct{})
				a := run(func(context.Context, *action.Call) action.Result {
					<-release
					return action.Succeeded("too late")
				})
				want := hostler.OutcomeUnknown
				if safe {
					a, want = idempotent(a), hostler.OutcomeFailed
				}
				e := setUp(t, d, actions{"unresponsive": a, "nop": run(nop)},
					func(c *worker.Config) { c.Info.Slots = 1 })
				began := time.Now()
				id := d.submit("unresponsive", func(l *hostler.Lease) { l.Timeout = time.Minute })
				r := e.ended(id)
				if r.Outcome != want || r.Error.Kind != hostler.ErrKindTimeout {
					t.Errorf("%+v", r)
				}
				if took := time.Since(began); took < 90*time.Second || took > 91*time.Second {
					t.Errorf("abandoned after %v", took)
				}
				e.ended(d.submit("nop")) // the only slot is free again
				close(release)
				synctest.Wait()
				if got := d.job(id).report; got.Outcome != want {
					t.Errorf("the late return changed the outcome to %v", got.Outcome)
				}
			})
		})
	}
}

func TestAnActionThatCrashes(t *testing.T) {
	for name, f := range map[string]func(context.Context, *action.Call) action.Result{
		"panic":  func(context.Context, *action.Call) action.Result { panic("boom: hunter2") },
		"exit":   func(context.Context, *action.Call) action.Result { runtime.Goexit(); return action.Result{} },
		"no end": func(context.Context, *action.Call) action.Result { return action.Result{} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newFakeDispatcher()
				e := setUp(t, d, actions{"unsafe": run(f), "safe": idempotent(run(f))})
				r := e.ended(d.submit("unsafe"))
				if r.Outcome != hostler.OutcomeUnknown || r.Error.Kind != hostler.ErrKindInternal ||
					strings.Contains(r.Error.Text.EN, "boom") {
					t.Errorf("unsafe: %+v", r)
				}
				if r := e.ended(d.submit("safe")); r.Outcome != hostler.OutcomeFailed {
					t.Errorf("safe: %+v", r)
				}
			})
		})
	}
}

func TestJobsThatCannotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		must, never, off := run(nop), run(nop), run(nop)
		must.Asset, never.Asset = action.AssetRequired, action.AssetNever
		e := setUp(t, d, actions{"must": must, "never": never, "any": run(nop), "off": off})
		off.Enabled = false
		for _, c := range []struct {
			action, kind, zh string
			edit             func(l *hostler.Lease)
		}{
			{"fly", hostler.ErrKindNoAction, "未知操作: fly", func(*hostler.Lease) {}},
			{"off", hostler.ErrKindNoAction, "动作 off 未在此工作节点上启用", func(*hostler.Lease) {}},
			{"any", hostler.ErrKindAssetMissing, "资产在作业等待期间已被删除", func(l *hostler.Lease) { l.AssetMissing = true }},
			{"must", hostler.ErrKindBadArgs, "动作 must 需要资产，而作业未指定", func(*hostler.Lease) {}},
			{"never", hostler.ErrKindBadArgs, "动作 never 不使用资产，而作业指定了资产", func(l *hostler.Lease) { l.Asset = &hostler.LeaseAsset{} }},
			{"any", hostler.ErrKindBadArgs, "请求内容无效；args.bad：不是合法的键", func(l *hostler.Lease) { l.Args = []byte(`{"bad":1}`) }},
		} {
			r := e.ended(d.submit(c.action, c.edit))
			if r.Outcome != hostler.OutcomeFailed || !r.NoRetry || r.Error.Kind != c.kind || r.Error.Text.ZH != c.zh {
				t.Errorf("%s: %+v, error %+v", c.action, r, r.Error)
			}
		}
	})
}

func TestSecretsAreNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		d.calls["log"] = 0
		e := setUp(t, d, actions{"leak": run(func(_ context.Context, c *action.Call) action.Result {
			c.Redact("found-later")
			all := `key "a<b" jump-pass sudo-pass found-later 12345678`
			io.WriteString(c.Stdout, all)
			c.Progress(hostler.Progress{Text: all})
			pass(time.Second)
			return action.Failed(map[string]any{all: []any{all, 12345678, 1.5}}, "x", "%s", "%s", all)
		})})
		id := d.submit("leak", func(l *hostler.Lease) {
			l.MaxAttempts = 2
			l.Asset = &hostler.LeaseAsset{
				Credential: &hostler.LeaseCredential{Secret: hostler.Secret{PrivateKey: `key "a<b"`}},
				Jump: &hostler.LeaseAsset{
					Credential: &hostler.LeaseCredential{Secret: hostler.Secret{Password: "jump-pass"}},
				},
			}
			l.Credentials = map[string]hostler.LeaseCredential{
				"sudo": {Secret: hostler.Secret{Password: "sudo-pass"}},
				"pin":  {Secret: hostler.Secret{Token: "12345678"}},
			}
		})
		r := e.ended(id)
		j := d.job(id)
		const want = "****** ****** ****** ****** ******"
		if got := string(r.Result); got != fmt.Sprintf(`{%q:[%q,"******",1.5]}`, want, want) {
			t.Errorf("result %s", got)
		}
		if r.Error.Text != (hostler.Text{EN: want, ZH: want}) {
			t.Errorf("error %+v", r.Error.Text)
		}
		if len(j.chunks) != 1 || j.chunks[0].Lines[0].Text != want {
			t.Errorf("output %+v", j.chunks)
		}
		if len(j.progress) != 1 || j.progress[0].Text != want {
			t.Errorf("progress %+v", j.progress)
		}
	})
}

// Only the output of the last attempt is returned with its result; that of other attempts
// must be stored as chunks.
func TestOutputOfAnAttemptThatIsNotTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			res    action.Result
			max    int
			inline bool
		}{
			{action.Failed(nil, "x", "x", "x"), 2, false},
			{action.Failed(nil, "x", "x", "x"), 1, true},
			{action.Result{Outcome: hostler.OutcomeFailed, NoRetry: true}, 2, true},
			{action.Unknown(nil, "x", "x", "x"), 1, false},
			{action.Succeeded(nil), 2, true},
		} {
			d := newFakeDispatcher()
			e := setUp(t, d, actions{"write": run(func(_ context.Context, call *action.Call) action.Result {
				io.WriteString(call.System, "word")
				return c.res
			})})
			id := d.submit("write", func(l *hostler.Lease) { l.MaxAttempts = c.max })
			r := e.ended(id)
			if inline, stored := len(r.Output) == 1, len(d.job(id).chunks) == 1; inline != c.inline ||
				stored == c.inline {
				t.Errorf("%v of %d attempts: inline %v, stored %v", c.res.Outcome, c.max, inline, stored)
			}
		}
	})
}

func TestProgressIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		e := setUp(t, d, actions{"step": run(func(_ context.Context, c *action.Call) action.Result {
			for i := range 1000 {
				c.Progress(hostler.Progress{Percent: float64(i) / 10})
				pass(time.Millisecond)
			}
			pass(time.Second)
			return action.Succeeded(nil)
		})})
		id := d.submit("step")
		e.ended(id)
		got := d.job(id).progress
		if len(got) < 3 || len(got) > 6 || got[len(got)-1].Percent != 99.9 {
			t.Errorf("%d notes: %v", len(got), got)
		}
	})
}

func TestHeartbeatCountsAndLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		var u untilStopped
		e := setUp(t, d, actions{"nop": run(nop), "long": run(u.run)})
		e.ended(d.submit("nop"))
		e.ended(d.submit("fly"))
		id := d.submit("long", func(l *hostler.Lease) { l.Asset = &hostler.LeaseAsset{Name: "web1"} })
		pass(11 * time.Second)
		d.mu.Lock()
		var hb hostler.Heartbeat
		for _, w := range d.workers {
			hb = w.last
		}
		d.mu.Unlock()
		ref := hostler.LeaseRef{Job: id, Fence: 1}
		if hb.Succeeded != 1 || hb.Failed != 1 || len(hb.Held) != 1 || hb.Held[0] != ref {
			t.Errorf("%+v", hb)
		}
	})
}

// TestHeartbeatsListHostSessions counts jobs by the login that they share, and deletes the
// counts of a connection that was closed.
func TestHeartbeatsListHostSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		open := []hostler.HostSession{
			{Address: "192.0.2.1", Port: 22, User: "root"},
			{Address: "192.0.2.1", Port: 22, User: "li"},
		}
		var mu sync.Mutex
		e := setUp(t, d, actions{"nop": run(nop)}, func(c *worker.Config) {
			c.Sessions = func() []hostler.HostSession {
				mu.Lock()
				defer mu.Unlock()
				return slices.Clone(open)
			}
		})
		on := func(user string) func(l *hostler.Lease) {
			return func(l *hostler.Lease) {
				l.Asset = &hostler.LeaseAsset{
					Name:       "web1",
					Address:    "192.0.2.1",
					Credential: &hostler.LeaseCredential{Username: user},
				}
			}
		}
		e.ended(d.submit("nop", on("root")))
		e.ended(d.submit("nop", on("root")))
		e.ended(d.submit("fly", on("root")))
		e.ended(d.submit("nop", on("li")))
		e.ended(d.submit("nop"))
		pass(11 * time.Second)
		want := slices.Clone(open)
		want[0].Succeeded, want[0].Failed, want[1].Succeeded = 2, 1, 1
		if diff := cmp.Diff(want, d.lastHeartbeat().Sessions); diff != "" {
			t.Errorf("sessions (-want +got):\n%s", diff)
		}
		if runtime.GOOS == "linux" && d.lastHeartbeat().MemoryBytes < 1<<20 {
			t.Errorf("the process uses %d bytes", d.lastHeartbeat().MemoryBytes)
		}
		for _, still := range [][]hostler.HostSession{nil, open} {
			mu.Lock()
			open = still
			mu.Unlock()
			pass(11 * time.Second)
		}
		if diff := cmp.Diff(open, d.lastHeartbeat().Sessions); diff != "" {
			t.Errorf("counts of a connection that was closed come back (-want +got):\n%s", diff)
		}
	})
}

func TestHeartbeatsListABoundedNumberOfSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		setUp(t, d, actions{}, func(c *worker.Config) {
			c.Sessions = func() []hostler.HostSession {
				all := make([]hostler.HostSession, 5000)
				for i := range all {
					all[i] = hostler.HostSession{Address: fmt.Sprintf("h%04d", i), LastUsed: time.Unix(int64(i), 0)}
				}
				return all
			}
		})
		pass(6 * time.Second)
		got := d.lastHeartbeat().Sessions
		if len(got) != 1000 || got[0].Address != "h4000" || got[999].Address != "h4999" {
			t.Errorf("%d sessions, from %v", len(got), got[:min(1, len(got))])
		}
	})
}

// TestCloseHost: a command takes effect at once, and a job that loses its connection by it
// is reported with the action's own result.
func TestCloseHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		closed := make(chan string, 1)
		lost := run(func(context.Context, *action.Call) action.Result {
			<-closed
			return action.Unknown(nil, hostler.ErrKindConnLost, "lost", "断开")
		})
		e := setUp(t, d, actions{"long": lost}, func(c *worker.Config) {
			c.CloseHost = func(address string) int {
				closed <- address
				return 1
			}
		})
		id := d.submit("long")
		pass(time.Second)
		began := time.Now()
		d.closeHost("192.0.2.1")
		if r := e.ended(id); r.Outcome != hostler.OutcomeUnknown || r.Error.Kind != hostler.ErrKindConnLost {
			t.Errorf("%+v", r)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestDrainWaitsForRunningJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		e := setUp(t, d, actions{"long": run(func(context.Context, *action.Call) action.Result {
			pass(30 * time.Second)
			return action.Succeeded(nil)
		})})
		id := d.submit("long")
		pass(time.Second)
		later := make(chan error, 1)
		began := time.Now()
		go func() { later <- e.w.Drain(t.Context()) }()
		synctest.Wait()
		late := d.submit("long")
		if err := <-later; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 29*time.Second || took > 30*time.Second {
			t.Errorf("drained after %v", took)
		}
		if j := d.job(id); !j.done || j.report.Outcome != hostler.OutcomeSucceeded {
			t.Errorf("the running job: %+v", j.report)
		}
		if j := d.job(late); j.leases != 0 {
			t.Error("a job was leased while the worker drains")
		}
		if err := <-e.err; err != nil {
			t.Error(err)
		}
		e.err <- nil
	})
}

// slowLease delays the answer to a lease request, as a slow network does.
type slowLease struct {
	*fakeDispatcher
	arrive chan struct{}
}

func (s slowLease) Lease(ctx context.Context, r hostler.LeaseRequest) ([]hostler.Lease, error) {
	leases, err := s.fakeDispatcher.Lease(ctx, r)
	<-s.arrive
	return leases, err
}

func TestDrainHandsBackUnstartedJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		s := slowLease{d, make(chan struct{})}
		e := setUp(t, d, actions{"nop": run(nop)}, func(c *worker.Config) { c.Dispatcher = s })
		id := d.submit("nop")
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- e.w.Drain(t.Context()) }()
		synctest.Wait()
		close(s.arrive)
		if err := <-drained; err != nil {
			t.Fatal(err)
		}
		if j := d.job(id); j.done || j.handed != 1 || j.lease.Attempt != 0 {
			t.Errorf("%+v", j)
		}
	})
}

func TestDrainTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		var u untilStopped
		never := make(chan struct{})
		unresponsive := func(context.Context, *action.Call) action.Result {
			<-never
			return action.Succeeded(nil)
		}
		e := setUp(t, d, actions{"long": run(u.run), "unresponsive": run(unresponsive)})
		ids := []hostler.JobID{d.submit("long"), d.submit("unresponsive")}
		pass(4 * time.Second) // a heartbeat is due while the jobs are stopped
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		if err := e.w.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain: %v", err)
		}
		if took := time.Since(began); took != 12*time.Second {
			t.Errorf("stopped after %v, want the drain time and two seconds", took)
		}
		if at, cause := u.stopped(); !errors.Is(cause, action.ErrFenced) || at.Sub(began) != 10*time.Second {
			t.Errorf("stopped by %v after %v", cause, at.Sub(began))
		}
		if n := d.count("report"); n != 0 {
			t.Errorf("%d reports", n)
		}
		for _, id := range ids {
			if j := d.job(id); !j.running || j.leases != 1 {
				t.Errorf("job %d was handed back although it ran: %+v", id, j)
			}
		}
		close(never)
	})
}

func TestStopReturnsTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		var u untilStopped
		e := setUp(t, d, actions{"long": run(u.run)})
		d.submit("long")
		pass(time.Second)
		e.stop(errStopped)
		if err := <-e.err; !errors.Is(err, errStopped) {
			t.Errorf("Run: %v", err)
		}
		e.err <- nil
		if _, cause := u.stopped(); !errors.Is(cause, action.ErrFenced) {
			t.Errorf("stopped by %v", cause)
		}
	})
}

func TestDrainBeforeRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDispatcher()
		d.before = func(string, int) error { return errors.New("no server") }
		e := setUp(t, d, nil)
		pass(time.Minute)
		if err := e.w.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// With a network that drops calls and answers at random, every job still ends once, and no
// lost lease is reported.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			d := newFakeDispatcher()
			r := rand.New(rand.NewPCG(seed, 1))
			lose := func(string, int) error {
				if r.IntN(5) == 0 {
					return errors.New("lost")
				}
				return nil
			}
			d.before, d.after = lose, lose
			e := setUp(t, d, actions{"work": idempotent(run(func(ctx context.Context, c *action.Call) action.Result {
				io.WriteString(c.Stdout, "working\n")
				select {
				case <-time.After(time.Duration(c.Job%7) * 100 * time.Millisecond):
					return action.Succeeded(nil)
				case <-ctx.Done():
					return action.Cancelled(nil)
				}
			}))})
			for range 100 {
				d.submit("work")
			}
			e.until(time.Hour, func() bool {
				for _, j := range d.jobs {
					if !j.done {
						return false
					}
				}
				return true
			})
			for id, j := range d.jobs {
				if !j.done || j.report.Outcome != hostler.OutcomeSucceeded {
					t.Errorf("seed %d, job %d: done %v, %+v", seed, id, j.done, j.report)
				}
			}
		})
	}
}
