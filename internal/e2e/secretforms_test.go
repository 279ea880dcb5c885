package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
