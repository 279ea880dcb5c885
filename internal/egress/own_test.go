package egress

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestAddressesOfInterfacesAreThisMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ips := []net.Addr{&net.IPNet{IP: net.ParseIP("10.1.2.3"), Mask: net.CIDRMask(24, 32)}}
		p := &Policy{own: &addresses{read: func() ([]net.Addr, error) { return ips, nil }}}
		check := func(addr string, ok bool) {
			t.Helper()
			if err := p.Check(netip.MustParseAddr(addr)); (err == nil) != ok {
				t.Errorf("%s: %v, want allowed %v", addr, err, ok)
			}
		}
		check("10.1.2.3", false)
		check("::ffff:10.1.2.3", false)
		check("64:ff9b::10.1.2.3", false)
		check("10.1.2.4", true)
		ips = append(ips, &net.IPNet{IP: net.ParseIP("2001:db8::7"), Mask: net.CIDRMask(64, 128)})
		<-time.After(ownFor)
		check("2001:db8::7", false)
		p.allow = []netip.Prefix{netip.MustParsePrefix("10.1.2.3/32")}
		check("10.1.2.3", true)
	})
}

func TestHostsMayBeThisMachineButNoMetadata(t *testing.T) {
	p := ForHosts()
	for addr, ok := range map[string]bool{
		"127.0.0.1": true, "::1": true, "10.0.0.1": true, "169.254.169.254": false, "fe80::1": false,
		"100.100.100.200": false, "fd00:ec2::254": false, "::ffff:169.254.169.254": false, "64:ff9b::a9fe:a9fe": false,
	} {
		if err := p.Check(netip.MustParseAddr(addr)); (err == nil) != ok {
			t.Errorf("%s: %v, want allowed %v", addr, err, ok)
		}
	}
	if err := ForHosts(netip.MustParsePrefix("169.254.0.0/16")).Check(netip.MustParseAddr("169.254.1.1")); err != nil {
		t.Errorf("a range that is configured: %v", err)
	}
}

// TestFormsThatAnotherMachineResolves checks hosts that a jump host resolves, in every form
// that its resolver takes for an address.
func TestFormsThatAnotherMachineResolves(t *testing.T) {
	p := ForHosts()
	for host, ok := range map[string]bool{
		"169.254.169.254": false, "2852039166": false, "0xa9fea9fe": false, "0XA9FEA9FE": false, "169.254.43518": false,
		"169.16689662": false, "0251.0376.0251.0376": false, "0xa9.254.0251.254": false, "025177524776": false,
		"::ffff:a9fe:a9fe": false, "fe80::1": false, "1684301000": false,
		"10.0.0.1": true, "167772161": true, "0": true, "web1": true, "web1.example": true, "4294967296": true,
		"169.254.169.254.example": true, "169.254.169.256": true, "0x": true, "": true,
	} {
		if err := p.CheckHost(host); (err == nil) != ok {
			t.Errorf("%q: %v, want allowed %v", host, err, ok)
		}
	}
}
