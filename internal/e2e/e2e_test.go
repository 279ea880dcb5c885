package e2e

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/sshconn/sshtest"
	"hostler.dev/hostler/internal/store/storetest"
)

// binary is the built program; TestMain builds it.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hostler-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "hostler")
	if out, err := exec.Command("go", "build", "-o", binary, "hostler.dev/hostler/cmd/hostler").CombinedOutput(); err != nil { //nolint:gosec // our own package
		panic(fmt.Sprintf("build: %v\n%s", err, out))
	}
	storetest.Main(m)
}

// eachStore runs a journey on both stores.
func eachStore(t *testing.T, fn func(t *testing.T, s *server)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { fn(t, start(t, t.TempDir(), "")) })
	t.Run("postgres", func(t *testing.T) { fn(t, start(t, t.TempDir(), storetest.Postgres(t))) })
}

// server is a running server, and the environment in which the command line finds it.
type server struct {
	t    testing.TB
	home string
	data string
	db   string
	key  string
	url  string
	log  string
	args []string // more flags
	cmd  *exec.Cmd
}

func start(t testing.TB, home, db string, args ...string) *server {
	t.Helper()
	s := &server{t: t, home: home, data: filepath.Join(home, "data"), db: db, log: filepath.Join(home, "server.log"), args: args}
	s.begin(t)
	return s
}

// join starts a second server on the first one's database, with its master key.
func join(t testing.TB, first *server, args ...string) *server {
	t.Helper()
	home := t.TempDir()
	s := &server{t: t, home: home, data: filepath.Join(home, "data"), db: first.db, key: first.key, log: filepath.Join(home, "server.log"), args: args}
	key, err := os.ReadFile(filepath.Join(first.data, "master.key"))
	if err == nil {
		err = os.MkdirAll(s.data, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(s.data, "master.key"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.begin(t)
	return s
}

// begin starts the server for the first time and stops it when the test ends.
func (s *server) begin(t testing.TB) {
	t.Helper()
	s.start()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	})
}

func (s *server) env() []string {
	return append(os.Environ(), "HOME="+s.home, "HOSTLER_LANG=en",
		"HOSTLER_CONTEXT_FILE="+filepath.Join(s.home, "context.yaml"))
}

// start starts the server and reads its address; the first start prints the admin key.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(binary, "serve", "--data", s.data, "--listen", "127.0.0.1:0", "--drain", "20s") //nolint:gosec // our own binary
	s.cmd.Args = append(s.cmd.Args, s.args...)
	s.cmd.Env = s.env()
	if s.db != "" {
		s.cmd.Env = append(s.cmd.Env, "HOSTLER_DB="+s.db) // it may hold a password
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	s.cmd.Stderr = log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	_, host, ok := strings.Cut(strings.TrimSpace(line), "http://")
	if err != nil || !ok {
		text, _ := os.ReadFile(s.log)
		s.t.Fatalf("the server printed %q, %v\n%s", line, err, text)
	}
	s.url = "http://" + host
	if s.key != "" {
		return
	}
	line, err = r.ReadString('\n')
	_, key, ok := strings.Cut(strings.TrimSpace(line), ": ")
	if err != nil || !ok {
		s.t.Fatalf("the first start printed %q, not its admin key", line)
	}
	s.key = key
}

// stop ends the server as an operator does.
func (s *server) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		text, _ := os.ReadFile(s.log)
		s.t.Fatalf("the server ended with %v\n%s", err, text)
	}
}

// run runs the command line and returns its output and exit code.
func (s *server) run(stdin string, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), binary, args...) //nolint:gosec // our own binary
	cmd.Env = s.env()
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// files reads the server's log and every file of its data folder: the databases,
// their WALs, the key.
func (s *server) files() map[string][]byte {
	s.t.Helper()
	out := map[string][]byte{}
	read := func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		out[path] = text
	}
	read(s.log)
	entries, err := os.ReadDir(s.data)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			read(filepath.Join(s.data, e.Name()))
		}
	}
	return out
}

// must runs the command line, which must succeed.
func (s *server) must(args ...string) string {
	s.t.Helper()
	out, errOut, code := s.run("", args...)
	if code != 0 {
		s.t.Fatalf("hostler %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// job reads a job.
func (s *server) job(id string) (j hostler.Job) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.must("job", "get", id, "-o", "json")), &j); err != nil {
		s.t.Fatal(err)
	}
	return j
}

// await waits until a condition holds.
func (s *server) await(what string, holds func() bool) {
	s.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 600 {
		if holds() {
			return
		}
		<-tick.C
	}
	text, _ := os.ReadFile(s.log)
	s.t.Fatalf("timed out after 30 s waiting for: %s\n%s", what, text)
}

// addSSH stores the sshd's key as the credential ops.
func (s *server) addSSH(d *sshtest.Server) {
	s.t.Helper()
	if _, errOut, code := s.run(d.PrivateKey, "credential", "add", "ops", "--username", d.User, "--stdin"); code != 0 {
		s.t.Fatal(errOut)
	}
}

