package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

// script runs an unchanged script that was written for NetPulse.
func (s *server) script(name string, args ...string) (out string, code int) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), filepath.Join("testdata", "netpulse", name), append([]string{s.url, s.key}, args...)...) //nolint:gosec // our own scripts
	cmd.Env = append(os.Environ(), "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
	text, err := cmd.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		s.t.Fatalf("%s: %v; scripts/setup.sh test installs what it needs", name, err)
	}
	code = cmd.ProcessState.ExitCode()
	if code == 127 || strings.Contains(string(text), "No module named") {
		s.t.Fatalf("%s: %s\nscripts/setup.sh test installs what it needs", name, text)
	}
	return string(text), code
}

// runScript runs a script and checks its exit code and texts of its output.
func (s *server) runScript(want []string, code int, name string, args ...string) {
	s.t.Helper()
	out, got := s.script(name, args...)
	if got != code {
		s.t.Errorf("%s %v: exit code %d, want %d\n%s", name, args, got, code, out)
	}
	for _, text := range want {
		if !strings.Contains(out, text) {
			s.t.Errorf("%s %v lacks %q:\n%s", name, args, text, out)
		}
	}
}

// pulseJob is a job as NetPulse's clients read it.
type pulseJob struct {
	ID     string `json:"id"`
	Queue  string `json:"queue"`
	Result any    `json:"result"`
}

// pulse makes a call of NetPulse's API and decodes the data of the answer.
func (s *server) pulse(method, path string, body, data any) {
	s.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	if body == nil {
		raw = nil
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", s.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer := struct {
		Code int `json:"code"`
		Data any `json:"data"`
	}{Data: data}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Code != res.StatusCode {
		s.t.Fatalf("%s %s: %d %+v, %v", method, path, res.StatusCode, answer, err)
	}
}

// execute asks for commands on the sshd, with the login in the request.
func (s *server) execute(d *sshtest.Server, strategy string, commands ...string) (j pulseJob) {
	s.t.Helper()
	s.pulse(http.MethodPost, "/device/exec", map[string]any{
		"driver": "paramiko", "command": commands, "queue_strategy": strategy,
		"connection_args": map[string]any{"host": "127.0.0.1", "port": d.Port, "username": d.User, "private_key": d.PrivateKey, "keepalive": 30},
	}, &j)
	return j
}

// Scripts for NetPulse's job API wait for results, list ended jobs, and cancel jobs
// that have not started.
func TestNetPulseScriptsFollowJobs(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{})
	eachStore(t, func(t *testing.T, s *server) {
		good := s.execute(d, "fifo", "echo hello", "echo bye")
		if good.Queue != "FifoQ" || good.Result != nil {
			t.Errorf("made %+v", good)
		}
		s.runScript([]string{"retval:", `'echo hello': 'hello\n'`, `'echo bye': 'bye\n'`}, 0, "monitor.py", "wait", good.ID)
		bad := s.execute(d, "fifo", "echo lost >&2; exit 3")
		s.runScript([]string{"error:", "3"}, 1, "monitor.py", "wait", bad.ID)
		s.runScript([]string{good.ID + " took "}, 0, "monitor.py", "finished")
		if out, _ := s.script("monitor.py", "finished"); strings.Contains(out, bad.ID) {
			t.Errorf("a failed job is listed as finished:\n%s", out)
		}

		first := s.execute(d, "pinned", "echo begun; sleep 300")
		second := s.execute(d, "pinned", "true")
		if second.Queue != "pinned_127.0.0.1" {
			t.Errorf("the queue of a pinned job is %q", second.Queue)
		}
		s.prints(s.job(first.ID).ID, "begun")
		s.runScript([]string{"cancelled: 0"}, 0, "monitor.py", "cancel", first.ID) // it runs
		s.runScript([]string{"cancelled: 1"}, 0, "monitor.py", "cancel", second.ID)
		s.runScript([]string{"cancelled: 0"}, 0, "monitor.py", "cancel", second.ID)
		s.runScript([]string{"error:"}, 1, "monitor.py", "wait", second.ID)
		if j := s.job(first.ID); j.State != hostler.StateRunning {
			t.Errorf("the running job is %s", j.State)
		}
		s.must("job", "cancel", first.ID)
		s.became(s.job(first.ID).ID, hostler.StateCancelled)

		keyLine := strings.Split(d.PrivateKey, "\n")[2]
		for path, text := range s.files() {
			if bytes.Contains(text, []byte(keyLine)) {
				t.Errorf("%s holds the private key of a request", path)
			}
		}
	})
}

