package egress

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		addr string
		ok   bool
	}{
		// hosts
		{"10.0.0.1", true},
		{"172.16.5.4", true},
		{"192.168.1.1", true},
		{"100.64.0.1", true},
		{"203.0.113.9", true},
		{"8.8.8.8", true},
		{"fd12::1", true},
		{"2001:db8::1", true},
		{"2600::1", true},
		{"169.253.255.255", true},
		{"128.0.0.1", true},
		// this machine
		{"127.0.0.1", false},
		{"127.255.255.254", false},
		{"0.0.0.0", false},
		{"0.1.2.3", false},
		{"::", false},
		{"::1", false},
		// link and metadata
		{"169.254.169.254", false},
		{"169.254.0.1", false},
		{"fe80::1", false},
		{"fe80::1%lo", false},
		{"fec0::1", false},
		{"100.100.100.200", false},
		{"168.63.129.16", false},
		{"192.0.0.192", false},
		{"fd00:ec2::254", false},
		{"fd20:ce::254", false},
		// multicast, broadcast, reserved
		{"224.0.0.1", false},
		{"239.255.255.250", false},
		{"255.255.255.255", false},
		{"240.0.0.1", false},
		{"ff02::1", false},
		{"100::1", false},
		// IPv4 in IPv6
		{"::ffff:127.0.0.1", false},
		{"::ffff:169.254.169.254", false},
		{"::ffff:0.0.0.0", false},
		{"::ffff:10.0.0.1", true},
		{"::127.0.0.1", false},
		{"::ffff:0:127.0.0.1", false},
		{"64:ff9b::7f00:1", false},
		{"64:ff9b::a9fe:a9fe", false},
		{"64:ff9b::a00:1", true},
		{"64:ff9b:1::7f00:1", false},
		{"2002:7f00:1::1", false},
		{"2002:a9fe:a9fe::", false},
		{"2002:a00:1::1", true},
		{"2001:0:1:2:3:4:80ff:fffe", false},
		{"fd00::5efe:127.0.0.1", false},
		{"2600::200:5efe:7f00:1", false},
		{"fd00::5efe:10.0.0.1", true},
	} {
		err := New().Check(netip.MustParseAddr(tt.addr))
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v, want allowed: %v", tt.addr, err, tt.ok)
		}
		var d *Denied
		if err != nil && (!errors.As(err, &d) || d.Text().ZH == "" || !strings.Contains(d.Text().EN, "egress_allow")) {
			t.Errorf("%s: %v has no remedy", tt.addr, err)
		}
	}
}

func TestConfigurationAllows(t *testing.T) {
	p := New(netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fe80::/10"))
	for addr, ok := range map[string]bool{
		"127.0.0.1": true, "::ffff:127.0.0.1": true, "64:ff9b::7f00:1": true, "fe80::1": true, "fe80::1%lo": true,
		"::1": false, "169.254.169.254": false, "0.0.0.0": false,
	} {
		if err := p.Check(netip.MustParseAddr(addr)); (err == nil) != ok {
			t.Errorf("%s: %v, want allowed: %v", addr, err, ok)
		}
	}
}

// A denied connection never reaches the listener; an allowed one does.
func TestTransportConnectsOnlyWhereAllowed(t *testing.T) {
	if New().Transport(nil).Proxy != nil {
		t.Error("a proxy could connect instead of the dialer")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan string, 8)
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { served <- r.Host })
	srv := &http.Server{Handler: handler} //nolint:gosec // a test's server
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })

	get := func(p *Policy) error {
		res, err := (&http.Client{Transport: p.Transport(nil)}).Get("http://" + l.Addr().String())
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	}
	if err := get(New()); !errors.As(err, new(*Denied)) {
		t.Errorf("got %v, want a *Denied", err)
	}
	if len(served) != 0 {
		t.Error("the denied request was served")
	}
	if err := get(New(netip.MustParsePrefix("127.0.0.1/32"))); err != nil || len(served) != 1 {
		t.Errorf("allowed: %v, served %d", err, len(served))
	}
}

func TestControlAllowsOnlyTCP(t *testing.T) {
	for _, c := range [][2]string{{"unix", "/run/docker.sock"}, {"udp4", "10.0.0.1:53"}, {"tcp4", "name:80"}, {"tcp4", "127.0.0.1:80"}} {
		if err := New().Control(t.Context(), c[0], c[1], nil); err == nil {
			t.Errorf("%v was allowed", c)
		}
	}
	if err := New().Control(t.Context(), "tcp6", "[2600::1%eth0]:443", nil); err != nil {
		t.Error(err)
	}
}

func FuzzCheckUnwraps(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok || !a.Is4() {
			return
		}
		v4 := a.As4()
		plain := New().Check(a) == nil
		mapped := netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff, 12: v4[0], 13: v4[1], 14: v4[2], 15: v4[3]})
		nat64 := netip.AddrFrom16([16]byte{1: 0x64, 2: 0xff, 3: 0x9b, 12: v4[0], 13: v4[1], 14: v4[2], 15: v4[3]})
		for _, w := range []netip.Addr{mapped, nat64} {
			if got := New().Check(w) == nil; got != plain {
				t.Errorf("%s allowed: %v, but %s: %v", a, plain, w, got)
			}
		}
	})
}
