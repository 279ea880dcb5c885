package ssh_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
	"hostler.dev/hostler/internal/action/ssh"
	"hostler.dev/hostler/internal/sshconn"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

func TestCommand(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, ssh.Options{})
	for _, tc := range []struct {
		name, command  string
		stdout, stderr string
		code           int
		signal         string
	}{
		{name: "streams apart", command: "echo out; echo err >&2", stdout: "out\n", stderr: "err\n"},
		{name: "quotes", command: `printf '%s|' "a b" 'c"d' e\'f`, stdout: `a b|c"d|e'f|`},
		{name: "several lines", command: "x=1\necho $x\n", stdout: "1\n"},
		{name: "status", command: "echo no way >&2; exit 3", code: 3, stderr: "no way\n"},
		{name: "status 255", command: "exit 255", code: 255},
		{name: "signal", command: "kill -9 $$", code: 137, signal: "KILL"},
		{name: "not found", command: "no-such-program 2>/dev/null", code: 127},
		{name: "no input", command: "cat; echo end", stdout: "end\n"},
		{name: "no newline", command: "printf x; printf y >&2", stdout: "x", stderr: "y"},
		{name: "much", command: "head -c 300000 /dev/zero | tr '\\0' x", stdout: strings.Repeat("x", 300000)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := e.command(s.Asset(), tc.command)
			if diff := cmp.Diff([]string{tc.stdout, tc.stderr}, []string{a.Stdout.String(), a.Stderr.String()}); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
			if tc.code == 0 {
				a.MustEnd(t, hostler.OutcomeSucceeded, "")
			} else {
				a.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
			}
			got, _ := a.Value.(ssh.Ended)
			got.DurationS = 0
			if want := (ssh.Ended{ExitCode: tc.code, Signal: tc.signal}); got != want {
				t.Errorf("result: got %+v, want %+v", got, want)
			}
		})
	}
}

func TestCommandFailureQuotesLastLine(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	a := newEnv(t, ssh.Options{}).command(s.Asset(), "echo first >&2; echo disk full >&2; exit 4")
	a.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	if want := "exit status 4: disk full"; a.Error.Text.EN != want {
		t.Errorf("got %q, want %q", a.Error.Text.EN, want)
	}
}

