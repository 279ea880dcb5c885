package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// pulseJob is a job as NetPulse's clients read it.
type pulseJob struct {
	ID        string   `json:"id"`
	Status    string   `json:"status"`
	Queue     string   `json:"queue"`
	CreatedAt string   `json:"created_at"`
	EndedAt   *string  `json:"ended_at"`
	Worker    *string  `json:"worker"`
	Duration  *float64 `json:"duration"`
	QueueTime *float64 `json:"queue_time"`
	Result    *struct {
		Type   any `json:"type"`
		RetVal any `json:"retval"`
		Error  any `json:"error"`
	} `json:"result"`
}

type pulseWorker struct {
	Name     string   `json:"name"`
	Status   string   `json:"status"`
	Hostname string   `json:"hostname"`
	Queues   []string `json:"queues"`
	Running  int      `json:"running"`
}

// pulse makes a call and returns the data in its envelope.
func pulse[T any](t *testing.T, w *env, as, method, path, body string, status int) T {
	t.Helper()
	var e struct {
		Code    int
		Message string
		Data    T
	}
	a := w.do(t, as, method, path, body)
	if err := json.Unmarshal([]byte(a.Body), &e); err != nil || a.Status != status || e.Code != status || e.Message != "success" {
		t.Fatalf("%s %s: %d %s (%v), want %d in an envelope", method, path, a.Status, a.Body, err, status)
	}
	return e.Data
}

func eachMount(t *testing.T, fn func(t *testing.T, w *env, mount string)) {
	t.Helper()
	eachEnv(t, func(t *testing.T, w *env) {
		for _, mount := range []string{"", "/netpulse/0.3"} {
			t.Run("at"+mount, func(t *testing.T) { fn(t, w, mount) })
		}
	})
}

const onHost = `{"driver":"paramiko","connection_args":{"host":"%s","username":"ops","password":"canary-4f1c"},%s}`

func ids(jobs []pulseJob) (out []string) {
	for _, j := range jobs {
		out = append(out, j.ID)
	}
	return out
}

// TestNetPulseJobs goes through the life of jobs on both mounts: made, found by
// every filter, cancelled while they wait, and ended.
func TestNetPulseJobs(t *testing.T) { eachMount(t, netPulseJobs) }

