package ssh_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
	"hostler.dev/hostler/internal/action/ssh"
	"hostler.dev/hostler/internal/sshconn"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// m is the args of an action.
type m = map[string]any

// env is the family of a test with its connections.
type env struct {
	t      *testing.T
	conns  *sshconn.Pool
	family *ssh.Family
}

func newEnv(t *testing.T, opts ssh.Options) *env {
	t.Helper()
	if opts.Conns == nil {
		opts.Conns = sshconn.New(sshconn.Options{})
	}
	if opts.KillGrace == 0 {
		opts.KillGrace = 500 * time.Millisecond
	}
	if opts.KillWait == 0 {
		opts.KillWait = time.Minute // the machine may be slow
	}
	t.Cleanup(opts.Conns.Close)
	return &env{t: t, conns: opts.Conns, family: ssh.New(opts)}
}

func (e *env) action(name string) action.Action {
	e.t.Helper()
	return actiontest.Find(e.t, e.family.Actions(), name)
}

// start runs an action in the background.
func (e *env) start(ctx context.Context, name string, a *actiontest.Attempt) {
	e.t.Helper()
	a.Start(ctx, e.action(name))
}

// run runs an action to its end.
func (e *env) run(ctx context.Context, name string, a *actiontest.Attempt) *actiontest.Attempt {
	e.t.Helper()
	e.start(ctx, name, a)
	return a.Wait(e.t)
}

func (e *env) command(asset *hostler.LeaseAsset, command string) *actiontest.Attempt {
	e.t.Helper()
	return e.run(e.t.Context(), "ssh_command", actiontest.New(asset, m{"command": command}))
}

// cancellable returns a context and the function that ends it with a cause.
func cancellable(t *testing.T) (context.Context, func(error)) {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(errors.New("the test has ended")) })
	return ctx, func(err error) { cancel(err) }
}

func startServer(t *testing.T, opts sshtest.Options) *sshtest.Server {
	t.Helper()
	return sshtest.Start(t, opts)
}
