package worker

import (
	"context"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/wait"
)

// heartbeatLoop sends heartbeats back to back. Each is a long poll: the dispatcher
// answers when there is a job to stop, or after heartbeatWait.
func (s *session) heartbeatLoop() {
	retry := wait.Backoff{First: 200 * time.Millisecond, Max: 2 * time.Second}
	first := true
	for {
		sent := s.w.now()
		hosts := s.hostSessions()
		hb, ok := s.heartbeat()
		if !ok {
			return
		}
		if first {
			hb.Wait = 0 // leasing waits for the answer
		}
		hb.Sessions = hosts
		hb.CPUPercent, hb.MemoryBytes, hb.LoadPercent = s.w.meter.read()
		ctx, cancel := context.WithTimeout(s.ctx, heartbeatTimeout)
		reply, err := s.w.cfg.Dispatcher.Heartbeat(ctx, hb)
		cancel()
		switch {
		case s.ctx.Err() != nil:
		case err == nil:
			retry.Reset()
			s.extend(sent, reply.LeaseFor)
			if first {
				first = false
				close(s.confirmed)
			}
			if fresh := s.apply(reply); !fresh && time.Since(sent.at) < heartbeatWait/2 {
				// The dispatcher does not long-poll; limit the rate here.
				_ = wait.Sleep(s.ctx, heartbeatWait/10)
			}
		case hostler.CodeOf(err) == hostler.CodeStale:
			s.fenced("a heartbeat was refused")
		default:
			s.log.Warn("heartbeat failed; trying again", "err", err)
			_ = retry.Sleep(s.ctx)
		}
	}
}

// heartbeat lists the leases that the worker holds. It is not ok once the session is
// ending: from then on jobs are removed from the list although they have begun, and the dispatcher
// would take them for jobs that never started.
func (s *session) heartbeat() (hb hostler.Heartbeat, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping || s.ctx.Err() != nil {
		return hb, false
	}
	hb = hostler.Heartbeat{
		Worker: s.id, Wait: heartbeatWait, Draining: s.w.isDraining(),
		Held:      make([]hostler.LeaseRef, 0, len(s.jobs)+len(s.unacked)),
		Succeeded: s.counts.succeeded, Failed: s.counts.failed,
	}
	for _, j := range s.jobs {
		if !j.dropped {
			hb.Held = append(hb.Held, j.lease.LeaseRef)
		}
	}
	for ref := range s.unacked {
		hb.Held = append(hb.Held, ref)
	}
	return hb, true
}

// extend moves the time at which the session fences itself. It counts from when the
// heartbeat was sent, so that a slow answer cannot stretch the lease.
func (s *session) extend(sent moment, leaseFor time.Duration) {
	s.lapses.Store(int64(sent.elapsed + leaseFor - hostler.LeaseMargin))
	s.fence.Reset(time.Until(sent.at.Add(leaseFor - hostler.LeaseMargin)))
}

// watchSuspension fences the session at once when the machine was suspended for longer
// than its lease lasts: timers stand still meanwhile, and other workers may run its jobs
// by now.
func (s *session) watchSuspension() {
	for wait.Sleep(s.ctx, suspensionPoll) == nil {
		if s.w.cfg.Elapsed() > time.Duration(s.lapses.Load()) {
			s.fenced("the machine was suspended for longer than the lease lasts")
		}
	}
}

// apply stops the jobs and closes the connections that a reply names. It reports whether
// any of that was new.
func (s *session) apply(reply hostler.HeartbeatReply) (fresh bool) {
	for _, ref := range reply.Drop {
		if j := s.find(ref); j != nil {
			s.log.Warn("lease lost; stopping the job without a report", "job", ref.Job)
			fresh = fresh || j.ctx.Err() == nil
			s.drop(j)
		}
	}
	for _, ref := range reply.Cancel {
		if j := s.find(ref); j != nil {
			fresh = fresh || j.ctx.Err() == nil
			j.stop(action.ErrCancelled)
		}
	}
	s.closeHosts(reply.CloseHosts)
	return fresh || len(reply.CloseHosts) > 0
}
