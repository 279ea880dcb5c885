package egress

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// ownFor is how long the addresses of the interfaces are taken as known: they change when
// a network, a container or a virtual address comes or goes.
const ownFor = 5 * time.Second

// addresses are those of the interfaces of this machine.
type addresses struct {
	read func() ([]net.Addr, error) // nil means net.InterfaceAddrs

	mu   sync.Mutex // guards the fields below
	all  map[netip.Addr]bool
	when time.Time
}

var ownAddresses addresses

// contain reports whether an address is one of this machine. When the interfaces cannot
// be read, those that were read last count.
func (o *addresses) contain(a netip.Addr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.when) >= ownFor {
		read := o.read
		if read == nil {
			read = net.InterfaceAddrs
		}
		if all, err := read(); err == nil {
			o.all, o.when = map[netip.Addr]bool{}, time.Now()
			for _, n := range all {
				if prefix, err := netip.ParsePrefix(n.String()); err == nil {
					o.all[prefix.Addr().Unmap().WithZone("")] = true
				}
			}
		}
	}
	return o.all[a]
}
