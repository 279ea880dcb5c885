package ssh_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/ssh"
	"hostler.dev/hostler/internal/action/ssh/sshtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a family and what its calls say.
type rig struct {
	t      *testing.T
	family *ssh.Family
}

func newRig(t *testing.T, opts ssh.Options) *rig {
	t.Helper()
	if opts.KillGrace == 0 {
		opts.KillGrace = 500 * time.Millisecond
	}
	if opts.KillWait == 0 {
		opts.KillWait = time.Minute // the machine may be slow
	}
	f := ssh.New(opts)
	t.Cleanup(f.Close)
	return &rig{t: t, family: f}
}

// attempt is one call and everything that came out of it.
type attempt struct {
	action.Result
	stdout, stderr, system buffer
	call                   *action.Call

	mu       sync.Mutex
	redacted []string
	offers   []hostler.HostKeyOffer
	pin      error // what PinHostKey answers
	done     chan struct{}
}

func (a *attempt) kind() string {
	if a.Error == nil {
		return ""
	}
	return a.Error.Kind
}

func (a *attempt) String() string {
	text := ""
	if a.Error != nil {
		text = fmt.Sprintf("%s: %s / %s", a.Error.Kind, a.Error.Text.EN, a.Error.Text.ZH)
	}
	return fmt.Sprintf("%s %+v error{%s} stdout=%q stderr=%q system=%q",
		a.Outcome, a.Value, text, a.stdout.String(), a.stderr.String(), a.system.String())
}

func newAttempt(asset *hostler.LeaseAsset, args any) *attempt {
	raw, err := json.Marshal(args)
	if err != nil {
		panic(err)
	}
	a := &attempt{done: make(chan struct{})}
	a.call = &action.Call{
		Lease:  hostler.Lease{Args: raw, Asset: asset, Credentials: map[string]hostler.LeaseCredential{}},
		Stdout: &a.stdout, Stderr: &a.stderr, System: &a.system,
		Redact: func(values ...string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.redacted = append(a.redacted, values...)
		},
		Progress: func(hostler.Progress) {},
		PinHostKey: func(_ context.Context, k hostler.HostKeyOffer) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.offers = append(a.offers, k)
			return a.pin
		},
	}
	return a
}

// start runs an action in the background.
func (r *rig) start(ctx context.Context, name string, a *attempt) {
	r.t.Helper()
	act := r.action(name)
	go func() {
		defer close(a.done)
		a.Result = act.Run(ctx, a.call)
	}()
}

func (r *rig) action(name string) action.Action {
	r.t.Helper()
	for _, a := range r.family.Actions() {
		if a.Name == name {
			return a
		}
	}
	r.t.Fatalf("no action %s", name)
	return action.Action{}
}

// do runs an action to its end.
func (r *rig) do(ctx context.Context, name string, a *attempt) *attempt {
	r.t.Helper()
	r.start(ctx, name, a)
	return r.wait(a)
}

func (r *rig) wait(a *attempt) *attempt {
	r.t.Helper()
	select {
	case <-a.done:
	case <-time.After(5 * time.Minute):
		r.t.Fatal("the attempt does not end")
	}
	return a
}

type m = map[string]any

func (r *rig) command(asset *hostler.LeaseAsset, command string) *attempt {
	r.t.Helper()
	return r.do(r.t.Context(), "ssh_command", newAttempt(asset, m{"command": command}))
}

// quiet waits until no connection is in use: a session is given back after its job's
// end.
func (r *rig) quiet() {
	r.t.Helper()
	eventually(r.t, "the end of all sessions", func() bool {
		for _, s := range r.family.Sessions() {
			if s.Running > 0 {
				return false
			}
		}
		return true
	})
}

// mustEnd fails unless the attempt ended so.
func mustEnd(t *testing.T, a *attempt, outcome hostler.Outcome, kind string) {
	t.Helper()
	if a.Outcome != outcome || a.kind() != kind {
		t.Fatalf("got %s, want %s %q", a, outcome, kind)
	}
	if a.Error != nil && (a.Error.Text.EN == "" || a.Error.Text.ZH == "") {
		t.Errorf("a text is missing: %s", a)
	}
}

// buffer is what a job's stream says.
type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// eventually polls until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// pidFile is where a remote command leaves a process id for the test.
type pidFile string

func newPIDFile(t *testing.T) pidFile {
	return pidFile(filepath.Join(t.TempDir(), "pid"))
}

// pid waits for the process id and ends the process with the test.
func (f pidFile) pid(t *testing.T) int {
	t.Helper()
	var pid int
	eventually(t, "pid in "+string(f), func() bool {
		b, err := os.ReadFile(string(f))
		if err != nil || !strings.HasSuffix(string(b), "\n") {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil
	})
	t.Cleanup(func() {
		if alive(pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return pid
}

// alive says whether a process lives; a zombie does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return len(fields) > 0 && fields[0] != "Z" && fields[0] != "X"
}

// cancellable is a context that ends with a cause.
func cancellable(t *testing.T) (context.Context, func(error)) {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(errors.New("the test is over")) })
	return ctx, func(err error) { cancel(err) }
}

func startServer(t *testing.T, opts sshtest.Options) *sshtest.Server {
	t.Helper()
	return sshtest.Start(t, opts)
}
