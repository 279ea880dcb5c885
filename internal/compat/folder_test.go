package compat

import (
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler/internal/sshconn/sshtest"
)

// TestOldDataFolder opens the data folder of an older server: what it holds reads as
// it did, its secrets open, and its jobs go on.
func TestOldDataFolder(t *testing.T) {
	dir := filepath.Join("testdata", "sqlite")
	home := t.TempDir()
	unpack(t, filepath.Join(dir, "data.tar.gz"), home)
	openOld(t, sqliteNet, dir, home, "")
}

// TestOldDatabase is the same with a PostgreSQL database.
func TestOldDatabase(t *testing.T) {
	dir := filepath.Join("testdata", "postgres")
	home := t.TempDir()
	unpack(t, filepath.Join(dir, "data.tar.gz"), home)
	dump, err := os.ReadFile(filepath.Join(home, "dump.sql"))
	if err != nil {
		t.Fatal(err)
	}
	openOld(t, postgresNet, dir, home, newDatabase(t, "old_release", string(dump)))
}

// old is a server of this tree on a recorded folder.
type old struct {
	*server
	t    *testing.T
	net  network
	sc   scene
	hook *receiver
}

func openOld(t *testing.T, n network, dir, home, db string) {
	t.Helper()
	o := &old{t: t, net: n, hook: newReceiver(t, n)}
	readJSON(t, filepath.Join(dir, "scene.json"), &o.sc)
	// The jobs that run again look for this file; see record_test.go.
	if err := os.WriteFile(filepath.Join(home, "again"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.server = start(t, binary, home, db, o.sc.Keys["admin"], n.env()...)
	o.awaitRecovery(o.sc)
	o.sameAnswers(dir)
	o.keys()
	o.idempotency()
	o.output()
	o.lanes()
	o.logins()
	o.hostKeys()
	o.webhooks()
	o.file()
	o.again()
}

// sameAnswers compares every answer with the one of the older server.
func (o *old) sameAnswers(dir string) {
	o.t.Helper()
	want := map[string]any{}
	readGzip(o.t, filepath.Join(dir, "answers.json.gz"), &want)
	// The deliveries of the last events may still be on their way.
	var faults []string
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for try := 0; try == 0 || try < 20 && faults != nil; try++ {
		if try > 0 {
			<-tick.C
		}
		faults = o.sc.faults(want, o.readAll(o.sc))
	}
	for _, f := range faults {
		o.t.Error(f)
	}
}

// withoutLocalKey removes what a server of today adds when it starts: the key for the
// command line of its machine, and the row of the audit about it.
func withoutLocalKey(answer any) any {
	list, ok := answer.(map[string]any)
	items, isList := list["items"].([]any)
	if !ok || !isList {
		return answer
	}
	out := maps.Clone(list)
	out["items"] = slices.DeleteFunc(slices.Clone(items), func(item any) bool {
		x, _ := item.(map[string]any)
		detail, _ := x["detail"].(map[string]any)
		const name = "command line of this machine"
		return x["name"] == name || detail["name"] == name
	})
	return out
}

// listsThatGrow are the lists of what a server can do, with the key that tells their items
// apart. A newer server can do more.
var listsThatGrow = map[string]string{eventTypes: "type", "/api/v1/actions": "name"}

// known removes the items of a list that the older server did not have.
func known(key string, old, now any) any {
	itemsOf := func(answer any) (items []any, list map[string]any) {
		list, _ = answer.(map[string]any)
		items, _ = list["items"].([]any)
		return items, list
	}
	valueOf := func(item any) any {
		x, _ := item.(map[string]any)
		return x[key]
	}
	had := map[any]bool{}
	was, _ := itemsOf(old)
	for _, item := range was {
		had[valueOf(item)] = true
	}
	is, list := itemsOf(now)
	out := maps.Clone(list)
	out["items"] = slices.DeleteFunc(slices.Clone(is), func(item any) bool { return !had[valueOf(item)] })
	return out
}

// faults lists the answers that differ from those of the older server.
func (sc scene) faults(want, got map[string]any) []string {
	var out []string
	for _, path := range sc.reads() {
		answer := withoutLocalKey(got[path])
		if key, grows := listsThatGrow[path]; grows {
			answer = known(key, want[path], answer)
		}
		diff := differences("answer", want[path], answer)
		if len(diff) > 10 {
			diff = append(diff[:10], fmt.Sprintf("and %d more", len(diff)-10))
		}
		if len(diff) > 0 {
			out = append(out, fmt.Sprintf("GET %s differs from the older server's answer:\n\t%s", path, strings.Join(diff, "\n\t")))
		}
	}
	return out
}

// as is the server for the owner of another key.
func (o *old) as(key string) *server {
	s := *o.server
	s.key = o.sc.Keys[key]
	return &s
}

func (o *old) job(name string) string { return o.sc.Jobs[name] }

// expect waits for the states of jobs.
func (o *old) expect(state string, names ...string) {
	o.t.Helper()
	for _, name := range names {
		job := o.became(o.job(name), state)
		if job["error"] != nil && state == "succeeded" {
			o.t.Errorf("job %q succeeded with an error: %v", name, job["error"])
		}
	}
}

// run makes a job and returns its id.
func (o *old) run(body map[string]any) string {
	o.t.Helper()
	made := o.call(http.MethodPost, "/api/v1/jobs", body)
	job, _ := made["job"].(map[string]any)
	id, _ := job["id"].(string)
	return id
}

// keys checks that keys authenticate, with the rights and in the projects that they
// had, and that keys without rights still have none.
func (o *old) keys() {
	o.t.Helper()
	for key, want := range map[string]int{
		"admin": http.StatusOK, "alice": http.StatusOK, "lab": http.StatusOK, "viewer": http.StatusOK, "successor": http.StatusOK,
		"bob": http.StatusUnauthorized, "revoked": http.StatusUnauthorized,
	} {
		if a := o.as(key).send(http.MethodGet, "/api/v1/me", ""); a.status != want {
			o.t.Errorf("key %s: %d %s, want %d", key, a.status, a.body, want)
		}
	}
	if a := o.as("viewer").send(http.MethodPost, "/api/v1/jobs", `{"action":"check_port","assets":["site"]}`); a.status != http.StatusForbidden {
		o.t.Errorf("a viewer's job: %d %s", a.status, a.body)
	}
	if lab := o.as("lab").items("/api/v1/assets"); len(lab) != 1 || lab[0]["address"] != "192.0.2.7" {
		o.t.Errorf("the assets of lab are %v", lab)
	}
}

// idempotency checks that a request repeated after the upgrade makes no second job.
func (o *old) idempotency() {
	o.t.Helper()
	a := o.send(http.MethodPost, "/api/v1/jobs", `{"action":"check_port","assets":["site"],"queue":"ops","lane":"none","priority":1}`, "Idempotency-Key", "recorded-key")
	made, _ := a.decode(o.t).(map[string]any)
	ids, _ := made["jobs"].([]any)
	if a.status != http.StatusCreated || len(ids) != 1 || ids[0] != o.job("succeeded") {
		o.t.Errorf("the repeated request: %d %s, want job %s", a.status, a.body, o.job("succeeded"))
	}
}

// output checks the output of jobs, from the row of the job and from blocks.
func (o *old) output() {
	o.t.Helper()
	var long strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&long, "line %d of the long output\n", i)
	}
	read := func(name string) string {
		return string(o.send(http.MethodGet, "/api/v1/jobs/"+o.job(name)+"/log?format=text", "").body)
	}
	if got := read("block output"); got != long.String() {
		o.t.Errorf("the output in blocks is %d bytes, want %d", len(got), long.Len())
	}
	// The two streams of a job are not ordered.
	got := read("inline output")
	for _, want := range []string{"first line\n", "第二行\n", "no newline"} {
		if !strings.Contains(got, want) {
			o.t.Errorf("the output in the row of the job is %q, want %q in it", got, want)
		}
	}
}

