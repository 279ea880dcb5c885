package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// session is the worker's life under one worker id, from its registration until
// it is drained, stopped or fenced.
type session struct {
	w   *Worker
	id  hostler.WorkerID
	log *slog.Logger

	// ctx ends with the session, with the cause action.ErrFenced; the context of
	// every job is made from it.
	ctx   context.Context //nolint:containedctx // a session is a process of its own
	end   context.CancelCauseFunc
	fence *time.Timer // ends the session before its lease ends

	freed chan struct{} // a slot became free, or reports were delivered
	ended chan struct{} // a report waits for delivery, or a job ended without
	idle  chan struct{} // nothing runs and nothing waits for delivery

	mu      sync.Mutex
	jobs    map[hostler.JobID]*job // the newest lease of each job
	busy    int                    // slots in use; a superseded lease uses one too
	pending []hostler.Report       // wait for delivery
	unacked map[hostler.LeaseRef]struct{}
	counts  score
	hosts   map[login]*score // of the kept connections
	// stopping says that jobs which began may end unreported: no heartbeat goes
	// out any more, since a job that it does not list counts as never begun.
	stopping bool
}

func newSession(ctx context.Context, w *Worker, id hostler.WorkerID, until time.Time) *session {
	s := &session{
		w: w, id: id, log: w.cfg.Log.With("worker", id),
		freed:   make(chan struct{}, 1),
		ended:   make(chan struct{}, 1),
		idle:    make(chan struct{}, 1),
		jobs:    map[hostler.JobID]*job{},
		unacked: map[hostler.LeaseRef]struct{}{},
		hosts:   map[login]*score{},
	}
	// Not from ctx: when that is done, jobs are stopped in order.
	s.ctx, s.end = context.WithCancelCause(context.WithoutCancel(ctx))
	s.fence = time.AfterFunc(time.Until(until), func() { s.fenced("no heartbeat succeeded in time") })
	return s
}

// run works until the session is over. It returns false when the session was
// fenced and the worker should start another.
func (s *session) run(ctx context.Context) (over bool, err error) {
	defer s.fence.Stop()
	var loops sync.WaitGroup
	leasing, stopLeasing := context.WithCancel(s.ctx)
	defer stopLeasing()
	loops.Go(s.beat)
	loops.Go(s.deliver)
	var leases sync.WaitGroup
	leases.Go(func() { s.lease(leasing) })

	over = true
	select {
	case <-s.ctx.Done():
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-s.w.draining:
		stopLeasing()
		leases.Wait()
		err = s.finishUp(ctx)
	}
	if s.ctx.Err() != nil {
		over, err = s.w.isDraining() || ctx.Err() != nil, context.Cause(ctx)
	}
	stopLeasing()
	leases.Wait()
	s.stopJobs()
	s.end(action.ErrFenced)
	loops.Wait()
	return over, err
}

// finishUp waits until everything has ended and is reported, or the worker must
// stop.
func (s *session) finishUp(ctx context.Context) error {
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

// stopJobs cancels what still runs, unreported, and gives it a moment. Reports
// of what has ended before still go out meanwhile.
func (s *session) stopJobs() {
	s.mu.Lock()
	s.stopping = true
	left := make([]*job, 0, len(s.jobs))
	for _, j := range s.jobs {
		if !j.settled.Load() { // else its report is about to come
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
	for waiting := true; waiting && !s.quiet(); {
		select {
		case <-s.idle:
		case <-s.freed:
		case <-deadline.C:
			waiting = false
		}
	}
	for _, j := range left {
		j.giveUp()
	}
}

// quiet reports whether nothing runs any more and nothing can be delivered.
func (s *session) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy == 0 && (len(s.unacked) == 0 || s.ctx.Err() != nil)
}

// fenced ends the session: its lease is lost, or may be.
func (s *session) fenced(why string) {
	if s.ctx.Err() == nil {
		s.log.Warn("worker is fenced: it stops its jobs and registers anew", "why", why)
	}
	s.end(action.ErrFenced)
}

// lease takes jobs for the free slots, again and again.
func (s *session) lease(ctx context.Context) {
	failing := newBackoff(100*time.Millisecond, 2*time.Second)
	// An empty answer that came early is paced, so that idling costs nothing.
	early := newBackoff(time.Millisecond, 250*time.Millisecond)
	for {
		n := s.awaitSlots(ctx)
		if n == 0 {
			return
		}
		sent := time.Now()
		leases, err := s.w.cfg.Dispatcher.Lease(ctx, hostler.LeaseRequest{Worker: s.id, Slots: n, Wait: leaseWait})
		switch {
		case err == nil && len(leases) > 0:
			failing.reset()
			early.reset()
			s.accept(leases, ctx.Err() != nil)
		case ctx.Err() != nil:
			return
		case err == nil && time.Since(sent) >= leaseWait/2:
			failing.reset()
			early.reset()
		case err == nil:
			early.wait(ctx)
		case hostler.CodeOf(err) == hostler.CodeStale:
			s.fenced("a lease was refused")
			return
		default:
			s.log.Warn("worker cannot lease; it tries again", "err", err)
			failing.wait(ctx)
		}
	}
}

// awaitSlots waits for free slots and returns how many there are; 0 when the
// context is done. While many reports wait for delivery nothing is leased.
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
		case <-s.freed:
		case <-ctx.Done():
		}
	}
	return 0
}

// accept starts leased jobs. A lease that the worker knows already (its answer
// came twice) is left alone; one that may not start any more, or is one more than
// was asked for, is handed back.
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
			s.report(hostler.Report{LeaseRef: l.LeaseRef, Outcome: hostler.OutcomeHandBack})
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

// drop stops a job whose lease is lost; it will not be reported.
func (s *session) drop(j *job) {
	s.mu.Lock()
	j.dropped = true
	s.mu.Unlock()
	j.stop(action.ErrFenced)
}

// find returns the job under exactly this lease.
func (s *session) find(ref hostler.LeaseRef) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[ref.Job]; j != nil && j.lease.Fence == ref.Fence {
		return j
	}
	return nil
}

// release gives a job's slot back and, unless its lease is lost, queues its
// report.
func (s *session) release(j *job, r *hostler.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs[j.lease.Job] == j {
		delete(s.jobs, j.lease.Job)
	}
	s.busy--
	if j.over != nil {
		close(j.over)
	}
	if r != nil && !j.dropped {
		s.counts.count(r.Outcome)
		s.countHost(&j.lease, r.Outcome)
		s.report(*r)
	} else {
		signal(s.ended)
	}
	signal(s.freed)
	if s.busy == 0 && len(s.unacked) == 0 {
		signal(s.idle)
	}
}

// report queues a report; the caller holds the lock.
func (s *session) report(r hostler.Report) {
	s.pending = append(s.pending, r)
	s.unacked[r.LeaseRef] = struct{}{}
	signal(s.ended)
}

func (s *session) running() []Running {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Running, 0, len(s.jobs))
	for _, j := range s.jobs {
		r := Running{LeaseRef: j.lease.LeaseRef, Action: j.lease.Action, Attempt: j.lease.Attempt, Since: j.since}
		if j.lease.Asset != nil {
			r.Asset = j.lease.Asset.Name
		}
		all = append(all, r)
	}
	return all
}