func TestCommandTakesEnvAndStdin(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, ssh.Options{})
	stdin := strings.Repeat("line with $(touch /tmp/x) `y` ' \" \\\n", 3000) + "\x00end"
	a := e.run(t.Context(), "ssh_command", actiontest.New(s.Asset(), m{
		"command": `printf '%s\n' "$A" "$_b"; cat`, "stdin": stdin,
		"env": m{"A": "it's $HOME; `id`\nnext\n", "_b": "-n", "PATH": "/usr/bin:/bin"},
	}))
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	want := "it's $HOME; `id`\nnext\n\n-n\n" + stdin
	if diff := cmp.Diff(want, a.Stdout.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// No text of a job is on a command line of the host, except the program's own argv.
func TestEnvIsNotListedByPS(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	a := newEnv(t, ssh.Options{}).run(t.Context(), "ssh_script", actiontest.New(s.Asset(), m{
		"script": `cat /proc/[0-9]*/cmdline | tr '\0' '\n' | grep -a -c "$(echo canary-8472 | sed s/8472/1913/)"; true`,
		"env":    m{"SECRET": "canary-1913"},
	}))
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	// grep's own command line contains it once.
	if got := strings.TrimSpace(a.Stdout.String()); got != "0" && got != "1" {
		t.Errorf("the value is on %s command lines", got)
	}
}

func TestScript(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, ssh.Options{})
	for _, interpreter := range []string{"", "/bin/bash", "dash", "perl"} {
		t.Run("by "+interpreter, func(t *testing.T) {
			script := `printf '%s|' "$@" "$X"; cat; echo "$0" >&2; exit 7`
			if interpreter == "perl" {
				script = `print "$_|" for @ARGV, $ENV{X}; print while <STDIN>; print STDERR "$0\n"; exit 7;`
			}
			args := m{
				"script": script,
				"args":   []string{"-x", "a b", "", "'$(id)'"},
				"env":    m{"X": "y z"},
				"stdin":  "in",
			}
			if interpreter != "" {
				args["interpreter"] = interpreter
			}
			a := e.run(t.Context(), "ssh_script", actiontest.New(s.Asset(), args))
			a.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
			if diff := cmp.Diff("-x|a b||'$(id)'|y z|in", a.Stdout.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := a.Value.(ssh.Ended).ExitCode; got != 7 {
				t.Errorf("exit code: got %d", got)
			}
			path := strings.TrimSpace(a.Stderr.String())
			sshtest.Eventually(t, "the script's file is removed", func() bool {
				_, err := os.Stat(path)
				return os.IsNotExist(err)
			})
		})
	}
}

// Output of login scripts goes to standard error.
func TestLoginScriptOutput(t *testing.T) {
	s := startServer(t, sshtest.Options{Config: []string{
		`ForceCommand echo "welcome to the host"; echo "mind the gap" >&2; eval "$SSH_ORIGINAL_COMMAND"`,
	}})
	a := newEnv(t, ssh.Options{}).command(s.Asset(), "echo mine")
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	if got := a.Stdout.String(); got != "mine\n" {
		t.Errorf("stdout: got %q", got)
	}
	for _, want := range []string{"welcome to the host", "mind the gap"} {
		if !strings.Contains(a.Stderr.String(), want) {
			t.Errorf("stderr lacks %q: %q", want, a.Stderr.String())
		}
	}
}

func TestAccountWithoutShellIsNotStarted(t *testing.T) {
	s := startServer(t,
		sshtest.Options{Config: []string{`ForceCommand echo "this account is not available" >&2; exit 1`}})
	a := newEnv(t, ssh.Options{}).command(s.Asset(), "true")
	a.MustEnd(t, hostler.OutcomeFailed, ssh.KindNotStarted)
	if !strings.Contains(a.Error.Text.EN, "not available") {
		t.Errorf("got %s", a)
	}
}

// TestReasonOnStandardOutput is a regression test: nologin gives its reason on standard
// output, and the error had "-" instead.
func TestReasonOnStandardOutput(t *testing.T) {
	s := startServer(t,
		sshtest.Options{Config: []string{`ForceCommand echo "This account is currently not available."; exit 1`}})
	a := newEnv(t, ssh.Options{}).command(s.Asset(), "true")
	a.MustEnd(t, hostler.OutcomeFailed, ssh.KindNotStarted)
	if !strings.Contains(a.Error.Text.EN, "currently not available") {
		t.Errorf("got %s", a)
	}
}

// TestKilledShellIsNotALostConnection is a regression test.
func TestKilledShellIsNotALostConnection(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	a := newEnv(t, ssh.Options{}).command(s.Asset(), `kill -KILL $PPID; sleep 1`)
	a.MustEnd(t, hostler.OutcomeUnknown, ssh.KindShellKilled)
	if !strings.Contains(a.Error.Text.EN, "KILL") {
		t.Errorf("got %s", a)
	}
}

func TestDaemonHoldingOutputDoesNotHang(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	f := sshtest.NewPIDFile(t)
	a := newEnv(t, ssh.Options{}).command(s.Asset(), fmt.Sprintf("setsid sleep 300 & echo $! >%s; echo done", f))
	if !sshtest.Running(f.PID(t)) {
		t.Error("the job waited for the daemon")
	}
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	if a.Stdout.String() != "done\n" || a.System.String() == "" {
		t.Errorf("got %s", a)
	}
}

func TestCancelKillsTheProcessGroup(t *testing.T) {
	t.Parallel()
	s := startServer(t, sshtest.Options{})
	for name, tc := range map[string]struct{ action, text string }{
		"plain":                {"ssh_command", "echo $$ >%s; sleep 300"},
		"ignores TERM":         {"ssh_command", "trap '' TERM; echo $$ >%s; while :; do sleep 1; done"},
		"child":                {"ssh_command", "sleep 300 & echo $! >%s; wait"},
		"child ignores TERM":   {"ssh_command", `sh -c 'trap "" TERM; echo $$ >%s; while :; do sleep 1; done' & wait`},
		"orphan of a child":    {"ssh_command", "(sleep 300 & echo $! >%s); sleep 300"},
		"group in the session": {"ssh_command", "bash -c 'set -m; sleep 300 & echo $! >%s; wait'"},
		"stopped":              {"ssh_command", "echo $$ >%s; kill -STOP $$; sleep 300"},
		"script":               {"ssh_script", "echo $$ >%s; sleep 300"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, ssh.Options{})
			f := sshtest.NewPIDFile(t)
			text := fmt.Sprintf(tc.text, f)
			ctx, cancel := cancellable(t)
			a := actiontest.New(s.Asset(), m{"command": text, "script": text})
			e.start(ctx, tc.action, a)
			pid := f.PID(t)
			if !sshtest.Running(pid) {
				t.Fatal("it does not run")
			}
			cancel(action.ErrCancelled)
			a.Wait(t).MustEnd(t, hostler.OutcomeCancelled, hostler.ErrKindCancelled)
			if sshtest.Running(pid) {
				t.Errorf("process %d still runs", pid)
			}
		})
	}
}

func TestKilledScriptLeavesNoFile(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, ssh.Options{})
	ctx, cancel := cancellable(t)
	a := actiontest.New(s.Asset(), m{"script": `echo "$0"; trap '' TERM; while :; do sleep 1; done`})
	e.start(ctx, "ssh_script", a)
	sshtest.Eventually(t, "the script's name", func() bool { return strings.HasSuffix(a.Stdout.String(), "\n") })
	path := strings.TrimSpace(a.Stdout.String())
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	cancel(action.ErrFenced)
	a.Wait(t).MustEnd(t, hostler.OutcomeCancelled, hostler.ErrKindCancelled)
	sshtest.Eventually(t, "the script's file is removed", func() bool {
		_, err := os.Stat(path)
		return os.IsNotExist(err)
	})
}

