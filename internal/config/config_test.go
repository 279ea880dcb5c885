package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/config"
)

var comparePrefixes = cmpopts.EquateComparable(netip.Prefix{})

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hostler.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustLoad(t *testing.T, src config.Source) config.Config {
	t.Helper()
	c, err := config.Load(src)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	want := config.Config{
		Listen: "127.0.0.1:9000", Data: "./data", DB: "sqlite:data/hostler.db", Slots: 64,
		Drain: time.Minute, LogLevel: slog.LevelInfo, LogFormat: "text", OpenHealth: "loopback", SSHAlgorithms: "safe",
		ForwardedHeader: "x-forwarded-for",
		Retention:       30 * 24 * time.Hour, AuditRetention: 365 * 24 * time.Hour, AuditArchive: "data/audit",
		OutputLimit: 10 << 20, ArtefactLimit: 1 << 30, ArtefactJob: 4 << 30, ArtefactProject: 20 << 30, BodyLimit: 8 << 20, Lang: hostler.LangEN,
		WebhookRetry: []time.Duration{
			5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
			10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
		},
	}
	if diff := cmp.Diff(want, mustLoad(t, config.Source{}), comparePrefixes); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestPrecedence(t *testing.T) {
	file := writeFile(t, "slots: 2\ndrain: 2s\nretention: 2d\ntrusted_proxies: [10.0.0.0/8, 192.0.2.7]\n")
	c := mustLoad(t, config.Source{
		Environ: []string{
			"HOSTLER_CONFIG=" + file, "HOSTLER_DRAIN=3s", "HOSTLER_SLOTS=3", "PATH=/bin",
			"HOSTLER_LANG=zh_CN.UTF-8", "HOSTLER_SERVICE_HOST=10.0.0.1", "HOSTLER_PORT=tcp://10.0.0.1:9000",
		},
		Flags: map[string]string{"slots": "4"},
	})
	if c.Slots != 4 || c.Drain != 3*time.Second || c.Retention != 48*time.Hour {
		t.Errorf("slots %d drain %v retention %v, want the flag's 4, the environment's 3s, the file's 48h",
			c.Slots, c.Drain, c.Retention)
	}
	if c.Lang != hostler.LangZH {
		t.Errorf("lang %q, want zh of the locale", c.Lang)
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32")}
	if diff := cmp.Diff(want, c.TrustedProxies, comparePrefixes); diff != "" {
		t.Errorf("trusted proxies (-want +got):\n%s", diff)
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	file := writeFile(t, "slotz: 2\nadmin_key: hst_canary\ndb: mysql://root:canary@x\n"+
		"listen: nowhere\nlisten: again\nlog_level: [a, {b: c}]\n")
	_, err := config.Load(config.Source{
		File:    file,
		Environ: []string{"HOSTLER_DRAIN=soon", "HOSTLER_LISTENN=x", "HOSTLER_KEY=hst_x", "HOSTLER_TLS_CERT=a.pem"},
		Flags:   map[string]string{"output-limit": "1", "nonsense": "1"},
	})
	var e *hostler.Error
	if !errors.As(err, &e) || e.Code != hostler.CodeInvalid {
		t.Fatalf("Load error %v, want CodeInvalid", err)
	}
	var got []string
	for _, f := range e.Fields {
		got = append(got, strings.TrimPrefix(f.Path, file+":"))
		if f.Text.EN == "" || f.Text.ZH == "" {
			t.Errorf("%s has no text in both languages", f.Path)
		}
	}
	want := []string{
		"1: slotz", "2: admin_key", "3: db", "4: listen", "5: listen", "6: log_level",
		"HOSTLER_DRAIN", "HOSTLER_LISTENN", "--output-limit", "--nonsense", "tls_cert",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("the error repeats a secret: %v", err)
	}
	if !strings.Contains(err.Error(), "did you mean slots?") {
		t.Errorf("the error does not name the near setting: %v", err)
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	for name, src := range map[string]config.Source{
		"missing":  {File: filepath.Join(t.TempDir(), "none.yaml")},
		"not yaml": {File: writeFile(t, "a: [")},
		"a list":   {File: writeFile(t, "- a\n")},
	} {
		if _, err := config.Load(src); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("%s: %v, want CodeInvalid", name, err)
		}
	}
	mustLoad(t, config.Source{File: writeFile(t, "# nothing\n")})
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	c := mustLoad(t, config.Source{Environ: []string{
		"HOSTLER_ADMIN_KEY=canary1", "HOSTLER_MASTER_KEY=canary2",
		"HOSTLER_DB=postgres://u:canary3@h/d?sslpassword=canary4",
	}})
	asJSON, err := json.Marshal(map[string]any{"a": c.AdminKey, "m": c.MasterKey})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("start", "config", c, "key", c.AdminKey)
	for name, out := range map[string]string{
		"fmt": fmt.Sprintf("%v %+v %#v %s %v %#v", c, c, c, c, c.AdminKey, c.MasterKey),
		"ptr": fmt.Sprint(&c), "json": string(asJSON), "slog": log.String(),
	} {
		if strings.Contains(out, "canary") {
			t.Errorf("%s shows a secret: %s", name, out)
		}
	}
	if c.AdminKey.Reveal() != "canary1" || !strings.Contains(c.DB, "canary3") {
		t.Error("the values themselves must not change")
	}
}

func TestWarnings(t *testing.T) {
	for listen, want := range map[string]int{
		"127.0.0.1:9000": 0, "localhost:1": 0, "[::1]:9000": 0, ":9000": 1, "0.0.0.0:9000": 1, "192.0.2.1:80": 1,
	} {
		c := mustLoad(t, config.Source{Flags: map[string]string{"listen": listen}})
		if got := len(c.Warnings()); got != want {
			t.Errorf("%s: %d warnings, want %d", listen, got, want)
		}
	}
	tls := mustLoad(t, config.Source{Flags: map[string]string{"listen": ":9000", "tls-cert": "c", "tls-key": "k"}})
	if len(tls.Warnings()) != 0 {
		t.Errorf("with TLS: %v", tls.Warnings())
	}
}

func TestSizes(t *testing.T) {
	load := func(size string) (config.Config, error) {
		return config.Load(config.Source{Flags: map[string]string{"body-limit": size}})
	}
	for in, want := range map[string]int64{
		"10MiB": 10 << 20, "1.5KiB": 1536, "2GB": 2e9, "4096": 4096, "3 kB": 3000, "3KB": 3000, "2048B": 2048,
		"1e7": 1e7, "10_000_000": 1e7,
	} {
		if c, err := load(in); err != nil || c.BodyLimit != want {
			t.Errorf("body_limit %q is %d, %v; want %d", in, c.BodyLimit, err, want)
		}
	}
	for _, in := range []string{"", "-1", "x", "2000XB", "NaN", "1e40GiB", "9999999999GiB", "1,5MiB", "7", "-1e7", "Inf", "1e40"} {
		if c, err := load(in); err == nil {
			t.Errorf("body_limit %q is %d, want an error", in, c.BodyLimit)
		}
	}
}

func TestSettingsAreDocumented(t *testing.T) {
	for _, s := range config.Settings() {
		if s.Help.EN == "" || s.Help.ZH == "" {
			t.Errorf("%s has no help in both languages", s.Key)
		}
	}
	docs := map[string]hostler.Lang{"configuration.md": hostler.LangEN, "configuration.zh.md": hostler.LangZH}
	for name, lang := range docs {
		path := filepath.Join("..", "..", "docs", name)
		want := config.Doc(lang)
		if os.Getenv("UPDATE_DOCS") != "" {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is out of date; run UPDATE_DOCS=1 go test ./internal/config (-want +got):\n%s", name, diff)
		}
	}
}

func TestExampleLoads(t *testing.T) {
	yaml := strings.TrimSuffix(strings.TrimPrefix(config.Example, "```yaml\n"), "```\n")
	c := mustLoad(t, config.Source{File: writeFile(t, yaml)})
	if c.Slots != 128 || c.Retention != 90*24*time.Hour || len(c.TrustedProxies) != 2 {
		t.Errorf("the example gives %v", c)
	}
}

// TestPasswordInFlag: a password on the command line is refused, with where it belongs.
func TestPasswordInFlag(t *testing.T) {
	const with, without = "postgres://u:c4nary@h/d", "postgres://u@h/d"
	for name, tt := range map[string]struct {
		src  config.Source
		want bool
	}{
		"flag":                {config.Source{Flags: map[string]string{"db": with}}, true},
		"parameter":           {config.Source{Flags: map[string]string{"db": without + "?password=c4nary"}}, true},
		"parameter of a key":  {config.Source{Flags: map[string]string{"db": without + "?sslpassword=c4nary"}}, true},
		"flag without one":    {config.Source{Flags: map[string]string{"db": without}}, false},
		"environment":         {config.Source{Environ: []string{"HOSTLER_DB=" + with}}, false},
		"file":                {config.Source{File: writeFile(t, "db: "+with+"\n")}, false},
		"flag beside a value": {config.Source{Environ: []string{"HOSTLER_DB=" + with}, Flags: map[string]string{"db": without}}, false},
	} {
		_, err := config.Load(tt.src)
		texts := fmt.Sprint(err)
		if e, ok := errors.AsType[*hostler.Error](err); ok {
			texts = fmt.Sprint(e.Fields)
		}
		if got := strings.Contains(texts, "--db") && strings.Contains(texts, "HOSTLER_DB"); got != tt.want || got != (err != nil) {
			t.Errorf("%s: refused %v, want %v: %s", name, got, tt.want, texts)
		}
		if strings.Contains(texts, "c4nary") {
			t.Errorf("%s: the error repeats the password", name)
		}
	}
}
