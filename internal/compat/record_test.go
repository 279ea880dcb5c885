//go:build record

package compat

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

var oldBinary = flag.String("binary", "", "the older hostler to record with")

// far is a time that does not come while these tests are of use.
var far = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// postdate moves the times that must lie in the future when the folder is opened:
// what is scheduled or backs off, the ttl of jobs (negative while it is suspended),
// the answers stored for idempotency keys, and the next tries of two webhooks. The
// next try of a disabled one is due.
var postdate = []string{
	`UPDATE sched SET run_at = %[1]d`,
	`UPDATE job SET run_at = %[1]d WHERE id IN (SELECT id FROM sched) AND run_at <> 0`,
	`UPDATE job SET expires_at = %[1]d WHERE expires_at > 0`,
	`UPDATE job SET expires_at = -%[1]d WHERE expires_at < 0`,
	`UPDATE idem SET created_at = %[1]d`,
	`UPDATE delivery SET next_at = %[1]d WHERE state = 'pending' AND webhook IN (SELECT id FROM webhook WHERE name IN ('broken', 'late'))`,
	`UPDATE delivery SET next_at = created_at + 0 * %[1]d WHERE state = 'pending' AND webhook IN (SELECT id FROM webhook WHERE name = 'off')`,
}

func TestRecordSQLite(t *testing.T) {
	home := t.TempDir()
	var sc scene
	t.Run("folder", func(t *testing.T) { sc = record(t, sqliteNet, home, "") })
	db, err := sql.Open("sqlite", filepath.Join(home, "data", "hostler.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, stmt := range postdate {
		if _, err := db.ExecContext(t.Context(), fmt.Sprintf(stmt, far)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("testdata", "sqlite")
	pack(t, home, filepath.Join(dir, "data.tar.gz"), "data/hostler.db", "data/hostler.db-wal", "data/hostler-output.db", "data/hostler-output.db-wal", "data/master.key")
	answers(t, sqliteNet, dir, sc, func() (string, string) {
		home := t.TempDir()
		unpack(t, filepath.Join(dir, "data.tar.gz"), home)
		return home, ""
	})
}

func TestRecordPostgres(t *testing.T) {
	home, dsn := t.TempDir(), newDatabase(t, "recorded", "")
	var sc scene
	t.Run("folder", func(t *testing.T) { sc = record(t, postgresNet, home, dsn) })
	for _, stmt := range postdate {
		execPostgres(t.Context(), t, dsn, fmt.Sprintf(stmt, far))
	}
	dump, err := exec.Command("pg_dump", "--inserts", "--no-owner", "--no-privileges", dsn).Output()
	if err != nil {
		t.Fatalf("pg_dump: %v", err)
	}
	if err := os.WriteFile(filepath.Join(home, "dump.sql"), plain(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("testdata", "postgres")
	pack(t, home, filepath.Join(dir, "data.tar.gz"), "dump.sql", "data/master.key")
	n := 0
	answers(t, postgresNet, dir, sc, func() (string, string) {
		home := t.TempDir()
		unpack(t, filepath.Join(dir, "data.tar.gz"), home)
		n++
		text, err := os.ReadFile(filepath.Join(home, "dump.sql"))
		if err != nil {
			t.Fatal(err)
		}
		return home, newDatabase(t, fmt.Sprintf("copy%d", n), string(text))
	})
}

// plain drops what only psql reads and the settings of the session: some are unknown
// to the servers of other versions.
func plain(dump []byte) []byte {
	var out []string
	for line := range strings.Lines(string(dump)) {
		if strings.HasPrefix(line, "SET ") || strings.HasPrefix(line, `\`) || strings.HasPrefix(line, "--") ||
			strings.HasPrefix(line, "SELECT pg_catalog.set_config('search_path'") || strings.TrimSpace(line) == "" {
			continue
		}
		out = append(out, line)
	}
	return []byte(strings.Join(out, ""))
}

// answers records what an older server answers on the folder. It starts one on two
// copies: what differs between the two is left out.
func answers(t *testing.T, n network, dir string, sc scene, copyOf func() (home, db string)) {
	t.Helper()
	newReceiver(t, n)
	var seen []map[string]any
	for range 2 {
		home, db := copyOf()
		if err := os.WriteFile(filepath.Join(home, "again"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := start(t, *oldBinary, home, db, sc.Keys["admin"], n.env()...)
		s.awaitRecovery(sc)
		seen = append(seen, s.readAll(sc))
		s.kill()
	}
	out := map[string]any{}
	for path, first := range seen[0] {
		out[path] = common(first, seen[1][path])
	}
	writeGzip(t, filepath.Join(dir, "answers.json.gz"), out)
	write(t, filepath.Join(dir, "scene.json"), sc)
}

func write(t *testing.T, path string, v any) {
	t.Helper()
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(raw, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func writeGzip(t *testing.T, path string, v any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if _, err := z.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func pack(t *testing.T, home, archive string, names ...string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	z, _ := gzip.NewWriterLevel(f, gzip.BestCompression)
	w := tar.NewWriter(z)
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(home, name))
		if os.IsNotExist(err) {
			continue
		}
		if err == nil {
			err = w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))})
		}
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []interface{ Close() error }{w, z, f} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// recorder builds a scene on an older server.
type recorder struct {
	*server
	net network
	sc  scene
}

// record makes a folder with objects of every kind and jobs in every state, and ends
// the server without warning.
func record(t *testing.T, n network, home, db string) scene {
	t.Helper()
	hook := newReceiver(t, n)
	hook.answer = func(path string) int {
		switch path {
		case "/gone":
			return http.StatusGone
		case "/broken", "/late", "/off":
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	}
	r := &recorder{net: n, sc: scene{
		Keys: map[string]string{"admin": auth.NewKey()}, Secrets: map[string]string{},
		Jobs: map[string]string{}, Runs: map[string]string{}, States: map[string]string{},
	}}
	r.server = start(t, *oldBinary, home, db, r.sc.Keys["admin"], append(n.env(), "HOSTLER_WEBHOOK_RETRY=50ms")...)
	r.people()
	host := r.inventory()
	newDevice(t, n, "7", "")
	r.queues()
	r.hostKeys(host)
	r.webhooks()
	r.ended()
	r.onDevice()
	r.unknown()
	r.waiting()
	r.running()
	r.delivered()
	// Whole seconds: the two databases compare times of different precision.
	r.sc.Recorded = time.Now().UTC().Add(time.Second).Truncate(time.Second).Format(time.RFC3339)
	r.sc.Events = len(r.items("/api/v1/events?format=json&after=0&limit=1000"))
	r.kill()
	return r.sc
}

func (r *recorder) people() {
	r.call("POST", "/api/v1/projects", map[string]any{"name": "lab"})
	r.call("POST", "/api/v1/users", map[string]any{"name": "alice", "roles": map[string]any{"default": "operator", "lab": "admin"}})
	r.call("POST", "/api/v1/users", map[string]any{"name": "bob", "roles": map[string]any{"default": "viewer"}})
	r.call("POST", "/api/v1/users", map[string]any{"name": "carol", "roles": map[string]any{"lab": "approver"}})
	r.key("alice", map[string]any{"name": "laptop", "user": "alice", "project": "default", "role": "operator"})
	r.key("lab", map[string]any{"name": "lab", "user": "alice", "project": "lab", "role": "admin"})
	r.key("viewer", map[string]any{"name": "ci", "user": "alice", "role": "viewer"})
	r.key("bob", map[string]any{"name": "phone", "user": "bob", "role": "viewer"})
	r.key("brief", map[string]any{"name": "brief", "user": "alice", "expires_in": "1h"})
	revoked := r.key("revoked", map[string]any{"name": "lost", "user": "alice"})
	r.call("DELETE", "/api/v1/keys/"+revoked, nil)
	rotated := r.key("rotated", map[string]any{"name": "robot", "user": "alice", "role": "operator"})
	successor := r.call("POST", "/api/v1/keys/"+rotated+"/rotate", nil)
	r.sc.Keys["successor"], _ = successor["secret"].(string)
	r.call("PATCH", "/api/v1/users/bob", map[string]any{"disabled": true})
}

func (r *recorder) key(name string, body map[string]any) (id string) {
	made := r.call("POST", "/api/v1/keys", body)
	r.sc.Keys[name], _ = made["secret"].(string)
	key, _ := made["key"].(map[string]any)
	id, _ = key["id"].(string)
	return id
}

// inventory makes credentials of every kind and assets with everything that one has.
func (r *recorder) inventory() *sshtest.Server {
	host := sshtest.Start(r.t, sshtest.Options{})
	locked, lockedPublic := sshtest.NewKey(r.t, "open sesame")
	private, public := sshtest.NewKey(r.t, "")
	host.Authorize(public)
	r.sc.Secrets["ops public"], r.sc.Secrets["locked public"], r.sc.Secrets["user"] = public, lockedPublic, host.User
	for _, c := range []map[string]any{
		{"name": "ops", "kind": "ssh_key", "username": host.User, "private_key": private},
		{"name": "locked", "kind": "ssh_key", "username": host.User, "private_key": locked, "passphrase": "open sesame"},
		{"name": "device", "kind": "password", "username": deviceUser, "password": "replaced below"},
		{"name": "api", "kind": "token", "token": "token-canary-7"},
	} {
		r.call("POST", "/api/v1/credentials", c)
	}
	r.call("PUT", "/api/v1/credentials/device", map[string]any{"name": "device", "kind": "password", "username": deviceUser, "password": devicePassword})
	n := string(r.net)
	for _, a := range []map[string]any{
		{"name": "gate", "address": n + "1", "credential": "locked", "labels": map[string]any{"role": "gate"}},
		{
			"name": "web", "address": "127.0.0.1", "port": host.Port, "platform": "linux", "credential": "ops",
			"labels": map[string]any{"role": "web", "zone": "a", "用途": "网站"}, "vars": map[string]any{"path": "/srv", "n": "1"},
		},
		{"name": "inner", "address": n + "2", "port": 2222, "credential": "ops", "jump": "gate", "device_key": "inner-key", "labels": map[string]any{"role": "web"}},
		{"name": "core", "kind": "device", "platform": "cisco_iosxe", "address": n + "7", "port": 18474, "credential": "device", "device_key": "rack-1"},
		{"name": "core-b", "kind": "device", "platform": "huawei_vrp", "address": n + "8", "credential": "device", "device_key": "rack-1", "host_key": "strict"},
		{"name": "site", "kind": "endpoint", "address": n + "5", "port": 18473, "labels": map[string]any{"role": "site"}},
		{"name": "closed", "kind": "endpoint", "address": n + "6", "port": 1, "labels": map[string]any{"role": "site"}},
		{"name": "former", "kind": "endpoint", "address": n + "5", "port": 18473},
	} {
		r.call("POST", "/api/v1/assets", a)
	}
	a := r.send("POST", "/api/v1/assets", `{"name":"web","address":"192.0.2.7","labels":{"project":"lab"}}`, "X-Project", "lab")
	if a.status != http.StatusCreated {
		r.t.Fatalf("an asset in lab: %d %s", a.status, a.body)
	}
	return host
}

// hostKeys leaves a pinned, an offered and a revoked host key of the asset web.
func (r *recorder) hostKeys(host *sshtest.Server) {
	run := func(name, state string) {
		r.job(name, map[string]any{"action": "ssh_command", "assets": []string{"web"}, "queue": "hosts", "args": map[string]any{"command": "echo on the host"}})
		r.is(name, state)
	}
	run("on a host", "succeeded")
	host.RotateHostKeys()
	host.DropConnections()
	run("host key mismatch", "failed")
	keys := r.items("/api/v1/assets/web/hostkeys")
	for _, k := range keys {
		if k["state"] == "offered" {
			r.call("POST", fmt.Sprintf("/api/v1/assets/web/hostkeys/%v/accept", k["id"]), nil)
		} else {
			r.call("POST", fmt.Sprintf("/api/v1/assets/web/hostkeys/%v/revoke", k["id"]), nil)
		}
	}
	host.RotateHostKeys()
	host.DropConnections()
	run("second mismatch", "failed")
}

func (r *recorder) queues() {
	r.call("PUT", "/api/v1/queues/ops", map[string]any{"limit": 10, "max_depth": 200})
	r.call("PUT", "/api/v1/queues/hosts", map[string]any{"limit": 3})
	r.call("PUT", "/api/v1/queues/halted", map[string]any{})
	r.call("PUT", "/api/v1/queues/frozen", map[string]any{"max_depth": 50})
	r.call("POST", "/api/v1/queues/frozen/pause", nil)
}

func (r *recorder) webhooks() {
	url := "http://" + r.net.receiver()
	made := r.call("POST", "/api/v1/webhooks", map[string]any{
		"name": "hook", "url": url + "/hook?token=canary-url", "events": []string{"job.succeeded", "job.failed", "job.unknown", "asset.*"},
		"headers": map[string]any{"X-Env": "prod"}, "token": "hook-canary-token", "generate_secret": true, "timeout": "5s", "rate": 6000, "limit": 4,
	})
	r.sc.Secrets["hook"], _ = made["secret"].(string)
	for _, w := range []map[string]any{
		{"name": "quiet", "url": url + "/quiet", "events": []string{"job.*"}},
		{"name": "chat", "url": url + "/chat", "format": "dingtalk", "secret": "SEC-canary", "events": []string{"job.failed"}, "lang": "zh"},
		{"name": "task", "url": url + "/task", "format": "task", "filter": map[string]any{"queues": []string{"ops"}}},
		{"name": "gone", "url": url + "/gone", "events": []string{"job.cancelled"}},
		{"name": "broken", "url": url + "/broken", "events": []string{"job.expired"}},
	} {
		r.call("POST", "/api/v1/webhooks", w)
	}
}

// job makes a job and remembers it by name.
func (r *recorder) job(name string, body map[string]any, header ...string) {
	r.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	a := r.send("POST", "/api/v1/jobs", string(raw), header...)
	if a.status != http.StatusCreated {
		r.t.Fatalf("job %s: %d %s", name, a.status, a.body)
	}
	made, _ := a.decode(r.t).(map[string]any)
	ids, _ := made["jobs"].([]any)
	r.sc.Jobs[name], _ = ids[0].(string)
	r.sc.Runs[name], _ = made["run"].(string)
	if len(ids) == 1 {
		delete(r.sc.Runs, name)
	}
}

// is waits for the state that the job has when the server is killed; later is the
// one that it gets when a server opens the folder, when that is another.
func (r *recorder) is(name, state string, later ...string) {
	r.t.Helper()
	r.became(r.sc.Jobs[name], state)
	r.sc.States[name] = state
	if len(later) > 0 {
		r.sc.States[name] = later[0]
	}
}

func check(asset string, more map[string]any) map[string]any {
	body := map[string]any{"action": "check_port", "assets": []string{asset}, "queue": "ops", "lane": "none"}
	maps.Copy(body, more)
	return body
}

func local(script string, more map[string]any) map[string]any {
	body := map[string]any{"action": "local_command", "queue": "ops", "lane": "none", "args": map[string]any{"argv": []string{"sh", "-c", script}}}
	maps.Copy(body, more)
	return body
}

// ended makes jobs in every terminal state, with results and output of both kinds.
func (r *recorder) ended() {
	r.job("succeeded", check("site", map[string]any{"priority": 1}), "Idempotency-Key", "recorded-key")
	r.is("succeeded", "succeeded")
	r.job("former asset", check("former", nil))
	r.is("former asset", "succeeded")
	r.call("DELETE", "/api/v1/assets/former", nil)
	r.job("fan-out", map[string]any{"action": "check_port", "labels": map[string]any{"role": "site"}, "queue": "ops", "lane": "none"})
	r.is("fan-out", "succeeded")
	r.job("failed", check("closed", map[string]any{"max_attempts": 3, "backoff": map[string]any{"kind": "fixed", "base": "10ms"}}))
	r.is("failed", "failed")
	again := r.call("POST", "/api/v1/jobs/"+r.sc.Jobs["succeeded"]+"/retry", nil)
	r.sc.Jobs["retried"], _ = again["id"].(string)
	r.is("retried", "succeeded")
	r.job("inline output", local("echo first line; echo 第二行 >&2; printf 'no newline'", nil))
	r.is("inline output", "succeeded")
	r.job("block output", local("i=0; while [ $i -lt 2500 ]; do echo line $i of the long output; i=$((i+1)); done", nil))
	r.is("block output", "succeeded")
	r.job("local failure", local("echo to stderr >&2; exit 3", nil))
	r.is("local failure", "failed")
	r.job("timed out", local("sleep 20", map[string]any{"timeout": "1s"}))
	r.is("timed out", "failed")
	r.job("cancelled", check("site", map[string]any{"queue": "frozen"}))
	r.call("POST", "/api/v1/jobs/"+r.sc.Jobs["cancelled"]+"/cancel", nil)
	r.is("cancelled", "cancelled")
	r.job("cancelled running", local("sleep 30", nil))
	r.is("cancelled running", "running")
	r.call("POST", "/api/v1/jobs/"+r.sc.Jobs["cancelled running"]+"/cancel", nil)
	r.is("cancelled running", "cancelled")
	r.job("expired", check("site", map[string]any{"queue": "frozen", "ttl": "1s"}))
	r.is("expired", "expired")
	// Only the ends above are for this webhook.
	r.call("POST", "/api/v1/webhooks/quiet/disable", nil)
}

func (r *recorder) onDevice() {
	r.job("on a device", map[string]any{"action": "net_cli", "assets": []string{"core"}, "queue": "hosts", "args": map[string]any{"commands": []string{"show version"}}})
	r.is("on a device", "succeeded")
}

// unknown kills the server while jobs run, so that it finds their outcome unknown.
func (r *recorder) unknown() {
	resolve := local("sleep 60", map[string]any{"on_lost": "ask", "lane": "resolved"})
	r.job("unknown holds", local("sleep 60", map[string]any{"on_lost": "ask", "lane": "held", "ttl": "8000h"}))
	r.job("unknown releases", local("sleep 60", map[string]any{"on_lost": "ask", "on_unknown": "release", "lane": "released"}))
	r.job("resolved", resolve)
	r.job("lost", local("sleep 60", map[string]any{"on_lost": "fail"}))
	for _, name := range []string{"unknown holds", "unknown releases", "resolved", "lost"} {
		r.is(name, "running")
	}
	r.kill()
	r.env = append(r.env, "HOSTLER_WEBHOOK_RETRY=1h")
	r.start()
	for _, name := range []string{"unknown holds", "unknown releases", "resolved"} {
		r.is(name, "unknown")
	}
	r.is("lost", "failed")
	r.call("POST", "/api/v1/jobs/"+r.sc.Jobs["resolved"]+"/resolve", map[string]any{"state": "succeeded", "note": "looked at it"})
	r.is("resolved", "succeeded")
}

// waiting makes jobs that wait for every reason.
func (r *recorder) waiting() {
	queued := func(name string, body map[string]any) {
		r.job(name, body)
		r.is(name, "queued")
	}
	r.call("POST", "/api/v1/webhooks", map[string]any{"name": "late", "url": "http://" + r.net.receiver() + "/late", "events": []string{"job.expired"}, "secret": lateSecret})
	r.call("POST", "/api/v1/webhooks", map[string]any{"name": "off", "url": "http://" + r.net.receiver() + "/off", "events": []string{"job.expired"}})
	r.job("expired late", check("site", map[string]any{"queue": "frozen", "ttl": "1s"}))
	r.is("expired late", "expired")
	r.await("the tries for late and off", func() bool {
		for _, d := range r.items("/api/v1/deliveries?state=pending") {
			if d["webhook_name"] == "off" && d["last"] != nil {
				return true
			}
		}
		return false
	})
	r.call("POST", "/api/v1/webhooks/off/disable", nil)
	queued("behind the unknown", check("site", map[string]any{"lane": "held", "priority": 9}))
	queued("behind it with ttl", check("site", map[string]any{"lane": "held", "ttl": "8000h"}))
	queued("frozen", check("site", map[string]any{"queue": "frozen"}))
	queued("frozen with ttl", check("site", map[string]any{"queue": "frozen", "ttl": "8000h"}))
	queued("frozen on a host", map[string]any{"action": "ssh_command", "assets": []string{"web"}, "queue": "frozen", "args": map[string]any{"command": "echo from the old folder"}})
	queued("frozen behind a jump", map[string]any{"action": "ssh_command", "assets": []string{"inner"}, "queue": "frozen", "args": map[string]any{"command": "echo through the gate"}})
	queued("frozen target", map[string]any{
		"action": "net_cli", "queue": "frozen", "args": map[string]any{"commands": []string{"show version"}},
		"target":  map[string]any{"address": string(r.net) + "9", "port": 18474, "platform": "cisco_iosxe", "username": deviceUser, "password": devicePassword},
		"webhook": map[string]any{"url": "http://" + r.net.receiver() + "/job", "token": "job-canary-token", "format": "netpulse"},
	})
	r.job("scheduled", check("site", map[string]any{"delay": "8000h"}))
	r.is("scheduled", "scheduled")
	backoff := map[string]any{"kind": "fixed", "base": "20h", "max": "20h"}
	r.job("backs off", check("closed", map[string]any{"lane": "strict", "max_attempts": 5, "backoff": backoff, "ttl": "8000h"}))
	r.is("backs off", "scheduled")
	queued("behind the backoff", check("site", map[string]any{"lane": "strict"}))
	r.job("backs off freely", check("closed", map[string]any{"lane": "loose", "max_attempts": 5, "backoff": backoff, "on_retry": "release"}))
	r.is("backs off freely", "scheduled")
	// The queue default is paused last: other calls put their jobs there.
	r.call("POST", "/api/v1/queues/default/pause", nil)
	done := r.call("POST", "/device/exec", map[string]any{
		"driver": "netmiko", "command": []string{"show version"}, "queue_strategy": "pinned",
		"connection_args": map[string]any{"host": string(r.net) + "9", "port": 18474, "username": deviceUser, "password": devicePassword, "device_type": "cisco_ios"},
	})
	data, _ := done["data"].(map[string]any)
	r.sc.Jobs["netpulse"], _ = data["id"].(string)
	r.is("netpulse", "queued")
}

// running leaves jobs that run when the server is killed. HOME is the folder above the
// data folder: what looks for a file there ends at once when it runs again and the test
// has made the file.
func (r *recorder) running() {
	again := `[ -e "$HOME/again" ] || sleep 60; echo again`
	r.job("runs again", local(again, map[string]any{"on_lost": "retry", "ttl": "8000h", "lane": "again"}))
	r.is("runs again", "running", "succeeded")
	r.job("behind the running", check("site", map[string]any{"lane": "again"}))
	r.is("behind the running", "queued", "succeeded")
	r.job("becomes unknown", local("sleep 60", map[string]any{"on_lost": "ask", "concurrency": map[string]any{"key": "two", "limit": 2}, "lane": ""}))
	r.is("becomes unknown", "running", "unknown")
	r.job("beside it", local(again, map[string]any{"on_lost": "retry", "concurrency": map[string]any{"key": "two", "limit": 2}, "lane": ""}))
	r.is("beside it", "running", "succeeded")
	r.job("behind the limit", check("site", map[string]any{"concurrency": map[string]any{"key": "two", "limit": 2}, "lane": ""}))
	r.is("behind the limit", "queued", "succeeded")
	// Its ttl no longer counts once it has begun, also back in its queue.
	r.job("returns to its queue", local(again, map[string]any{"on_lost": "retry", "ttl": "8000h", "queue": "halted"}))
	r.is("returns to its queue", "running", "queued")
	r.call("POST", "/api/v1/queues/halted/pause", nil)
	r.job("is lost", local("sleep 60", map[string]any{"on_lost": "fail"}))
	r.is("is lost", "running", "failed")
}

// common is what two answers to the same request have in common: anything replaces
// the values that differ, and keys that only one has are left out.
func common(a, b any) any {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			return anything
		}
		out := map[string]any{}
		for k := range x {
			if _, both := y[k]; both {
				out[k] = common(x[k], y[k])
			}
		}
		return out
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return anything
		}
		out := make([]any, len(x))
		for i := range x {
			out[i] = common(x[i], y[i])
		}
		return out
	}
	if a == b {
		return a
	}
	return anything
}