func TestTimeoutKills(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, ssh.Options{})
	f := sshtest.NewPIDFile(t)
	ctx, cancel := cancellable(t)
	a := actiontest.New(s.Asset(), m{"command": fmt.Sprintf("echo before; echo $$ >%s; exec sleep 300", f)})
	e.start(ctx, "ssh_command", a)
	pid := f.PID(t)
	cancel(action.ErrTimeout)
	a.Wait(t).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindTimeout)
	if sshtest.Running(pid) {
		t.Errorf("process %d still runs", pid)
	}
	if got := a.Stdout.String(); got != "before\n" {
		t.Errorf("stdout: got %q", got)
	}
}

// A program that has ended before the cancel keeps its own result, also while its output is
// still being read.
func TestCancelAfterTheEndKeepsTheResult(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, ssh.Options{})
	f := sshtest.NewPIDFile(t)
	ctx, cancel := cancellable(t)
	a := actiontest.New(s.Asset(), m{"command": fmt.Sprintf("setsid sleep 2 & echo $$ >%s; exit 5", f)})
	e.start(ctx, "ssh_command", a)
	pid := f.PID(t)
	sshtest.Eventually(t, "the end of the program", func() bool { return !sshtest.Running(pid) })
	cancel(action.ErrCancelled)
	a.Wait(t).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	if got := a.Value.(ssh.Ended).ExitCode; got != 5 {
		t.Errorf("exit code: got %d, want 5", got)
	}
}

func TestCancelBeforeTheStart(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	ctx, cancel := cancellable(t)
	cancel(action.ErrCancelled)
	a := newEnv(t, ssh.Options{}).run(ctx, "ssh_command", actiontest.New(s.Asset(), m{"command": "true"}))
	a.MustEnd(t, hostler.OutcomeCancelled, hostler.ErrKindCancelled)
}

func TestConnectionLostDuringAProgram(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, ssh.Options{})
	f := sshtest.NewPIDFile(t)
	a := actiontest.New(s.Asset(), m{"command": fmt.Sprintf("echo $$ >%s; exec sleep 300", f)})
	e.start(t.Context(), "ssh_command", a)
	pid := f.PID(t)
	s.DropConnections()
	a.Wait(t).MustEnd(t, hostler.OutcomeUnknown, hostler.ErrKindConnLost)
	if !sshtest.Running(pid) {
		t.Error("invalid test: the program died with its connection")
	}
	e.command(s.Asset(), "true").MustEnd(t, hostler.OutcomeSucceeded, "")
}

// Without a second session nothing can be verified: the outcome is unknown.
func TestBlockedKillIsUnknown(t *testing.T) {
	t.Parallel()
	s := startServer(t, sshtest.Options{MaxSessions: 1})
	e := newEnv(t, ssh.Options{KillWait: time.Second})
	f := sshtest.NewPIDFile(t)
	ctx, cancel := cancellable(t)
	a := actiontest.New(s.Asset(), m{"command": fmt.Sprintf("echo $$ >%s; exec sleep 300", f)})
	e.start(ctx, "ssh_command", a)
	pid := f.PID(t)
	s.StopListening()
	cancel(action.ErrCancelled)
	a.Wait(t).MustEnd(t, hostler.OutcomeUnknown, hostler.ErrKindUnverified)
	if regexp.MustCompile(`[A-Za-z]{2}`).MatchString(a.Error.Text.ZH) {
		t.Errorf("English words in %q", a.Error.Text.ZH)
	}
	if !sshtest.Running(pid) {
		t.Error("invalid test: the program died")
	}
}

// A kill dials when the sessions of all connections are taken.
func TestKillPassesMaxSessions(t *testing.T) {
	s := startServer(t, sshtest.Options{MaxSessions: 1})
	e := newEnv(t, ssh.Options{Conns: sshconn.New(sshconn.Options{MaxConnections: 1})})
	f := sshtest.NewPIDFile(t)
	ctx, cancel := cancellable(t)
	a := actiontest.New(s.Asset(), m{"command": fmt.Sprintf("echo $$ >%s; exec sleep 300", f)})
	e.start(ctx, "ssh_command", a)
	pid := f.PID(t)
	cancel(action.ErrCancelled)
	a.Wait(t).MustEnd(t, hostler.OutcomeCancelled, hostler.ErrKindCancelled)
	if sshtest.Running(pid) {
		t.Errorf("process %d still runs", pid)
	}
}

// Close does not wait for programs; their outcome is unknown.
func TestCloseDuringAProgram(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, ssh.Options{})
	f := sshtest.NewPIDFile(t)
	a := actiontest.New(s.Asset(), m{"command": fmt.Sprintf("echo $$ >%s; exec sleep 300", f)})
	e.start(t.Context(), "ssh_command", a)
	f.PID(t)
	e.conns.Close()
	a.Wait(t).MustEnd(t, hostler.OutcomeUnknown, hostler.ErrKindConnLost)
	e.command(s.Asset(), "true").MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindConnLost)
	if got := e.conns.Sessions(); len(got) != 0 {
		t.Errorf("sessions: got %v", got)
	}
}
