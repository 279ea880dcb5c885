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
	"hostler.dev/hostler/internal/action/ssh"
	"hostler.dev/hostler/internal/action/ssh/sshtest"
)

const sudoPassword = "p%s'w \"d$"

// sudoer makes a server and an asset whose user may become anybody by sudo.
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

func (a *attempt) withSudo(password string) *attempt {
	a.call.Credentials["sudo"] = hostler.LeaseCredential{
		ID: 9, Kind: hostler.CredentialPassword, Secret: hostler.Secret{Password: password},
	}
	return a
}

func TestSudoWithPassword(t *testing.T) {
	asset := sudoer(t, "ALL=(ALL:ALL) ALL")
	r := newRig(t, ssh.Options{})
	args := m{
		"script": `id -un; cat; printf '%s\n' "$@" "$A"; echo "$HOME" >&2; ps -eo args | grep -F -c -- "$1" >&2; exit 6`,
		"args":   []string{"p%s" + "x"}, "env": m{"A": "b c"}, "stdin": "input\n",
		"run_as": "root", "sudo_credential": "sudo",
	}
	a := r.do(t.Context(), "ssh_script", newAttempt(asset, args).withSudo(sudoPassword))
	mustEnd(t, a, hostler.OutcomeFailed, hostler.ErrKindCommand)
	if got, want := a.stdout.String(), "root\ninput\np%sx\nb c\n"; got != want {
		t.Errorf("stdout: got %q, want %q", got, want)
	}
	if got := a.Value.(ssh.Ended).ExitCode; got != 6 {
		t.Errorf("exit code: got %d", got)
	}
	if all := a.stdout.String() + a.stderr.String() + a.system.String(); strings.Contains(all, sudoPassword) || strings.Contains(all, "password:") {
		t.Errorf("the password or its prompt shows: %q", all)
	}
	if !strings.HasPrefix(a.stderr.String(), "/root\n") {
		t.Errorf("stderr: got %q", a.stderr.String())
	}
	if !strings.Contains(strings.Join(a.redacted, "|"), sudoPassword) {
		t.Error("the password is not redacted")
	}
}

func TestSudoRefusals(t *testing.T) {
	t.Parallel()
	asset := sudoer(t, "ALL=(ALL:ALL) ALL")
	r := newRig(t, ssh.Options{})
	args := m{"command": "id", "run_as": "root", "sudo_credential": "sudo"}
	a := r.do(t.Context(), "ssh_command", newAttempt(asset, args).withSudo("wrong"))
	mustEnd(t, a, hostler.OutcomeFailed, hostler.ErrKindCredential)
	if !a.NoRetry {
		t.Error("a wrong password is tried again")
	}
	mustEnd(t, r.do(t.Context(), "ssh_command", newAttempt(asset, args)), hostler.OutcomeFailed, hostler.ErrKindCredential)
	a = r.do(t.Context(), "ssh_command", newAttempt(asset, m{"command": "id", "run_as": "root"}))
	mustEnd(t, a, hostler.OutcomeFailed, ssh.KindNotStarted)
	if !strings.Contains(a.Error.Text.EN, "password is required") {
		t.Errorf("got %s", a)
	}
}

// The password of a sudo that does not ask must not become the program's input.
func TestSudoThatDoesNotAsk(t *testing.T) {
	asset := sudoer(t, "ALL=(ALL:ALL) NOPASSWD: ALL")
	r := newRig(t, ssh.Options{})
	args := m{"command": "id -un; cat", "run_as": "nobody", "stdin": "mine"}
	mustBe := func(a *attempt) {
		t.Helper()
		mustEnd(t, a, hostler.OutcomeSucceeded, "")
		if got, want := a.stdout.String(), "nobody\nmine"; got != want {
			t.Errorf("stdout: got %q, want %q", got, want)
		}
	}
	mustBe(r.do(t.Context(), "ssh_command", newAttempt(asset, args)))
	args["sudo_credential"] = "sudo"
	mustBe(r.do(t.Context(), "ssh_command", newAttempt(asset, args).withSudo(sudoPassword)))
}

func TestCancelKillsWhatSudoStarted(t *testing.T) {
	asset := sudoer(t, "ALL=(ALL:ALL) ALL")
	r := newRig(t, ssh.Options{})
	f := newPIDFile(t)
	ctx, cancel := cancellable(t)
	a := newAttempt(asset, m{
		"script": fmt.Sprintf("trap '' TERM; echo $$ >%s; while :; do sleep 1; done", f),
		"run_as": "root", "sudo_credential": "sudo",
	}).withSudo(sudoPassword)
	r.start(ctx, "ssh_script", a)
	pid := f.pid(t)
	cancel(action.ErrCancelled)
	mustEnd(t, r.wait(a), hostler.OutcomeCancelled, hostler.ErrKindCancelled)
	if alive(pid) {
		t.Errorf("process %d lives", pid)
	}
}

// A program that became another user inside the command cannot be killed by the
// one who logged in: Hostler must say so.
func TestCancelOfAForeignProcessIsUnknown(t *testing.T) {
	t.Parallel()
	asset := sudoer(t, "ALL=(ALL:ALL) NOPASSWD: ALL")
	r := newRig(t, ssh.Options{})
	f := newPIDFile(t)
	ctx, cancel := cancellable(t)
	a := newAttempt(asset, m{"command": fmt.Sprintf(`sudo sh -c 'trap "" TERM; echo $$ >%s; while :; do sleep 1; done'`, f)})
	r.start(ctx, "ssh_command", a)
	pid := f.pid(t)
	cancel(action.ErrCancelled)
	r.wait(a)
	if living := alive(pid); living != (a.Outcome == hostler.OutcomeUnknown) {
		t.Errorf("alive: %v, but %s", living, a)
	}
}
