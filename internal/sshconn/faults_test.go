package sshconn

import (
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

// The error names the setting only where the setting would help.
func TestNoCommonAlgorithm(t *testing.T) {
	for _, tt := range []struct {
		legacy bool
		offers string
		remedy bool
	}{{false, "aes128-cbc", true}, {true, "aes128-cbc", false}, {false, "rot13@example.com", false}} {
		p := New(Options{Legacy: tt.legacy})
		fault := p.handshakeFault(&route{addr: "192.0.2.1:22"},
			&ssh.AlgorithmNegotiationError{What: "cipher", RequestedAlgorithms: []string{tt.offers}})
		p.Close()
		remedy := strings.Contains(fault.Message().EN, "ssh_algorithms")
		if remedy != tt.remedy || fault.Kind != KindHandshake || !fault.NoRetry {
			t.Errorf("%+v: %v", tt, fault)
		}
	}
}

// Callers that wait for the same dial may add to its fault: each has one of its own.
func TestSharedDialReturnsSeparateFaults(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := New(Options{})
	defer p.Close()
	r := &route{
		key: "r", addr: l.Addr().String(), asset: &hostler.LeaseAsset{},
		cred: &hostler.LeaseCredential{Kind: hostler.CredentialPassword, Username: "ann"},
	}
	faults := make(chan *action.Fault, 2)
	for range 2 {
		go func() {
			_, _, err := p.acquire(t.Context(), r, &action.Call{}, demand{})
			faults <- action.AsFault(err).Append(hostler.Text{EN: "."})
		}()
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	sshtest.Eventually(t, "two callers", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.routes["r"].callers == 2
	})
	_ = c.Close() // the handshake fails
	a, b := <-faults, <-faults
	if a == b || a.Kind != hostler.ErrKindConnLost || a.Text != b.Text {
		t.Errorf("got %p %v and %p %v, want a fault for each", a, a, b, b)
	}
}
