package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"hostler.dev/hostler/internal/clicontext"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hostler": func() { os.Exit(Main()) }})
}

// TestScripts runs testdata/script: the command as a user types it, against a real
// server in a process of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TZ", "UTC")
			env.Setenv("HOSTLER_CONTEXT_FILE", filepath.Join(env.WorkDir, "context.yaml"))
			env.Setenv("HOSTLER_LANG", "en")
			env.Values[receiversKey{}] = &receivers{byName: map[string]*receiver{}}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":    serve,
			"shutdown": stop,
			"capture":  capture,
			"receive":  receive,
			"exhaust":  exhaust,
			"chained":  chained,
			"archives": archives,
		},
	})
}

const patience = 20 * time.Second

// daemon is a server that a script started.
type daemon struct {
	cmd  *exec.Cmd
	done chan error // the result of Wait; a reader puts it back
	log  string
}

// serve DATA [flags…] starts "hostler serve" and waits until it is ready; $PORT is its
// port, and $OPEN_FILES, if set, is how many files it may open. The server is stopped at the end of the script.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: serve DATA [flags…]")
	}
	s := startServer(ts, args)
	ts.Defer(func() { s.stop(ts) })
}

// stop DATA stops the server on DATA with SIGTERM, as systemd does.
func stop(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stop DATA")
	}
	var pid int
	if _, err := fmt.Sscan(ts.ReadFile(filepath.Join(args[0], "hostler.lock")), &pid); err != nil {
		ts.Fatalf("no server runs on %s: %v", args[0], err)
	}
	ts.Check(syscall.Kill(pid, syscall.SIGTERM))
	waitGone(ts, pid)
}

// waitGone polls until the process has ended.
func waitGone(ts *testscript.TestScript, pid int) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-tick.C:
		case <-deadline.C:
			ts.Fatalf("process %d did not end within %v", pid, patience)
		}
	}
}

func startServer(ts *testscript.TestScript, args []string) *daemon {
	data := ts.MkAbs(args[0])
	hostler, err := lookPath(ts.Getenv("PATH"), "hostler")
	ts.Check(err)
	flags := append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0"}, args[1:]...)
	cmd := exec.Command(hostler, flags...)
	if files := ts.Getenv("OPEN_FILES"); files != "" {
		limited := []string{"-c", `ulimit -n "$0" && exec "$@"`, files, hostler}
		cmd = exec.Command("sh", append(limited, flags...)...)
	}
	for _, name := range []string{
		"PATH", "HOME", "HOSTLER_CONTEXT_FILE", "HOSTLER_WEBHOOK_URL", "HOSTLER_WEBHOOK_TOKEN", "HOSTLER_EGRESS_ALLOW",
	} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	logFile, err := os.Create(data + ".log")
	ts.Check(err)
	defer logFile.Close()
	cmd.Stdout, cmd.Stderr = logFile, logFile
	ts.Check(cmd.Start())
	s := &daemon{cmd: cmd, done: make(chan error, 1), log: logFile.Name()}
	go func() { s.done <- cmd.Wait() }()
	s.waitReady(ts, data)
	return s
}

// lookPath finds a program in the PATH of the script.
func lookPath(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found, nil
		}
	}
	return "", exec.ErrNotFound
}

// waitReady polls until the server has published its address and is ready.
func (s *daemon) waitReady(ts *testscript.TestScript, data string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		f, err := clicontext.Load(filepath.Join(data, "context.yaml"))
		if c := f.Contexts[clicontext.Local]; err == nil && c.URL != "" && ready(ctx, c.URL) {
			u, err := url.Parse(c.URL)
			ts.Check(err)
			ts.Setenv("PORT", u.Port())
			return
		}
		select {
		case err := <-s.done:
			s.done <- err
			text, _ := os.ReadFile(s.log)
			ts.Fatalf("the server ended: %v\n%s", err, text)
		case <-ctx.Done():
			text, _ := os.ReadFile(s.log)
			ts.Fatalf("the server is not ready after %v\n%s", patience, text)
		case <-tick.C:
		}
	}
}

func ready(ctx context.Context, base string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode == http.StatusOK
}

// stop stops the server with SIGTERM; a second call does nothing.
func (s *daemon) stop(ts *testscript.TestScript) {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.done:
		s.done <- err
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		ts.Logf("the server did not end within %v", patience)
	}
}

// capture NAME puts the first line of the last standard output into $NAME.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: capture NAME")
	}
	var line string
	if _, err := fmt.Sscanln(ts.ReadFile("stdout"), &line); err != nil {
		ts.Fatalf("no line to capture: %v", err)
	}
	ts.Setenv(args[0], line)
}
