package worker

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/wait"
)

// session is the work under one worker id, from the registration until the worker is
// drained, stopped or fenced.
type session struct {
	w   *Worker
	id  hostler.WorkerID
	log *slog.Logger

	// ctx ends with the session, with the cause action.ErrFenced. It is the parent of
	// every job's context.
	ctx   context.Context //nolint:containedctx // a session is a process of its own
	end   context.CancelCauseFunc
	fence *time.Timer // ends the session before its lease ends
	// lapses is when fence should fire, by a clock that goes on while the machine is
	// suspended; see [Config.Elapsed].
	lapses atomic.Int64
	// confirmed is closed when the first heartbeat is answered: only then it is known
	// how long the lease lasts, and jobs may be leased.
	confirmed chan struct{}

	// Signals of capacity 1; see signal.
	slotFreed   chan struct{} // a slot became free, or reports were delivered
	reportReady chan struct{} // a report waits for delivery, or a job ended without
	idle        chan struct{} // no job runs and no report waits for delivery

	mu      sync.Mutex
	jobs    map[hostler.JobID]*job // the newest lease of each job
	busy    int                    // slots in use, also by superseded leases
	pending []hostler.Report       // not being delivered now
	unacked map[hostler.LeaseRef]struct{}
	counts  outcomeCounts
	hosts   map[hostLogin]*outcomeCounts // of the open host connections
	// stopping: running jobs may end without a report. No heartbeat is sent any more,
	// since a job that it does not list counts as never started.
	stopping bool
}

// newSession returns the session of a worker whose registration was sent at a moment.
func newSession(ctx context.Context, w *Worker, id hostler.WorkerID, sent moment) *session {
	s := &session{
		w: w, id: id, log: w.cfg.Log.With("worker", id),
		confirmed:   make(chan struct{}),
		slotFreed:   make(chan struct{}, 1),
		reportReady: make(chan struct{}, 1),
		idle:        make(chan struct{}, 1),
		jobs:        map[hostler.JobID]*job{},
		unacked:     map[hostler.LeaseRef]struct{}{},
		hosts:       map[hostLogin]*outcomeCounts{},
	}
	// Not derived from ctx: when that is done, run stops the jobs in order.
	s.ctx, s.end = context.WithCancelCause(context.WithoutCancel(ctx))
	s.fence = time.AfterFunc(hostler.LeaseTTL, func() { s.fenced("no heartbeat succeeded in time") })
	s.extend(sent, hostler.LeaseTTL)
	return s
}

// run works until the session ends. It returns false when the session was fenced and the
// worker should start another one.
func (s *session) run(ctx context.Context) (over bool, err error) {
	defer s.fence.Stop()
	var loops sync.WaitGroup
	leasing, stopLeasing := context.WithCancel(s.ctx)
	defer stopLeasing()
	loops.Go(s.heartbeatLoop)
	loops.Go(s.watchSuspension)
	loops.Go(s.deliver)
	var leases sync.WaitGroup
	leases.Go(func() { s.leaseLoop(leasing) })

	over = true
	select {
	case <-s.ctx.Done():
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-s.w.draining:
		stopLeasing()
		leases.Wait()
		err = s.awaitDrained(ctx)
	}
	if s.ctx.Err() != nil {
		over, err = s.w.isDraining() || ctx.Err() != nil, context.Cause(ctx)
	}
	stopLeasing()
	leases.Wait()
	s.stopJobs()
	s.end(action.ErrFenced)
	loops.Wait()
	s.handBackUnstarted(ctx)
	return over, err
}

// awaitDrained waits until all jobs have ended and are reported, or the worker must stop.
func (s *session) awaitDrained(ctx context.Context) error {
	for !s.isIdle() {
		select {
		case <-s.idle:
		case <-s.w.killed:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.ctx.Done():
			return nil
		}
	}
	return nil
}

func (s *session) isIdle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy == 0 && len(s.unacked) == 0
}

// stopJobs cancels the jobs that still run, without a report, and waits up to stopWait.
// Reports of jobs that ended before are still delivered meanwhile.
func (s *session) stopJobs() {
	s.mu.Lock()
	s.stopping = true
	left := make([]*job, 0, len(s.jobs))
	for _, j := range s.jobs {
		if !j.completed.Load() { // otherwise its report is about to be queued
			j.dropped = true
			left = append(left, j)
		}
	}
	s.mu.Unlock()
	for _, j := range left {
		j.cancel(action.ErrFenced)
	}
	deadline := time.NewTimer(stopWait)
	defer deadline.Stop()
	for waiting := true; waiting && !s.isStopped(); {
		select {
		case <-s.idle:
		case <-s.slotFreed:
		case <-deadline.C:
			waiting = false
		}
	}
	for _, j := range left {
		j.abandon()
	}
}