func netPulseJobs(t *testing.T, w *env, mount string) {
	sdk := mount != ""
	host := "dev1.example"
	if sdk {
		host = "dev2.example"
	}
	queue := map[bool]string{false: "pinned_" + host, true: "HostQ_" + host}[sdk]
	make1 := func(more string) pulseJob {
		t.Helper()
		return pulse[pulseJob](t, w, operator, "POST", mount+"/device/exec", fmt.Sprintf(onHost, host, more), 201)
	}
	free := make1(`"command":"uptime"`)
	pinned := make1(`"command":["a","b"],"queue_strategy":"pinned"`)
	if free.Queue != "FifoQ" || pinned.Queue != queue || free.Status != "queued" || free.Result != nil || free.EndedAt != nil {
		t.Errorf("made %+v and %+v", free, pinned)
	}
	if at, err := time.Parse("2006-01-02T15:04:05.000000-07:00", free.CreatedAt); err != nil || time.Since(at) > time.Minute {
		t.Errorf("created_at %q: %v", free.CreatedAt, err)
	}
	var native hostler.JobID
	if err := native.UnmarshalText([]byte(free.ID)); err != nil {
		t.Fatal(err)
	}
	list := func(query string) []string {
		t.Helper()
		return ids(pulse[[]pulseJob](t, w, viewer, "GET", mount+"/job?"+query, "", 200))
	}
	both := []string{pinned.ID, free.ID}
	for query, want := range map[string][]string{
		"id=" + free.ID: {free.ID}, fmt.Sprintf("id=%d", native): {free.ID}, "id=" + free.ID + "&queue=nothing": {free.ID},
		"id=job_00000000001": nil, "id=550e8400-e29b-41d4-a716-446655440000": nil,
		"host=" + host: both, "host=" + host + "&queue=FifoQ": {free.ID}, "queue=pinned_" + host: {pinned.ID}, "queue=HostQ_" + host: {pinned.ID},
		"host=" + host + "&status=queued": both, "host=" + host + "&status=finished": nil, "node=h9&host=" + host: nil, "host=elsewhere": nil,
		"queue=default&host=" + host: both, "queue=nothing": nil,
	} {
		if diff := cmp.Diff(want, list(query)); diff != "" {
			t.Errorf("?%s (-want +got):\n%s", query, diff)
		}
	}
	if seen := pulse[[]pulseJob](t, w, stranger, "GET", mount+"/job?id="+free.ID, "", 200); len(seen) != 0 {
		t.Error("a foreign job is shown")
	}

	a := w.do(t, viewer, "GET", mount+"/job?limit=1&host="+host, "")
	link := a.Header.Get("Link")
	next, ok := strings.CutSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
	if u, err := url.Parse(next); !ok || err != nil || u.Query().Get("cursor") == "" || !strings.HasPrefix(next, mount+"/job?") {
		t.Fatalf("Link %q", link)
	}
	if got := ids(pulse[[]pulseJob](t, w, viewer, "GET", next, "", 200)); !cmp.Equal(got, []string{free.ID}) {
		t.Errorf("the next page has %v, want %v", got, free.ID)
	}

	// The running one is not touched, whatever selects it.
	d := w.manualWorker(t)
	l := d.lease(t)
	for l.Job != native {
		d.report(t, l, hostler.OutcomeSucceeded)
		l = d.lease(t)
	}
	running := pulse[[]pulseJob](t, w, viewer, "GET", mount+"/job?node=h&status=started&host="+host, "", 200)
	if len(running) != 1 || running[0].ID != free.ID || running[0].Worker == nil || *running[0].Worker != "manualWorker" {
		t.Errorf("running: %+v", running)
	}
	cancel := func(as, query string) []string {
		t.Helper()
		path := mount + "/job?" + query
		if sdk {
			return pulse[[]string](t, w, as, "DELETE", path, "", 200)
		}
		got := pulse[struct {
			Count *int     `json:"cancelled_count"`
			Jobs  []string `json:"cancelled_jobs"`
		}](t, w, as, "DELETE", path, "", 200)
		if got.Count == nil || *got.Count != len(got.Jobs) {
			t.Errorf("DELETE %s: %+v", path, got)
		}
		return got.Jobs
	}
	for _, query := range []string{"id=" + free.ID, "host=" + host + "&queue=FifoQ", "id=nonsense", "id=job_00000000001", "queue=pinned_nothing"} {
		if gone := cancel(operator, query); len(gone) != 0 {
			t.Errorf("?%s cancelled %v", query, gone)
		}
	}
	if gone := cancel(stranger, "id="+pinned.ID); len(gone) != 0 {
		t.Error("a foreign job was cancelled")
	}
	extra := make1(`"command":"x","queue_strategy":"pinned"`)
	if gone := cancel(operator, "id="+extra.ID); !cmp.Equal(gone, []string{extra.ID}) {
		t.Errorf("by id: %v", gone)
	}
	// The manualWorker may have been given the pinned job while it looked for the other.
	if state := pulse[[]pulseJob](t, w, viewer, "GET", mount+"/job?id="+pinned.ID, "", 200)[0].Status; state == "queued" {
		if gone := cancel(operator, "host="+host); !cmp.Equal(gone, []string{pinned.ID}) {
			t.Errorf("by host: %v", gone)
		}
	}
	errs, err := d.e.Report(t.Context(), d.id, []hostler.Report{{
		LeaseRef: l.LeaseRef, Attempt: l.Attempt, Outcome: hostler.OutcomeSucceeded,
		Result: json.RawMessage(`{"outputs":[{"command":"uptime","stdout":"up 3 days\n","stderr":"","exit_code":0}]}`),
	}})
	if err != nil || errs[0] != nil {
		t.Fatalf("report: %v %v", err, errs)
	}
	done := pulse[[]pulseJob](t, w, viewer, "GET", mount+"/job?id="+free.ID, "", 200)[0]
	want := map[bool]any{false: "success", true: 1.0}[sdk]
	if done.Status != "finished" || done.Result.Type != want || done.Result.Error != nil || done.Duration == nil || done.QueueTime == nil {
		t.Errorf("ended: %+v %+v", done, done.Result)
	}
	if diff := cmp.Diff(map[string]any{"uptime": "up 3 days\n"}, done.Result.RetVal); diff != "" {
		t.Errorf("retval (-want +got):\n%s", diff)
	}
	gone := pulse[[]pulseJob](t, w, viewer, "GET", mount+"/job?id="+extra.ID, "", 200)[0]
	for _, word := range []string{"canceled", "cancelled"} {
		if !slices.Contains(list("status="+word), extra.ID) {
			t.Errorf("?status=%s lacks %s", word, extra.ID)
		}
	}
	kind, _ := gone.Result.Error.(map[string]any)
	want = map[bool]any{false: "cancelled", true: 3.0}[sdk]
	word := map[bool]string{false: "cancelled", true: "canceled"}[sdk]
	if gone.Status != word || gone.Result.Type != want || gone.Result.Error == nil || sdk && kind["type"] != "cancelled" {
		t.Errorf("cancelled: %+v %+v", gone, gone.Result)
	}

	var stats map[string]struct {
		Count, Success, Failure int
		Total                   float64 `json:"total_time"`
		Last                    *string `json:"last_executed"`
	}
	eventually(t, "the ended jobs are counted", func() bool {
		w.mustDo(t, viewer, "GET", "/task-stats", "", &stats)
		return stats["ssh_command"].Failure > 0 && stats["ssh_command"].Success > 0
	})
	if st := stats["ssh_command"]; st.Success < 1 || st.Failure < 1 || st.Count != st.Success+st.Failure || st.Last == nil {
		t.Errorf("/task-stats: %+v", stats)
	}
}