// Scripts list workers and their open connections, stop either, and raise an alarm
// when a worker is dead.
func TestNetPulseScriptsWatchWorkers(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{})
	eachStore(t, func(t *testing.T, s *server) {
		s.addSSH(d)
		s.addAsset(d, "web", "127.0.0.1")
		s.await("a healthy server", func() bool {
			out, _ := s.script("monitor.py", "health")
			return strings.Contains(out, "health: ok")
		})
		s.runScript([]string{"workers 1, busy 0, dead 0, queued 0, health ok", "alarm: only 0 busy"}, 0, "monitor.sh")

		running := s.execute(d, "pinned", "echo begun; sleep 300")
		next := s.execute(d, "pinned", "true")
		s.prints(s.job(running.ID).ID, "begun")
		for _, host := range []string{"host=127.0.0.1", "host=web", "queue=pinned_127.0.0.1"} {
			s.await("the open connection in the list", func() bool {
				out, code := s.script("monitor.py", "workers", host)
				return code == 0 && strings.Contains(out, "_pinned_127.0.0.1 busy 0 0 pinned_127.0.0.1")
			})
		}
		if out, _ := s.script("monitor.py", "workers", "queue=FifoQ"); strings.Contains(out, "pinned") || !strings.Contains(out, " busy ") {
			t.Errorf("workers of FifoQ:\n%s", out)
		}
		s.runScript([]string{"workers 2, busy 2, dead 0, queued 1", "well: "}, 0, "monitor.sh")

		s.runScript([]string{"stopped"}, 0, "monitor.py", "stop", "host=web")
		s.became(s.job(running.ID).ID, hostler.StateUnknown) // a command may have done its work
		s.runScript([]string{"error:"}, 1, "monitor.py", "wait", running.ID)
		s.must("job", "resolve", running.ID, "--as", "failed")
		s.runScript([]string{"retval:"}, 0, "monitor.py", "wait", next.ID)

		s.runScript([]string{"not stopped: 404"}, 1, "monitor.py", "stop", "name=nobody")
		var all []struct {
			Name string `json:"name"`
		}
		s.pulse(http.MethodGet, "/worker?queue=FifoQ", nil, &all)
		if len(all) != 1 {
			t.Fatalf("workers %+v", all)
		}
		for _, choice := range []string{"queue=pinned_127.0.0.1", "name=" + all[0].Name, "queue=FifoQ"} {
			s.runScript([]string{"stopped"}, 0, "monitor.py", "stop", choice)
			again := s.execute(d, "pinned", "echo again")
			s.runScript([]string{`'echo again': 'again\n'`}, 0, "monitor.py", "wait", again.ID)
		}

		if err := s.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = s.cmd.Wait()
		s.start()
		s.await("the alarm for the dead worker", func() bool {
			out, _ := s.script("monitor.sh")
			return strings.Contains(out, "alarm: dead: ")
		})
	})
}

// NetPulse's Python SDK works on its mount: its requests are accepted, and the fields
// that it reads are there.
func TestNetPulseSDK(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{})
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(d.PrivateKey), 0o600); err != nil {
		t.Fatal(err)
	}
	eachStore(t, func(_ *testing.T, s *server) {
		s.runScript([]string{"all as the SDK expects"}, 0, "sdk.py", strconv.Itoa(d.Port), d.User, key)
	})
}

// Prometheus' scrape configuration for NetPulse's /health works as it is.
func TestNetPulseScrape(t *testing.T) {
	s := start(t, t.TempDir(), "")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/health", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3,*/*;q=0.1")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/openmetrics-text") {
		t.Errorf("%d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
}
