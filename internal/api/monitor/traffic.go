package monitor

import (
	"net/http"
	"sync"
	"time"
)

// traffic counts answers over a sliding window, for /health.
type traffic struct {
	now   func() time.Time
	began time.Time

	mu    sync.Mutex
	slots [windowSlots]trafficSlot
}

const (
	windowSlots = 60
	slotTime    = 5 * time.Second
	// latencySteps is the number of upper bounds 0.5 ms · 2ⁿ. The last one is 16 s, and
	// counts slower answers as well.
	latencySteps = 16
	latencyFirst = 500 * time.Microsecond
)

type trafficSlot struct {
	index     int64 // of the span of slotTime that it counts
	requests  int64
	faults    int64
	latencies [latencySteps]int64
}

func newTraffic(now func() time.Time) *traffic { return &traffic{now: now, began: now()} }

func (t *traffic) add(status int, took time.Duration) {
	index := t.now().UnixNano() / int64(slotTime)
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.slots[index%windowSlots]
	if s.index != index {
		*s = trafficSlot{index: index}
	}
	s.requests++
	if status >= http.StatusInternalServerError {
		s.faults++
	}
	step, bound := 0, latencyFirst
	for step < latencySteps-1 && took > bound {
		step, bound = step+1, bound*2
	}
	s.latencies[step]++
}

// report sums up the window.
func (t *traffic) report() TrafficHealth {
	now := t.now()
	oldest := now.UnixNano()/int64(slotTime) - windowSlots
	var sum trafficSlot
	t.mu.Lock()
	for _, s := range t.slots {
		if s.index <= oldest {
			continue
		}
		sum.requests += s.requests
		sum.faults += s.faults
		for i, n := range s.latencies {
			sum.latencies[i] += n
		}
	}
	t.mu.Unlock()
	var h TrafficHealth
	if sum.requests == 0 {
		return h
	}
	span := min(now.Sub(t.began), windowSlots*slotTime).Seconds()
	h.RequestsPS = float64(sum.requests) / max(span, 1)
	h.ErrorRate = float64(sum.faults) / float64(sum.requests)
	h.P95MS = sum.p95().Seconds() * 1000
	return h
}

// p95 is the bound that 95 % of the answers are within.
func (s *trafficSlot) p95() time.Duration {
	want := (s.requests*95 + 99) / 100
	bound := latencyFirst
	for _, n := range s.latencies {
		if want -= n; want <= 0 {
			break
		}
		bound *= 2
	}
	return bound
}
