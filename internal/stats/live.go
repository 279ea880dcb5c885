package stats

import (
	"sync"
	"sync/atomic"
	"time"
)

// Live are figures of one server since its start. A nil Live counts nothing.
type Live struct {
	mu     sync.Mutex
	leases Figures

	delivered, failed atomic.Int64
}

// Leased counts a lease of jobs that took a time.
func (l *Live) Leased(took time.Duration) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leases.Started++
	l.leases.RunTotal += took
	l.leases.RunTimes.add(bucketOf(took), 1)
}

// Leases returns how long leases took, as run times.
func (l *Live) Leases() (f Figures) {
	if l == nil {
		return f
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f.Merge(&l.leases)
	return f
}

// Tried counts a try to send a delivery.
func (l *Live) Tried(ok bool) {
	switch {
	case l == nil:
	case ok:
		l.delivered.Add(1)
	default:
		l.failed.Add(1)
	}
}

// Tries returns how many tries succeeded and failed.
func (l *Live) Tries() (delivered, failed int64) {
	if l == nil {
		return 0, 0
	}
	return l.delivered.Load(), l.failed.Load()
}
