package config

import (
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// value reads a setting's text into a field of a Config, and writes the field as
// text again, without what is secret in it. An error of set is CodeInvalid and does
// not repeat a text that may hold a secret; Load adds which setting is at fault and
// where it was given.
type value struct {
	set  func(c *Config, text string) error
	show func(c *Config) string
}

// invalid is the error of a text that breaks a setting's rule.
func invalid(en, zh string, args ...any) error {
	return hostler.Errorf(hostler.CodeInvalid, en, zh, args...)
}

// invalidChoice is the error of a text that is none of the values.
func invalidChoice(values ...string) error {
	return &hostler.Error{Code: hostler.CodeInvalid, Text: check.MustBeOneOf(values...)}
}

// textOf is a text that passes the rules.
func textOf(field func(*Config) *string, rules ...func(string) error) value {
	return value{
		set: func(c *Config, s string) error {
			*field(c) = s
			for _, rule := range rules {
				if err := rule(s); err != nil {
					return err
				}
			}
			return nil
		},
		show: func(c *Config) string { return *field(c) },
	}
}

// httpURL allows nothing, or a URL of HTTP without user and query.
func httpURL(s string) error {
	u, err := url.Parse(s)
	if s != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "") {
		return invalid("must be a URL such as http://127.0.0.1:4318", "须为 URL，如 http://127.0.0.1:4318")
	}
	return nil
}

func notEmpty(s string) error {
	if s == "" {
		return invalid("must not be empty", "不能为空")
	}
	return nil
}

func checkListen(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return invalid("write an address and a port, like 127.0.0.1:9000 or :9000",
			"请写成地址加端口，例如 127.0.0.1:9000 或 :9000")
	}
	return nil
}

func checkPublicURL(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" || strings.HasSuffix(u.Path, "/") {
		return invalid("write a URL such as https://hostler.example.com, without a slash at its end",
			"请写成 https://hostler.example.com 这样的 URL，末尾不带斜杠")
	}
	return nil
}

// database is the address of a database. It may hold a password, which show hides.
func database(field func(*Config) *string) value {
	v := textOf(field, checkDB)
	v.show = func(c *Config) string { return redactDB(*field(c)) }
	return v
}

