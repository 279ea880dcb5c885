package worker

import (
	"context"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// beat sends heartbeats back to back: each answer is held back until there is
// something to stop.
func (s *session) beat() {
	failing := newBackoff(200*time.Millisecond, 2*time.Second)
	for {
		sent := time.Now()
		hosts := s.hostSessions()
		hb, ok := s.heartbeat()
		if !ok {
			return
		}
		hb.Sessions = hosts
		hb.CPUPercent, hb.MemoryBytes = s.w.meter.read()
		ctx, cancel := context.WithTimeout(s.ctx, beatTimeout)
		reply, err := s.w.cfg.Dispatcher.Heartbeat(ctx, hb)
		cancel()
		switch {
		case s.ctx.Err() != nil:
		case err == nil:
			failing.reset()
			s.extend(sent, reply.LeaseFor)
			if fresh := s.obey(reply); !fresh && time.Since(sent) < beatWait/2 {
				// It was not held back: do not spin.
				pause(s.ctx, beatWait/10)
			}
		case hostler.CodeOf(err) == hostler.CodeStale:
			s.fenced("a heartbeat was refused")
		default:
			s.log.Warn("heartbeat failed; the worker tries again", "err", err)
			failing.wait(s.ctx)
		}
	}
}

// heartbeat lists what the worker holds. It is not ok once the session ends:
// from then on jobs leave the list although they began.
func (s *session) heartbeat() (hb hostler.Heartbeat, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping || s.ctx.Err() != nil {
		return hb, false
	}
	hb = hostler.Heartbeat{
		Worker: s.id, Wait: beatWait, Draining: s.w.isDraining(),
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

// extend moves the moment at which the session fences itself. It counts from
// when the heartbeat was sent, so that a slow answer cannot stretch the lease.
func (s *session) extend(sent time.Time, leaseFor time.Duration) {
	s.fence.Reset(time.Until(sent.Add(leaseFor - hostler.LeaseMargin)))
}

// obey stops what the answer says. It reports whether any of it was news.
func (s *session) obey(reply hostler.HeartbeatReply) (fresh bool) {
	for _, ref := range reply.Drop {
		if j := s.find(ref); j != nil {
			s.log.Warn("lease is lost; the job is stopped unreported", "job", ref.Job)
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
