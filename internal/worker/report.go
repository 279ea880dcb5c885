package worker

import (
	"time"

	"hostler.dev/hostler"
)

const (
	batchMost = 500
	// linger is how long a report waits for others that are about to come.
	linger = time.Millisecond
)

// deliver reports what has ended, in batches, until the session is over.
func (s *session) deliver() {
	timer := time.NewTimer(linger)
	defer timer.Stop()
	failing := newBackoff(50*time.Millisecond, time.Second)
	for {
		select {
		case <-s.ended:
		case <-s.ctx.Done():
			return
		}
		s.gather(timer)
		for batch := s.takeBatch(); len(batch) > 0; batch = s.takeBatch() {
			left := s.deliverBatch(batch)
			if len(left) == 0 {
				failing.reset()
				continue
			}
			s.putBack(left)
			failing.wait(s.ctx)
		}
	}
}

// gather waits a moment for more reports while other jobs run: what is leased
// together often ends together.
func (s *session) gather(timer *time.Timer) {
	timer.Reset(linger)
	for {
		s.mu.Lock()
		enough := s.busy == 0 || len(s.pending) == 0 || len(s.pending) >= batchMost
		s.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-s.ended:
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
	n := min(len(s.pending), batchMost)
	if n == 0 || s.ctx.Err() != nil {
		return nil
	}
	batch := s.pending[:n:n]
	s.pending = s.pending[n:]
	return batch
}

// putBack queues reports again, behind those that came meanwhile: one that is
// refused for ever must not hold up the others.
func (s *session) putBack(reports []hostler.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, reports...)
}

// deliverBatch sends a batch and returns the reports to repeat. A batch that is
// refused as a whole is tried in halves; a single report that is refused will go
// out bare.
func (s *session) deliverBatch(batch []hostler.Report) (left []hostler.Report) {
	acks, err := s.w.cfg.Dispatcher.Report(s.ctx, s.id, batch)
	switch code := hostler.CodeOf(err); {
	case err == nil && len(acks) == len(batch):
		return s.settle(batch, acks)
	case s.ctx.Err() != nil:
		return nil
	case code == hostler.CodeStale:
		s.fenced("a report was refused")
		return nil
	case err == nil || code.Temporary():
		s.log.Warn("reports are not delivered; the worker tries again", "reports", len(batch), "err", err)
		return batch
	case len(batch) > 1:
		left = s.deliverBatch(batch[:len(batch)/2])
		return append(left, s.deliverBatch(batch[len(batch)/2:])...)
	default:
		return []hostler.Report{s.refused(batch[0], err)}
	}
}

// settle takes off the list what is acknowledged, or whose lease is lost, and
// returns the reports to repeat.
func (s *session) settle(batch []hostler.Report, acks []error) (again []hostler.Report) {
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
			again = append(again, s.refused(batch[i], err))
		}
	}
	signal(s.freed)
	if s.busy == 0 && len(s.unacked) == 0 {
		signal(s.idle)
	}
	return again
}

// refused makes a report that cannot be taken as it is into one without result
// and output. That one is repeated like any other: a job that began stays held
// for as long as the lease lasts.
func (s *session) refused(r hostler.Report, err error) hostler.Report {
	s.log.Error("report is refused", "job", r.Job, "err", err)
	if r.Result == nil && r.Output == nil {
		return r
	}
	r.Result, r.Output = nil, nil
	if r.Error == nil {
		r.Error = &hostler.JobError{Kind: hostler.ErrKindInternal, Text: hostler.Textf(
			"the result could not be stored; the worker's log says why", "结果未能保存；原因见工作节点日志")}
	}
	return r
}