// lanes checks that the unknown job and the one that backs off hold their lanes, and
// that the jobs behind them run when the lanes are free.
func (o *old) lanes() {
	o.t.Helper()
	late := o.run(map[string]any{"action": "check_port", "assets": []string{"site"}, "queue": "ops", "lane": "held"})
	for id, want := range map[string]string{late: "lane_unknown", o.job("behind the backoff"): "lane"} {
		var reasons []any
		for _, w := range o.items("/api/v1/jobs/" + id + "/waiting") {
			reasons = append(reasons, w["reason"])
		}
		if !slices.Contains(reasons, any(want)) {
			o.t.Errorf("job %s waits for %v, want %s", id, reasons, want)
		}
	}
	o.call(http.MethodPost, "/api/v1/jobs/"+o.job("unknown holds")+"/resolve", map[string]any{"state": "failed", "note": "checked"})
	o.expect("failed", "unknown holds")
	o.expect("succeeded", "behind the unknown", "behind it with ttl")
	o.became(late, "succeeded")

	o.call(http.MethodPost, "/api/v1/jobs/"+o.job("backs off")+"/cancel", nil)
	o.expect("cancelled", "backs off")
	o.expect("succeeded", "behind the backoff")

	again := o.call(http.MethodPost, "/api/v1/jobs/"+o.job("local failure")+"/retry", nil)
	if again["retry_of"] != o.job("local failure") {
		o.t.Errorf("the retried job is %v", again)
	}
	id, _ := again["id"].(string)
	o.became(id, "failed")
	o.call(http.MethodPost, "/api/v1/queues/halted/resume", nil)
	o.expect("succeeded", "returns to its queue")
	o.call(http.MethodPost, "/api/v1/jobs/"+o.job("scheduled")+"/cancel", nil)
	o.expect("cancelled", "scheduled")
}