func (s *server) addAsset(d *sshtest.Server, name, address string) {
	s.t.Helper()
	s.must("asset", "add", name, "--address", address, "--port", strconv.Itoa(d.Port),
		"--credential", "ops", "--label", "role=web")
}

// One command on two hundred hosts: one job each, a summary, an exit code.
func TestFanOutOverSSH(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{AnyAddress: true, Config: []string{"MaxStartups 300"}})
	eachStore(t, func(t *testing.T, s *server) {
		s.addSSH(d)
		hosts := 200
		if s.db != "" {
			hosts = 40 // fewer on the second store, which is the only difference
		}
		api, err := client.New(s.url, s.key)
		if err != nil {
			t.Fatal(err)
		}
		for i := range hosts {
			_, err := api.CreateAsset(t.Context(), hostler.AssetInput{
				Name: fmt.Sprintf("web%d", i), Address: fmt.Sprintf("127.0.1.%d", i+1), Port: d.Port, Credential: "ops",
				Labels: map[string]string{"role": "web"},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		out, errOut, code := s.run("", "job", "run", "ssh_command", "--label", "role=web", "--arg", "command=echo hello from $SSH_CONNECTION", "--wait")
		if code != 0 {
			t.Fatalf("exit code %d\n%s%s", code, out, errOut)
		}
		var list hostler.List[hostler.Job]
		listed := s.must("job", "list", "--action", "ssh_command", "--state", "succeeded", "--limit", "1000", "-o", "json")
		if err := json.Unmarshal([]byte(listed), &list.Items); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, j := range list.Items {
			seen[j.AssetName] = true
		}
		if len(list.Items) != hosts || len(seen) != hosts {
			t.Errorf("%d jobs on %d hosts succeeded, want %d on as many", len(list.Items), len(seen), hosts)
		}
		_, errOut, code = s.run("", "job", "run", "ssh_command", "--asset", "web1", "--asset", "web2", "--arg", "command=exit 3", "--wait")
		if code != 1 || !strings.Contains(errOut, "failed 2") {
			t.Errorf("two failing jobs: exit code %d, %s", code, errOut)
		}
	})
}

// A running job's output is seen live; cancelling it ends the process on the host.
func TestFollowAndCancel(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{})
	eachStore(t, func(t *testing.T, s *server) {
		s.addSSH(d)
		s.addAsset(d, "web", "127.0.0.1")
		id := strings.TrimSpace(s.must("job", "run", "ssh_command", "--asset", "web", "--arg", "command=echo pid $$; trap '' TERM; while :; do sleep 1; done"))
		var pid int
		s.await("the process's id in the job's output", func() bool {
			_, after, ok := strings.Cut(s.must("job", "log", id), "pid ")
			if ok {
				_, err := fmt.Sscan(after, &pid)
				ok = err == nil
			}
			return ok
		})
		if err := syscall.Kill(pid, 0); err != nil {
			t.Fatalf("process %d does not run: %v", pid, err)
		}
		s.must("job", "cancel", id)
		s.await("the cancelled job's end", func() bool { return s.job(id).State.Terminal() })
		if j := s.job(id); j.State != hostler.StateCancelled {
			t.Errorf("the job is %s: %+v", j.State, j.Error)
		}
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d still runs: %v", pid, err)
		}
	})
}

// A host that presents another key gets no credential until the key is accepted.
func TestChangedHostKey(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{})
	s := start(t, t.TempDir(), "")
	s.addSSH(d)
	s.addAsset(d, "web", "127.0.0.1")
	s.must("job", "run", "ssh_command", "--asset", "web", "--arg", "command=true", "--wait")
	d.RotateHostKeys()
	d.DropConnections()
	out, errOut, code := s.run("", "job", "run", "ssh_command", "--asset", "web", "--arg", "command=true", "--wait")
	if code != 1 || !strings.Contains(out+errOut, "host_key_mismatch") {
		t.Fatalf("exit code %d\n%s%s", code, out, errOut)
	}
	var keys []hostler.HostKey
	if err := json.Unmarshal([]byte(s.must("asset", "hostkey", "list", "web", "-o", "json")), &keys); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.State == hostler.HostKeyOffered {
			s.must("asset", "hostkey", "accept", "web", k.ID.String())
		}
	}
	s.must("job", "run", "ssh_command", "--asset", "web", "--arg", "command=true", "--wait")
}

// On SIGTERM a running job ends; queued jobs run after the next start.
func TestDrainAndRestart(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{})
	eachStore(t, func(t *testing.T, s *server) {
		s.addSSH(d)
		s.addAsset(d, "web", "127.0.0.1")
		running := strings.TrimSpace(s.must("job", "run", "ssh_command", "--asset", "web", "--arg", "command=sleep 2; echo done"))
		queued := strings.TrimSpace(s.must("job", "run", "ssh_command", "--asset", "web", "--arg", "command=true"))
		s.await("the job to run", func() bool { return s.job(running).State == hostler.StateRunning })
		s.stop()
		s.start()
		s.await("both jobs' end", func() bool { return s.job(running).State.Terminal() && s.job(queued).State.Terminal() })
		for _, id := range []string{running, queued} {
			if j := s.job(id); j.State != hostler.StateSucceeded || j.Attempt != 1 {
				t.Errorf("%s is %s at attempt %d", id, j.State, j.Attempt)
			}
		}
	})
}

