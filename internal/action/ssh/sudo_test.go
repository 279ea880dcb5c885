package ssh_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
	"hostler.dev/hostler/internal/action/ssh"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

const sudoPassword = "p%s'w \"d$"

// sudoer returns an asset, on a server of its own, whose user has a sudo rule.
func sudoer(t *testing.T, rule string) *hostler.LeaseAsset {
	t.Helper()
	if _, err := exec.LookPath("sudo"); err != nil {
		t.Fatal("no sudo; on Debian: apt-get install sudo")
	}
	s := startServer(t, sshtest.Options{})
	name := sshtest.NewUser(t, sudoPassword)
	path := filepath.Join("/etc/sudoers.d", name)
	if err := os.WriteFile(path, []byte(name+" "+rule+"\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(path) })
	asset := s.Asset()
	asset.Credential.Username = name
	return asset
}

func withSudo(a *actiontest.Attempt, password string) *actiontest.Attempt {
	a.Call.Credentials["sudo"] = hostler.LeaseCredential{
		ID: 9, Kind: hostler.CredentialPassword, Secret: hostler.Secret{Password: password},
	}
	return a
}

func TestSudoWithPassword(t *testing.T) {
	asset := sudoer(t, "ALL=(ALL:ALL) ALL")
	e := newEnv(t, ssh.Options{})
	args := m{
		"script": `id -un; cat; printf '%s\n' "$@" "$A"; echo "$HOME" >&2; ps -eo args | grep -F -c -- "$1" >&2; exit 6`,
		"args":   []string{"p%s" + "x"}, "env": m{"A": "b c"}, "stdin": "input\n",
		"run_as": "root", "sudo_credential": "sudo",
	}
	a := e.run(t.Context(), "ssh_script", withSudo(actiontest.New(asset, args), sudoPassword))
	a.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	if got, want := a.Stdout.String(), "root\ninput\np%sx\nb c\n"; got != want {
		t.Errorf("stdout: got %q, want %q", got, want)
	}
	if got := a.Value.(ssh.Ended).ExitCode; got != 6 {
		t.Errorf("exit code: got %d", got)
	}
	if all := a.Stdout.String() + a.Stderr.String() + a.System.String(); strings.Contains(all, sudoPassword) ||
		strings.Contains(all, "password:") {
		t.Errorf("the password or its prompt shows: %q", all)
	}
	if !strings.HasPrefix(a.Stderr.String(), "/root\n") {
		t.Errorf("stderr: got %q", a.Stderr.String())
	}
	if !strings.Contains(strings.Join(a.Redacted(), "|"), sudoPassword) {
		t.Error("the password is not redacted")
	}
}

func TestSudoRefusals(t *testing.T) {
	t.Parallel()
	asset := sudoer(t, "ALL=(ALL:ALL) ALL")
	e := newEnv(t, ssh.Options{})
	args := m{"command": "id", "run_as": "root", "sudo_credential": "sudo"}
	a := e.run(t.Context(), "ssh_command", withSudo(actiontest.New(asset, args), "wrong"))
	a.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCredential)
	if !a.NoRetry {
		t.Error("a wrong password is tried again")
	}
	e.run(t.Context(), "ssh_command", actiontest.New(asset, args)).
		MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCredential)
	a = e.run(t.Context(), "ssh_command", actiontest.New(asset, m{"command": "id", "run_as": "root"}))
	a.MustEnd(t, hostler.OutcomeFailed, ssh.KindNotStarted)
	if !strings.Contains(a.Error.Text.EN, "password is required") {
		t.Errorf("got %s", a)
	}
}

// If sudo does not ask, the password must not become the program's input.
func TestSudoThatDoesNotAsk(t *testing.T) {
	asset := sudoer(t, "ALL=(ALL:ALL) NOPASSWD: ALL")
	e := newEnv(t, ssh.Options{})
	args := m{"command": "id -un; cat", "run_as": "nobody", "stdin": "mine"}
	mustBe := func(a *actiontest.Attempt) {
		t.Helper()
		a.MustEnd(t, hostler.OutcomeSucceeded, "")
		if got, want := a.Stdout.String(), "nobody\nmine"; got != want {
			t.Errorf("stdout: got %q, want %q", got, want)
		}
	}
	mustBe(e.run(t.Context(), "ssh_command", actiontest.New(asset, args)))
	args["sudo_credential"] = "sudo"
	mustBe(e.run(t.Context(), "ssh_command", withSudo(actiontest.New(asset, args), sudoPassword)))
}

func TestCancelKillsWhatSudoStarted(t *testing.T) {
	asset := sudoer(t, "ALL=(ALL:ALL) ALL")
	e := newEnv(t, ssh.Options{})
	f := sshtest.NewPIDFile(t)
	ctx, cancel := cancellable(t)
	a := withSudo(actiontest.New(asset, m{
		"script": fmt.Sprintf("trap '' TERM; echo $$ >%s; while :; do sleep 1; done", f),
		"run_as": "root", "sudo_credential": "sudo",
	}), sudoPassword)
	e.start(ctx, "ssh_script", a)
	pid := f.PID(t)
	cancel(action.ErrCancelled)
	a.Wait(t).MustEnd(t, hostler.OutcomeCancelled, hostler.ErrKindCancelled)
	if sshtest.Running(pid) {
		t.Errorf("process %d still runs", pid)
	}
}

// The user of the login cannot kill a program that changed its user inside the command: the
// outcome is unknown.
func TestCancelOfAForeignProcessIsUnknown(t *testing.T) {
	t.Parallel()
	asset := sudoer(t, "ALL=(ALL:ALL) NOPASSWD: ALL")
	e := newEnv(t, ssh.Options{})
	f := sshtest.NewPIDFile(t)
	ctx, cancel := cancellable(t)
	a := actiontest.New(asset,
		m{"command": fmt.Sprintf(`sudo sh -c 'trap "" TERM; echo $$ >%s; while :; do sleep 1; done'`, f)})
	e.start(ctx, "ssh_command", a)
	pid := f.PID(t)
	cancel(action.ErrCancelled)
	a.Wait(t)
	if running := sshtest.Running(pid); running != (a.Outcome == hostler.OutcomeUnknown) {
		t.Errorf("running: %v, but %s", running, a)
	}
}
