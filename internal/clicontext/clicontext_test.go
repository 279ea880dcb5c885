package clicontext

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
)

func TestPublish(t *testing.T) {
	dir := t.TempDir()
	user := filepath.Join(dir, "home", "context.yaml")
	data1, data2 := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	publish := func(data, url, key string) {
		t.Helper()
		if err := Publish(data, user, Context{URL: url, Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want File) {
		t.Helper()
		got, err := Load(user)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("user's file (-want +got):\n%s", diff)
		}
	}
	local := func(url, key string) map[string]Context { return map[string]Context{Local: {URL: url, Key: key}} }

	publish(data1, "http://a", "hst_1")
	check(File{Current: Local, Contexts: local("http://a", "hst_1")})
	publish(data2, "http://b", "hst_2")
	check(File{Current: Local, Contexts: local("http://b", "hst_2")})
	publish(data1, "http://c", LocalKey(data1)) // a restart
	check(File{Current: Local, Contexts: local("http://c", "hst_1")})

	chosen := File{Current: "prod", Contexts: map[string]Context{"prod": {URL: "https://p", Key: "hst_p"}}}
	if err := Save(user, chosen); err != nil {
		t.Fatal(err)
	}
	publish(data2, "http://b", LocalKey(data2))
	chosen.Contexts[Local] = Context{URL: "http://b", Key: "hst_2"}
	check(chosen) // the user's choice is unchanged

	for _, path := range []string{user, filepath.Join(data1, fileName)} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s has mode %o, want 600", path, got)
		}
	}
}

func TestLoadRefusesGarbage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "context.yaml")
	if err := os.WriteFile(path, []byte("contexts: [1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); hostler.CodeOf(err) != hostler.CodeInvalid || !strings.Contains(err.Error(), path) {
		t.Errorf("Load = %v, want invalid that names the file", err)
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	c := Context{URL: "http://a", Key: "hst_canary"}
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c)} {
		if strings.Contains(s, "canary") {
			t.Errorf("the key is in %q", s)
		}
	}
}
