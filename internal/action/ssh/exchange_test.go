package ssh

import (
	"context"
	"errors"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/sshconn"
)

// closedExchange returns an exchange whose session has ended while messages of the host
// were not received yet.
func closedExchange(t *testing.T, messages ...string) *exchange {
	t.Helper()
	pool := sshconn.New(sshconn.Options{})
	t.Cleanup(pool.Close)
	call := &action.Call{Lease: hostler.Lease{Asset: &hostler.LeaseAsset{
		Address:    "192.0.2.1",
		Credential: &hostler.LeaseCredential{Kind: hostler.CredentialPassword, Username: "ann"},
	}}}
	h, err := New(Options{Conns: pool}).hostOf(call)
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange{host: h}
	x.makeChannels()
	close(x.execAnswered)
	close(x.closed)
	go func() {
		defer close(x.drained)
		for _, m := range messages {
			x.messages <- m
		}
	}()
	return x
}

// A message that arrives after the session's end has no effect: a program that was not
// sent did not run, and one that was sent may have.
func TestClosedSession(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	refused := action.NewFault(KindNotStarted, "it refuses", "拒绝")
	for name, tt := range map[string]struct {
		ctx       context.Context
		change    func(x *exchange)
		outcome   hostler.Outcome
		kind      string
		lostEarly bool
	}{
		"not sent":  {t.Context(), func(*exchange) {}, hostler.OutcomeFailed, hostler.ErrKindConnLost, true},
		"refused":   {t.Context(), func(x *exchange) { x.refusal = refused }, hostler.OutcomeFailed, KindNotStarted, false},
		"cancelled": {cancelled, func(*exchange) {}, hostler.OutcomeCancelled, hostler.ErrKindCancelled, false},
		"sent":      {t.Context(), func(x *exchange) { x.sent = true }, hostler.OutcomeUnknown, hostler.ErrKindConnLost, false},
	} {
		t.Run(name, func(t *testing.T) {
			x := closedExchange(t, msgReady)
			tt.change(x)
			_, err := x.handleClosed(tt.ctx)
			f, ok := errors.AsType[*action.Fault](err)
			if !ok || f.Outcome != tt.outcome || f.Kind != tt.kind || x.lostEarly != tt.lostEarly {
				t.Errorf("got %v, lost early %v; want %s %s, %v", err, x.lostEarly, tt.outcome, tt.kind, tt.lostEarly)
			}
		})
	}
}

func TestKillAnswer(t *testing.T) {
	for answer, want := range map[string]hostler.Text{
		"running 12 13": {EN: "still running: 12 13", ZH: "仍在运行：12 13"},
		"running":       {EN: "processes of another user are still running", ZH: "其他用户的进程仍在运行"},
		"":              {EN: "sh: no awk", ZH: "sh: no awk"},
	} {
		if got := killAnswer(answer, "sh: no awk"); got != want {
			t.Errorf("killAnswer(%q) = %+v, want %+v", answer, got, want)
		}
	}
}
