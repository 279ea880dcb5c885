package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/action/netcli/devicetest"
)

const (
	deviceLogin  = "canary-device-login-91c2"
	deviceEnable = "canary-device-enable-4e0b"
)

// devices starts network devices of both dialects and adds them as assets.
func (s *server) devices(n int) []*devicetest.Device {
	s.t.Helper()
	for name, password := range map[string]string{"login": deviceLogin, "enable": deviceEnable} {
		in := hostler.CredentialInput{Name: name, Kind: hostler.CredentialPassword, Username: "admin", Password: password}
		if _, err := s.client().CreateCredential(s.t.Context(), in); err != nil {
			s.t.Fatal(err)
		}
	}
	var all []*devicetest.Device
	for i := range n {
		dialect := devicetest.Dialect(i % 2)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.2.%d:0", i+1))
		if err != nil {
			s.t.Fatal(err)
		}
		opts := devicetest.Options{Dialect: dialect, Password: deviceLogin}
		if dialect == devicetest.IOSXE {
			opts.Enable = deviceEnable
		}
		d, err := devicetest.Serve(l, opts)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(d.Close)
		_, err = s.client().CreateAsset(s.t.Context(), hostler.AssetInput{
			Name: fmt.Sprintf("net%d", i), Address: d.Address, Port: d.Port, Kind: "device", Platform: dialect.Platform(),
			Credential: "login", Labels: map[string]string{"dialect": dialect.Platform()},
		})
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// onDevices runs net_cli on every device of a dialect and returns the ended jobs.
func (s *server) onDevices(dialect devicetest.Dialect, args map[string]any) []hostler.Job {
	s.t.Helper()
	args["enable"] = "enable"
	raw, err := json.Marshal(args)
	if err != nil {
		s.t.Fatal(err)
	}
	made, err := s.client().CreateJobs(s.t.Context(), hostler.JobRequest{
		Action: "net_cli", Args: raw, Labels: map[string]string{"dialect": dialect.Platform()},
	}, client.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	var jobs []hostler.Job
	for _, id := range made.Jobs {
		s.await(fmt.Sprintf("the end of job %v", id), func() bool {
			j, err := s.client().Job(s.t.Context(), id)
			if err == nil && j.State.Terminal() {
				jobs = append(jobs, j)
			}
			return err == nil && j.State.Terminal()
		})
	}
	return jobs
}

// Fifty network devices of two makes show and set their configuration, and reject
// unknown lines; their passwords are stored and shown nowhere.
func TestNetworkDevices(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "")
	devices := s.devices(50)
	for dialect, lines := range map[devicetest.Dialect]struct{ show, rename string }{
		devicetest.IOSXE: {"show version", "hostname"},
		devicetest.VRP:   {"display version", "sysname"},
	} {
		all := func(args map[string]any, state hostler.State, text string) {
			t.Helper()
			jobs := s.onDevices(dialect, args)
			if len(jobs) != 25 {
				t.Fatalf("%d jobs, want 25", len(jobs))
			}
			for _, j := range jobs {
				if j.State != state || !strings.Contains(string(j.Result), text) {
					t.Errorf("%s on %s is %s, %+v, %s", j.ID, j.AssetName, j.State, j.Error, j.Result)
				}
			}
		}
		all(map[string]any{"commands": []string{lines.show}}, hostler.StateSucceeded, "oftware")
		all(map[string]any{"config": []string{"vlan 7", lines.rename + " core"}, "save": true}, hostler.StateSucceeded, `"saved":true`)
		all(map[string]any{"commands": []string{"bogus"}}, hostler.StateFailed, `"failed":true`)
	}
	for i, d := range devices {
		if d.Saved() != 1 || d.Logins() != 1 {
			t.Errorf("device %d was saved %d times over %d logins, want 1 and 1", i, d.Saved(), d.Logins())
		}
	}
	for _, j := range s.onDevices(devicetest.IOSXE, map[string]any{"commands": []string{"show secrets"}}) {
		if j.State != hostler.StateSucceeded || !strings.Contains(string(j.Result), "***") {
			t.Errorf("secrets are %s, %s", j.State, j.Result)
		}
	}
	for path, text := range s.files() {
		for _, canary := range []string{deviceLogin, deviceEnable} {
			if bytes.Contains(text, []byte(canary)) {
				t.Errorf("%s is in %s", canary, path)
			}
		}
	}
}
