package worker

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/runlog"
)

// closeWait bounds how long the rest of a job's output may hold up its report.
const closeWait = 10 * time.Second

// job is one lease while it runs.
type job struct {
	s      *session
	lease  hostler.Lease
	call   action.Call
	log    runlog.Log
	since  time.Time
	ctx    context.Context //nolint:containedctx // cancelled from the loops of the session
	cancel context.CancelCauseFunc

	// settled is set by whoever ends the job: its own goroutine, or giveUp.
	settled atomic.Bool
	secret  atomic.Bool // there are values to redact

	timer    *time.Timer // of the timeout; run's own
	progress progress

	// Under the session's mutex.
	dropped bool // the lease is lost: report nothing
	grace   *time.Timer
	after   <-chan struct{} // run waits until an older lease of the job has ended
	over    chan struct{}   // closed at the end, when a newer lease waits
}

// newJob makes a job of a lease; the caller holds the session's mutex.
func newJob(s *session, l *hostler.Lease, old *job) *job {
	j := &job{s: s, lease: *l, since: time.Now()}
	j.ctx, j.cancel = context.WithCancelCause(s.ctx)
	j.log.Init(s.ctx, runlog.Config{
		Ref: l.LeaseRef, Attempt: l.Attempt, Limit: s.w.cfg.OutputLimit,
		Sink: j.sink, Redactor: j.redactor, Stale: j.stale,
	})
	if old != nil {
		if old.over == nil {
			old.over = make(chan struct{})
		}
		j.after = old.over
	}
	return j
}

func (j *job) sink(ctx context.Context, c hostler.LogChunk) error {
	return j.s.w.cfg.Dispatcher.AppendLog(ctx, j.s.id, c)
}

func (j *job) stale() { j.s.drop(j) }

// run runs the action and sees to it that whatever happens is settled.
func (j *job) run() {
	var res action.Result
	returned := false
	defer func() {
		// A panic, or a goroutine that the action ended.
		if p := recover(); p != nil || !returned {
			j.s.log.Error("action panicked", "job", j.lease.Job, "action", j.lease.Action,
				"panic", j.clean(panicText(p)), "stack", string(debug.Stack()))
			res = j.crashed()
		}
		j.finish(res)
	}()
	res = j.attempt()
	returned = true
}

func (j *job) attempt() action.Result {
	if j.after != nil {
		<-j.after
	}
	act, refusal := j.prepare()
	if refusal != nil {
		return *refusal
	}
	if j.ctx.Err() != nil {
		return action.Cancelled(nil)
	}
	timeout := j.lease.Timeout
	if timeout <= 0 {
		timeout = j.s.w.cfg.DefaultTimeout
	}
	j.timer = time.AfterFunc(timeout, j.timeUp)
	j.call = action.Call{
		Lease:  j.lease,
		Stdout: j.log.Stdout(), Stderr: j.log.Stderr(), System: j.log.System(),
		Redact: j.redact, Progress: j.note, PinHostKey: j.pinHostKey,
	}
	return act.Run(j.ctx, &j.call)
}

func (j *job) timeUp() { j.stop(action.ErrTimeout) }

// stop cancels the action's context and, after the grace time, gives it up.
func (j *job) stop(cause error) {
	j.cancel(cause)
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if j.grace == nil && !j.settled.Load() {
		j.grace = time.AfterFunc(j.s.w.cfg.Grace, j.giveUp)
	}
}

// finish settles a job whose action has returned.
func (j *job) finish(res action.Result) {
	if j.timer != nil {
		j.timer.Stop()
	}
	if j.settled.Swap(true) {
		j.s.log.Warn("action has returned after it was given up", "job", j.lease.Job, "action", j.lease.Action,
			"outcome", res.Outcome)
		return
	}
	j.settle(res)
}

// giveUp settles a job whose action does not return.
func (j *job) giveUp() {
	if j.settled.Swap(true) {
		return
	}
	j.s.log.Error("action does not stop; its slot is given back while it still runs",
		"job", j.lease.Job, "action", j.lease.Action)
	j.settle(j.stubborn())
}

// settle ends the log, then the job. It runs once.
func (j *job) settle(res action.Result) {
	var report *hostler.Report
	if j.isDropped() {
		j.log.Discard()
	} else {
		report = j.report(res)
	}
	j.cancel(context.Canceled)
	j.stopGrace()
	j.s.release(j, report)
}

func (j *job) stopGrace() {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if j.grace != nil {
		j.grace.Stop()
	}
}

// isDropped reports whether the lease is lost, alone or with the session's.
func (j *job) isDropped() bool {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	return j.dropped || j.s.ctx.Err() != nil
}

// report makes the report of a result, and ends the log before it: output is
// durable before the job is.
func (j *job) report(res action.Result) *hostler.Report {
	res = j.sound(res)
	r := &hostler.Report{
		LeaseRef: j.lease.LeaseRef, Outcome: res.Outcome,
		Result: j.encode(res.Value), Error: j.cleanError(res.Error), NoRetry: res.NoRetry,
	}
	var err error
	if r.Output, err = j.log.Close(closeWait, j.ends(r)); err != nil {
		j.s.log.Warn("output is lost", "job", j.lease.Job, "err", err)
	}
	return r
}

// ends reports whether the job is certainly over with this report: only the
// output of an ended job is kept beside its result.
func (j *job) ends(r *hostler.Report) bool {
	switch r.Outcome {
	case hostler.OutcomeSucceeded, hostler.OutcomeCancelled:
		return true
	case hostler.OutcomeFailed:
		return r.NoRetry || j.lease.Attempt >= j.lease.MaxAttempts
	default:
		return false
	}
}

// progress is the newest note of a job that is not sent yet.
type progress struct {
	mu      sync.Mutex
	next    *hostler.Progress
	sending bool
}

// progressEvery spaces the notes of one job.
const progressEvery = 250 * time.Millisecond

// note sends how far the work has come, without holding the action up: of notes
// that come faster than they can be sent, the newest counts.
func (j *job) note(p hostler.Progress) {
	p.Text = j.clean(p.Text)
	q := &j.progress
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next = &p
	if !q.sending && j.ctx.Err() == nil {
		q.sending = true
		go j.sendProgress()
	}
}

func (j *job) sendProgress() {
	q := &j.progress
	for {
		q.mu.Lock()
		p := q.next
		q.next = nil
		if p == nil || j.ctx.Err() != nil {
			q.sending = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		err := j.s.w.cfg.Dispatcher.SetProgress(j.ctx, j.s.id, j.lease.LeaseRef, *p)
		if hostler.CodeOf(err) == hostler.CodeStale {
			j.s.drop(j)
		}
		// Any other error costs one note; the next one may pass.
		pause(j.ctx, progressEvery)
	}
}

func (j *job) pinHostKey(ctx context.Context, k hostler.HostKeyOffer) error {
	err := j.s.w.cfg.Dispatcher.PinHostKey(ctx, j.s.id, j.lease.LeaseRef, k)
	if hostler.CodeOf(err) == hostler.CodeStale {
		j.s.drop(j)
	}
	return err
}

// cause is why the job's context was cancelled; nil while it runs.
func (j *job) cause() error {
	err := context.Cause(j.ctx)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