// The published SDK tunes its driver in every request; NetPulse's printed examples
// say how long to wait for a connection.
func TestNetPulseSDKBody(t *testing.T) {
	eachMount(t, func(t *testing.T, w *env, mount string) {
		body := `{"driver":"paramiko","connection_args":{"username":"ops","password":"p","timeout":30.0,"host_key_policy":"auto_add","host":"192.0.2.1"},
"command":["uptime"],"ttl":300,"driver_args":{"read_timeout":60,"delay_factor":3,"max_loops":5000}}`
		pulse[pulseJob](t, w, operator, "POST", mount+"/device/exec", body, 201)
	})
}

// A parameter that a client does not set may be null.
func TestNetPulseNulls(t *testing.T) {
	eachMount(t, func(t *testing.T, w *env, mount string) {
		body := `{"driver":"paramiko","connection_args":{"host":"192.0.2.1","port":null,"username":"ops","password":null,"timeout":null},
"command":"x","config":null,"ttl":null,"queue_strategy":null,"webhook":null,"driver_args":null}`
		pulse[pulseJob](t, w, operator, "POST", mount+"/device/exec", body, 201)
	})
}

// TestNetPulseErrors: every refusal has NetPulse's form and repeats no secret.
func TestNetPulseErrors(t *testing.T) { eachMount(t, netPulseErrors) }