// logins checks that sealed logins open: those of credentials, and those that jobs
// brought along. The hosts are elsewhere now.
func (o *old) logins() {
	o.t.Helper()
	newDevice(o.t, o.net, "9", o.sc.Secrets["ops public"])
	d := sshtest.Start(o.t, sshtest.Options{AnyAddress: true})
	place := func(name string, fields map[string]any) {
		asset := o.call(http.MethodGet, "/api/v1/assets/"+name, nil)
		for _, k := range []string{"id", "project", "created_at", "updated_at"} {
			delete(asset, k)
		}
		maps.Copy(asset, fields)
		o.call(http.MethodPut, "/api/v1/assets/"+name, asset)
	}
	if d.User == o.sc.Secrets["user"] {
		d.Authorize(o.sc.Secrets["ops public"])
		d.Authorize(o.sc.Secrets["locked public"])
	} else {
		// sshd lets nobody in but the user who runs the tests.
		for _, name := range []string{"ops", "locked"} {
			o.call(http.MethodPut, "/api/v1/credentials/"+name, map[string]any{"name": name, "kind": "ssh_key", "username": d.User, "private_key": d.PrivateKey})
		}
	}
	for name, address := range map[string]string{"web": "127.0.0.1", "gate": "127.0.0.2", "inner": "127.0.0.3"} {
		place(name, map[string]any{"address": address, "port": d.Port})
	}
	o.call(http.MethodPost, "/api/v1/queues/frozen/resume", nil)
	o.expect("succeeded", "frozen", "frozen with ttl", "frozen on a host", "frozen behind a jump", "frozen target")
	o.call(http.MethodPost, "/api/v1/queues/default/resume", nil)
	o.expect("succeeded", "netpulse")
	out := string(o.send(http.MethodGet, "/api/v1/jobs/"+o.job("frozen on a host")+"/log?format=text", "").body)
	if !strings.Contains(out, "from the old folder") {
		o.t.Errorf("the host printed %q", out)
	}
	o.await("the webhook of the job", func() bool { return len(o.hook.requests("/job")) > 0 })
	if got := o.hook.requests("/job")[0]; got.header.Get("Authorization") != "Bearer job-canary-token" {
		o.t.Errorf("the webhook of the job got %v", got.header)
	}
}

