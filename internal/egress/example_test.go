package egress_test

import (
	"fmt"
	"net/netip"

	"hostler.dev/hostler/internal/egress"
)

// A policy allows hosts and private networks, and denies the machine itself and the cloud's
// metadata, also when the address is IPv4 wrapped in IPv6. Configuration can allow a range.
func ExamplePolicy_Check() {
	p := egress.New()
	for _, addr := range []string{"192.0.2.1", "10.1.2.3", "127.0.0.1", "64:ff9b::a9fe:a9fe"} {
		fmt.Println(addr, p.Check(netip.MustParseAddr(addr)) == nil)
	}
	p = egress.New(netip.MustParsePrefix("127.0.0.0/8"))
	fmt.Println("127.0.0.1", p.Check(netip.MustParseAddr("127.0.0.1")) == nil)
	// Output:
	// 192.0.2.1 true
	// 10.1.2.3 true
	// 127.0.0.1 false
	// 64:ff9b::a9fe:a9fe false
	// 127.0.0.1 true
}
