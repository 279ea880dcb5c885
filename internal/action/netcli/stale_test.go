package netcli

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/netcli/devicetest"
	"hostler.dev/hostler/internal/sshconn"
)

// A job starts over only if a reused CLI broke before anything of the job was sent, and a line
// that was not entered makes nothing unknown.
func TestStale(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.2.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d, err := devicetest.Serve(l, devicetest.Options{Password: "secret", DropAt: "reload"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	conns := sshconn.New(sshconn.Options{})
	defer conns.Close()
	f := New(Options{Conns: conns})
	defer f.Close()
	call := &action.Call{Lease: hostler.Lease{Args: []byte(`{"commands":["reload"]}`), Asset: &hostler.LeaseAsset{
		Address: d.Address, Port: d.Port, Platform: "cisco_iosxe", HostKey: hostler.HostKeyAcceptNew,
		Credential: &hostler.LeaseCredential{
			Kind: hostler.CredentialPassword, Username: "admin", Secret: hostler.Secret{Password: "secret"},
		},
	}}, PinHostKey: func(context.Context, hostler.HostKeyOffer) error { return nil }}
	for _, tc := range []struct {
		name         string
		reused, gone bool
		stale        bool
		outcome      hostler.Outcome
	}{
		{"reused, broken before", true, true, true, hostler.OutcomeFailed},
		{"new, broken before", false, true, false, hostler.OutcomeFailed},
		{"reused, broken after", true, false, false, hostler.OutcomeUnknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args, login, err := f.decode(call)
			if err != nil {
				t.Fatal(err)
			}
			c, err := f.open(t.Context(), login)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			c.reused = tc.reused
			if tc.gone {
				d.DropConnections()
				<-c.shell.Gone()
			}
			j := &job{cli: c, args: args, stdout: io.Discard, report: Report{Results: map[string]string{}}}
			if got := j.run(t.Context()); got.Outcome != tc.outcome || j.stale != tc.stale {
				t.Errorf("got %s, stale %v, want %s, %v", got.Outcome, j.stale, tc.outcome, tc.stale)
			}
		})
	}
}

// failingTransport fails at the first write.
type failingTransport struct {
	shellTransport
	err error
}

func (t failingTransport) Write([]byte) error { return t.err }

// A line that was sent in part is not sent again.
func TestPartlyTyped(t *testing.T) {
	for err, want := range map[error]progress{io.ErrClosedPipe: notSent, errPartlySent: typed} {
		received := newSignal()
		d, derr := newDialect("cisco_iosxe", failingTransport{err: err}, received)
		if derr != nil {
			t.Fatal(derr)
		}
		c := &cli{dialect: d, received: received}
		if got := c.writeLine(t.Context(), "reload", false); !errors.Is(got, errGone) || c.progress != want {
			t.Errorf("%v: got %v, progress %d, want %d", err, got, c.progress, want)
		}
	}
}
