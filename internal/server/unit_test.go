package server

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnitIsHardened lets systemd check the unit that is shipped: that it is valid, and how
// much a service with it is exposed, on a scale from 0 to 10. An unhardened service has 9.6.
func TestUnitIsHardened(t *testing.T) {
	unit, err := os.ReadFile(filepath.Join("..", "..", "deploy", "hostler.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"User=hostler", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "UMask=0077",
		"StateDirectoryMode=0700", "SystemCallFilter=~@privileged", "EnvironmentFile=-/etc/hostler/environment",
	} {
		if !strings.Contains(string(unit), "\n"+line+"\n") {
			t.Errorf("the unit has no line %s", line)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatal("systemd-analyze is missing: install the package systemd (scripts/setup.sh test)")
	}
	// The program need not be installed here.
	file := filepath.Join(t.TempDir(), "hostler.service")
	text := strings.ReplaceAll(string(unit), "/usr/local/bin/hostler", "/bin/true")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"verify", "--man=no", file},
		{"security", "--offline=true", "--no-pager", "--threshold=20", file}, // 2.0
	} {
		out, err := exec.Command(analyze, args...).CombinedOutput() //nolint:gosec // systemd's own program
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}
