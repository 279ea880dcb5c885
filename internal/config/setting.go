package config

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
)

// Setting is one thing that can be configured.
type Setting struct {
	Key     string // in the YAML file
	Default string // as written; "" when it is described in Help
	Help    hostler.Text
	EnvOnly bool // secrets: no file, no flag
	NoFlag  bool // may hold a secret: every user of the machine can read flags
	Bool    bool // the flag needs no value
	Hidden  bool // for development; not in the documents

	set  func(c *Config, text string) error
	show func(c *Config) string
}

// Env is the setting's environment variable.
func (s Setting) Env() string { return envPrefix + strings.ToUpper(s.Key) }

// Flag is the setting's name on the command line, without dashes; "" for none.
func (s Setting) Flag() string {
	if s.EnvOnly || s.NoFlag {
		return ""
	}
	return strings.ReplaceAll(s.Key, "_", "-")
}

// Settings lists every setting in the order of the documents.
func Settings() []Setting {
	return []Setting{
		{
			Key: "listen", Default: "127.0.0.1:9000",
			Help: txt("Address and port to serve on.", "监听的地址和端口。"),
			set:  checked(func(c *Config) *string { return &c.Listen }, checkListen),
			show: func(c *Config) string { return c.Listen },
		},
		{
			Key: "data", Default: "./data",
			Help: txt("Folder for the embedded database, job output and the master key file.", "存放内置数据库、作业输出和主密钥文件的目录。"),
			set:  checked(func(c *Config) *string { return &c.Data }, notEmpty),
			show: func(c *Config) string { return c.Data },
		},
		{
			Key:  "db",
			Help: txt("Database: `sqlite:PATH` (default `sqlite:<data>/hostler.db`) or `postgres://user:password@host/name`.", "数据库：`sqlite:路径`（默认 `sqlite:<data>/hostler.db`）或 `postgres://user:password@host/name`。"),
			set:  checked(func(c *Config) *string { return &c.DB }, checkDB),
			show: func(c *Config) string { return redactDB(c.DB) },
		},
		{
			Key: "slots", Default: "64",
			Help: txt("Jobs that this server's own worker runs at once; 0 runs none here.", "本服务器内置工作节点同时运行的作业数；0 表示不在此运行作业。"),
			set:  count(func(c *Config) *int { return &c.Slots }, 0, 10_000),
			show: func(c *Config) string { return strconv.Itoa(c.Slots) },
		},
		{
			Key:  "tls_cert",
			Help: txt("PEM file with the server's certificate chain; with `tls_key` the server speaks TLS.", "服务器证书链的 PEM 文件；与 `tls_key` 一起设置后启用 TLS。"),
			set:  text(func(c *Config) *string { return &c.TLSCert }),
			show: func(c *Config) string { return c.TLSCert },
		},
		{
			Key:  "tls_key",
			Help: txt("PEM file with the private key of `tls_cert`.", "`tls_cert` 对应私钥的 PEM 文件。"),
			set:  text(func(c *Config) *string { return &c.TLSKey }),
			show: func(c *Config) string { return c.TLSKey },
		},
		{
			Key: "drain", Default: "60s",
			Help: txt("How long running jobs may go on after SIGTERM.", "收到 SIGTERM 后运行中的作业还可继续的时间。"),
			set:  span(func(c *Config) *time.Duration { return &c.Drain }, 0),
			show: func(c *Config) string { return c.Drain.String() },
		},
		{
			Key: "log_level", Default: "info",
			Help: txt("`debug`, `info`, `warn` or `error`.", "`debug`、`info`、`warn` 或 `error`。"),
			set:  setLevel,
			show: func(c *Config) string { return strings.ToLower(c.LogLevel.String()) },
		},
		{
			Key: "log_format", Default: "text",
			Help: txt("`text` for people or `json` for programs.", "`text` 便于阅读，`json` 便于程序处理。"),
			set:  oneOf(func(c *Config) *string { return &c.LogFormat }, "text", "json"),
			show: func(c *Config) string { return c.LogFormat },
		},
		{
			Key:  "trusted_proxies",
			Help: txt("CIDRs of proxies whose `Forwarded` and `X-Forwarded-For` headers count; from anybody else they are ignored.", "其 `Forwarded` 与 `X-Forwarded-For` 头可信的代理网段（CIDR）；其他来源的这些头会被忽略。"),
			set:  prefixes(func(c *Config) *[]netip.Prefix { return &c.TrustedProxies }),
			show: func(c *Config) string { return joinPrefixes(c.TrustedProxies) },
		},
		{
			Key: "open_health", Default: OpenHealthLoopback,
			Help: txt("Who may read `/health` and `/metrics` without a key: `none`, `loopback` (this machine, not through a proxy) or `all`.", "谁可以不带密钥读取 `/health` 和 `/metrics`：`none`、`loopback`（本机且不经代理）或 `all`。"),
			set:  oneOf(func(c *Config) *string { return &c.OpenHealth }, OpenHealthNone, OpenHealthLoopback, OpenHealthAll),
			show: func(c *Config) string { return c.OpenHealth },
		},
		{
			Key: "retention", Default: "30d",
			Help: txt("How long ended jobs and their output are kept.", "已结束作业及其输出的保留时间。"),
			set:  span(func(c *Config) *time.Duration { return &c.Retention }, time.Hour),
			show: func(c *Config) string { return c.Retention.String() },
		},
		{
			Key: "enable_local_command", Default: "false", Bool: true,
			Help: txt("Allow the action `local_command`, which runs commands on the server itself.", "允许 `local_command` 动作，即在服务器本机执行命令。"),
			set:  boolean(func(c *Config) *bool { return &c.EnableLocalCommand }),
			show: func(c *Config) string { return strconv.FormatBool(c.EnableLocalCommand) },
		},
		{
			Key: "ssh_algorithms", Default: SSHAlgorithmsSafe,
			Help: txt("`safe`, or `legacy` to reach also hosts and devices that speak only outdated SSH algorithms, such as `ssh-rsa` with SHA-1.", "`safe`；或 `legacy`，以便连接仅支持过时 SSH 算法（如使用 SHA-1 的 `ssh-rsa`）的主机和设备。"),
			set:  oneOf(func(c *Config) *string { return &c.SSHAlgorithms }, SSHAlgorithmsSafe, SSHAlgorithmsLegacy),
			show: func(c *Config) string { return c.SSHAlgorithms },
		},
		{
			Key: "output_limit", Default: "10MiB",
			Help: txt("Output kept of one job; of more, the head and the tail are kept.", "单个作业保留的输出大小；超出时保留开头和结尾。"),
			set:  size(func(c *Config) *int64 { return &c.OutputLimit }, 1<<10),
			show: func(c *Config) string { return strconv.FormatInt(c.OutputLimit, 10) },
		},
		{
			Key: "body_limit", Default: "8MiB",
			Help: txt("Largest request body.", "请求体的大小上限。"),
			set:  size(func(c *Config) *int64 { return &c.BodyLimit }, 1<<10),
			show: func(c *Config) string { return strconv.FormatInt(c.BodyLimit, 10) },
		},
		{
			Key:  "egress_allow",
			Help: txt("CIDRs that `http_request` and webhooks may reach although they are loopback, link-local or another special range.", "`http_request` 和回调可以访问的特殊网段（CIDR），如回环或链路本地地址。"),
			set:  prefixes(func(c *Config) *[]netip.Prefix { return &c.EgressAllow }),
			show: func(c *Config) string { return joinPrefixes(c.EgressAllow) },
		},
		{
			Key: "webhook_url", NoFlag: true,
			Help: txt("Gets a request at the end of every job of every project: see [webhooks.md](webhooks.md).", "每个项目的每个作业结束时向此地址发送请求：参见 [webhooks.zh.md](webhooks.zh.md)。"),
			set:  setWebhookURL,
			show: func(c *Config) string { return maskedURL(c.WebhookURL) },
		},
		{
			Key:  "webhook_format",
			Help: txt("Form of those requests: `task`, `standard`, `netpulse`, `dingtalk`, `wecom` or `feishu`; by default the robot that the URL belongs to, else `task`.", "这些请求的格式：`task`、`standard`、`netpulse`、`dingtalk`、`wecom` 或 `feishu`；默认按 URL 识别机器人，否则为 `task`。"),
			set:  setWebhookFormat,
			show: func(c *Config) string { return string(c.WebhookFormat) },
		},
		{
			Key: "webhook_retry", Default: "5s,5m,30m,2h,5h,10h,14h,20h,24h",
			Help: txt("Waits between the tries of every webhook's deliveries; an empty list tries once.", "所有回调投递失败后各次重试之间的等待时间；空列表表示只尝试一次。"),
			set:  setWebhookRetry,
			show: func(c *Config) string { return joinSpans(c.WebhookRetry) },
		},
		{
			Key: "webhook_token", EnvOnly: true,
			Help: txt("Sent to `webhook_url` as `Authorization: Bearer …`.", "以 `Authorization: Bearer …` 发送给 `webhook_url`。"),
			set:  secret(func(c *Config) *Secret { return &c.WebhookToken }),
			show: func(c *Config) string { return c.WebhookToken.String() },
		},
		{
			Key: "webhook_secret", EnvOnly: true,
			Help: txt("Signs the requests to `webhook_url`: the robot's own secret, or a `whsec_…` of Standard Webhooks.", "为发往 `webhook_url` 的请求签名：机器人的加签密钥，或 Standard Webhooks 的 `whsec_…`。"),
			set:  secret(func(c *Config) *Secret { return &c.WebhookSecret }),
			show: func(c *Config) string { return c.WebhookSecret.String() },
		},
		{
			Key: "lang", Default: "en",
			Help: txt("Language of the server's own messages: `en` or `zh`.", "服务器自身消息的语言：`en` 或 `zh`。"),
			set:  setLang,
			show: func(c *Config) string { return string(c.Lang) },
		},
		{
			Key: "admin_key", EnvOnly: true,
			Help: txt("Presets the first admin key, `hst_…`; otherwise one is generated and printed once.", "预设首个管理员密钥 `hst_…`；否则自动生成并只打印一次。"),
			set:  secret(func(c *Config) *Secret { return &c.AdminKey }),
			show: func(c *Config) string { return c.AdminKey.String() },
		},
		{
			Key: "master_key", EnvOnly: true,
			Help: txt("The key that seals credentials; otherwise it is kept in a file of mode 0600 in the data folder.", "用于加密凭据的主密钥；未设置时保存在数据目录中权限为 0600 的文件里。"),
			set:  secret(func(c *Config) *Secret { return &c.MasterKey }),
			show: func(c *Config) string { return c.MasterKey.String() },
		},
		{
			Key: "seed_sample", Default: "false", Bool: true, Hidden: true,
			Help: txt("Seeds a sample asset and a first job on an empty database.", "在空数据库中创建示例资产和第一个作业。"),
			set:  boolean(func(c *Config) *bool { return &c.SeedSample }),
			show: func(c *Config) string { return strconv.FormatBool(c.SeedSample) },
		},
	}
}

