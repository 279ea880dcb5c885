package ssh_test

import (
	gocmp "cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
	"hostler.dev/hostler/internal/action/ssh"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

// fakeSystemctl stores a unit's state in a file and records its calls. Units: web works; crash
// fails to start; lazy becomes active late; flappy crashes right after its start; others do
// not exist.
const fakeSystemctl = `#!/bin/sh
dir=$(dirname "$0")
printf '%s\n' "$*" >>"$dir/calls"
while case $1 in --*) [ "$1" != -- ] ;; *) false ;; esac; do shift; done
op=$1; shift
[ "$1" = -- ] || { echo "no --" >&2; exit 64; }
unit=$2
state=$(cat "$dir/state.$unit" 2>/dev/null || echo inactive)
set_state() { echo "$1" >"$dir/state.$unit"; }
case $op in
is-active)
	case $unit in
	lazy) [ "$state" = activating ] && set_state active ;;
	flappy) [ "$state" = active ] && set_state failed ;;
	esac
	echo "$state"; [ "$state" = active ] || exit 3 ;;
status) echo "* $unit: $state"; [ "$state" = active ] || exit 3 ;;
stop) set_state inactive ;;
start | restart)
	case $unit in
	web | flappy) set_state active ;;
	lazy) set_state activating ;;
	crash) echo "Job for crash.service failed." >&2; set_state failed; exit 1 ;;
	*) echo "Unit $unit.service not found." >&2; exit 5 ;;
	esac ;;
reload) [ "$state" = active ] || { echo "not active" >&2; exit 1; } ;;
esac
`

type systemd struct {
	*sshtest.Server
	dir string
}

func startSystemd(t *testing.T) systemd {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(fakeSystemctl), 0o755); err != nil {
		t.Fatal(err)
	}
	return systemd{dir: dir, Server: startServer(t, sshtest.Options{
		// Login scripts of the machine may override the PATH of SetEnv.
		Config: []string{`ForceCommand PATH="` + dir + `:$PATH"; export PATH; eval "$SSH_ORIGINAL_COMMAND"`},
	})}
}

func TestService(t *testing.T) {
	t.Parallel()
	s := startSystemd(t)
	e := newEnv(t, ssh.Options{})
	const verified, unverified = true, false
	for _, tc := range []struct {
		action, name, operation string
		kind                    string // of the error; "" when it succeeds
		before, after           string
		exitCode                int
		verified                bool
	}{
		{"service", "web", "start", "", "inactive", "active", 0, verified},
		{"service", "web", "start", "", "active", "active", 0, verified},
		{"service", "web", "reload", "", "active", "active", 0, verified},
		{"service", "web", "status", "", "active", "active", 0, verified},
		{"restart_service", "web", "", "", "active", "active", 0, verified},
		{"service", "web", "stop", "", "active", "inactive", 0, verified},
		{"service", "web", "status", "", "inactive", "inactive", 3, verified},
		{"service", "web", "reload", hostler.ErrKindCommand, "inactive", "inactive", 1, unverified},
		{"service", "lazy", "start", "", "inactive", "active", 0, verified},
		{"service", "crash", "restart", hostler.ErrKindCommand, "inactive", "failed", 1, unverified},
		{"service", "flappy", "start", ssh.KindServiceState, "inactive", "failed", 0, unverified},
		{"service", "none", "start", hostler.ErrKindCommand, "inactive", "inactive", 5, unverified},
	} {
		t.Run(tc.name+" "+tc.operation, func(t *testing.T) {
			args := m{"name": tc.name, "settle_s": 0.4}
			if tc.operation != "" {
				args["operation"] = tc.operation
			}
			outcome := hostler.OutcomeFailed
			if tc.kind == "" {
				outcome = hostler.OutcomeSucceeded
			}
			a := e.run(t.Context(), tc.action, actiontest.New(s.Asset(), args))
			a.MustEnd(t, outcome, tc.kind)
			got := a.Value.(ssh.ServiceState)
			got.DurationS = 0
			want := ssh.ServiceState{
				Service: tc.name, Operation: gocmp.Or(tc.operation, "restart"),
				Before: tc.before, After: tc.after, ExitCode: tc.exitCode, Verified: tc.verified,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
		})
	}
	calls, err := os.ReadFile(filepath.Join(s.dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"is-active -- web", "--no-ask-password restart -- web", "--no-pager --full status -- web"} {
		if !strings.Contains(string(calls), want+"\n") {
			t.Errorf("no call %q in:\n%s", want, calls)
		}
	}
}

func TestServiceWithoutVerify(t *testing.T) {
	s := startSystemd(t)
	a := newEnv(t, ssh.Options{}).run(t.Context(), "service",
		actiontest.New(s.Asset(), m{"name": "flappy", "operation": "start", "verify": false}))
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
}

func TestServiceNeedsSystemctl(t *testing.T) {
	s := startServer(t, sshtest.Options{Config: []string{
		`ForceCommand PATH=/nowhere; export PATH; eval "$SSH_ORIGINAL_COMMAND"`,
	}})
	a := newEnv(t, ssh.Options{}).
		run(t.Context(), "service", actiontest.New(s.Asset(), m{"name": "web", "operation": "status"}))
	if a.Outcome != hostler.OutcomeFailed {
		t.Errorf("got %s", a)
	}
}

func TestServiceTraits(t *testing.T) {
	e := newEnv(t, ssh.Options{})
	for args, want := range map[string]action.Traits{
		`{"name":"a","operation":"start"}`:   {Idempotent: true, Changes: true},
		`{"name":"a","operation":"stop"}`:    {Idempotent: true, Changes: true},
		`{"name":"a","operation":"status"}`:  {Idempotent: true},
		`{"name":"a","operation":"restart"}`: {Changes: true},
		`{"name":"a","operation":"reload"}`:  {Changes: true},
		`{"name":"a"}`:                       {Changes: true},
	} {
		if got := e.action("restart_service").Traits([]byte(args)); got != want {
			t.Errorf("%s: got %+v, want %+v", args, got, want)
		}
	}
	if got := e.action("ssh_command").Traits([]byte(`{"command":"true"}`)); got != (action.Traits{Changes: true}) {
		t.Errorf("ssh_command: got %+v", got)
	}
}
