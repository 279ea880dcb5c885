// Package config is the configuration of a Hostler server.
//
// Model: a Setting is one thing that can be configured. The table of settings is
// the single source of their names, defaults, rules and documentation: the YAML
// file, the environment, the flags and docs/configuration.md are all made from
// it. Load goes through the sources in the order defaults, file, environment,
// flags; a later one wins.
//
// Invariants: every problem of all sources is named at once. An unknown key is an
// error, in the file and as a HOSTLER_ variable alike. Secrets come from the
// environment only and hide themselves from fmt, slog and JSON.
package config

import (
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"hostler.dev/hostler"
)

// Config is a valid configuration; Load makes it.
type Config struct {
	Listen             string
	Data               string
	DB                 string // sqlite:PATH or postgres://…; may hold a password
	Slots              int
	TLSCert            string
	TLSKey             string
	Drain              time.Duration
	LogLevel           slog.Level
	LogFormat          string // text or json
	TrustedProxies     []netip.Prefix
	OpenHealth         string // none, loopback or all
	Retention          time.Duration
	EnableLocalCommand bool
	SSHAlgorithms      string // safe or legacy
	OutputLimit        int64  // bytes of one job's output
	BodyLimit          int64  // bytes of one request's body
	EgressAllow        []netip.Prefix
	WebhookURL         Secret // may hold a token
	WebhookFormat      hostler.WebhookFormat
	WebhookRetry       []time.Duration
	WebhookToken       Secret
	WebhookSecret      Secret
	Lang               hostler.Lang
	AdminKey           Secret
	MasterKey          Secret
	SeedSample         bool
}

// Values of OpenHealth.
const (
	OpenHealthNone     = "none"
	OpenHealthLoopback = "loopback"
	OpenHealthAll      = "all"
)

// Secret is a text that hides itself from fmt, slog and JSON.
type Secret string

const hidden = "(secret)"

// Reveal returns the text itself.
func (s Secret) Reveal() string { return string(s) }

// String hides the text; "" stays "".
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides the text from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the text from JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the text from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// String lists the settings without their secrets.
func (c Config) String() string {
	var b strings.Builder
	for i, s := range Settings() {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s.Key + "=" + s.show(&c))
	}
	return b.String()
}

// GoString lists the settings without their secrets, for %#v.
func (c Config) GoString() string { return c.String() }

// LogValue lists the settings without their secrets.
func (c Config) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, s := range Settings() {
		attrs = append(attrs, slog.String(s.Key, s.show(&c)))
	}
	return slog.GroupValue(attrs...)
}

// Values of SSHAlgorithms.
const (
	SSHAlgorithmsSafe   = "safe"
	SSHAlgorithmsLegacy = "legacy"
)

// TLS reports whether the server speaks TLS itself.
func (c Config) TLS() bool { return c.TLSCert != "" }

// SQLitePath is the database file; ok is false for PostgreSQL.
func (c Config) SQLitePath() (path string, ok bool) { return strings.CutPrefix(c.DB, sqliteScheme) }

const sqliteScheme = "sqlite:"

// Warnings says what is allowed but worth a second thought.
func (c Config) Warnings() []hostler.Text {
	var ws []hostler.Text
	if !c.TLS() && !loopback(c.Listen) {
		ws = append(ws, hostler.Textf(
			"listening on %s without TLS: keys and output cross the network in clear text; set tls_cert and tls_key, or put a TLS proxy in front and listen on 127.0.0.1",
			"在 %s 上监听但未启用 TLS：密钥和输出将以明文传输；请设置 tls_cert 和 tls_key，或只监听 127.0.0.1 并在前面放置 TLS 代理", c.Listen))
	}
	if c.OpenHealth == OpenHealthAll {
		ws = append(ws, hostler.Text{
			EN: "open_health is all: anybody who reaches the server can read /health and /metrics",
			ZH: "open_health 为 all：任何能访问服务器的人都可以读取 /health 和 /metrics",
		})
	}
	return ws
}

func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// complete fills in what depends on other settings.
func (c *Config) complete() {
	if c.DB == "" {
		c.DB = sqliteScheme + filepath.Join(c.Data, "hostler.db")
	}
}

// validate checks the rules that span several settings.
func (c *Config) validate() []hostler.FieldError {
	var bad []hostler.FieldError
	if (c.TLSCert == "") != (c.TLSKey == "") {
		bad = append(bad, problem("tls_cert", "tls_cert and tls_key go together", "tls_cert 与 tls_key 必须同时设置"))
	}
	if path, ok := c.SQLitePath(); ok && path == "" {
		bad = append(bad, problem("db", "sqlite: needs the path of a file", "sqlite: 后面需要文件路径"))
	}
	if c.WebhookURL == "" && (c.WebhookToken != "" || c.WebhookSecret != "" || c.WebhookFormat != "") {
		bad = append(bad, problem("webhook_url", "is needed: another webhook_ setting is there", "必须设置：已有其他 webhook_ 设置"))
	}
	return bad
}

// redactDB is a database's address without its password.
func redactDB(db string) string {
	if strings.HasPrefix(db, sqliteScheme) {
		return db
	}
	u, err := url.Parse(db)
	if err != nil {
		return hidden
	}
	q := u.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if q.Has(name) {
			q.Set(name, "xxxxx")
		}
	}
	u.RawQuery = q.Encode()
	return u.Redacted()
}

func problem(path, en, zh string, args ...any) hostler.FieldError {
	return hostler.FieldError{Path: path, Text: hostler.Textf(en, zh, args...)}
}