// A job that ran when the server died is unknown and occupies its lane until its
// outcome is set.
func TestServerDiesUnderACommand(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{})
	s := start(t, t.TempDir(), "")
	s.addSSH(d)
	s.addAsset(d, "web", "127.0.0.1")
	lost := strings.TrimSpace(s.must("job", "run", "ssh_command", "--asset", "web", "--arg", "command=sleep 30"))
	behind := strings.TrimSpace(s.must("job", "run", "ssh_command", "--asset", "web", "--arg", "command=true"))
	s.await("the job to run", func() bool { return s.job(lost).State == hostler.StateRunning })
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()
	s.start()
	if j := s.job(lost); j.State != hostler.StateUnknown {
		t.Errorf("the lost job is %s", j.State)
	}
	if why := s.must("job", "why", behind); !strings.Contains(why, "lane_unknown") {
		t.Errorf("why the next one waits: %s", why)
	}
	s.must("job", "resolve", lost, "--as", "failed", "--note", "looked at the host")
	s.await("the next job's end", func() bool { return s.job(behind).State == hostler.StateSucceeded })
}

// A backup of a running server can be restored elsewhere, with the key file only.
func TestBackupAndRestore(t *testing.T) {
	d := sshtest.Start(t, sshtest.Options{})
	s := start(t, t.TempDir(), "")
	s.addSSH(d)
	s.addAsset(d, "web", "127.0.0.1")
	s.must("job", "run", "ssh_command", "--asset", "web", "--arg", "command=true", "--wait")
	backup := filepath.Join(t.TempDir(), "backup")
	s.must("backup", backup, "--data", s.data)
	s.stop()

	home := t.TempDir()
	elsewhere := &server{t: t, home: home, data: filepath.Join(home, "data"), log: filepath.Join(home, "server.log"), key: s.key}
	elsewhere.must("restore", backup, "--data", elsewhere.data)
	_, errOut, code := elsewhere.run("", "serve", "--data", elsewhere.data, "--listen", "127.0.0.1:0")
	if code == 0 || !strings.Contains(errOut, "key file") {
		t.Errorf("without the key file: exit code %d, %s", code, errOut)
	}
	key, err := os.ReadFile(filepath.Join(s.data, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(elsewhere.data, "master.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere.start()
	t.Cleanup(func() {
		_ = elsewhere.cmd.Process.Kill()
		_ = elsewhere.cmd.Wait()
	})
	// The first key is in the home of the old server; create another on the new one.
	admin := strings.TrimSpace(elsewhere.must("key", "create", "recovery", "--local", "--role", "admin", "--data", elsewhere.data))
	t.Setenv("HOSTLER_KEY", admin)
	t.Setenv("HOSTLER_URL", elsewhere.url)
	elsewhere.must("dispatch", "release")
	elsewhere.must("job", "run", "ssh_command", "--asset", "web", "--arg", "command=true", "--wait")
}

// A secret that a command prints is redacted on disk and in every output.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{})
	eachStore(t, func(t *testing.T, s *server) {
		s.addSSH(d)
		s.addAsset(d, "web", "127.0.0.1")
		const canary = "canary-5f0e9a7c31"
		if _, errOut, code := s.run(canary, "credential", "add", "sudo", "--kind", "password", "--username", "x", "--stdin"); code != 0 {
			t.Fatal(errOut)
		}
		// The host knows the password, too, and the script prints it; the request
		// does not hold it.
		encoded := base64.StdEncoding.EncodeToString([]byte(canary))
		onHost := filepath.Join(t.TempDir(), "leak")
		if err := os.WriteFile(onHost, []byte(canary), 0o600); err != nil {
			t.Fatal(err)
		}
		args := fmt.Sprintf(`{"script":"cat %[1]s; echo; base64 %[1]s; cat %[1]s >&2; exit 1","run_as":%[2]q,"sudo_credential":"sudo"}`, onHost, d.User)
		file := filepath.Join(s.home, "args.json")
		if err := os.WriteFile(file, []byte(args), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errOut, _ := s.run("", "job", "run", "ssh_script", "--asset", "web", "--args-file", file, "--wait")
		out += s.must("job", "list", "-o", "json") + s.must("audit", "list", "-o", "json")
		for _, form := range []string{canary, encoded} {
			if strings.Contains(out+errOut, form) {
				t.Errorf("the command line shows %q:\n%s%s", form, out, errOut)
			}
			for path, text := range s.files() {
				if bytes.Contains(text, []byte(form)) {
					t.Errorf("%s holds %q", path, form)
				}
			}
		}
		if !strings.Contains(out+errOut, "******") {
			t.Errorf("nothing was masked: the script did not print\n%s%s", out, errOut)
		}
		sealed := s.must("credential", "get", "sudo", "-o", "json")
		if strings.Contains(sealed, canary) {
			t.Errorf("the credential is readable: %s", sealed)
		}
	})
}
