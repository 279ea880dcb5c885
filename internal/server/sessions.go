package server

import (
	"cmp"
	"slices"

	"hostler.dev/hostler"
)

// keeper is a family of actions that keeps connections to hosts between jobs.
type keeper interface {
	// Sessions lists the kept connections.
	Sessions() []hostler.HostSession
	// CloseHost closes those to an address and says how many there were.
	CloseHost(address string) int
}

// keepers are several as one.
type keepers []keeper

// Sessions implements keeper.
func (ks keepers) Sessions() []hostler.HostSession {
	var all []hostler.HostSession
	for _, k := range ks {
		all = append(all, k.Sessions()...)
	}
	slices.SortStableFunc(all, func(a, b hostler.HostSession) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), a.Port-b.Port)
	})
	return all
}

// CloseHost implements keeper.
func (ks keepers) CloseHost(address string) int {
	n := 0
	for _, k := range ks {
		n += k.CloseHost(address)
	}
	return n
}
