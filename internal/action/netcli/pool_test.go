package netcli_test

import (
	"net"
	"strconv"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action/netcli"
	"hostler.dev/hostler/internal/action/netcli/devicetest"
)

// A kept CLI is not for a job that came with a later decision about host keys, and
// no password goes to the device that it condemns.
func TestRevokedUnderAKeptCLI(t *testing.T) {
	d := device(t, "127.0.2.1", devicetest.Options{})
	r := newRig(t, netcli.Options{})
	a := asset(d, devicetest.IOSXE, "")
	mustEnd(t, r.cli(a, m{"commands": []string{"show version"}}), hostler.OutcomeSucceeded, "")
	addr := net.JoinHostPort(d.Address, strconv.Itoa(d.Port))
	key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(r.keys[addr]))
	if err != nil {
		t.Fatal(err)
	}
	a.HostKeys = []hostler.HostKey{{Address: addr, Type: key.Type(), PublicKey: r.keys[addr], State: hostler.HostKeyRevoked}}
	mustEnd(t, r.cli(a, m{"commands": []string{"show version"}}), hostler.OutcomeFailed, hostler.ErrKindHostKey)
	if n := len(d.Passwords()); n != 1 || len(d.Typed()) != 3 {
		t.Errorf("%d passwords, typed %q", n, d.Typed())
	}
	if s := r.family.Sessions(); len(s) != 0 {
		t.Errorf("sessions %+v", s)
	}
}