// isStopped reports whether no job runs any more and no report can be delivered.
func (s *session) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy == 0 && (len(s.unacked) == 0 || s.ctx.Err() != nil)
}

// fenced ends the session, because its lease is lost or may be.
func (s *session) fenced(why string) {
	if s.ctx.Err() == nil {
		s.log.Warn("worker fenced; stopping its jobs and registering again", "why", why)
	}
	s.end(action.ErrFenced)
}

// leaseLoop asks for jobs for the free slots.
func (s *session) leaseLoop(ctx context.Context) {
	select {
	case <-s.confirmed:
	case <-ctx.Done():
		return
	}
	retry := wait.Backoff{First: 100 * time.Millisecond, Max: 2 * time.Second}
	// The pause after an empty answer that came early, from a dispatcher that does not
	// long-poll.
	early := wait.Backoff{First: time.Millisecond, Max: 250 * time.Millisecond}
	for {
		n := s.awaitSlots(ctx)
		if n == 0 {
			return
		}
		sent := time.Now()
		leases, err := s.w.cfg.Dispatcher.Lease(ctx, hostler.LeaseRequest{Worker: s.id, Slots: n, Wait: leaseWait})
		switch {
		case err == nil && len(leases) > 0:
			retry.Reset()
			early.Reset()
			s.accept(leases, ctx.Err() != nil)
		case ctx.Err() != nil:
			return
		case err == nil && time.Since(sent) >= leaseWait/2:
			retry.Reset()
			early.Reset()
		case err == nil:
			_ = early.Sleep(ctx)
		case hostler.CodeOf(err) == hostler.CodeStale:
			s.fenced("a lease was refused")
			return
		default:
			s.log.Warn("worker cannot lease; trying again", "err", err)
			_ = retry.Sleep(ctx)
		}
	}
}

// awaitSlots waits for free slots and returns their number; 0 when the context is done.
// While many reports wait for delivery no job is leased.
func (s *session) awaitSlots(ctx context.Context) int {
	slots := s.w.cfg.Info.Slots
	for ctx.Err() == nil {
		s.mu.Lock()
		free, backlog := slots-s.busy, len(s.unacked)
		s.mu.Unlock()
		if free > 0 && backlog < max(1000, 4*slots) {
			return free
		}
		select {
		case <-s.slotFreed:
		case <-ctx.Done():
		}
	}
	return 0
}

// accept starts leased jobs. A lease that the worker already has (its answer came twice) is
// ignored. One that may not start any more, or is one more than was asked for, is handed
// back.
func (s *session) accept(leases []hostler.Lease, tooLate bool) {
	tooLate = tooLate || s.w.isDraining()
	for i := range leases {
		l := &leases[i]
		s.mu.Lock()
		old := s.jobs[l.Job]
		_, reported := s.unacked[l.LeaseRef]
		switch {
		case reported || old != nil && old.lease.Fence >= l.Fence:
			s.mu.Unlock()
		case tooLate || s.busy >= s.w.cfg.Info.Slots:
			s.queueReport(hostler.Report{LeaseRef: l.LeaseRef, Outcome: hostler.OutcomeHandBack})
			s.mu.Unlock()
		default:
			j := newJob(s, l, old)
			s.jobs[l.Job] = j
			s.busy++
			s.mu.Unlock()
			if old != nil {
				s.drop(old)
			}
			go j.run()
		}
	}
}

// drop stops a job whose lease is lost, without a report.
func (s *session) drop(j *job) {
	s.mu.Lock()
	j.dropped = true
	s.mu.Unlock()
	j.stop(action.ErrFenced)
}

// find returns the job with exactly this lease.
func (s *session) find(ref hostler.LeaseRef) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[ref.Job]; j != nil && j.lease.Fence == ref.Fence {
		return j
	}
	return nil
}

// release frees a job's slot and, unless its lease is lost, queues its report.
func (s *session) release(j *job, r *hostler.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs[j.lease.Job] == j {
		delete(s.jobs, j.lease.Job)
	}
	s.busy--
	if j.ended != nil {
		close(j.ended)
	}
	if r != nil && !j.dropped {
		s.counts.add(r.Outcome)
		s.countHost(&j.lease, r.Outcome)
		s.queueReport(*r)
	} else {
		signal(s.reportReady)
	}
	signal(s.slotFreed)
	if s.busy == 0 && len(s.unacked) == 0 {
		signal(s.idle)
	}
}

// queueReport queues a report; the caller holds the lock.
func (s *session) queueReport(r hostler.Report) {
	s.pending = append(s.pending, r)
	s.unacked[r.LeaseRef] = struct{}{}
	signal(s.reportReady)
}