func txt(en, zh string) hostler.Text { return hostler.Text{EN: en, ZH: zh} }

// rule makes the error for a value that breaks a setting's rule; Load adds which
// setting and where it came from.
func rule(en, zh string, args ...any) error {
	return hostler.Errorf(hostler.CodeInvalid, en, zh, args...)
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, s string) error { *field(c) = s; return nil }
}

func checked(field func(*Config) *string, check func(string) error) func(*Config, string) error {
	return func(c *Config, s string) error {
		*field(c) = s
		return check(s)
	}
}

func notEmpty(s string) error {
	if s == "" {
		return rule("must not be empty", "不能为空")
	}
	return nil
}

func checkListen(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return rule("write an address and a port, like 127.0.0.1:9000 or :9000", "请写成地址加端口，例如 127.0.0.1:9000 或 :9000")
	}
	return nil
}

func checkDB(s string) error {
	if s == "" || strings.HasPrefix(s, sqliteScheme) {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		// The value may hold a password: it is not repeated.
		return rule("write sqlite:PATH or postgres://user:password@host/name", "请写成 sqlite:路径 或 postgres://user:password@host/name")
	}
	return nil
}

func count(field func(*Config) *int, least, most int) func(*Config, string) error {
	return func(c *Config, s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return rule("must be a whole number from %d to %d", "必须是 %d 到 %d 之间的整数", least, most)
		}
		*field(c) = n
		return nil
	}
}

