package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

// escapedForms are the forms in which programs print a secret.
func escapedForms(t *testing.T, secret string) map[string]string {
	t.Helper()
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	inJSON := strings.Trim(string(quoted), `"`)
	percent := url.QueryEscape(secret)
	return map[string]string{
		"plain": secret, "query": percent, "query, lower case": lowerEscapes(percent), "path": url.PathEscape(secret),
		"path with slashes": strings.ReplaceAll(url.PathEscape(secret), "%2F", "/"), "JSON": inJSON,
		"JSON with slashes": strings.ReplaceAll(inJSON, "/", `\/`), "HTML": html.EscapeString(secret),
		"hex": hex.EncodeToString([]byte(secret)), "base64": base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64 for URLs": base64.URLEncoding.EncodeToString([]byte(secret)),
	}
}

// lowerEscapes writes %2F as %2f.
func lowerEscapes(s string) string {
	out := []byte(s)
	for i := 0; i+2 < len(out); i++ {
		if out[i] == '%' {
			copy(out[i+1:i+3], bytes.ToLower(out[i+1:i+3]))
		}
	}
	return string(out)
}

// A host prints a secret that a job was given by reference, in each form that programs
// use: none of them is in an answer, in an event, in the audit or in a file of the server.
func TestEscapedSecretsStayInside(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{})
	eachStore(t, func(t *testing.T, s *server) {
		s.addSSH(d)
		s.addAsset(d, "web", "127.0.0.1")
		const canary = `canary/5f<0e>&9"a+7 c@31`
		if _, errOut, code := s.run(canary, "credential", "add", "db", "--kind", "token", "--stdin"); code != 0 {
			t.Fatal(errOut)
		}
		forms := escapedForms(t, canary)
		var lines []string
		for name, form := range forms {
			lines = append(lines, name+"="+form)
		}
		leak := filepath.Join(t.TempDir(), "leak")
		if err := os.WriteFile(leak, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		args := fmt.Sprintf(`{"script":"cat %[1]s; cat %[1]s >&2; echo \"own=$PW\"; exit 1","env":{"PW":{"$secret":"db"}}}`, leak)
		file := filepath.Join(s.home, "args.json")
		if err := os.WriteFile(file, []byte(args), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errOut, _ := s.run("", "job", "run", "ssh_script", "--asset", "web", "--args-file", file, "--wait")
		for _, list := range [][]string{
			{"job", "list", "-o", "json"}, {"audit", "export"}, {"events", "-o", "json"}, {"credential", "list", "-o", "json"},
		} {
			out += s.must(list...)
		}
		out += errOut
		if n := strings.Count(out, "******"); n < len(forms) {
			t.Errorf("%d places are masked, want %d at least: the script did not print\n%s", n, len(forms), out)
		}
		for name, form := range forms {
			if strings.Contains(out, form) {
				t.Errorf("an answer shows the form %q, %s:\n%s", name, form, out)
			}
			for path, text := range s.files() {
				if bytes.Contains(text, []byte(form)) {
					t.Errorf("%s holds the form %q", path, name)
				}
			}
		}
	})
}

// A step of a run prints a secret in every form. Its output goes on: into an output of the
// step, into the args of a later one, the plan of an approval, a message to a chat, a report.
func TestSecretsOfRunsStayInside(t *testing.T) {
	d, h := sshtest.Start(t, sshtest.Options{}), newHook(t)
	t.Setenv("HOSTLER_EGRESS_ALLOW", "127.0.0.0/8")
	eachStore(t, func(t *testing.T, s *server) {
		s.addSSH(d)
		s.addAsset(d, "web", "127.0.0.1")
		const canary = `canary/7c<2e>&4"b+9 d@58`
		if _, errOut, code := s.run(canary, "credential", "add", "db", "--kind", "token", "--stdin"); code != 0 {
			t.Fatal(errOut)
		}
		forms := escapedForms(t, canary)
		dir := t.TempDir()
		leak := filepath.Join(dir, "leak")
		var lines []string
		for name, form := range forms {
			lines = append(lines, name+"="+form)
		}
		doc := filepath.Join(dir, "leak.yaml")
		for path, text := range map[string]string{leak: strings.Join(lines, "\n") + "\n", doc: `
apiVersion: hostler/v1
kind: Template
name: leak
steps:
  - id: show
    action: ssh_script
    target: {assets: [web]}
    args: {script: "cat ` + leak + `", env: {PW: {$secret: db}}}
    outputs: {v: {from: stdout}}
  - id: agree
    approval: {title: "go on with ${{ steps.show.outputs.v }}", approvers: ["role:admin"], self: true}
  - id: use
    action: ssh_script
    args: {script: "cat; exit 3", stdin: "${{ steps.show.outputs.v }}"}
    on_failure: continue
  - {id: tell, notify: {channel: chat, text: "got ${{ steps.show.outputs.v }}"}}
---
apiVersion: hostler/v1
kind: Task
name: leak-it
template: leak
`} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, before := s.client(), len(h.requests())
		if _, err := c.CreateChannel(t.Context(), hostler.ChannelInput{
			Name: "chat", Kind: hostler.ChannelSlack, URL: h.URL + "/chat", Events: []string{"*"},
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.CreateWebhook(t.Context(), hostler.WebhookInput{
			Name: "all", URL: h.URL + "/all", Events: []string{"*"},
		}); err != nil {
			t.Fatal(err)
		}
		s.must("apply", "-f", doc)
		named := s.raw(t, http.MethodPost, "/run-task", `{"task_name":"leak-it"}`)
		var started struct {
			ID hostler.RunID `json:"task_id"`
		}
		if err := json.Unmarshal([]byte(named), &started); err != nil {
			t.Fatal(err, named)
		}
		s.awaitRun(started.ID, hostler.RunWaiting, true)
		a := s.waiting(started.ID)
		if _, err := c.Approve(t.Context(), a.ID, hostler.DecisionInput{Digest: a.Digest, Comment: "fine"}); err != nil {
			t.Fatal(err)
		}
		var r hostler.Run
		s.await("the run to end", func() bool {
			r, _ = c.Run(t.Context(), started.ID)
			return r.State.Ended()
		})
		s.await("the messages", func() bool {
			for _, req := range h.requests()[before:] {
				if strings.Contains(req.body, "got ") {
					return true
				}
			}
			return false
		})
		out := named + fmt.Sprintf("%+v", *a)
		for _, path := range []string{
			"/runs", "/runs/" + started.ID.String(), "/approvals", "/approvals/" + a.ID.String(), "/jobs", "/audit",
			"/deliveries", "/stats?by=task", "/stats.csv?by=task", "/events?format=json&limit=1000", "/templates/leak", "/channels",
		} {
			out += s.raw(t, http.MethodGet, "/api/v1"+path, "")
		}
		out += s.must("run", "log", started.ID.String()) + s.must("run", "show", started.ID.String(), "-o", "json")
		out += s.raw(t, http.MethodGet, "/metrics", "") + s.raw(t, http.MethodGet, "/tasks", "")
		for _, req := range h.requests()[before:] {
			out += req.body + fmt.Sprint(req.header)
		}
		if n := strings.Count(out, "******"); n < 4*len(forms) {
			t.Errorf("%d places are masked, want %d at least: the output did not go on\n%s", n, 4*len(forms), out)
		}
		for name, form := range forms {
			if i := strings.Index(out, form); i >= 0 {
				t.Errorf("an answer or a message shows the form %q: …%s", name, out[max(0, i-300):min(len(out), i+100)])
			}
			for path, text := range s.files() {
				if bytes.Contains(text, []byte(form)) {
					t.Errorf("%s holds the form %q", path, name)
				}
			}
		}
	})
}

// raw sends a request with the admin key, and returns the body of its answer.
func (s *server) raw(t *testing.T, method, path, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-KEY", s.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= http.StatusBadRequest {
		t.Fatalf("%s %s: %d %s %v", method, path, res.StatusCode, text, err)
	}
	return string(text)
}
