package ssh_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
	"hostler.dev/hostler/internal/action/ssh"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

// outputs returns the attempt's result without times.
func outputs(a *actiontest.Attempt) []ssh.Output {
	v, _ := a.Value.(ssh.Outputs)
	for i := range v.Outputs {
		v.Outputs[i].MS = 0
	}
	return v.Outputs
}

func TestCommandsRunInOrderOnOneConnection(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, ssh.Options{})
	a := e.run(t.Context(), "ssh_command", actiontest.New(s.Asset(), m{
		"commands": []string{"echo $A; x=1", `echo "[$x]" >&2`, `printf '\377'`}, "env": m{"A": "it's"},
	}))
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	want := []ssh.Output{
		{Command: "echo $A; x=1", Stdout: "it's\n"},
		{Command: `echo "[$x]" >&2`, Stderr: "[]\n"}, // a shell of its own
		{Command: `printf '\377'`, Stdout: "\uFFFD"},
	}
	if diff := cmp.Diff(want, outputs(a)); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	if a.Stdout.String() != "it's\n\xff" || a.Stderr.String() != "[]\n" {
		t.Errorf("the log has %q and %q", a.Stdout.String(), a.Stderr.String())
	}
	if got := s.Connections(); got != 1 {
		t.Errorf("connections: got %d, want 1", got)
	}
}

func TestKeepGoing(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, ssh.Options{})
	for _, tc := range []struct {
		keepGoing bool
		want      []ssh.Output
	}{
		{false, []ssh.Output{{Command: "true"}, {Command: "echo no >&2; exit 3", Stderr: "no\n", ExitCode: 3}}},
		{true, []ssh.Output{
			{Command: "true"},
			{Command: "echo no >&2; exit 3", Stderr: "no\n", ExitCode: 3},
			{Command: "echo on", Stdout: "on\n"},
			{Command: "exit 4", ExitCode: 4},
		}},
	} {
		a := e.run(t.Context(), "ssh_command", actiontest.New(s.Asset(), m{
			"commands": []string{"true", "echo no >&2; exit 3", "echo on", "exit 4"}, "keep_going": tc.keepGoing,
		}))
		a.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
		if diff := cmp.Diff(tc.want, outputs(a)); diff != "" {
			t.Errorf("keep_going %v (-want +got):\n%s", tc.keepGoing, diff)
		}
		if want := "command 2 of 4: exit status 3: no"; a.Error.Text.EN != want {
			t.Errorf("error %q, want %q", a.Error.Text.EN, want)
		}
	}
}

// The result has a limited part of a long output; the log has all of it.
func TestOutputsAreTruncated(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	a := newEnv(t, ssh.Options{}).run(t.Context(), "ssh_command", actiontest.New(s.Asset(), m{
		"commands": []string{
			"head -c 700000 /dev/zero | tr '\\0' x",
			"head -c 700000 /dev/zero | tr '\\0' y",
			"echo z",
		},
	}))
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	got := outputs(a)
	total := 0
	for _, o := range got {
		total += len(o.Stdout)
	}
	if len(got) != 3 || total != 1<<20 || got[0].Truncated || !got[1].Truncated || !got[2].Truncated {
		t.Errorf("%d outputs of %d bytes", len(got), total)
	}
	if n := len(a.Stdout.String()); n != 1_400_002 {
		t.Errorf("the log has %d bytes", n)
	}
}

// The result of cancelled commands has the outputs of those that ended.
func TestCancelledCommands(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, ssh.Options{})
	ctx, stop := cancellable(t)
	a := actiontest.New(s.Asset(), m{"commands": []string{"echo one", "echo two; sleep 60", "echo three"}})
	e.start(ctx, "ssh_command", a)
	sshtest.Eventually(t, "the second command", func() bool { return strings.Contains(a.Stdout.String(), "two") })
	stop(action.ErrCancelled)
	a.Wait(t).MustEnd(t, hostler.OutcomeCancelled, hostler.ErrKindCancelled)
	if diff := cmp.Diff([]ssh.Output{{Command: "echo one", Stdout: "one\n"}}, outputs(a)); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	if strings.Contains(a.Stdout.String(), "three") {
		t.Error("the third command ran")
	}
}