func span(field func(*Config) *time.Duration, least time.Duration) func(*Config, string) error {
	return func(c *Config, s string) error {
		d, err := hostler.ParseDuration(s)
		if err != nil {
			return err
		}
		if d < least {
			return rule("must be at least %v", "不能小于 %v", least)
		}
		*field(c) = d
		return nil
	}
}

func boolean(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, s string) error {
		v, err := strconv.ParseBool(s)
		if err != nil {
			return rule("must be true or false", "必须是 true 或 false")
		}
		*field(c) = v
		return nil
	}
}

func oneOf(field func(*Config) *string, values ...string) func(*Config, string) error {
	return func(c *Config, s string) error {
		if slices.Contains(values, s) {
			*field(c) = s
			return nil
		}
		list := strings.Join(values, ", ")
		return rule("must be one of %s", "必须是以下之一：%s", list)
	}
}

// setLang also takes a locale such as zh_CN.UTF-8, for HOSTLER_LANG means the
// same to the command line.
func setLang(c *Config, s string) error {
	for _, lang := range []hostler.Lang{hostler.LangEN, hostler.LangZH} {
		if base, _, _ := strings.Cut(strings.ToLower(s), "_"); base == string(lang) {
			c.Lang = lang
			return nil
		}
	}
	return rule("must be one of %s", "必须是以下之一：%s", "en, zh")
}

