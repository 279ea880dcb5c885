package node

import (
	"cmp"
	"slices"

	"hostler.dev/hostler"
)

// pool is a family of actions that reuses connections to hosts between jobs.
type pool interface {
	// Sessions lists the open connections.
	Sessions() []hostler.HostSession
	// CloseHost closes those to an address and returns how many there were.
	CloseHost(address string) int
}

// pools joins several pools into one.
type pools []pool

// Sessions implements pool; the connections are ordered by address and port.
func (ps pools) Sessions() []hostler.HostSession {
	var all []hostler.HostSession
	for _, p := range ps {
		all = append(all, p.Sessions()...)
	}
	slices.SortStableFunc(all, func(a, b hostler.HostSession) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), a.Port-b.Port)
	})
	return all
}

// CloseHost implements pool.
func (ps pools) CloseHost(address string) int {
	n := 0
	for _, p := range ps {
		n += p.CloseHost(address)
	}
	return n
}