// hostKeys checks that the pinned host key of a device counts: the device at the
// address has another one now.
func (o *old) hostKeys() {
	o.t.Helper()
	newDevice(o.t, o.net, "7", "")
	show := map[string]any{"action": "net_cli", "assets": []string{"core"}, "queue": "hosts", "args": map[string]any{"commands": []string{"show version"}}}
	job := o.became(o.run(show), "failed")
	if why, _ := job["error"].(map[string]any); why["kind"] != "host_key_mismatch" {
		o.t.Errorf("the job on a device with another host key: %v", job["error"])
	}
	for _, k := range o.items("/api/v1/assets/core/hostkeys") {
		if k["state"] == "offered" {
			o.call(http.MethodPost, fmt.Sprintf("/api/v1/assets/core/hostkeys/%v/accept", k["id"]), nil)
		}
	}
	o.became(o.run(show), "succeeded")
}

// webhooks checks that requests carry the secrets that were sealed by the older
// server, and that what waited for a disabled webhook is sent when it is enabled.
func (o *old) webhooks() {
	o.t.Helper()
	o.await("the request of the webhook hook", func() bool { return len(o.hook.requests("/hook")) > 0 })
	for _, got := range o.hook.requests("/hook") {
		if got.query != "token=canary-url" || got.header.Get("Authorization") != "Bearer hook-canary-token" || got.header.Get("X-Env") != "prod" {
			o.t.Errorf("the webhook hook got ?%s %v", got.query, got.header)
		}
		checkSignature(o.t, o.sc.Secrets["hook"], got)
	}
	if got := o.hook.requests("/configured"); len(got) == 0 || got[0].header.Get("Authorization") != "Bearer configured-canary-9d" {
		o.t.Errorf("the configured webhook got %d requests", len(got))
	}
	o.call(http.MethodPost, "/api/v1/webhooks/off/enable", nil)
	o.await("what waited for the webhook off", func() bool { return len(o.hook.requests("/off")) > 0 })
	late := o.items("/api/v1/deliveries?webhook=late")
	if len(late) != 1 || late[0]["state"] != "pending" {
		o.t.Fatalf("the deliveries to late are %v", late)
	}
	o.call(http.MethodPost, fmt.Sprintf("/api/v1/deliveries/%v/resend", late[0]["id"]), nil)
	o.await("the delivery that was sent again", func() bool { return len(o.hook.requests("/late")) > 0 })
	got := o.hook.requests("/late")[0]
	checkSignature(o.t, lateSecret, got)
	if got.header.Get("Webhook-Id") != late[0]["id"] {
		o.t.Errorf("it was sent as %s, want %v", got.header.Get("Webhook-Id"), late[0]["id"])
	}
}

// checkSignature verifies a request as https://www.standardwebhooks.com asks.
func checkSignature(t *testing.T, secret string, got received) {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", got.header.Get("Webhook-Id"), got.header.Get("Webhook-Timestamp"), got.body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if !slices.Contains(strings.Fields(got.header.Get("Webhook-Signature")), want) {
		t.Errorf("the request to %s is signed %q, want %q", got.path, got.header.Get("Webhook-Signature"), want)
	}
}

// file checks that the exported assets import without a change.
func (o *old) file() {
	o.t.Helper()
	text := string(o.send(http.MethodGet, "/api/v1/assets.csv", "").body)
	a := o.send(http.MethodPost, "/api/v1/assets/import?dry_run=true", text, "Content-Type", "text/csv")
	got, _ := a.decode(o.t).(map[string]any)
	if a.status != http.StatusOK || fmt.Sprint(got["unchanged"]) != "7" || fmt.Sprint(got["failed"]) != "0" {
		o.t.Errorf("the export does not import: %d %s", a.status, a.body)
	}
}

// again restarts the server on the folder: a second start changes nothing.
func (o *old) again() {
	o.t.Helper()
	before := len(o.items("/api/v1/jobs?limit=1000"))
	o.kill()
	o.start()
	if after := len(o.items("/api/v1/jobs?limit=1000")); after != before {
		o.t.Errorf("%d jobs after a restart, %d before", after, before)
	}
	o.expect("unknown", "unknown releases", "becomes unknown")
}

// readGzip decodes a compressed file of testdata.
func readGzip(t testing.TB, path string, into any) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(z)
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