func setLevel(c *Config, s string) error {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	level, ok := levels[strings.ToLower(s)]
	if !ok {
		return rule("must be one of %s", "必须是以下之一：%s", "debug, info, warn, error")
	}
	c.LogLevel = level
	return nil
}

func prefixes(field func(*Config) *[]netip.Prefix) func(*Config, string) error {
	return func(c *Config, s string) error {
		var list []netip.Prefix
		for part := range strings.SplitSeq(s, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			p, err := parsePrefix(part)
			if err != nil {
				return rule("%q is not an IP address or a CIDR like 10.0.0.0/8", "%q 不是 IP 地址或 10.0.0.0/8 形式的网段", part)
			}
			list = append(list, p)
		}
		*field(c) = list
		return nil
	}
}

func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		return p.Masked(), err
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func joinPrefixes(list []netip.Prefix) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

// units are the suffixes of sizes, longest first.
var units = []struct {
	suffix string
	bytes  float64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"B", 1},
}

// ParseSize reads a size such as 10MiB, 2GB or a bare number of bytes.
func ParseSize(s string) (int64, error) {
	number, unit := strings.TrimSpace(s), 1.0
	for _, u := range units {
		if head, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(head), u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n*unit >= 1<<62 {
		return 0, fmt.Errorf("read a size: %w", rule("write a size like 10MiB", "请写成 10MiB 这样的大小"))
	}
	return int64(n * unit), nil
}

func size(field func(*Config) *int64, least int64) func(*Config, string) error {
	return func(c *Config, s string) error {
		n, err := ParseSize(s)
		if err != nil || n < least {
			return rule("must be a size like 10MiB, at least %d bytes", "必须是 10MiB 这样的大小，且不少于 %d 字节", least)
		}
		*field(c) = n
		return nil
	}
}

func secret(field func(*Config) *Secret) func(*Config, string) error {
	return func(c *Config, s string) error { *field(c) = Secret(s); return nil }
}