func netPulseErrors(t *testing.T, w *env, mount string) {
	before := w.state(t)
	conn := `"connection_args":{"host":"h1","username":"u","password":"canary-4f1c"}`
	for name, c := range map[string]struct {
		as, method, path, body string
		status                 int
		want                   string
	}{
		"no key":           {nobody, "GET", "/job", "", 403, ""},
		"cancel all":       {operator, "DELETE", "/job", "", 400, "id, queue"},
		"viewer cancels":   {viewer, "DELETE", "/job?id=1", "", 403, ""},
		"viewer runs":      {viewer, "POST", "/device/exec", `{}`, 403, ""},
		"stop all":         {admin, "DELETE", "/worker", "", 400, "name, queue"},
		"stop unknown":     {admin, "DELETE", "/worker?name=nobody", "", 404, "worker"},
		"operator stops":   {operator, "DELETE", "/worker?name=nobody", "", 403, ""},
		"status":           {viewer, "GET", "/job?status=odd", "", 422, "status"},
		"limit":            {viewer, "GET", "/job?limit=1001", "", 422, "limit"},
		"method":           {admin, "PUT", "/job", "", 405, ""},
		"driver":           {operator, "POST", "/device/exec", `{"driver":"napalm",` + conn + `,"command":"x"}`, 422, "paramiko, netmiko"},
		"no device":        {operator, "POST", "/device/exec", `{"driver":"paramiko","command":"x"}`, 422, "connection_args.host"},
		"two devices":      {operator, "POST", "/device/exec", `{"driver":"paramiko","asset":"web1",` + conn + `,"command":"x"}`, 422, "asset"},
		"login of asset":   {operator, "POST", "/device/exec", `{"driver":"paramiko","asset":"web1","connection_args":{"username":"u","password":"canary-4f1c"},"command":"x"}`, 422, "asset"},
		"port of asset":    {operator, "POST", "/device/test", `{"driver":"paramiko","asset":"web1","connection_args":{"port":2222}}`, 422, "asset"},
		"empty config":     {operator, "POST", "/device/exec", `{"driver":"netmiko",` + conn + `,"config":" \n"}`, 422, "command or config"},
		"no command":       {operator, "POST", "/device/exec", `{"driver":"paramiko",` + conn + `}`, 422, "command"},
		"both":             {operator, "POST", "/device/exec", `{"driver":"paramiko",` + conn + `,"command":"x","config":"y"}`, 422, "command"},
		"ttl":              {operator, "POST", "/device/exec", `{"driver":"paramiko",` + conn + `,"command":"x","ttl":86401}`, 422, "ttl"},
		"not supported":    {operator, "POST", "/device/exec", `{"driver":"paramiko",` + conn + `,"command":"x","rendering":{"name":"canary-4f1c"}}`, 422, "rendering: is a field of NetPulse"},
		"unknown":          {operator, "POST", "/device/exec", `{"driver":"paramiko",` + conn + `,"command":"x","is_admin":true}`, 422, "is_admin"},
		"unknown asset":    {operator, "POST", "/device/exec", `{"driver":"paramiko","asset":"nothing","command":"x"}`, 404, "nothing"},
		"driver args":      {operator, "POST", "/device/exec", `{"driver":"netmiko",` + conn + `,"command":"x","driver_args":{"expect_string":"canary-4f1c"}}`, 422, "expect_string"},
		"read timeout":     {operator, "POST", "/device/exec", `{"driver":"netmiko",` + conn + `,"command":"x","driver_args":{"read_timeout":3601}}`, 422, "read_timeout"},
		"host key policy":  {operator, "POST", "/device/exec", `{"driver":"paramiko","connection_args":{"host":"h1","username":"u","password":"p","host_key_policy":"reject"},"command":"x"}`, 422, "host_key_policy"},
		"password type":    {operator, "POST", "/device/exec", `{"driver":"paramiko","connection_args":{"host":"h1","password":["canary-4f1c"]},"command":"x"}`, 422, "password"},
		"command type":     {operator, "POST", "/device/exec", `{"driver":"paramiko",` + conn + `,"command":{"canary-4f1c":1}}`, 422, "command"},
		"cut off":          {operator, "POST", "/device/exec", `{"driver":"paramiko","connection_args":{"password":"canary-4f1c`, 400, ""},
		"bad login":        {operator, "POST", "/device/exec", `{"driver":"paramiko","connection_args":{"host":"h1","password":"canary-4f1c"},"command":"x"}`, 422, "connection_args.username"},
		"bulk of nothing":  {operator, "POST", "/device/bulk", `{"driver":"paramiko","devices":[],"command":"x"}`, 422, "devices"},
		"bulk driver":      {operator, "POST", "/device/bulk", `{"driver":"canary-4f1c","devices":[{"host":"h1"}],"command":"x"}`, 422, "driver"},
		"test of a driver": {operator, "POST", "/device/test", `{"driver":"pyeapi",` + conn + `}`, 422, "driver"},
		"webhook":          {operator, "POST", "/device/exec", `{"driver":"paramiko",` + conn + `,"command":"x","webhook":{"url":"ftp://canary-4f1c/"}}`, 422, "webhook.url"},
	} {
		req := w.request(t, c.as, c.method, mount+c.path, c.body)
		req.Header.Set("Accept-Language", "en")
		a := w.send(t, req)
		var e struct {
			Code    int
			Message string
		}
		if err := json.Unmarshal([]byte(a.Body), &e); err != nil || a.Status != c.status || e.Code != -1 || e.Message == "" || !strings.Contains(e.Message, c.want) {
			t.Errorf("%s: %d %s, want %d with %q", name, a.Status, a.Body, c.status, c.want)
		}
		if strings.Contains(a.Body, "canary") {
			t.Errorf("%s: the answer repeats a secret: %s", name, a.Body)
		}
	}
	for name, header := range map[string][2]string{
		"wrong key": {"X-API-KEY", "hst_wrong"}, "wrong bearer": {"Authorization", "Bearer wrong"},
	} {
		req := w.request(t, nobody, "GET", mount+"/job", "")
		req.Header.Set(header[0], header[1])
		if a := w.send(t, req); a.Status != 403 {
			t.Errorf("%s: %d, want 403", name, a.Status)
		}
	}
	for _, q := range []string{"api_key", "X-API-KEY", "key", "token"} {
		if a := w.do(t, nobody, "GET", mount+"/job?"+q+"="+w.keys[admin], ""); a.Status != 403 {
			t.Errorf("a key as %s in the URL: %d, want 403", q, a.Status)
		}
	}
	for _, name := range []string{"X-API-KEY", "x-api-key", "X-Api-Key"} {
		req := w.request(t, nobody, "GET", mount+"/job", "")
		req.Header[name] = []string{w.keys[viewer]}
		if a := w.send(t, req); a.Status != 200 {
			t.Errorf("the key as %s: %d", name, a.Status)
		}
	}
	if diff := cmp.Diff(before, w.state(t)); diff != "" {
		t.Errorf("a refused call changed something (-before +after):\n%s", diff)
	}
	if strings.Contains(w.log.String(), "canary-4f1c") {
		t.Error("a secret is in the log")
	}
}

