package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hostler.dev/hostler"
)

// TestProgramsRunAsAnotherUser runs programs as nobody: they read neither the data folder
// nor the environment of the server.
func TestProgramsRunAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not checked: only root can change the user; run the tests as root")
	}
	t.Setenv("HOSTLER_MASTER_KEY", "canary")
	data := t.TempDir() + "/data"
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "master.key"), []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	account, err := AccountFor("", data, true)
	if err != nil || account.Name != fallbackUser {
		t.Fatalf("default of root: %+v, %v", account, err)
	}
	o := on
	o.Account = account
	res, c := run(t, t.Context(), o, `{"argv":["sh","-c","id -u; id -G; cat `+data+`/master.key; cat /proc/$PPID/environ; env; ls `+data+`"]}`)
	out := c.out.String() + c.err.String()
	if strings.Contains(out, "canary") || !strings.Contains(out, "enied") {
		t.Errorf("got %+v\n%s", res, out)
	}
	if ids := strings.Fields(c.out.String()); len(ids) < 2 || ids[0] == "0" || ids[1] == "0" {
		t.Errorf("runs as %v", ids)
	}
	if err := os.Chmod(data, 0o755); err != nil { //nolint:gosec // the fault that is looked for
		t.Fatal(err)
	}
	if _, err := AccountFor("", data, false); hostler.CodeOf(err) != hostler.CodeInvalid {
		t.Errorf("a user that can read the data folder: %v", err)
	}
}

func TestAccounts(t *testing.T) {
	data, root := t.TempDir()+"/absent", os.Geteuid() == 0
	if _, err := AccountFor("no-such-user", data, false); hostler.CodeOf(err) != hostler.CodeInvalid {
		t.Errorf("an unknown user: %v", err)
	}
	if !root {
		if a, err := AccountFor("", data, false); err != nil || !a.own() {
			t.Errorf("a server that is not root: %+v, %v", a, err)
		}
		if _, err := AccountFor("", data, true); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("shared with projects: %v", err)
		}
		return
	}
	if a, err := AccountFor("root", data, false); err != nil || !a.own() {
		t.Errorf("root by name: %+v, %v", a, err)
	}
	if _, err := AccountFor("root", data, true); hostler.CodeOf(err) != hostler.CodeInvalid {
		t.Errorf("root, shared with projects: %v", err)
	}
}
