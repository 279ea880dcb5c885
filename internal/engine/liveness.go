package engine

import (
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// This file decides by observation, and never compares two clocks: a worker is silent
// when the heartbeat in its row has not changed for as long as a lease lasts, measured
// by the monotonic clock of the server that observes it. A step of any server's clock,
// or of the database's, costs no healthy worker its jobs.

const (
	// maxLookGap is the longest time between two looks of one observation. A server
	// that was suspended, or cut off from the database, has observed nothing meanwhile
	// and starts again.
	maxLookGap = 10 * time.Second
	// replyGrace is how long the answer to a lease request may take to arrive. After
	// that, a lease that its worker does not list was lost on the way.
	replyGrace = 15 * time.Second
	// maxLeaseAge is how old a lease may be when it is sent to its worker. A heartbeat
	// that does not list it yet must have ended within replyGrace, or a job that was
	// started would be handed back: maxLeaseAge and the longest heartbeat make up that
	// grace.
	maxLeaseAge = replyGrace - 10*time.Second
)

// liveness is what one server has observed of the live workers.
type liveness struct {
	seen     map[hostler.WorkerID]observed
	lastLook time.Time
}

type observed struct {
	store.Pulse
	since time.Time // when this heartbeat was first seen
}

// observe compares the live workers with the last look, and returns those that have
// been silent for as long as a lease lasts.
func (l *liveness) observe(now time.Time, live []store.Pulse) (silent []store.Pulse) {
	before := l.seen
	if now.Sub(l.lastLook) > maxLookGap {
		before = nil
	}
	l.seen, l.lastLook = make(map[hostler.WorkerID]observed, len(live)), now
	for _, w := range live {
		o, known := before[w.Worker]
		if !known || o.Heartbeat != w.Heartbeat {
			o.since = now
		}
		o.Pulse = w
		l.seen[w.Worker] = o
		if now.Sub(o.since) > hostler.LeaseTTL {
			silent = append(silent, w)
		}
	}
	return silent
}

// unlisted has the leases that the heartbeats of one worker do not list, and since
// when.
type unlisted map[hostler.LeaseRef]time.Time

// observe takes the leases that the newest heartbeat does not list. It returns those
// to remember, and those that have been unlisted for longer than replyGrace.
func (u unlisted) observe(now time.Time, missing []hostler.LeaseRef) (still unlisted, lost []hostler.LeaseRef) {
	still = make(unlisted, len(missing))
	for _, l := range missing {
		since, known := u[l]
		if !known {
			since = now
		}
		if now.Sub(since) > replyGrace {
			lost = append(lost, l)
			continue
		}
		still[l] = since
	}
	return still, lost
}
