package netcli_test

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action/netcli"
	"hostler.dev/hostler/internal/action/netcli/devicetest"
)

// An idle CLI is not used after its host key was revoked, and no password is sent to the
// device.
func TestRevokedHostKeyClosesAnIdleCLI(t *testing.T) {
	d := device(t, "127.0.2.1", devicetest.Options{})
	e := newEnv(t, netcli.Options{})
	a := asset(d, devicetest.IOSXE, "")
	e.cli(a, m{"commands": []string{"show version"}}).MustEnd(t, hostler.OutcomeSucceeded, "")
	addr := net.JoinHostPort(d.Address, strconv.Itoa(d.Port))
	key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(e.keys[addr]))
	if err != nil {
		t.Fatal(err)
	}
	a.HostKeys = []hostler.HostKey{
		{Address: addr, Type: key.Type(), PublicKey: e.keys[addr], State: hostler.HostKeyRevoked},
	}
	e.cli(a, m{"commands": []string{"show version"}}).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindHostKey)
	if n := len(d.Passwords()); n != 1 || len(d.Typed()) != 3 {
		t.Errorf("%d passwords, typed %q", n, d.Typed())
	}
	if s := e.family.Sessions(); len(s) != 0 {
		t.Errorf("sessions %+v", s)
	}
}

// An idle CLI that does not reply is replaced before anything of the job is sent, so that the
// outcome of a configuration is not unknown.
func TestSilentCLIIsReplaced(t *testing.T) {
	t.Parallel()
	d := device(t, "127.0.2.1", devicetest.Options{Dialect: devicetest.VRP})
	e := newEnv(t, netcli.Options{})
	a := asset(d, devicetest.VRP, "")
	e.cli(a, m{"commands": []string{"display version"}}).MustEnd(t, hostler.OutcomeSucceeded, "")
	d.Silence()
	e.cli(a, m{"config": []string{"vlan 7"}}).MustEnd(t, hostler.OutcomeSucceeded, "")
	if got := d.Running(); d.Logins() != 2 || len(got) != 1 {
		t.Errorf("%d logins, running %q", d.Logins(), got)
	}
}

// The outcome of a configuration whose CLI is closed is unknown.
func TestCLIClosedDuringAConfiguration(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect, HangAt: "vlan 8"})
		e := newEnv(t, netcli.Options{})
		ended := make(chan done, 1)
		go func() { ended <- e.cli(asset(d, w.dialect, ""), m{"config": []string{"vlan 7", "vlan 8"}}) }()
		deadline := time.Now().Add(time.Minute)
		for !slices.Contains(d.Typed(), "vlan 8") {
			if time.Now().After(deadline) {
				t.Fatalf("typed %q", d.Typed())
			}
			<-time.After(5 * time.Millisecond)
		}
		if s := e.family.Sessions(); len(s) != 1 || s[0].Running != 1 {
			t.Errorf("sessions %+v", s)
		}
		if n := e.family.CloseHost("127.0.2.9"); n != 0 {
			t.Errorf("closed %d of another host", n)
		}
		if n := e.family.CloseHost(d.Address); n != 1 {
			t.Errorf("closed %d, want 1", n)
		}
		(<-ended).MustEnd(t, hostler.OutcomeUnknown, hostler.ErrKindConnLost)
	})
}

// A CLI whose settings a job may have changed is not reused.
func TestChangedCLIIsNotReused(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect})
		e := newEnv(t, netcli.Options{})
		change := map[devicetest.Dialect]string{devicetest.IOSXE: "terminal width 80", devicetest.VRP: "return"}[w.dialect]
		e.cli(asset(d, w.dialect, ""), m{"commands": []string{w.show, change}}).MustEnd(t, hostler.OutcomeSucceeded, "")
		if s := e.family.Sessions(); len(s) != 0 {
			t.Errorf("still open: %+v", s)
		}
	})
}

// An idle CLI that breaks between its probe and the first line of a configuration is replaced:
// nothing was sent whose effect could be unknown.
func TestReusedCLIThatBreaksBeforeTheFirstLine(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect, DropIdle: true})
		e := newEnv(t, netcli.Options{})
		a := asset(d, w.dialect, "")
		e.cli(a, m{"commands": []string{w.show}}).MustEnd(t, hostler.OutcomeSucceeded, "")
		e.cli(a, m{"config": []string{"vlan 7"}}).MustEnd(t, hostler.OutcomeSucceeded, "")
		if got := d.Running(); d.Logins() != 2 || !slices.Equal(got, []string{"vlan 7"}) {
			t.Errorf("%d logins, running %q", d.Logins(), got)
		}
	})
}

// Only the MaxIdle idle CLIs that were used last stay open.
func TestIdleCLIsAreBounded(t *testing.T) {
	e := newEnv(t, netcli.Options{MaxIdle: 2})
	for i := range 4 {
		d := device(t, fmt.Sprintf("127.0.2.%d", i+1), devicetest.Options{})
		e.cli(asset(d, devicetest.IOSXE, ""), m{"commands": []string{"show version"}}).
			MustEnd(t, hostler.OutcomeSucceeded, "")
	}
	var got []string
	for _, s := range e.family.Sessions() {
		got = append(got, s.Address)
	}
	if want := []string{"127.0.2.3", "127.0.2.4"}; !slices.Equal(got, want) {
		t.Errorf("open: %v, want %v", got, want)
	}
}
