package server

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/sqlite"
	"hostler.dev/hostler/internal/store/storetest"
)

func testConfig(t *testing.T, flags map[string]string) config.Config {
	t.Helper()
	all := map[string]string{"data": filepath.Join(t.TempDir(), "data"), "listen": "127.0.0.1:0"}
	maps.Copy(all, flags)
	cfg, err := config.Load(config.Source{Flags: all})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// levels maps each check to its worst level.
func levels(findings []Finding) map[string]string {
	rank := map[string]int{LevelOK: 1, LevelWarning: 2, LevelProblem: 3}
	m := map[string]string{}
	for _, f := range findings {
		if rank[f.Level] > rank[m[f.Check]] {
			m[f.Check] = f.Level
		}
	}
	return m
}

func TestDoctorOfAFreshMachine(t *testing.T) {
	got := levels(Doctor(t.Context(), testConfig(t, nil)))
	want := map[string]string{
		"configuration": LevelOK, "data": LevelOK, "key": LevelOK, "store": LevelOK,
		"listen": LevelOK, "tls": LevelOK, "limits": LevelOK, "webhook": LevelOK,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestDoctorFindsProblems(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		flags        map[string]string
		check, level string
	}{
		"port in use":           {map[string]string{"listen": l.Addr().String()}, "listen", LevelProblem},
		"everybody's data":      {map[string]string{"data": open}, "data", LevelWarning},
		"data is a file":        {map[string]string{"data": file}, "data", LevelProblem},
		"no certificate":        {map[string]string{"tls-cert": file, "tls-key": file}, "tls", LevelProblem},
		"clear text to the net": {map[string]string{"listen": "0.0.0.0:0"}, "configuration", LevelWarning},
		"no database": {
			map[string]string{"db": "postgres://nobody@127.0.0.1:1/none"},
			"store",
			LevelProblem,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, f := range Doctor(t.Context(), testConfig(t, tt.flags)) {
				if f.Check == tt.check && f.Level == tt.level {
					if tt.level == LevelProblem && f.Remedy == (hostler.Text{}) {
						t.Errorf("no remedy for %v", f)
					}
					return
				}
			}
			t.Errorf("no %s about %s", tt.level, tt.check)
		})
	}
}

func TestDoctorJudgesTheWebhookURL(t *testing.T) {
	for name, tt := range map[string]struct {
		environ []string
		level   string
	}{
		"this machine":      {[]string{"HOSTLER_WEBHOOK_URL=http://127.0.0.1:8080/in?key=canary"}, LevelWarning},
		"as a number":       {[]string{"HOSTLER_WEBHOOK_URL=http://localhost/canary0123456789"}, LevelWarning},
		"metadata":          {[]string{"HOSTLER_WEBHOOK_URL=http://169.254.169.254/"}, LevelWarning},
		"allowed":           {[]string{"HOSTLER_WEBHOOK_URL=http://127.0.0.1:8080/in", "HOSTLER_EGRESS_ALLOW=127.0.0.0/8"}, LevelOK},
		"another host":      {[]string{"HOSTLER_WEBHOOK_URL=https://192.0.2.1/in"}, LevelOK},
		"no address at all": {[]string{"HOSTLER_WEBHOOK_URL=https://no-such-host.invalid/in"}, LevelWarning},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := config.Load(
				config.Source{
					Environ: tt.environ,
					Flags:   map[string]string{"data": t.TempDir(), "listen": "127.0.0.1:0"},
				},
			)
			if err != nil {
				t.Fatal(err)
			}
			f := checkWebhook(t.Context(), cfg)
			if f.Level != tt.level || (f.Remedy == hostler.Text{}) != (tt.level == LevelOK) {
				t.Errorf("got %+v, want %s", f, tt.level)
			}
			if strings.Contains(fmt.Sprint(f), "canary") || strings.Contains(fmt.Sprint(f), "%!") {
				t.Errorf("the finding shows too much, or is not formed: %v", f)
			}
		})
	}
}

