// Package config reads the configuration of a Hostler server.
//
// # Model
//
// A [Setting] is one thing that can be configured. The table that [Settings]
// returns is the single source of names, defaults, rules and documentation: the
// YAML file, the environment, the flags and docs/configuration.md follow from it.
// [Load] reads the sources in the order defaults, file, environment, flags; a later
// one wins.
//
// # Invariants
//
// One error names every problem of all sources. An unknown key is an error, in the
// file and as a HOSTLER_ variable alike. Secrets come from the environment only;
// fmt, slog and JSON show them as "(secret)".
package config

import (
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// Config is a valid configuration, as [Load] returns it.
type Config struct {
	Version            string // of the program; not a setting
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
	PublicURL          string // as people reach the server; without a slash at its end
	OpenHealth         string // none, loopback or all
	Retention          time.Duration
	AuditRetention     time.Duration // 0 is for ever
	AuditArchive       string        // folder
	EnableLocalCommand bool
	LocalCommandUser   string   // of this machine; "" for the default
	LocalProjects      []string // whose operators may use local_command
	ForwardedHeader    string   // see the Forwarded constants
	SSHAlgorithms      string   // safe or legacy
	OutputLimit        int64    // bytes of one job's output
	ArtefactLimit      int64    // bytes of one artefact
	ArtefactJob        int64    // bytes of all artefacts of a job
	ArtefactProject    int64    // bytes of all artefacts of a project
	BodyLimit          int64    // bytes of one request's body
	MaxConnections     int      // of clients; 0 depends on the limit of open files
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
	OTLPEndpoint       string // base URL of a receiver of traces and metrics
	OTLPHeaders        Secret // name=value, separated by commas
	SentryDSN          Secret

	File string // the YAML file; "" for none
}

// Values of ForwardedHeader.
const (
	ForwardedForHeader = "x-forwarded-for"
	ForwardedHeader    = "forwarded"
	RealIPHeader       = "x-real-ip"
)

// Values of OpenHealth.
const (
	OpenHealthNone     = "none"
	OpenHealthLoopback = "loopback"
	OpenHealthAll      = "all"
)

// Secret is a text that fmt, slog and JSON show as "(secret)".
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

// TLS reports whether the server terminates TLS itself.
func (c Config) TLS() bool { return c.TLSCert != "" }

// SQLitePath is the database file; ok is false for PostgreSQL.
func (c Config) SQLitePath() (path string, ok bool) { return strings.CutPrefix(c.DB, sqliteScheme) }

const sqliteScheme = "sqlite:"

// Warnings lists what is allowed but risky.
func (c Config) Warnings() []hostler.Text {
	var ws []hostler.Text
	if !c.TLS() && !loopback(c.Listen) {
		ws = append(ws, hostler.Textf(
			"listening on %s without TLS: keys and output cross the network in clear text; "+
				"set tls_cert and tls_key, or listen on 127.0.0.1 behind a TLS proxy",
			"在 %s 上监听但未启用 TLS：密钥和输出将以明文传输；"+
				"请设置 tls_cert 和 tls_key，或只监听 127.0.0.1 并在前面放置 TLS 代理", c.Listen))
	}
	if c.EnableLocalCommand && len(c.LocalProjects) > 0 {
		ws = append(ws, hostler.Textf(
			"operators of %s may run any program on this machine (local_command_projects)",
			"%s 的操作员可以在本机运行任意程序（local_command_projects）", strings.Join(c.LocalProjects, ", ")))
	}
	if c.OpenHealth == OpenHealthAll {
		ws = append(ws, hostler.Text{
			EN: "open_health is all: every client that can connect to the server can read /health and /metrics",
			ZH: "open_health 为 all：任何能连接服务器的客户端都可以读取 /health 和 /metrics",
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

// complete sets the defaults that depend on other settings.
func (c *Config) complete() {
	if c.DB == "" {
		c.DB = sqliteScheme + filepath.Join(c.Data, "hostler.db")
	}
	if c.AuditArchive == "" {
		c.AuditArchive = filepath.Join(c.Data, "audit")
	}
}

// validate checks the rules that span several settings.
func (c *Config) validate(fields *check.Fields) {
	fields.Require((c.TLSCert == "") == (c.TLSKey == ""), "tls_cert",
		"tls_cert and tls_key must be set together", "tls_cert 与 tls_key 必须同时设置")
	fields.Require(c.AuditRetention == 0 || c.AuditRetention >= minAuditRetention, "audit_retention",
		"must be 0, for ever, or at least 1d", "必须为 0（永久保留）或不少于 1d")
	path, embedded := c.SQLitePath()
	fields.Require(!embedded || path != "", "db",
		"sqlite: must be followed by the path of a file", "sqlite: 后面需要文件路径")
	needsURL := c.WebhookToken != "" || c.WebhookSecret != "" || c.WebhookFormat != ""
	fields.Require(!needsURL || c.WebhookURL != "", "webhook_url",
		"is required because another webhook_ setting is given", "必须设置：已有其他 webhook_ 设置")
}
