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
	for {
		select {
		case <-s.ended:
		case <-s.ctx.Done():
			return
		}
		s.gather(timer)
		for batch := s.takeBatch(); len(batch) > 0; batch = s.takeBatch() {
			s.deliverBatch(batch)
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

// deliverBatch repeats a batch until each of its reports is settled or the
// session is over. A batch that is refused as a whole is tried in halves; a
// single report that is refused goes out bare.
func (s *session) deliverBatch(batch []hostler.Report) {
	failing := newBackoff(50*time.Millisecond, time.Second)
	for len(batch) > 0 && s.ctx.Err() == nil {
		acks, err := s.w.cfg.Dispatcher.Report(s.ctx, s.id, batch)
		switch code := hostler.CodeOf(err); {
		case err == nil && len(acks) == len(batch):
			if batch = s.settle(batch, acks); len(batch) == 0 {
				return
			}
		case code == hostler.CodeStale:
			s.fenced("a report was refused")
			return
		case err == nil || code.Temporary():
			s.log.Warn("reports are not delivered; the worker tries again", "reports", len(batch), "err", err)
		case len(batch) > 1:
			s.deliverBatch(batch[:len(batch)/2])
			s.deliverBatch(batch[len(batch)/2:])
			return
		default:
			batch = s.refused(batch, err)
			continue
		}
		failing.wait(s.ctx)
	}
}

// settle takes off the list what is acknowledged, or whose lease is lost, and
// returns the reports to repeat.
func (s *session) settle(batch []hostler.Report, acks []error) (again []hostler.Report) {
	s.mu.Lock()
	for i, err := range acks {
		if code := hostler.CodeOf(err); err == nil || code == hostler.CodeStale {
			delete(s.unacked, batch[i].LeaseRef)
			if err != nil {
				s.log.Warn("report came too late: the lease is lost", "job", batch[i].Job)
			}
			continue
		}
		again = append(again, batch[i])
	}
	signal(s.freed)
	if s.busy == 0 && len(s.unacked) == 0 {
		signal(s.idle)
	}
	s.mu.Unlock()
	for i := len(again) - 1; i >= 0; i-- {
		if err := ackOf(batch, acks, again[i].LeaseRef); !hostler.CodeOf(err).Temporary() {
			bare := s.refused(again[i:i+1:i+1], err)
			again = append(again[:i:i], append(bare, again[i+1:]...)...)
		}
	}
	return again
}

func ackOf(batch []hostler.Report, acks []error, ref hostler.LeaseRef) error {
	for i := range batch {
		if batch[i].LeaseRef == ref {
			return acks[i]
		}
	}
	return nil
}

// refused makes a report that cannot be taken as it is into one without result
// and output. When that one is refused too, the job is left to its on_lost.
func (s *session) refused(one []hostler.Report, err error) []hostler.Report {
	r := one[0]
	s.log.Error("report is refused", "job", r.Job, "err", err)
	if r.Result == nil && r.Output == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.unacked, r.LeaseRef)
		if s.busy == 0 && len(s.unacked) == 0 {
			signal(s.idle)
		}
		return nil
	}
	r.Result, r.Output = nil, nil
	if r.Error == nil {
		r.Error = &hostler.JobError{Kind: hostler.ErrKindInternal, Text: hostler.Textf(
			"the result could not be stored; the worker's log says why", "结果未能保存；原因见工作节点日志")}
	}
	return []hostler.Report{r}
}
