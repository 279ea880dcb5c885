package worker

import (
	"context"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/wait"
)

const (
	maxBatch = 500
	// batchDelay is how long a report waits for others.
	batchDelay = time.Millisecond
)

// deliver reports jobs that have ended, in batches, until the session ends.
func (s *session) deliver() {
	timer := time.NewTimer(batchDelay)
	defer timer.Stop()
	retry := wait.Backoff{First: 50 * time.Millisecond, Max: time.Second}
	for {
		select {
		case <-s.reportReady:
		case <-s.ctx.Done():
			return
		}
		s.gather(timer)
		for batch := s.takeBatch(); len(batch) > 0; batch = s.takeBatch() {
			left := s.deliverBatch(batch)
			if len(left) == 0 {
				retry.Reset()
				continue
			}
			s.putBack(left)
			_ = retry.Sleep(s.ctx)
		}
	}
}

// gather waits up to batchDelay for more reports while other jobs run: jobs that were
// leased together often end together, and one call for all of them is cheaper.
func (s *session) gather(timer *time.Timer) {
	timer.Reset(batchDelay)
	for {
		s.mu.Lock()
		enough := s.busy == 0 || len(s.pending) == 0 || len(s.pending) >= maxBatch
		s.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-s.reportReady:
		case <-timer.C:
			return
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *session) takeBatch() []hostler.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.pending), maxBatch)
	if n == 0 || s.ctx.Err() != nil {
		return nil
	}
	batch := s.pending[:n:n]
	s.pending = s.pending[n:]
	return batch
}

// putBack queues reports again, behind those that came meanwhile: a report that is
// refused for ever must not hold up the others.
func (s *session) putBack(reports []hostler.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, reports...)
}

// deliverBatch sends a batch and returns the reports to repeat. A batch that is refused
// as a whole is tried in halves; a single report that is refused is reduced, see
// [session.reduce].
func (s *session) deliverBatch(batch []hostler.Report) (left []hostler.Report) {
	acks, err := s.w.cfg.Dispatcher.Report(s.ctx, s.id, batch)
	switch code := hostler.CodeOf(err); {
	case err == nil && len(acks) == len(batch):
		return s.acknowledge(batch, acks)
	case s.ctx.Err() != nil:
		return batch
	case code == hostler.CodeStale:
		s.fenced("a report was refused")
		return batch
	case err == nil || code.Temporary():
		s.log.Warn("reports not delivered; trying again", "reports", len(batch), "err", err)
		return batch
	case len(batch) > 1:
		left = s.deliverBatch(batch[:len(batch)/2])
		return append(left, s.deliverBatch(batch[len(batch)/2:])...)
	default:
		return []hostler.Report{s.reduce(batch[0], err)}
	}
}

// handBackUnstarted returns, when the session has ended, the leases of jobs that never
// started: a rescue would take them for jobs that ran. It tries once; what it does not
// deliver in time is rescued.
func (s *session) handBackUnstarted(ctx context.Context) {
	s.mu.Lock()
	unstarted := slices.DeleteFunc(s.pending, func(r hostler.Report) bool {
		return r.Outcome != hostler.OutcomeHandBack
	})
	s.pending = nil
	s.mu.Unlock()
	if len(unstarted) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	if _, err := s.w.cfg.Dispatcher.Report(ctx, s.id, unstarted); err != nil {
		s.log.Warn("jobs that never started were not handed back; they are rescued", "jobs", len(unstarted), "err", err)
	}
}

// acknowledge removes reports that are stored, or whose lease is lost, from the list, and
// returns those to repeat.
func (s *session) acknowledge(batch []hostler.Report, acks []error) (again []hostler.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, err := range acks {
		switch code := hostler.CodeOf(err); {
		case err == nil, code == hostler.CodeStale:
			delete(s.unacked, batch[i].LeaseRef)
			if err != nil {
				s.log.Warn("report came too late: the lease is lost", "job", batch[i].Job)
			}
		case code.Temporary():
			again = append(again, batch[i])
		default:
			again = append(again, s.reduce(batch[i], err))
		}
	}
	signal(s.slotFreed)
	if s.busy == 0 && len(s.unacked) == 0 {
		signal(s.idle)
	}
	return again
}

// reduce returns a refused report without result and output. It is repeated like any
// other: a job that has begun stays held as long as the lease lasts.
func (s *session) reduce(r hostler.Report, err error) hostler.Report {
	s.log.Error("report refused", "job", r.Job, "err", err)
	if r.Result == nil && r.Output == nil {
		return r
	}
	r.Result, r.Output = nil, nil
	if r.Error == nil {
		r.Error = &hostler.JobError{Kind: hostler.ErrKindInternal, Text: hostler.Textf(
			"the result could not be stored; see the worker's log for the reason",
			"结果未能保存；原因见工作节点日志")}
	}
	return r
}