// The outcome is unknown when the connection is closed while a command runs.
func TestCloseHostDuringACommand(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, ssh.Options{})
	a := actiontest.New(s.Asset(), m{"commands": []string{"echo one", "echo two; sleep 60"}})
	e.start(t.Context(), "ssh_command", a)
	sshtest.Eventually(t, "the second command", func() bool { return strings.Contains(a.Stdout.String(), "two") })
	if n := e.conns.CloseHost(s.Host); n != 1 {
		t.Errorf("%d connections closed", n)
	}
	a.Wait(t).MustEnd(t, hostler.OutcomeUnknown, hostler.ErrKindConnLost)
	if len(outputs(a)) != 1 {
		t.Errorf("outputs: %v", outputs(a))
	}
}

func TestCheckSSH(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, ssh.Options{})
	asset := s.Asset()
	e.command(asset, "true").MustEnd(t, hostler.OutcomeSucceeded, "")
	began := time.Now()
	a := e.run(t.Context(), "check_ssh", actiontest.New(asset, m{}))
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	got, _ := a.Value.(ssh.Checked)
	if got.MS < 0 || got.MS > time.Since(began).Milliseconds() ||
		!strings.HasPrefix(got.ServerVersion, "SSH-2.0-OpenSSH") {
		t.Errorf("result %+v", got)
	}
	got.MS, got.ServerVersion = 0, ""
	if want := (ssh.Checked{Address: s.Host, Port: s.Port, User: s.User}); got != want {
		t.Errorf("result %+v, want %+v", got, want)
	}
	// It uses a connection of its own, and closes it.
	if n := s.Connections(); n != 2 {
		t.Errorf("connections: got %d, want 2", n)
	}
	if n := len(e.conns.Sessions()); n != 1 {
		t.Errorf("%d open connections, want that of the command", n)
	}
	wrong := s.Asset()
	wrong.Credential = &hostler.LeaseCredential{
		Kind:     hostler.CredentialPassword,
		Username: s.User,
		Secret:   hostler.Secret{Password: "wrong"},
	}
	e.run(t.Context(), "check_ssh", actiontest.New(wrong, m{})).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindAuth)
	other := s.Asset()
	other.HostKeys, other.HostKey = nil, hostler.HostKeyStrict
	e.run(t.Context(), "check_ssh", actiontest.New(other, m{})).
		MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindHostKey)
	// The keys of an ad-hoc host belong to its address, so an asset must be added first.
	other.ID, other.Name = 0, s.Host
	a = e.run(t.Context(), "check_ssh", actiontest.New(other, m{}))
	a.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindHostKey)
	if !strings.Contains(a.Error.Text.EN, "add "+s.Host+" as an asset") || !strings.Contains(a.Error.Text.ZH, "添加为资产") {
		t.Errorf("the remedy is %q", a.Error.Text)
	}
	bare := s.Asset()
	bare.ID, bare.Credential = 0, nil
	e.run(t.Context(), "check_ssh", actiontest.New(bare, m{})).
		MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCredential)
	act := e.action("check_ssh")
	if traits := act.Traits([]byte(`{}`)); !traits.Idempotent || traits.Changes {
		t.Errorf("traits %+v", traits)
	}
}

// Exactly one of command and commands is required.
func TestCommandOrCommands(t *testing.T) {
	actions, err := action.NewRegistry(newEnv(t, ssh.Options{}).family.Actions()...)
	if err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		`{}`:                                     "args.command",
		`{"stdin":"x"}`:                          "args.command",
		`{"command":"a","commands":["b"]}`:       "args.commands",
		`{"commands":["b"],"stdin":"x"}`:         "args.stdin",
		`{"commands":["a",""]}`:                  "args.commands[1]",
		`{"command":"a","keep_going":true}`:      "args.commands",
		`{"commands":["a"]}`:                     "",
		`{"commands":["a"],"keep_going":false}`:  "",
		`{"commands":["a"],"env":{"UID":"0"}}`:   "args.env.UID",
		`{"commands":["a"],"run_as":"-x"}`:       "args.run_as",
		`{"commands":["a"],"unknown":["a","b"]}`: "args.unknown",
	} {
		got := ""
		if e, ok := errors.AsType[*hostler.Error](actions.Validate("ssh_command", []byte(args))); ok {
			for _, f := range e.Fields {
				got += f.Path
			}
		}
		if got != want {
			t.Errorf("%s: field %q, want %q", args, got, want)
		}
	}
}
