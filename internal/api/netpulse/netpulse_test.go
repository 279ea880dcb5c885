package netpulse_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/netpulse"
)

func TestRequestOfExec(t *testing.T) {
	var e netpulse.Exec
	body := `{"driver":"netmiko","connection_args":{"host":"10.0.0.1","port":2222,"username":"u","password":"p","secret":"en","device_type":"cisco_ios","keepalive":30},
		"config":["int a","shut"],"ttl":60,"result_ttl":600,"webhook":{"url":"https://ops.example.com/x","method":"PUT","headers":{"X-A":"1"},
		"cookies":{"b":"2","a":"1"},"auth":["u","p"],"timeout":60}}`
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatal(err)
	}
	got, err := e.Request()
	if err != nil {
		t.Fatal(err)
	}
	want := hostler.JobRequest{
		Action: "net_cli", Args: json.RawMessage(`{"config":["int a","shut"]}`), Lane: hostler.LaneAsset,
		TTL:    hostler.Duration(time.Minute),
		Target: &hostler.InlineTarget{Address: "10.0.0.1", Port: 2222, Platform: "cisco_ios", Username: "u", Password: "p", Enable: "en"},
		Webhook: &hostler.JobWebhook{
			URL: "https://ops.example.com/x", Method: "PUT", Format: hostler.FormatNetPulse, Timeout: hostler.Duration(10 * time.Second),
			Headers: map[string]string{"X-A": "1", "Cookie": "a=1; b=2", "Authorization": "Basic dTpw"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A device of a bulk request that has a key of its own does not get the password
// of the others.
func TestRequestsOfBulk(t *testing.T) {
	var b netpulse.Bulk
	body := `{"driver":"paramiko","connection_args":{"username":"u","password":"p","port":22},"command":"a",
		"devices":[{"host":"h1"},{"host":"h2","private_key":"k","port":23},{"asset":"web1","config":"b"},{"host":"h3","proxy_host":"x"}]}`
	if err := json.Unmarshal([]byte(body), &b); err != nil {
		t.Fatal(err)
	}
	reqs, err := b.Requests()
	if err != nil || len(reqs) != 4 {
		t.Fatal(reqs, err)
	}
	for i, want := range []*hostler.InlineTarget{
		{Address: "h1", Port: 22, Username: "u", Password: "p"},
		{Address: "h2", Port: 23, Username: "u", PrivateKey: "k"},
		nil,
	} {
		if diff := cmp.Diff(want, reqs[i].Request.Target); diff != "" || reqs[i].Err != nil {
			t.Errorf("%d: %v (-want +got):\n%s", i, reqs[i].Err, diff)
		}
	}
	if r := reqs[2].Request; !cmp.Equal(r.Assets, []string{"web1"}) || string(r.Args) != `{"commands":["b"]}` || reqs[2].Host != "web1" {
		t.Errorf("the asset: %+v", r)
	}
	if hostler.CodeOf(reqs[3].Err) != hostler.CodeInvalid {
		t.Errorf("a field that is not supported: %v", reqs[3].Err)
	}
}

func TestRows(t *testing.T) {
	now := time.Now()
	workers := []hostler.Worker{
		{ID: 1, Name: "w1", Hostname: "n1", State: "busy", Queues: []string{"*"}, Sessions: []hostler.HostSession{
			{Address: "10.0.0.1", User: "a", Since: now, Running: 1, Succeeded: 2},
			{Address: "10.0.0.1", User: "b", Since: now.Add(-time.Hour), Succeeded: 3, Failed: 1},
			{Address: "10.0.0.2", Since: now},
		}},
		{ID: 2, Name: "w2", Hostname: "n2", State: "draining", Queues: []string{"bulk"}},
		{ID: 3, Name: "w3", Hostname: "n2", State: "dead", Sessions: []hostler.HostSession{{Address: "10.0.0.1"}}},
	}
	rows := netpulse.Rows(workers, netpulse.SDK)
	names := func(s netpulse.Selection) (out []string) {
		for _, r := range rows {
			if s.Has(r) {
				out = append(out, r.Name)
			}
		}
		return out
	}
	one, two := "w1_pinned_10.0.0.1", "w1_pinned_10.0.0.2"
	for _, c := range []struct {
		sel  netpulse.Selection
		want []string
	}{
		{netpulse.Selection{}, []string{"w1", one, two, "w2", "w3"}},
		{netpulse.Selection{Name: one, Queue: "FifoQ"}, []string{one}},
		{netpulse.Selection{Queue: "FifoQ", Node: "n9"}, []string{"w1", "w2", "w3"}},
		{netpulse.Selection{Queue: "HostQ_10.0.0.2", Hosts: []string{"10.0.0.2"}}, []string{two}},
		{netpulse.Selection{Queue: "pinned_chassis", Hosts: []string{"10.0.0.1", "10.0.0.2"}}, []string{one, two}},
		{netpulse.Selection{Queue: "bulk", Known: true}, []string{"w1", "w2"}},
		{netpulse.Selection{Queue: "bulk"}, []string{"w2"}},
		{netpulse.Selection{Queue: "fifoq"}, nil},
		{netpulse.Selection{Queue: "pinned_"}, nil},
		{netpulse.Selection{Node: "n1", Hosts: []string{"10.0.0.1"}}, []string{one}},
		{netpulse.Selection{Node: "n2", Hosts: []string{"10.0.0.1"}}, nil},
	} {
		if diff := cmp.Diff(c.want, names(c.sel)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.sel, diff)
		}
	}
	r := rows[1]
	if r.Status != "busy" || r.Running != 1 || r.Succeeded != 5 || r.Failed != 1 || r.Queues[0] != "HostQ_10.0.0.1" || rows[2].Status != "idle" || rows[3].Status != "suspended" {
		t.Errorf("rows %+v", rows)
	}
	if !r.OpenIn(workers) {
		t.Error("the connection is still open")
	}
	workers[0].Sessions = []hostler.HostSession{{Address: "10.0.0.1", Since: now.Add(time.Second)}}
	if r.OpenIn(workers) {
		t.Error("a connection that was opened later is another one")
	}
}

func TestResults(t *testing.T) {
	failed := &hostler.JobError{Kind: "timeout", Text: hostler.Text{EN: "too late", ZH: "超时"}}
	for _, c := range []struct {
		state     hostler.State
		result    string
		err       *hostler.JobError
		page, sdk string
	}{
		{"running", "", nil, `null`, `null`},
		{"succeeded", `{"text":"port 22 open"}`, nil, `{"type":"success","retval":"port 22 open","error":null}`, `{"type":1,"retval":"port 22 open","error":null}`},
		{"succeeded", `{"outputs":[{"command":"a","output":"1"},{"command":"a","output":"2"}]}`, nil, `{"type":"success","retval":{"a":"12"},"error":null}`, `{"type":1,"retval":{"a":"12"},"error":null}`},
		{"succeeded", `{"outputs":[{"command":"show z","output":"1"},{"command":"a","stdout":"2","stderr":"3"}]}`, nil, `{"type":"success","retval":{"show z":"1","a":"23"},"error":null}`, `{"type":1,"retval":{"show z":"1","a":"23"},"error":null}`},
		{
			"succeeded", `{"outputs":[{"command":"a","stdout":"1","truncated":true},{"command":"b","output":"2","truncated":true}]}`, nil,
			`{"type":"success","retval":{"a":"1\n[已被 Hostler 截断：完整内容见作业日志]","b":"2\n[已被 Hostler 截断：完整内容见作业日志]"},"error":null}`,
			`{"type":1,"retval":{"a":"1\n[已被 Hostler 截断：完整内容见作业日志]","b":"2\n[已被 Hostler 截断：完整内容见作业日志]"},"error":null}`,
		},
		{"succeeded", `[1]`, nil, `{"type":"success","retval":[1],"error":null}`, `{"type":1,"retval":[1],"error":null}`},
		{"failed", `{"outputs":[]}`, failed, `{"type":"failed","retval":{},"error":"超时"}`, `{"type":2,"retval":{},"error":{"type":"timeout","message":"超时"}}`},
		{"expired", "", failed, `{"type":"expired","retval":null,"error":"超时"}`, `{"type":2,"retval":null,"error":{"type":"timeout","message":"超时"}}`},
		{"cancelled", "", nil, `{"type":"cancelled","retval":null,"error":null}`, `{"type":3,"retval":null,"error":null}`},
	} {
		for v, want := range map[netpulse.Version]string{netpulse.Page: c.page, netpulse.SDK: c.sdk} {
			j := netpulse.JobOf(hostler.Job{State: c.state, Result: json.RawMessage(c.result), Error: c.err}, "", v, hostler.LangZH)
			got, err := json.Marshal(j.Result)
			if err != nil || string(got) != want {
				t.Errorf("%s: %s, want %s", c.state, got, want)
			}
		}
	}
}
