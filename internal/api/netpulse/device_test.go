package netpulse_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/netpulse"
)

func request(t *testing.T, body string) hostler.JobRequest {
	t.Helper()
	var e netpulse.Exec
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatal(err)
	}
	req, err := e.Request()
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return req
}

const seconds = hostler.Duration(time.Second)

func TestDriversAndStrategies(t *testing.T) {
	inline := &hostler.InlineTarget{Address: "h1", Port: 2222, Username: "u", Password: "p"}
	conn := `"connection_args":{"host":"h1","port":2222,"username":"u","password":"p"}`
	for body, want := range map[string]hostler.JobRequest{
		`{"driver":"paramiko",` + conn + `,"command":"uptime"}`: {
			Action: "ssh_command", Args: json.RawMessage(`{"commands":["uptime"]}`), Lane: "none", TTL: 300 * seconds, Target: inline,
		},
		`{"driver":"paramiko",` + conn + `,"config":["a","b"],"queue_strategy":"pinned","ttl":1,"execution_timeout":7}`: {
			Action: "ssh_command", Args: json.RawMessage(`{"commands":["a","b"]}`), Lane: "asset", TTL: seconds, Timeout: 7 * seconds, Target: inline,
		},
		`{"driver":"netmiko","connection_args":{"host":"h1","device_type":"cisco_ios","username":"u","private_key":"k","passphrase":"f","secret":"e"},"config":"vlan 7"}`: {
			Action: "net_cli", Args: json.RawMessage(`{"config":["vlan 7"]}`), Lane: "asset", TTL: 300 * seconds,
			Target: &hostler.InlineTarget{Address: "h1", Platform: "cisco_ios", Username: "u", PrivateKey: "k", Passphrase: "f", Enable: "e"},
		},
		`{"driver":"netmiko",` + conn + `,"config":"interface Gi0/1\r\n description x\n\n"}`: {
			Action: "net_cli", Args: json.RawMessage(`{"config":["interface Gi0/1"," description x"]}`), Lane: "asset", TTL: 300 * seconds, Target: inline,
		},
		`{"driver":"paramiko",` + conn + `,"config":"if a\nthen b\nfi"}`: {
			Action: "ssh_command", Args: json.RawMessage(`{"commands":["if a\nthen b\nfi"]}`), Lane: "none", TTL: 300 * seconds, Target: inline,
		},
		`{"driver":"paramiko","asset":"web1","connection_args":{"keepalive":30},"command":"uptime"}`: {
			Action: "ssh_command", Args: json.RawMessage(`{"commands":["uptime"]}`), Lane: "none", TTL: 300 * seconds, Assets: []string{"web1"},
		},
		`{"driver":"netmiko",` + conn + `,"command":"show clock","driver_args":{"read_timeout":7.5,"delay_factor":3,"max_loops":5000}}`: {
			Action: "net_cli", Args: json.RawMessage(`{"commands":["show clock"],"timeout":7.5}`), Lane: "asset", TTL: 300 * seconds, Target: inline,
		},
		`{"driver":"paramiko",` + conn + `,"command":"uptime","driver_args":{"read_timeout":60}}`: {
			Action: "ssh_command", Args: json.RawMessage(`{"commands":["uptime"]}`), Lane: "none", TTL: 300 * seconds, Target: inline,
		},
		`{"driver":"netmiko","asset":"core1","command":["show version"],"queue_strategy":"fifo","parsing":null,"result_ttl":60}`: {
			Action: "net_cli", Args: json.RawMessage(`{"commands":["show version"]}`), Lane: "none", TTL: 300 * seconds, Assets: []string{"core1"},
		},
	} {
		if diff := cmp.Diff(want, request(t, body)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
}

func FuzzExec(f *testing.F) {
	f.Add(`{"driver":"paramiko","connection_args":{"host":"h","password":"c4nary"},"command":["a"],"webhook":{"url":"u","auth":["a","c4nary"]}}`)
	f.Add(`{"driver":"c4nary","command":{"c4nary":1},"rendering":"c4nary"}`)
	f.Fuzz(func(t *testing.T, body string) {
		var in netpulse.Exec
		if json.Unmarshal([]byte(body), &in) != nil {
			return
		}
		req, err := in.Request()
		if e, ok := errors.AsType[*hostler.Error](err); ok {
			for _, field := range e.Fields {
				if strings.Contains(field.Path+field.Text.EN+field.Text.ZH, "c4nary") {
					t.Errorf("a value is repeated: %+v", field)
				}
			}
			return
		}
		if (req.Target == nil) == (len(req.Assets) == 0) || req.Action == "" || !json.Valid(req.Args) {
			t.Errorf("made of %s: %+v", body, req)
		}
	})
}