func TestBackupAndRestoreCarryTheDatabases(t *testing.T) {
	ctx := t.Context()
	cfg := testConfig(t, nil)
	if err := Backup(ctx, cfg, t.TempDir()); hostler.CodeOf(err) != hostler.CodeNotFound {
		t.Fatalf("Backup of nothing = %v, want not_found", err)
	}
	if _, err := os.Stat(cfg.Data); !os.IsNotExist(err) {
		t.Error("a backup of nothing made a data folder")
	}

	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	release, err := sqlite.LockFolder(cfg.Data) // as a running server does
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	st, _, err := openStore(ctx, cfg, opening{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()

	dest := filepath.Join(t.TempDir(), "backup")
	if err := Backup(ctx, cfg, dest); err != nil {
		t.Fatal(err)
	}
	elsewhere := testConfig(t, nil)
	if err := Restore(ctx, elsewhere, dest); err != nil {
		t.Fatal(err)
	}
	if hostler.CodeOf(Restore(ctx, elsewhere, dest)) == "" {
		t.Error("Restore replaced a data folder that is in use")
	}
	again, _, err := openStore(ctx, elsewhere, opening{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// heldIn returns why dispatch is held in the data of a configuration; "" if it is not.
func heldIn(t *testing.T, cfg config.Config) (reason string) {
	t.Helper()
	st, _, err := openStore(t.Context(), cfg, opening{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	err = st.InTx(t.Context(), func(tx *store.Tx) error {
		h, err := tx.Hold()
		if h != nil {
			reason = h.Reason
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return reason
}

// TestBackupsComeUpHeld is a regression test: a restored backup ran again, at once, what
// waited when it was taken. It does not matter how the files get back, or which version
// made them.
func TestBackupsComeUpHeld(t *testing.T) {
	ctx := t.Context()
	cfg := testConfig(t, nil)
	if r := heldIn(t, cfg); r != "" {
		t.Fatalf("a new database is held: %s", r)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	if err := Backup(ctx, cfg, backup); err != nil {
		t.Fatal(err)
	}
	if r := heldIn(t, cfg); r != "" {
		t.Errorf("the backup held the original: %s", r)
	}
	restored, copied, earlier := testConfig(t, nil), testConfig(t, nil), testConfig(t, nil)
	if err := Restore(ctx, restored, backup); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(copied.Data, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	// An earlier version's backup is a plain copy.
	if err := Restore(ctx, earlier, cfg.Data); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]config.Config{"restored": restored, "copied": copied, "earlier": earlier} {
		if r := heldIn(t, c); r != hostler.HoldBackup {
			t.Errorf("%s: held %q", name, r)
		}
		if l := levels(Doctor(ctx, c)); l["dispatch"] != LevelWarning {
			t.Errorf("%s: doctor does not tell: %v", name, l)
		}
	}
}

// TestDoctorReadsTheDatabase is a regression test: doctor called a damaged database fine.
func TestDoctorReadsTheDatabase(t *testing.T) {
	cfg := testConfig(t, nil)
	heldIn(t, cfg)
	path, _ := cfg.SQLitePath()
	if l := levels(Doctor(t.Context(), cfg)); l["store"] != LevelOK {
		t.Errorf("an intact database: %v", l)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text[4096*4 : 4096*6] {
		text[4096*4+i] = 0xff
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if l := levels(Doctor(t.Context(), cfg)); l["store"] != LevelProblem {
		t.Errorf("a damaged database: %v", l)
	}
}

// TestDoctorReportsEventsSetAside: whoever runs doctor learns of events that no webhook
// gets.
func TestDoctorReportsEventsSetAside(t *testing.T) {
	for _, flags := range []map[string]string{{}, {"db": storetest.Postgres(t)}} {
		cfg := testConfig(t, flags)
		st, _, err := openStore(t.Context(), cfg, opening{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := levels(Doctor(t.Context(), cfg)); got["webhooks"] != "" {
			t.Errorf("without events set aside: webhooks %s", got["webhooks"])
		}
		err = st.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`INSERT INTO event_aside (last, target, pos, row_last, n, at, body, since, error)
VALUES (7, 0, 3, 7, 4, 0, ?, 0, 'damaged')`, []byte{})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := levels(Doctor(t.Context(), cfg)); got["webhooks"] != LevelWarning {
			t.Errorf("with events set aside: %v, want a warning of webhooks", got)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
