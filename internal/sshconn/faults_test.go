package sshconn

import (
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
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