// TestNetPulseBulk: one device that cannot be served does not fail the others.
func TestNetPulseBulk(t *testing.T) { eachMount(t, netPulseBulk) }

func netPulseBulk(t *testing.T, w *env, mount string) {
	type answer struct {
		Succeeded []struct {
			pulseJob
			Host string
		}
		Failed []struct{ Host, Reason string }
	}
	body := `{"driver":"paramiko","connection_args":{"username":"u","password":"canary-4f1c"},"command":"uptime","devices":[
		{"host":"b1"},{"host":"b2","port":2222,"command":["x","y"]},{"host":"b3","proxy_host":"p"},{"username":"v"},{"asset":"nothing"},{"host":"bad host"}]}`
	got := pulse[answer](t, w, operator, "POST", mount+"/device/bulk", body, 201)
	var failed []string
	for _, f := range got.Failed {
		if f.Reason == "" || strings.Contains(f.Reason, "canary") {
			t.Errorf("%s: reason %q", f.Host, f.Reason)
		}
		failed = append(failed, f.Host)
	}
	if len(got.Succeeded) != 2 || len(failed) != 4 || got.Succeeded[0].Host != "b1" || got.Succeeded[1].Host != "b2" {
		t.Errorf("%d made, %v failed", len(got.Succeeded), failed)
	}
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf(`{"host":"m%d"}`, i))
	}
	body = `{"driver":"paramiko","connection_args":{"username":"u","password":"p"},"command":"x","queue_strategy":"pinned","devices":[` + strings.Join(many, ",") + `]}`
	began := time.Now()
	got = pulse[answer](t, w, operator, "POST", mount+"/device/bulk", body, 201)
	if len(got.Succeeded) != 1000 || len(got.Failed) != 0 {
		t.Errorf("%d made, %d failed: %.200v", len(got.Succeeded), len(got.Failed), got.Failed)
	}
	t.Logf("1,000 devices took %v", time.Since(began))
	for _, job := range pulse[[]pulseJob](t, w, operator, "GET", mount+"/job?limit=1000", "", 200) {
		if strings.Contains(mustJSON(t, job), "canary") {
			t.Error("a list shows a secret")
		}
	}
	pulse[any](t, w, operator, "DELETE", mount+"/job?queue=default", "", 200)
	if left := pulse[[]pulseJob](t, w, viewer, "GET", mount+"/job?queue=default&status=queued", "", 200); len(left) != 0 {
		t.Errorf("%d jobs still wait after all were cancelled", len(left))
	}
}

