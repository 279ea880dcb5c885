package app

import (
	"net"
	"strings"
	"testing"
	"unicode"
)

// FuzzAddress: what passes can stand in a command line, a URL and a host:port, and
// passes again in the form that is stored.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"web1", "192.0.2.1", "::1", "fe80::1%eth0", "fe80::1%a b", "-x", "a b", "a\x00", "A.example.", "a.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var k checker
		out := k.address("address", s)
		if k.err() != nil {
			return
		}
		bad := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
		if out == "" || out[0] == '-' || strings.ContainsFunc(out, bad) {
			t.Errorf("%q passes as %q", s, out)
		}
		if host, _, err := net.SplitHostPort(sshAddress(out, 0)); err != nil || host != out {
			t.Errorf("%q comes back as %q: %v", out, host, err)
		}
		var again checker
		if again.address("address", out) != out || again.err() != nil {
			t.Errorf("%q is not its own form", out)
		}
	})
}
