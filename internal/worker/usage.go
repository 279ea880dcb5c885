package worker

import (
	"sync"
	"time"
)

// sampleInterval is the least time between two readings of the processor time. Over a
// shorter time the share would fluctuate.
const sampleInterval = time.Second

// meter measures what the process uses.
type meter struct {
	mu      sync.Mutex
	at      time.Time
	cpu     time.Duration
	percent float64

	busy, total int64 // of the machine, in ticks
	load        float64
}

// read returns the share of one core that the process used since the last sample, in
// percent, its memory in bytes, and the share of all cores of the machine that was in use. They
// are 0 on systems without these counters.
func (m *meter) read() (percent float64, memory int64, load float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, cpu := time.Now(), processorTime()
	if past := now.Sub(m.at); past >= sampleInterval {
		if !m.at.IsZero() {
			m.percent = 100 * float64(cpu-m.cpu) / float64(past)
		}
		m.at, m.cpu = now, cpu
		if busy, total := machineTime(); total > m.total {
			if m.total > 0 {
				m.load = 100 * float64(busy-m.busy) / float64(total-m.total)
			}
			m.busy, m.total = busy, total
		}
	}
	return m.percent, residentMemory(), m.load
}
