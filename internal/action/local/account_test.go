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
	account, err := AccountFor("", dataOnly(data), true)
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
	if _, err := AccountFor("", dataOnly(data), false); hostler.CodeOf(err) != hostler.CodeInvalid {
		t.Errorf("a user that can read the data folder: %v", err)
	}
}

func TestAccounts(t *testing.T) {
	data, root := t.TempDir()+"/absent", os.Geteuid() == 0
	if _, err := AccountFor("no-such-user", dataOnly(data), false); hostler.CodeOf(err) != hostler.CodeInvalid {
		t.Errorf("an unknown user: %v", err)
	}
	if !root {
		if a, err := AccountFor("", dataOnly(data), false); err != nil || !a.own() {
			t.Errorf("a server that is not root: %+v, %v", a, err)
		}
		if _, err := AccountFor("", dataOnly(data), true); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("shared with projects: %v", err)
		}
		return
	}
	if a, err := AccountFor("root", dataOnly(data), false); err != nil || !a.own() {
		t.Errorf("root by name: %+v, %v", a, err)
	}
	if _, err := AccountFor("root", dataOnly(data), true); hostler.CodeOf(err) != hostler.CodeInvalid {
		t.Errorf("root, shared with projects: %v", err)
	}
}

func dataOnly(folder string) Guarded { return Guarded{Folders: []string{folder}} }

// TestGuardedFilesAreUnreadable: a file with secrets outside the data folder, such as the
// configuration, must not be readable by the programs either.
func TestGuardedFilesAreUnreadable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not checked: only root can change the user; run the tests as root")
	}
	dir := t.TempDir() + "/etc"
	file, link := dir+"/hostler.yaml", t.TempDir()+"/link.yaml"
	for _, err := range []error{
		os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755),                 //nolint:gosec // as a folder that all may enter
		os.Mkdir(dir, 0o755),                                             //nolint:gosec // the fault that is looked for
		os.WriteFile(file, []byte("db: postgres://u:canary@h/d"), 0o644), //nolint:gosec // as above
		os.Symlink(file, link),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(path string) error {
		_, err := AccountFor("", Guarded{Folders: []string{"", dir + "/absent"}, Files: []string{"", dir + "/none", path}}, false)
		return err
	}
	for _, path := range []string{file, link} {
		if err := check(path); hostler.CodeOf(err) != hostler.CodeInvalid || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("readable %s: %v", path, err)
		}
	}
	o := on
	account, err := lookUp(fallbackUser)
	if err != nil {
		t.Fatal(err)
	}
	o.Account = account
	read := func() string {
		_, c := run(t, t.Context(), o, `{"argv":["cat","`+link+`"]}`)
		return c.out.String()
	}
	if !strings.Contains(read(), "canary") {
		t.Error("the program cannot read the file that is refused")
	}
	for _, mode := range []struct {
		path string
		mode os.FileMode
	}{{dir, 0o700}, {file, 0o600}} {
		if err := os.Chmod(mode.path, mode.mode); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{file, link} {
			if err := check(path); err != nil {
				t.Errorf("%s, with %s of mode %o: %v", path, mode.path, mode.mode, err)
			}
		}
		if strings.Contains(read(), "canary") {
			t.Errorf("the program reads the file with %s of mode %o", mode.path, mode.mode)
		}
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // as above
			t.Fatal(err)
		}
	}
}
