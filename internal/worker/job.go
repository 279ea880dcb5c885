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
	"hostler.dev/hostler/internal/wait"
)

// closeWait limits how long storing the rest of a job's output may delay its report.
const closeWait = 10 * time.Second

// job is one lease while it runs.
type job struct {
	s      *session
	lease  hostler.Lease
	call   action.Call
	log    runlog.Log
	ctx    context.Context //nolint:containedctx // cancelled from the loops of the session
	cancel context.CancelCauseFunc

	// completed is set by the first of two: the job's own goroutine, or abandon.
	completed  atomic.Bool
	hasSecrets atomic.Bool // there are values to redact

	timer    *time.Timer // of the timeout; only run uses it
	progress progress

	// Under the session's mutex.
	dropped bool // the lease is lost: no report
	grace   *time.Timer
	after   <-chan struct{} // closed when an older lease of the job has ended
	ended   chan struct{}   // closed at the end; nil unless a newer lease waits
}

// newJob returns the job of a lease. If an older lease of the job still runs, the new one
// waits for its end, so that a job never runs twice at once. The caller holds the session's
// mutex.
func newJob(s *session, l *hostler.Lease, old *job) *job {
	j := &job{s: s, lease: *l}
	j.ctx, j.cancel = context.WithCancelCause(s.ctx)
	j.log.Init(s.ctx, runlog.Config{
		Ref: l.LeaseRef, Attempt: l.Attempt, Limit: s.w.cfg.OutputLimit,
		Tails: s.w.tails, Sink: j.sink, Redactor: j.redactor, Stale: j.stale,
	})
	if old != nil {
		if old.ended == nil {
			old.ended = make(chan struct{})
		}
		j.after = old.ended
	}
	return j
}

func (j *job) sink(ctx context.Context, c hostler.LogChunk) error {
	return j.s.w.cfg.Dispatcher.AppendLog(ctx, j.s.id, c)
}

func (j *job) stale() { j.s.drop(j) }

// run runs the action and completes the job, whatever the action does.
func (j *job) run() {
	var res action.Result
	returned := false
	end := func(hostler.Outcome) {}
	if t := j.s.w.cfg.Trace; t != nil {
		end = t(&j.lease)
	}
	defer func() {
		// The action panicked, or ended its goroutine.
		if p := recover(); p != nil || !returned {
			j.s.log.Error("action panicked", "job", j.lease.Job, "action", j.lease.Action,
				"panic", j.redact(panicText(p)), "stack", string(debug.Stack()))
			res = j.crashed()
		}
		end(res.Outcome)
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
	lease := j.lease
	filled, err := act.Fill(j.lease.Args, j.lease.Credentials)
	if err != nil {
		return action.Failed(nil, hostler.ErrKindCredential, "%[1]s", "%[2]s", textOf(err).EN, textOf(err).ZH)
	}
	lease.Args = filled // only here: what is stored and logged has the references
	timeout := j.lease.Timeout
	if timeout <= 0 {
		timeout = j.s.w.cfg.DefaultTimeout
	}
	j.timer = time.AfterFunc(timeout, func() { j.stop(&action.TimeoutError{After: timeout}) })
	j.call = action.Call{
		Lease:  lease,
		Stdout: j.log.Stdout(), Stderr: j.log.Stderr(), System: j.log.System(),
		Redact: j.addSecrets, Progress: j.note, PinHostKey: j.pinHostKey, Artefacts: artefacts{j},
	}
	return act.Run(j.ctx, &j.call)
}

// stop cancels the action's context and, after the grace time, abandons the action.
func (j *job) stop(cause error) {
	j.cancel(cause)
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if j.grace == nil && !j.completed.Load() {
		j.grace = time.AfterFunc(j.s.w.cfg.Grace, j.abandon)
	}
}

// finish completes a job whose action has returned.
func (j *job) finish(res action.Result) {
	if j.timer != nil {
		j.timer.Stop()
	}
	if j.completed.Swap(true) {
		j.s.log.Warn("abandoned action has returned", "job", j.lease.Job, "action", j.lease.Action,
			"outcome", res.Outcome)
		return
	}
	j.complete(res)
}

// abandon completes a job whose action does not return.
func (j *job) abandon() {
	if j.completed.Swap(true) {
		return
	}
	j.s.log.Error("action does not stop; its slot is freed while it still runs",
		"job", j.lease.Job, "action", j.lease.Action)
	j.complete(j.unresponsive())
}

// complete closes the log, then releases the job. It is called once per job.
func (j *job) complete(res action.Result) {
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

// isDropped reports whether the lease is lost, alone or with the whole session.
func (j *job) isDropped() bool {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	return j.dropped || j.s.ctx.Err() != nil
}

// report returns the report of a result. It closes the log first: the output is stored
// before the job's end is.
func (j *job) report(res action.Result) *hostler.Report {
	res = j.normalize(res)
	r := &hostler.Report{
		LeaseRef: j.lease.LeaseRef, Outcome: res.Outcome,
		Result: j.encode(res.Value), Error: j.redactError(res.Error), NoRetry: res.NoRetry,
	}
	var err error
	if r.Output, err = j.log.Close(closeWait, j.isFinal(r)); err != nil {
		j.s.log.Warn("output lost", "job", j.lease.Job, "err", err)
	}
	return r
}

// isFinal reports whether no other attempt can follow this report. Only the output of the
// last attempt may be stored with the result instead of as chunks.
func (j *job) isFinal(r *hostler.Report) bool {
	switch r.Outcome {
	case hostler.OutcomeSucceeded, hostler.OutcomeCancelled:
		return true
	case hostler.OutcomeFailed:
		return r.NoRetry || j.lease.Attempt >= j.lease.MaxAttempts
	default:
		return false
	}
}

// progress is the newest progress of a job that is not sent yet.
type progress struct {
	mu      sync.Mutex
	next    *hostler.Progress
	sending bool
}

// progressInterval is the least time between two progress calls of one job.
const progressInterval = 250 * time.Millisecond

// note sends progress in the background. If it comes faster than it can be sent, only the
// newest is sent.
func (j *job) note(p hostler.Progress) {
	p.Text = j.redact(p.Text)
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
		// Any other error loses this note; the next one may succeed.
		_ = wait.Sleep(j.ctx, progressInterval)
	}
}

func (j *job) pinHostKey(ctx context.Context, k hostler.HostKeyOffer) error {
	err := j.s.w.cfg.Dispatcher.PinHostKey(ctx, j.s.id, j.lease.LeaseRef, k)
	if hostler.CodeOf(err) == hostler.CodeStale {
		j.s.drop(j)
	}
	return err
}

// cause returns why the job was stopped; nil if it was not.
func (j *job) cause() error {
	err := context.Cause(j.ctx)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
