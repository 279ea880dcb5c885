package secret_test

import (
	"os"
	"path/filepath"
	"testing"

	"hostler.dev/hostler/internal/secret"
)

// TestKeyFileIsWhole is a regression test: a kill between the creation of the key file and
// its write left an empty file, with which no server started again.
func TestKeyFileIsWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.KeyFile(path, false); err == nil {
		t.Error("an empty key was accepted for data that was sealed with another")
	}
	key, err := secret.KeyFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	again, err := secret.KeyFile(path, false)
	if err != nil || !secret.SameKeys(again, key) {
		t.Errorf("the key changed: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
