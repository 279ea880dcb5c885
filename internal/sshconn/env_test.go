package sshconn_test

import (
	"context"
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

// env is a pool, and the action ssh_command on it.
type env struct {
	t      *testing.T
	pool   *sshconn.Pool
	runner action.Action // ssh_command
}

func newEnv(t *testing.T, opts sshconn.Options) *env {
	t.Helper()
	pool := sshconn.New(opts)
	t.Cleanup(pool.Close)
	actions := ssh.New(ssh.Options{
		Conns: pool, KillGrace: 500 * time.Millisecond,
		KillWait: time.Minute, // the machine may be slow
	}).Actions()
	return &env{t: t, pool: pool, runner: actiontest.Find(t, actions, "ssh_command")}
}

// command runs a command to its end.
func (e *env) command(asset *hostler.LeaseAsset, command string) *actiontest.Attempt {
	e.t.Helper()
	return e.start(asset, command).Wait(e.t)
}

// start starts a command in the background.
func (e *env) start(asset *hostler.LeaseAsset, command string) *actiontest.Attempt {
	return e.startIn(e.t.Context(), asset, command)
}

func (e *env) startIn(ctx context.Context, asset *hostler.LeaseAsset, command string) *actiontest.Attempt {
	a := actiontest.New(asset, m{"command": command})
	a.Start(ctx, e.runner)
	return a
}

// awaitIdle waits until no connection is in use: a session is released a moment after its
// job has ended.
func (e *env) awaitIdle() {
	e.t.Helper()
	sshtest.Eventually(e.t, "the end of all sessions", func() bool {
		for _, s := range e.pool.Sessions() {
			if s.Running > 0 {
				return false
			}
		}
		return true
	})
}

func startServer(t *testing.T, opts sshtest.Options) *sshtest.Server {
	t.Helper()
	return sshtest.Start(t, opts)
}
