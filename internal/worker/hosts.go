package worker

import (
	"cmp"
	"slices"

	"hostler.dev/hostler"
)

// maxSessions limits the host connections that a heartbeat lists: those used last.
const maxSessions = 1000

// hostLogin is what jobs on the same host connection have in common.
type hostLogin struct{ address, user string }

// loginOf returns the login of a job; the zero value for a job without a host.
func loginOf(l *hostler.Lease) hostLogin {
	if l.Asset == nil || l.Asset.Credential == nil {
		return hostLogin{}
	}
	return hostLogin{l.Asset.Address, l.Asset.Credential.Username}
}

// outcomeCounts counts how jobs ended.
type outcomeCounts struct{ succeeded, failed int64 }

func (c *outcomeCounts) add(o hostler.Outcome) {
	if o == hostler.OutcomeSucceeded {
		c.succeeded++
	} else {
		c.failed++
	}
}

// hostSessions lists the open host connections, with the outcomes of the jobs on them.
// Counts of connections that were closed are deleted.
func (s *session) hostSessions() []hostler.HostSession {
	if s.w.cfg.Sessions == nil {
		return nil
	}
	all := s.w.cfg.Sessions()
	s.mu.Lock()
	defer s.mu.Unlock()
	current := make(map[hostLogin]*outcomeCounts, len(all))
	for i := range all {
		h := &all[i]
		login := hostLogin{h.Address, h.User}
		if c := s.hosts[login]; c != nil {
			current[login] = c
			h.Succeeded, h.Failed = c.succeeded, c.failed
		}
	}
	for _, j := range s.jobs {
		// A running job may be about to open its connection.
		if login := loginOf(&j.lease); s.hosts[login] != nil {
			current[login] = s.hosts[login]
		}
	}
	s.hosts = current
	if len(all) > maxSessions {
		slices.SortFunc(all, func(a, b hostler.HostSession) int { return b.LastUsed.Compare(a.LastUsed) })
		all = all[:maxSessions]
		slices.SortFunc(all, func(a, b hostler.HostSession) int {
			return cmp.Or(cmp.Compare(a.Address, b.Address), a.Port-b.Port, cmp.Compare(a.User, b.User))
		})
	}
	return all
}

// countHost counts the outcome of a job on a host; the caller holds the lock.
func (s *session) countHost(l *hostler.Lease, o hostler.Outcome) {
	login := loginOf(l)
	if login == (hostLogin{}) || s.w.cfg.Sessions == nil {
		return
	}
	c := s.hosts[login]
	if c == nil {
		c = &outcomeCounts{}
		s.hosts[login] = c
	}
	c.add(o)
}

// closeHosts closes the connections to addresses, as a person asked for.
func (s *session) closeHosts(addresses []string) {
	if s.w.cfg.CloseHost == nil {
		return
	}
	for _, address := range addresses {
		n := s.w.cfg.CloseHost(address)
		s.log.Info("host connections closed on request", "address", address, "connections", n)
	}
}
