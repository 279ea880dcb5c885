package engine

import (
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// This file decides by observation, never by comparing two clocks: a worker is
// silent when its row has not changed for as long as a lease lasts, measured by
// the monotonic clock of the server that looks. A step of any server's clock, or
// of the database's, makes no healthy worker lose its jobs.

const (
	// lookGap is how far apart two looks may be to count as one observation. A
	// server that was suspended, or cut off from the database, saw nothing
	// meanwhile: it observes anew.
	lookGap = 10 * time.Second
	// replyGrace is how long the answer of a lease may be on its way before a job
	// that its worker does not list is taken for a lost answer.
	replyGrace = 15 * time.Second
	// lateAfter is how old a lease may be when it goes to its worker. A heartbeat
	// that does not list it yet must be over before replyGrace is, or a job that
	// began would be handed back: lateAfter and the longest heartbeat make up that
	// grace.
	lateAfter = replyGrace - 10*time.Second
)

// pulses is what one server has observed of the live workers.
type pulses struct {
	seen   map[hostler.WorkerID]observed
	looked time.Time // last
}

type observed struct {
	store.Pulse
	since time.Time // when this heartbeat was first seen
}

// observe takes in the live workers as they are now and returns those that have
// been silent for as long as a lease lasts.
func (p *pulses) observe(now time.Time, live []store.Pulse) (silent []store.Pulse) {
	before := p.seen
	if now.Sub(p.looked) > lookGap {
		before = nil
	}
	p.seen, p.looked = make(map[hostler.WorkerID]observed, len(live)), now
	for _, w := range live {
		o, known := before[w.Worker]
		if !known || o.Heartbeat != w.Heartbeat {
			o.since = now
		}
		o.Pulse = w
		p.seen[w.Worker] = o
		if now.Sub(o.since) > hostler.LeaseTTL {
			silent = append(silent, w)
		}
	}
	return silent
}

// missing is which leases the heartbeats of one worker have not listed, and since
// when.
type missing map[hostler.LeaseRef]time.Time

// observe takes in what the newest heartbeat does not list. It returns what is to
// be remembered, and the leases whose answer is lost by now.
func (m missing) observe(now time.Time, leases []hostler.LeaseRef) (still missing, lost []hostler.LeaseRef) {
	still = make(missing, len(leases))
	for _, l := range leases {
		since, known := m[l]
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
