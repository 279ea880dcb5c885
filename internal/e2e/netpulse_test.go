package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action/ssh/sshtest"
)

// script runs a client of NetPulse's against the server.
func (s *server) script(d *sshtest.Server, program, file string) string {
	s.t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		s.t.Fatalf("%s is missing; run scripts/setup.sh test", program)
	}
	cmd := exec.CommandContext(s.t.Context(), path, filepath.Join("testdata", file)) //nolint:gosec // our own script
	cmd.Env = append(os.Environ(), "BASE="+s.url, "KEY="+s.key, "TARGET_HOST="+d.Host, fmt.Sprintf("TARGET_PORT=%d", d.Port),
		"TARGET_USER="+d.User, "TARGET_KEY="+d.PrivateKey, "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", file, err, out)
	}
	return string(out)
}

// The scripts that people have for NetPulse run against Hostler as they are.
func TestNetPulseScripts(t *testing.T) {
	d := sshtest.Start(t, sshtest.Options{})
	eachStore(t, func(t *testing.T, s *server) {
		if out := s.script(d, "sh", "netpulse.sh"); !strings.Contains(out, "total 1\n") || !strings.Contains(out, "ALARM fewer than two busy") || strings.Contains(out, "dead") {
			t.Errorf("an idle server: %s", out)
		}
		out := s.script(d, "python3", "netpulse.py")
		for _, want := range []string{"finished job_", "worker ", "_pinned_" + d.Host, "health ok", "all good"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}

		keyLine := strings.Split(d.PrivateKey, "\n")[2]
		for path, text := range s.files() {
			if bytes.Contains(text, []byte(keyLine)) {
				t.Errorf("%s holds the private key of a request", path)
			}
		}

		// The worker and its connection are busy: no alarm.
		slow := s.request(s.onHost(d, "", "echo begun; sleep 300"))
		s.prints(slow.ID, "begun")
		s.await("a quiet watch", func() bool { return !strings.Contains(s.script(d, "sh", "netpulse.sh"), "ALARM") })
		s.must("job", "cancel", slow.ID.String())
		s.became(slow.ID, hostler.StateCancelled)
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
