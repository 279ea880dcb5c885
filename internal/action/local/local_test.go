package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

type capture struct{ out, err bytes.Buffer }

func run(t *testing.T, ctx context.Context, o Options, args string) (action.Result, *capture) {
	t.Helper()
	r, err := action.NewRegistry(Actions(o)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate("local_command", json.RawMessage(args)); err != nil {
		t.Fatal(err)
	}
	var c capture
	a, _ := r.Lookup("local_command")
	res := a.Run(ctx, &action.Call{Lease: hostler.Lease{Args: json.RawMessage(args)}, Stdout: &c.out, Stderr: &c.err})
	return res, &c
}

var on = Options{Enabled: true, KillGrace: 200 * time.Millisecond}

func TestDisabledByDefault(t *testing.T) {
	res, c := run(t, t.Context(), Options{}, `{"argv":["echo","x"]}`)
	if res.Outcome != hostler.OutcomeFailed || c.out.Len() != 0 || !res.NoRetry {
		t.Errorf("got %+v %q", res, c.out.String())
	}
}

func TestArgvEnvAndStdinAreUnchanged(t *testing.T) {
	t.Setenv("HOSTLER_ADMIN_KEY", "canary")
	res, c := run(t, t.Context(), on,
		`{"argv":["sh","-c","printf '%s|' \"$@\"; cat; env; echo oops >&2","-","$(id)","; rm -rf /","-x"],`+
			`"env":{"A":"$HOME `+"`id`"+`"},"stdin":"in put\n"}`)
	if res.Outcome != hostler.OutcomeSucceeded {
		t.Fatalf("got %+v", res)
	}
	out := c.out.String()
	for _, want := range []string{"$(id)|; rm -rf /|-x|", "in put\n", "A=$HOME `id`"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in %q", want, out)
		}
	}
	if strings.Contains(out, "canary") {
		t.Error("the server's environment reached the program")
	}
	if c.err.String() != "oops\n" {
		t.Errorf("stderr %q", c.err.String())
	}
}

// Programs read configuration from their home and working folder: others must not be able to
// write to either.
func TestFolders(t *testing.T) {
	t.Setenv("HOME", "/home/of/the/worker")
	for args, want := range map[string]string{
		`{"argv":["sh","-c","pwd; echo $HOME"]}`:                                 "/\n/home/of/the/worker\n",
		`{"argv":["sh","-c","pwd; echo $HOME"],"dir":"/usr"}`:                    "/usr\n/home/of/the/worker\n",
		`{"argv":["/bin/sh","-c","pwd; echo $HOME"],"env":{"HOME":"/a folder"}}`: "/\n/a folder\n",
	} {
		if _, c := run(t, t.Context(), on, args); c.out.String() != want {
			t.Errorf("%s: got %q, want %q", args, c.out.String(), want)
		}
	}
}

func TestExitStatus(t *testing.T) {
	res, _ := run(t, t.Context(), on, `{"argv":["sh","-c","exit 7"]}`)
	if res.Outcome != hostler.OutcomeFailed || res.Error.Kind != hostler.ErrKindCommand ||
		res.Value.(Result).ExitCode != 7 {
		t.Errorf("got %+v", res)
	}
	res, _ = run(t, t.Context(), on, `{"argv":["no-such-program-here"]}`)
	if res.Outcome != hostler.OutcomeFailed || res.Error.Kind != hostler.ErrKindCommand {
		t.Errorf("got %+v", res)
	}
}

// Cancel and timeout end the whole group, including a child that ignores TERM.
func TestStopKillsTheGroup(t *testing.T) {
	for cause, want := range map[error]hostler.Outcome{action.ErrCancelled: hostler.OutcomeCancelled, action.ErrTimeout: hostler.OutcomeFailed} {
		ctx, cancel := context.WithCancelCause(t.Context())
		started := &trigger{then: func() { cancel(cause) }}
		r, err := action.NewRegistry(Actions(on)...)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := r.Lookup("local_command")
		args := `{"argv":["sh","-c","trap '' TERM; sh -c 'trap \"\" TERM; while :; do sleep 1; done' & echo $! $$; wait"]}`
		lease := hostler.Lease{Args: json.RawMessage(args)}
		res := a.Run(ctx, &action.Call{Lease: lease, Stdout: started, Stderr: started})
		if res.Outcome != want {
			t.Errorf("%v: got %+v", cause, res)
		}
		for f := range strings.FieldsSeq(started.String()) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, 0); err == nil && groupRunning(pid) {
				t.Errorf("process %d still runs", pid)
			}
		}
	}
}

// trigger calls then at the first line of output. It does not embed the buffer:
// io.Copy would go past Write.
type trigger struct {
	buf  bytes.Buffer
	then func()
}

func (w *trigger) Write(p []byte) (int, error) {
	n, err := w.buf.Write(p)
	if bytes.Contains(p, []byte("\n")) {
		w.then()
	}
	return n, err
}

func (w *trigger) String() string { return w.buf.String() }

func TestBadArgs(t *testing.T) {
	r, err := action.NewRegistry(Actions(on)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{`{}`, `{"argv":[]}`, `{"argv":["a\u0000b"]}`, `{"argv":[""]}`, `{"argv":["./run.sh"]}`, `{"argv":["bin/x"]}`, `{"argv":["a"],"env":{"A=B":"c"}}`, `{"argv":["a"],"dir":"rel"}`, `{"argv":["a"],"shell":true}`} {
		if err := r.Validate("local_command", json.RawMessage(args)); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// TestNoSecretsInLocalCommands: an attack on the secrets of another project, whose programs
// run as the same user here, begins with a secret in such a program. There is none.
func TestNoSecretsInLocalCommands(t *testing.T) {
	r, err := action.NewRegistry(Actions(Options{Enabled: true})...)
	if err != nil {
		t.Fatal(err)
	}
	for args, path := range map[string]string{
		`{"argv":["env"],"env":{"PW":{"$secret":"db"}}}`: "args.env.PW",
		`{"argv":["cat"],"stdin":{"$secret":"db"}}`:      "args.stdin",
		`{"argv":["echo",{"$secret":"db"}]}`:             "args.argv[1]",
	} {
		e, ok := errors.AsType[*hostler.Error](r.Validate("local_command", json.RawMessage(args)))
		if !ok || len(e.Fields) != 1 || e.Fields[0].Path != path || !strings.Contains(e.Fields[0].Text.EN, "takes no secrets") {
			t.Errorf("%s: %+v, want one fault at %s that says why", args, e, path)
		}
	}
}