// TestNetPulseWorkers: rows, filters and stops.
func TestNetPulseWorkers(t *testing.T) { eachMount(t, netPulseWorkers) }

func netPulseWorkers(t *testing.T, w *env, mount string) {
	d := w.manualWorker(t)
	list := func(query string) []pulseWorker {
		t.Helper()
		return pulse[[]pulseWorker](t, w, viewer, "GET", mount+"/worker"+query, "", 200)
	}
	for query, want := range map[string]int{"": 1, "?queue=FifoQ": 1, "?node=h": 1, "?node=x": 0, "?host=x": 0, "?queue=pinned_x": 0, "?queue=default": 1, "?queue=defualt": 0, "?queue=pinned_": 0} {
		if got := list(query); len(got) != want {
			t.Errorf("%s: %+v, want %d", query, got, want)
		}
	}
	if got := list("")[0]; got.Name != "manualWorker" || got.Status != "idle" || got.Hostname != "h" || !cmp.Equal(got.Queues, []string{"FifoQ"}) {
		t.Errorf("the worker is %+v", got)
	}
	w.mustDo(t, operator, "POST", "/api/v1/jobs", `{"action":"noop","on_lost":"fail"}`, nil)
	d.lease(t)
	if got := list(""); got[0].Status != "busy" || got[0].Running != 1 {
		t.Errorf("the busy worker is %+v", got)
	}
	for _, mistyped := range []string{"pinned_nothing", "pinned-nothing", "defualt", "HostQ_"} {
		if gone := pulse[any](t, w, admin, "DELETE", mount+"/worker?queue="+mistyped, "", 200); strings.Contains(mustJSON(t, gone), "manualWorker") {
			t.Errorf("queue=%s stopped %v", mistyped, gone)
		}
	}
	path := mount + "/worker?name=manualWorker&queue=nothing"
	if mount != "" {
		if got := pulse[[]string](t, w, admin, "DELETE", path, "", 200); !cmp.Equal(got, []string{"manualWorker"}) {
			t.Errorf("stopped %v", got)
		}
	} else {
		got := pulse[map[string]any](t, w, admin, "DELETE", path, "", 200)
		want := map[string]any{"worker": "manualWorker", "workers": []any{"manualWorker"}, "status": "stopped", "interrupted_jobs": 1.0}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("stopped (-want +got):\n%s", diff)
		}
	}
	if a := w.do(t, admin, "DELETE", path, ""); a.Status != 404 {
		t.Errorf("stopped again: %d, want 404", a.Status)
	}
}

// TestNetPulseTest compares the answer with the result of the job that tests.
func TestNetPulseTest(t *testing.T) { eachMount(t, netPulseTest) }

func netPulseTest(t *testing.T, w *env, mount string) {
	w.work(t)
	for host, ok := range map[string]bool{"good.example": true, "bad.example": false} {
		got := pulse[struct {
			Success   bool
			Error     *string
			Result    map[string]any
			Timestamp string
		}](t, w, operator, "POST", mount+"/device/test",
			`{"driver":"paramiko","connection_args":{"host":"`+host+`","username":"u","password":"canary-4f1c","keepalive":30}}`, 200)
		if got.Success != ok || (got.Error == nil) != ok || (got.Result["host"] == host) != ok || got.Timestamp == "" {
			t.Errorf("%s: %+v", host, got)
		}
	}
	if mount != "" {
		if got := pulse[string](t, w, admin, "GET", mount+"/health", "", 200); got != "ok" {
			t.Errorf("health %q", got)
		}
	}
}

// fakeSSH are actions with the names of the SSH actions, which have tests of their own.
func fakeSSH() []action.Action {
	command, check := noop(), noop()
	command.Name, check.Name = "ssh_command", "check_ssh"
	command.Schema = json.RawMessage(`{"type":"object","additionalProperties":false,"required":["commands"],"properties":{"commands":{"type":"array","items":{"type":"string"}}}}`)
	check.Run = func(_ context.Context, c *action.Call) action.Result {
		if c.Asset.Address != "good.example" {
			return action.Failed(nil, hostler.ErrKindUnreachable, "no way there", "无法到达")
		}
		return action.Succeeded(map[string]any{"server_version": "SSH-2.0-x"})
	}
	return []action.Action{command, check}
}