func checkDB(s string) error {
	if s == "" || strings.HasPrefix(s, sqliteScheme) {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return invalid("write sqlite:PATH or postgres://user@host/name",
			"请写成 sqlite:路径 或 postgres://user@host/name")
	}
	return nil
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

// count is a whole number from least to most.
func count(field func(*Config) *int, least, most int) value {
	return value{
		set: func(c *Config, s string) error {
			n, err := strconv.Atoi(s)
			if err != nil || n < least || n > most {
				return invalid("must be a whole number from %d to %d",
					"必须是 %d 到 %d 之间的整数", least, most)
			}
			*field(c) = n
			return nil
		},
		show: func(c *Config) string { return strconv.Itoa(*field(c)) },
	}
}

// duration is a duration of at least least.
func duration(field func(*Config) *time.Duration, least time.Duration) value {
	return value{
		set: func(c *Config, s string) error {
			d, err := hostler.ParseDuration(s)
			if err != nil {
				return err
			}
			if d < least {
				return invalid("must be at least %v", "不能小于 %v", least)
			}
			*field(c) = d
			return nil
		},
		show: func(c *Config) string { return field(c).String() },
	}
}

// durations is a list of at most most durations, each up to longest.
func durations(field func(*Config) *[]time.Duration, most int, longest time.Duration) value {
	return value{
		set: func(c *Config, s string) error {
			var list []time.Duration
			for item := range items(s) {
				d, err := hostler.ParseDuration(item)
				if err != nil {
					return err
				}
				if d <= 0 || d > longest {
					return invalid("each must be more than 0 and at most %v",
						"每一项必须大于 0 且不超过 %v", longest)
				}
				list = append(list, d)
			}
			if len(list) > most {
				return invalid("must be at most %d", "最多 %d 项", most)
			}
			*field(c) = list
			return nil
		},
		show: func(c *Config) string {
			return join(*field(c), func(d time.Duration) string { return hostler.Duration(d).String() })
		},
	}
}

// boolean is true or false, as strconv reads them.
func boolean(field func(*Config) *bool) value {
	return value{
		set: func(c *Config, s string) error {
			v, err := strconv.ParseBool(s)
			if err != nil {
				return invalid("must be true or false", "必须是 true 或 false")
			}
			*field(c) = v
			return nil
		},
		show: func(c *Config) string { return strconv.FormatBool(*field(c)) },
	}
}

// oneOf is one of the values.
func oneOf(field func(*Config) *string, values ...string) value {
	return textOf(field, func(s string) error {
		if !slices.Contains(values, s) {
			return invalidChoice(values...)
		}
		return nil
	})
}

// language also accepts a locale such as zh_CN.UTF-8, because HOSTLER_LANG has the
// same meaning for the command line.
func language(field func(*Config) *hostler.Lang) value {
	return value{
		set: func(c *Config, s string) error {
			base, _, _ := strings.Cut(strings.ToLower(s), "_")
			switch lang := hostler.Lang(base); lang {
			case hostler.LangEN, hostler.LangZH:
				*field(c) = lang
				return nil
			default:
				return invalidChoice(string(hostler.LangEN), string(hostler.LangZH))
			}
		},
		show: func(c *Config) string { return string(*field(c)) },
	}
}

func logLevel() value {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	return value{
		set: func(c *Config, s string) error {
			level, ok := levels[strings.ToLower(s)]
			if !ok {
				return invalidChoice("debug", "info", "warn", "error")
			}
			c.LogLevel = level
			return nil
		},
		show: func(c *Config) string { return strings.ToLower(c.LogLevel.String()) },
	}
}

// prefixes is a list of CIDRs; an address alone is a CIDR of one address.
func prefixes(field func(*Config) *[]netip.Prefix) value {
	return value{
		set: func(c *Config, s string) error {
			var list []netip.Prefix
			for item := range items(s) {
				p, err := parsePrefix(item)
				if err != nil {
					return invalid("%q is not an IP address or a CIDR like 10.0.0.0/8",
						"%q 不是 IP 地址或 10.0.0.0/8 形式的网段", item)
				}
				list = append(list, p)
			}
			*field(c) = list
			return nil
		},
		show: func(c *Config) string { return join(*field(c), netip.Prefix.String) },
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

// size is a number of bytes, such as 10MiB, 2GB or 4096.
func size(field func(*Config) *int64) value {
	return value{
		set: func(c *Config, s string) error {
			n, err := parseSize(s)
			if err != nil || n < minSize || n > 1<<62 {
				return invalid("must be a size like 10MiB, at least %s",
					"必须是 10MiB 这样的大小，且不小于 %s",
					humanize.IBytes(minSize))
			}
			*field(c) = int64(n)
			return nil
		},
		show: func(c *Config) string { return humanize.IBytes(uint64(*field(c))) },
	}
}

// parseSize reads a size such as 10MiB, 2GB or a number of bytes. The number may be
// written as YAML writes them, 1e7 or 10_000_000, which humanize does not read.
func parseSize(s string) (uint64, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 && n < 1<<63 {
		return uint64(n), nil
	}
	if strings.Contains(s, ",") {
		return 0, strconv.ErrSyntax // humanize drops commas, and so would read 1,5MiB as 15 MiB
	}
	return humanize.ParseBytes(s)
}

// secret is a text that show hides.
func secret(field func(*Config) *Secret) value {
	return value{
		set:  func(c *Config, s string) error { *field(c) = Secret(s); return nil },
		show: func(c *Config) string { return field(c).String() },
	}
}

// webhookURL is a URL that may hold a token, which neither show nor an error
// repeats. The rules of a webhook's URL are checked when the webhook is written.
func webhookURL(field func(*Config) *Secret) value {
	return value{
		set: func(c *Config, s string) error {
			*field(c) = Secret(s)
			if s == "" {
				return nil
			}
			u, err := url.Parse(s)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
				return invalid("write a URL like https://host/path", "请写成 https://host/path 形式的 URL")
			}
			return nil
		},
		show: func(c *Config) string {
			if *field(c) == "" {
				return ""
			}
			return hostler.MaskURL(field(c).Reveal())
		},
	}
}

func webhookFormat(field func(*Config) *hostler.WebhookFormat) value {
	formats := make([]string, 0, len(hostler.WebhookFormats()))
	for _, f := range hostler.WebhookFormats() {
		formats = append(formats, string(f))
	}
	return value{
		set: func(c *Config, s string) error {
			if s != "" && !slices.Contains(formats, s) {
				return invalidChoice(formats...)
			}
			*field(c) = hostler.WebhookFormat(s)
			return nil
		},
		show: func(c *Config) string { return string(*field(c)) },
	}
}

// list is a list of words.
func list(field func(*Config) *[]string) value {
	return value{
		set: func(c *Config, s string) error {
			*field(c) = slices.Collect(items(s))
			return nil
		},
		show: func(c *Config) string { return strings.Join(*field(c), ",") },
	}
}

// items yields the items of a list that is written with commas.
func items(list string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for item := range strings.SplitSeq(list, ",") {
			if item = strings.TrimSpace(item); item != "" && !yield(item) {
				return
			}
		}
	}
}

// join writes a list with commas.
func join[T any](list []T, text func(T) string) string {
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = text(item)
	}
	return strings.Join(texts, ",")
}
