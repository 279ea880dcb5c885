package compat

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler/internal/store/storetest"
)

// binary is the program of this tree, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hostler-compat-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "hostler")
	if out, err := exec.Command("go", "build", "-o", binary, "hostler.dev/hostler/cmd/hostler").CombinedOutput(); err != nil { //nolint:gosec // our own package
		panic(fmt.Sprintf("build: %v\n%s", err, out))
	}
	defer func() { _ = os.RemoveAll(dir) }()
	storetest.Main(m)
}

// server is a running server.
type server struct {
	t    testing.TB
	bin  string
	home string // the folder of the server's process, with data below it
	env  []string
	url  string
	key  string
	cmd  *exec.Cmd
}

// start runs a server of the binary on home/data until the test ends. The environment
// lets it reach the loopback addresses that the recorded objects name.
func start(t testing.TB, bin, home, db, key string, env ...string) *server {
	t.Helper()
	s := &server{t: t, bin: bin, home: home, key: key}
	s.env = append(os.Environ(),
		"HOME="+home, "HOSTLER_CONTEXT_FILE="+filepath.Join(home, "context.yaml"), "HOSTLER_LANG=en",
		"HOSTLER_DATA="+filepath.Join(home, "data"), "HOSTLER_LISTEN=127.0.0.1:0", "HOSTLER_ADMIN_KEY="+key,
		"HOSTLER_EGRESS_ALLOW=127.0.0.0/8", "HOSTLER_ENABLE_LOCAL_COMMAND=true", "HOSTLER_RETENTION=36500d", "HOSTLER_SLOTS=16")
	if bin == binary {
		// The recorded commands look for files in the home folder of the server's user.
		own, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		s.env = append(s.env, "HOSTLER_LOCAL_COMMAND_USER="+own.Username)
	}
	if db != "" {
		s.env = append(s.env, "HOSTLER_DB="+db)
	}
	s.env = append(s.env, env...)
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.bin, "serve") //nolint:gosec // our own binary
	s.cmd.Env = s.env
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
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
	line, err := bufio.NewReader(out).ReadString('\n')
	_, host, ok := strings.Cut(strings.TrimSpace(line), "http://")
	if err != nil || !ok {
		s.t.Fatalf("the server printed %q, %v\n%s", line, err, s.log())
	}
	s.url = "http://" + host
}

// kill ends the server like a power failure; it may be called again.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *server) logFile() string { return filepath.Join(s.home, "server.log") }

func (s *server) log() string {
	text, _ := os.ReadFile(s.logFile())
	return string(text)
}

// answer is what a server answered.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// decode reads a JSON answer into generic values.
func (a answer) decode(t testing.TB) any {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("decode %q: %v", a.body, err)
	}
	return v
}

// send makes one request; header holds pairs of names and values.
func (s *server) send(method, path, body string, header ...string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept-Language", "en")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", method, path, err, s.log())
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, raw}
}

// call makes a request that must succeed and decodes its answer.
func (s *server) call(method, path string, body any) map[string]any {
	s.t.Helper()
	text := ""
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		text = string(raw)
	}
	a := s.send(method, path, text)
	if a.status >= 300 {
		s.t.Fatalf("%s %s: %d %s\n%s", method, path, a.status, a.body, s.log())
	}
	if len(a.body) == 0 {
		return nil
	}
	m, _ := a.decode(s.t).(map[string]any)
	return m
}

// items are the items of a listing.
func (s *server) items(path string) []map[string]any {
	s.t.Helper()
	return objects(s.call(http.MethodGet, path, nil)["items"])
}

// objects are the objects of a JSON array.
func objects(v any) []map[string]any {
	list, _ := v.([]any)
	out := make([]map[string]any, 0, len(list))
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// became waits until a job is in a state and returns it.
func (s *server) became(id, state string) map[string]any {
	s.t.Helper()
	var job map[string]any
	defer func() {
		if job["state"] != state {
			s.t.Logf("the job is %v", job)
		}
	}()
	s.await("job "+id+" to be "+state, func() bool {
		job = s.call(http.MethodGet, "/api/v1/jobs/"+id, nil)
		switch job["state"] {
		case state:
			return true
		case "succeeded", "failed", "cancelled", "expired":
			s.t.Fatalf("job %s is %v, want %s", id, job["state"], state)
		}
		return false
	})
	return job
}

// await waits until a condition holds.
func (s *server) await(what string, holds func() bool) {
	s.t.Helper()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for range 2400 {
		if holds() {
			return
		}
		<-tick.C
	}
	s.t.Fatalf("waited 60 s for %s\n%s", what, s.log())
}

// unpack extracts a recorded folder into dir.
func unpack(t testing.TB, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// readJSON decodes a file of testdata.
func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
