package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hostler.dev/hostler/internal/config"
)

// TestProgramsCannotReadTheConfiguration: a configuration that everyone can read may hold the
// password of the database, wherever it is.
func TestProgramsCannotReadTheConfiguration(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not checked: only root can change the user; run the tests as root")
	}
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "hostler.yaml")
	text := "enable_local_command: true\nlocal_command_user: nobody\ndata: " + data + "\n"
	for _, err := range []error{
		os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), //nolint:gosec // as /etc is
		os.WriteFile(file, []byte(text), 0o644), //nolint:gosec // the fault that is looked for
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(config.Source{File: file})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	if a, err := s.localAccount(t.Context()); a != nil || err == nil || !strings.Contains(err.Error(), "chmod 600 "+file) {
		t.Errorf("with a readable configuration: %+v, %v", a, err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := s.localAccount(t.Context()); err != nil || a == nil || a.Name != "nobody" {
		t.Errorf("with a protected one: %+v, %v", a, err)
	}
}
