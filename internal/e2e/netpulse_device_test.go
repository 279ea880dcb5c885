package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action/netcli/devicetest"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

// NetPulse's clients test, read and configure a network device by netmiko's names;
// the login of the request is stored and shown nowhere.
func TestNetPulseOnANetworkDevice(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.3.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d, err := devicetest.Serve(l, devicetest.Options{Dialect: devicetest.IOSXE, Password: deviceLogin, Enable: deviceEnable})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	eachStore(t, func(t *testing.T, s *server) {
		login := func(password string) map[string]any {
			return map[string]any{
				"host": d.Address, "port": d.Port, "username": "admin", "password": password, "secret": deviceEnable, "device_type": "cisco_ios",
			}
		}
		for password, works := range map[string]bool{deviceLogin: true, "wrong-" + deviceLogin: false} {
			var tested struct {
				Success bool           `json:"success"`
				Error   *string        `json:"error"`
				Result  map[string]any `json:"result"`
			}
			s.pulse(http.MethodPost, "/device/test", map[string]any{"driver": "netmiko", "connection_args": login(password)}, &tested)
			if tested.Success != works || (tested.Error == nil) != works || (tested.Result["driver"] == "netmiko") != works {
				t.Errorf("test, which works: %v: %+v", works, tested)
			}
		}
		exec := func(what string, lines any) pulseJob {
			t.Helper()
			var j pulseJob
			s.pulse(http.MethodPost, "/device/exec", map[string]any{"driver": "netmiko", "connection_args": login(deviceLogin), what: lines}, &j)
			return j
		}
		shown := exec("command", []string{"show version", "show interfaces"})
		if shown.Queue != "pinned_"+d.Address {
			t.Errorf("a netmiko job is in %s", shown.Queue)
		}
		out, _ := s.script("monitor.py", "wait", shown.ID)
		if !strings.Contains(out, "retval: {") || !strings.Contains(out, "'show version': ") {
			t.Errorf("show: %s", out)
		}
		s.runScript([]string{"retval:"}, 0, "monitor.py", "wait", exec("config", "hostname core").ID)
		s.runScript([]string{"error:"}, 1, "monitor.py", "wait", exec("command", "bogus").ID)

		var jobs json.RawMessage
		s.pulse(http.MethodGet, "/job?limit=1000", nil, &jobs)
		texts := s.files()
		texts["GET /job"] = jobs
		texts["audit"] = []byte(s.must("audit", "list", "-o", "json"))
		for path, text := range texts {
			for _, canary := range []string{deviceLogin, deviceEnable} {
				if bytes.Contains(text, []byte(canary)) {
					t.Errorf("%s is in %s", canary, path)
				}
			}
		}
	})
}

// A job that waits longer than its ttl fails as expired, and the webhook of its
// request is notified.
func TestNetPulseJobExpires(t *testing.T) {
	d := sshtest.Start(t, sshtest.Options{})
	h := newHook(t)
	t.Setenv("HOSTLER_EGRESS_ALLOW", "127.0.0.0/8")
	s := start(t, t.TempDir(), "")
	first := s.execute(d, "pinned", "echo begun; sleep 300")
	s.prints(s.job(first.ID).ID, "begun")
	var late pulseJob
	s.pulse(http.MethodPost, "/device/exec", map[string]any{
		"driver": "paramiko", "command": "true", "queue_strategy": "pinned", "ttl": 1,
		"connection_args": map[string]any{"host": "127.0.0.1", "port": d.Port, "username": d.User, "private_key": d.PrivateKey},
		"webhook":         map[string]any{"url": h.URL, "cookies": map[string]string{"sid": "7"}, "auth": []string{"ops", "pass"}},
	}, &late)
	s.runScript([]string{"error:"}, 1, "monitor.py", "wait", late.ID)
	s.became(s.job(late.ID).ID, hostler.StateExpired)
	s.await("the webhook", func() bool { return len(h.requests()) > 0 })
	got := h.requests()[0]
	var texts struct{ ID, Status, Result string }
	if err := json.Unmarshal([]byte(got.body), &texts); err != nil || texts.ID != late.ID || texts.Status != "failed" || texts.Result == "" || got.header.Get("Cookie") != "sid=7" || got.header.Get("Authorization") != "Basic b3BzOnBhc3M=" {
		t.Errorf("the webhook got %v %s", got.header, got.body)
	}
	s.must("job", "cancel", first.ID)
}

// One request runs a command on twenty hosts and an asset; the job of an
// unsupported device fails alone.
func TestNetPulseBulkRuns(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{AnyAddress: true, Config: []string{"MaxStartups 100"}})
	eachStore(t, func(t *testing.T, s *server) {
		s.addSSH(d)
		s.addAsset(d, "web", "127.0.4.100")
		devices := []map[string]any{{"asset": "web"}, {"asset": "nothing"}, {"host": "127.0.4.99", "proxy_host": "127.0.4.98"}}
		for i := range 20 {
			devices = append(devices, map[string]any{"host": fmt.Sprintf("127.0.4.%d", i+1), "port": d.Port})
		}
		devices[3]["command"] = "echo own"
		var made struct {
			Succeeded []pulseJob          `json:"succeeded"`
			Failed    []map[string]string `json:"failed"`
		}
		s.pulse(http.MethodPost, "/device/bulk", map[string]any{
			"driver": "paramiko", "queue_strategy": "pinned", "command": "echo $SSH_CONNECTION", "devices": devices,
			"connection_args": map[string]any{"username": d.User, "private_key": d.PrivateKey},
		}, &made)
		if len(made.Succeeded) != 21 || len(made.Failed) != 2 || made.Failed[0]["host"] != "nothing" && made.Failed[1]["host"] != "nothing" {
			t.Fatalf("%d jobs, failed %v", len(made.Succeeded), made.Failed)
		}
		seen := map[string]bool{}
		for _, j := range made.Succeeded {
			var result struct {
				Outputs []struct{ Stdout string }
			}
			if err := json.Unmarshal(s.became(s.job(j.ID).ID, hostler.StateSucceeded).Result, &result); err != nil || len(result.Outputs) != 1 {
				t.Fatalf("%s: %v, %+v", j.ID, err, result)
			}
			out := result.Outputs[0].Stdout
			_, host, _ := strings.Cut(j.Queue, "pinned_")
			if want := " " + host + " "; !strings.Contains(out, want) && out != "own\n" {
				t.Errorf("%s printed %q, want%s", j.Queue, out, want)
			}
			seen[out] = true
		}
		if len(seen) != 21 || !seen["own\n"] {
			t.Errorf("printed %v", seen)
		}
	})
}
