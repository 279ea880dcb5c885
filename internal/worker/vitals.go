package worker

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"hostler.dev/hostler"
)

const (
	// maxSessions bounds what a heartbeat says of kept connections: the ones that
	// were used last.
	maxSessions = 1000
	// sampleEvery spaces the looks at the processor time: a share of less time
	// would jump.
	sampleEvery = time.Second
)

// meter measures what the process uses.
type meter struct {
	mu      sync.Mutex
	at      time.Time
	cpu     time.Duration
	percent float64
}

// read gives the share of one core since the look before, and the memory in use.
// Both are 0 on systems that do not tell.
func (m *meter) read() (percent float64, memory int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, cpu := time.Now(), processorTime()
	if past := now.Sub(m.at); past >= sampleEvery {
		if !m.at.IsZero() {
			m.percent = 100 * float64(cpu-m.cpu) / float64(past)
		}
		m.at, m.cpu = now, cpu
	}
	return m.percent, residentMemory()
}

// login is who works where: what the jobs on a kept connection have in common.
type login struct{ address, user string }

// loginOf is where a job works; empty for a job without a host.
func loginOf(l *hostler.Lease) login {
	if l.Asset == nil || l.Asset.Credential == nil {
		return login{}
	}
	return login{l.Asset.Address, l.Asset.Credential.Username}
}

// score counts how jobs ended.
type score struct{ succeeded, failed int64 }

func (c *score) count(o hostler.Outcome) {
	if o == hostler.OutcomeSucceeded {
		c.succeeded++
	} else {
		c.failed++
	}
}

// hostSessions lists the kept connections with how the jobs on them ended. It
// forgets the counts of connections that are gone.
func (s *session) hostSessions() []hostler.HostSession {
	if s.w.cfg.Sessions == nil {
		return nil
	}
	all := s.w.cfg.Sessions()
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := make(map[login]*score, len(all))
	for i := range all {
		h := &all[i]
		at := login{h.Address, h.User}
		if c := s.hosts[at]; c != nil {
			kept[at] = c
			h.Succeeded, h.Failed = c.succeeded, c.failed
		}
	}
	for _, j := range s.jobs {
		// The connection of a job that runs may be about to come.
		if at := loginOf(&j.lease); s.hosts[at] != nil {
			kept[at] = s.hosts[at]
		}
	}
	s.hosts = kept
	if len(all) > maxSessions {
		slices.SortFunc(all, func(a, b hostler.HostSession) int { return b.LastUsed.Compare(a.LastUsed) })
		all = all[:maxSessions]
		slices.SortFunc(all, func(a, b hostler.HostSession) int {
			return cmp.Or(cmp.Compare(a.Address, b.Address), a.Port-b.Port, cmp.Compare(a.User, b.User))
		})
	}
	return all
}

// countHost notes how a job on a host ended; the caller holds the lock.
func (s *session) countHost(l *hostler.Lease, o hostler.Outcome) {
	at := loginOf(l)
	if at == (login{}) || s.w.cfg.Sessions == nil {
		return
	}
	c := s.hosts[at]
	if c == nil {
		c = &score{}
		s.hosts[at] = c
	}
	c.count(o)
}

// closeHosts closes the kept connections that people want closed.
func (s *session) closeHosts(addresses []string) {
	if s.w.cfg.CloseHost == nil {
		return
	}
	for _, address := range addresses {
		n := s.w.cfg.CloseHost(address)
		s.log.Info("kept connections were closed because a person asked for it", "address", address, "connections", n)
	}
}
