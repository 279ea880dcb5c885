package ssh

import (
	"context"
	"errors"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// endedExchange is an exchange whose session has ended; the host's last words were
// not yet heard.
func endedExchange(words ...string) *exchange {
	x := &exchange{
		host:  &host{call: &action.Call{}, route: &route{addr: "192.0.2.1:22"}},
		asked: make(chan struct{}), said: make(chan string), exited: make(chan exit, 1),
		gone: make(chan struct{}), active: make(chan struct{}, 1), drained: make(chan struct{}),
	}
	close(x.asked)
	close(x.gone)
	go func() {
		defer close(x.drained)
		for _, w := range words {
			x.said <- w
		}
	}()
	return x
}

// What a host said with its last breath is not answered any more: a program that
// was not sent did not run, and one that was sent may have.
func TestClosedSession(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	refused := failed(KindNotStarted, "it refuses", "拒绝")
	for name, tt := range map[string]struct {
		ctx     context.Context
		change  func(x *exchange)
		outcome hostler.Outcome
		kind    string
		lost    bool
	}{
		"not sent":  {t.Context(), func(*exchange) {}, hostler.OutcomeFailed, hostler.ErrKindConnLost, true},
		"refused":   {t.Context(), func(x *exchange) { x.refusal = refused }, hostler.OutcomeFailed, KindNotStarted, false},
		"cancelled": {cancelled, func(*exchange) {}, hostler.OutcomeCancelled, hostler.ErrKindCancelled, false},
		"sent":      {t.Context(), func(x *exchange) { x.sent = true }, hostler.OutcomeUnknown, hostler.ErrKindConnLost, false},
	} {
		t.Run(name, func(t *testing.T) {
			x := endedExchange(sayReady)
			tt.change(x)
			_, err := x.closed(tt.ctx)
			var f *fault
			if !errors.As(err, &f) || f.outcome != tt.outcome || f.kind != tt.kind || x.lost != tt.lost {
				t.Errorf("got %v, lost %v; want %s %s, lost %v", err, x.lost, tt.outcome, tt.kind, tt.lost)
			}
		})
	}
}

// Only who would be helped by the setting is told of it.
func TestNoCommonAlgorithm(t *testing.T) {
	for _, tt := range []struct {
		legacy bool
		offers string
		told   bool
	}{{false, "aes128-cbc", true}, {true, "aes128-cbc", false}, {false, "rot13@example.com", false}} {
		f := New(Options{Legacy: tt.legacy})
		fault := f.handshakeFault(&route{addr: "192.0.2.1:22"}, &gossh.AlgorithmNegotiationError{What: "cipher", RequestedAlgorithms: []string{tt.offers}})
		f.Close()
		if told := strings.Contains(fault.text.EN, "ssh_algorithms"); told != tt.told || fault.kind != KindHandshake || !fault.noRetry {
			t.Errorf("%+v: %v", tt, fault)
		}
	}
}
