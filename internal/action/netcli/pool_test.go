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

// A kept CLI is not for a job that came with a later decision about host keys, and
// no password goes to the device that it condemns.
func TestRevokedUnderAKeptCLI(t *testing.T) {
	d := device(t, "127.0.2.1", devicetest.Options{})
	e := newEnv(t, netcli.Options{})
	a := asset(d, devicetest.IOSXE, "")
	mustEnd(t, e.cli(a, m{"commands": []string{"show version"}}), hostler.OutcomeSucceeded, "")
	addr := net.JoinHostPort(d.Address, strconv.Itoa(d.Port))
	key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(e.keys[addr]))
	if err != nil {
		t.Fatal(err)
	}
	a.HostKeys = []hostler.HostKey{{Address: addr, Type: key.Type(), PublicKey: e.keys[addr], State: hostler.HostKeyRevoked}}
	mustEnd(t, e.cli(a, m{"commands": []string{"show version"}}), hostler.OutcomeFailed, hostler.ErrKindHostKey)
	if n := len(d.Passwords()); n != 1 || len(d.Typed()) != 3 {
		t.Errorf("%d passwords, typed %q", n, d.Typed())
	}
	if s := e.family.Sessions(); len(s) != 0 {
		t.Errorf("sessions %+v", s)
	}
}

// A kept CLI that gives no answer any more is replaced before anything of the job
// is sent, so that a configuration is not lost with it.
func TestDeafCLI(t *testing.T) {
	t.Parallel()
	d := device(t, "127.0.2.1", devicetest.Options{Dialect: devicetest.VRP})
	e := newEnv(t, netcli.Options{})
	a := asset(d, devicetest.VRP, "")
	mustEnd(t, e.cli(a, m{"commands": []string{"display version"}}), hostler.OutcomeSucceeded, "")
	d.Deafen()
	mustEnd(t, e.cli(a, m{"config": []string{"vlan 7"}}), hostler.OutcomeSucceeded, "")
	if got := d.Running(); d.Logins() != 2 || len(got) != 1 {
		t.Errorf("%d logins, running %q", d.Logins(), got)
	}
}

// Who closes a CLI under a configuration is told that its outcome is not known.
func TestClosedUnderAConfiguration(t *testing.T) {
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
		mustEnd(t, <-ended, hostler.OutcomeUnknown, hostler.ErrKindConnLost)
	})
}

// What a job may have done to its CLI is not left to the next one.
func TestChangedCLIIsNotKept(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect})
		e := newEnv(t, netcli.Options{})
		change := map[devicetest.Dialect]string{devicetest.IOSXE: "terminal width 80", devicetest.VRP: "return"}[w.dialect]
		mustEnd(t, e.cli(asset(d, w.dialect, ""), m{"commands": []string{w.show, change}}), hostler.OutcomeSucceeded, "")
		if s := e.family.Sessions(); len(s) != 0 {
			t.Errorf("kept %+v", s)
		}
	})
}

// A kept CLI that breaks between its sign of life and the first line of a
// configuration is replaced: the device was told nothing that could be unknown.
func TestKeptCLIThatBreaksBeforeTheFirstLine(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect, DropIdle: true})
		e := newEnv(t, netcli.Options{})
		a := asset(d, w.dialect, "")
		mustEnd(t, e.cli(a, m{"commands": []string{w.show}}), hostler.OutcomeSucceeded, "")
		mustEnd(t, e.cli(a, m{"config": []string{"vlan 7"}}), hostler.OutcomeSucceeded, "")
		if got := d.Running(); d.Logins() != 2 || !slices.Equal(got, []string{"vlan 7"}) {
			t.Errorf("%d logins, running %q", d.Logins(), got)
		}
	})
}

// Of the CLIs that nobody uses, only so many are kept: the latest.
func TestIdleCLIsAreBounded(t *testing.T) {
	e := newEnv(t, netcli.Options{MaxIdle: 2})
	for i := range 4 {
		d := device(t, fmt.Sprintf("127.0.2.%d", i+1), devicetest.Options{})
		mustEnd(t, e.cli(asset(d, devicetest.IOSXE, ""), m{"commands": []string{"show version"}}), hostler.OutcomeSucceeded, "")
	}
	var got []string
	for _, s := range e.family.Sessions() {
		got = append(got, s.Address)
	}
	if want := []string{"127.0.2.3", "127.0.2.4"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
}
