package app

import (
	"cmp"
	"encoding/base64"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// Limits of a webhook.
const (
	maxURL          = 2048
	maxHeaders      = 32
	maxHeaderName   = 128
	maxHeaderValue  = 4096
	maxHeaderBytes  = 16 << 10 // of all headers together
	maxToken        = 4096
	maxSecret       = 512
	maxEvents       = 100
	maxRate         = 6000
	maxAtOnce       = 100
	defaultAtOnce   = 4
	robotRate       = 20 // per minute: what DingTalk and WeCom take
	minSendTimeout  = 100 * time.Millisecond
	maxSendTimeout  = 10 * time.Second
	signingPrefix   = "whsec_"
	minSigningBytes = 24 // of Standard Webhooks
	maxSigningBytes = 64
)

// reservedHeaders are Hostler's own to set: they say where the request goes, how
// long it is, what it holds and how it is signed.
var reservedHeaders = []string{
	"Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Accept-Encoding",
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Te", "Trailer", "Upgrade", "Expect",
	"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature",
}

// endpoint is where a webhook's requests go, and how: what a webhook and the
// webhook of a job have in common.
type endpoint struct {
	url     string
	format  hostler.WebhookFormat
	method  string
	headers map[string]string
	token   string
	secret  string // signs the requests
	timeout time.Duration
}

// check names every field at fault and fills in the defaults. It never repeats a
// value: any of them may be a secret.
func (e *endpoint) check(fields *check.Fields) {
	u := checkURL(fields, e.url)
	if u == nil {
		u = &url.URL{}
	}
	if f := formatOf(u); e.format == "" || e.format == hostler.FormatNetPulse && isRobot(f) {
		e.format = f // a robot would not understand NetPulse's message
	}
	e.method = cmp.Or(e.method, http.MethodPost)
	e.timeout = cmp.Or(e.timeout, maxSendTimeout)
	check.OneOf(fields, "format", e.format, hostler.WebhookFormats()...)
	check.OneOf(fields, "method", e.method, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodGet)
	fields.Require(e.timeout >= minSendTimeout && e.timeout <= maxSendTimeout, "timeout",
		"must be between %v and %v", "必须在 %v 到 %v 之间", minSendTimeout, maxSendTimeout)
	e.headers = checkHeaders(fields, e.headers)
	fields.Require(len(e.token) <= maxToken && isVisible(e.token), "token",
		"must be at most %d visible ASCII characters", "最多 %d 个可见 ASCII 字符", maxToken)
	if e.token != "" {
		_, both := e.headers["Authorization"]
		fields.Require(!both, "token", "excludes the header Authorization", "不能与 Authorization 头同时指定")
		fields.Require(u.User == nil, "token", "excludes a user in the URL", "不能与 URL 中的用户同时指定")
	}
	if isRobot(e.format) {
		fields.Require(e.method == http.MethodPost, "method", "must be POST for this format", "此格式只能用 POST")
		fields.Require(e.token == "", "token", "does not belong to this format", "与此格式不符")
	}
	checkSigning(fields, e.format, e.secret)
}

// checkURL returns nil when the URL is none that a webhook may have. Which
// addresses may be reached is decided when it is connected to, not here.
func checkURL(fields *check.Fields, raw string) *url.URL {
	u, err := url.Parse(raw)
	port := ""
	if err == nil {
		port = u.Port()
	}
	n, portErr := strconv.Atoi(cmp.Or(port, "1"))
	switch {
	case raw == "":
		fields.Given("url", raw)
	case len(raw) > maxURL:
		fields.Add("url", "must be at most %d bytes", "最多 %d 字节", maxURL)
	case strings.Contains(raw, hostler.Masked):
		fields.Add("url", "is the form in which it is shown; give it in full, or leave it out to keep it",
			"这是隐藏敏感部分后的显示形式；请给出完整 URL，或省略以保持不变")
	case err != nil || u.Opaque != "" || strings.ContainsFunc(raw, notURLByte):
		fields.Add("url", "is not a URL", "不是合法的 URL")
	case u.Scheme != "http" && u.Scheme != "https":
		fields.Add("url", "must begin with http:// or https://", "必须以 http:// 或 https:// 开头")
	case !isHost(u.Hostname()):
		fields.Add("url", "must name a host", "必须包含合法的主机")
	case portErr != nil || n < 1 || n > 65535:
		fields.Add("url", "must have a port between 1 and 65535", "端口必须在 1 到 65535 之间")
	case u.Fragment != "":
		fields.Add("url", "must not have a fragment", "不能带有 # 片段")
	default:
		return u
	}
	return nil
}

// notURLByte finds what must be escaped in a URL.
func notURLByte(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\\\"<>^`{|}", r) }

func isHost(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Zone() == ""
	}
	return check.HostName(strings.ToLower(s))
}

// formatOf knows the robots of chat services by their URLs.
func formatOf(u *url.URL) hostler.WebhookFormat {
	switch strings.ToLower(u.Hostname()) {
	case "oapi.dingtalk.com", "api.dingtalk.com":
		return hostler.FormatDingTalk
	case "qyapi.weixin.qq.com":
		return hostler.FormatWeCom
	case "open.feishu.cn", "open.larksuite.com":
		return hostler.FormatFeishu
	default:
		return hostler.FormatStandard
	}
}

func isRobot(f hostler.WebhookFormat) bool {
	return f == hostler.FormatDingTalk || f == hostler.FormatWeCom || f == hostler.FormatFeishu
}

// origin is the part of a URL that secrets are bound to: who gets them.
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// checkHeaders returns the headers under their canonical names.
func checkHeaders(fields *check.Fields, headers map[string]string) map[string]string {
	fields.Count("headers", len(headers), maxHeaders)
	out := make(map[string]string, len(headers))
	total := 0
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value, canonical := headers[name], http.CanonicalHeaderKey(name)
		_, twice := out[canonical]
		total += len(name) + len(value)
		switch path := "headers." + check.Key(name); {
		case len(name) > maxHeaderName || !isToken(name):
			fields.Add("headers", "has a name that is no name of a header", "包含不合法的头名称")
		case slices.Contains(reservedHeaders, canonical):
			fields.Add(path, "is set by Hostler itself", "由 Hostler 自行设置")
		case twice:
			fields.Add(path, "is there twice, in another spelling", "重复出现（大小写不同）")
		case len(value) > maxHeaderValue || !isFieldValue(value):
			fields.Add(path, "must be at most %d bytes of one line, without control characters", "最多 %d 字节，单行且不含控制字符", maxHeaderValue)
		}
		out[canonical] = value
	}
	fields.Require(total <= maxHeaderBytes, "headers", "must be at most %d bytes together", "合计最多 %d 字节", maxHeaderBytes)
	return out
}

// isToken reports whether a text is a name of a header: a token of RFC 9110
// §5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// isFieldValue reports whether a text can be the value of a header: one line
// without control characters but for the tab (RFC 9110 §5.5).
func isFieldValue(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// isVisible reports whether a text can stand in a header as it is.
func isVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// checkSigning checks the secret that signs: a robot's own, or one as Standard
// Webhooks has it.
func checkSigning(fields *check.Fields, f hostler.WebhookFormat, secret string) {
	switch {
	case secret == "":
	case len(secret) > maxSecret || !isVisible(secret):
		fields.Add("secret", "must be at most %d visible ASCII characters", "最多 %d 个可见 ASCII 字符", maxSecret)
	case f == hostler.FormatWeCom:
		fields.Add("secret", "does not belong to this format: robots of WeCom take no signature", "与此格式不符：企业微信机器人不支持签名")
	case isRobot(f):
	default:
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, signingPrefix))
		fields.Require(err == nil && strings.HasPrefix(secret, signingPrefix) && len(raw) >= minSigningBytes && len(raw) <= maxSigningBytes, "secret",
			"must be %s and the base64 of %d to %d bytes", "必须是 %s 加上 %d 到 %d 字节的 base64", signingPrefix, minSigningBytes, maxSigningBytes)
	}
}

// jobEnds are the events at which a job is over, or waits for a person to say so.
var jobEnds = []hostler.EventType{
	hostler.EventJobSucceeded, hostler.EventJobFailed, hostler.EventJobCancelled,
	hostler.EventJobExpired, hostler.EventJobUnknown,
}

// checkEvents checks types and patterns: job.failed, job.*, *.
func checkEvents(fields *check.Fields, f hostler.WebhookFormat, events []string) {
	fields.Count("events", len(events), maxEvents)
	for i, e := range events {
		path := "events[" + strconv.Itoa(i) + "]"
		if err := hostler.CheckEventPattern(path, e); err != nil {
			fields.Merge(err)
			continue
		}
		fields.Require(!f.OnlyEnds() || slices.Contains(jobEnds, hostler.EventType(e)), path,
			"cannot be told in the format %s, which has ends of jobs only", "%s 格式只能通知作业结束，无法表示此事件", f)
	}
}

// checkWebhookFilter checks the lists by which the events of jobs are narrowed.
// What they name need not exist.
func checkWebhookFilter(fields *check.Fields, f hostler.WebhookFilter) {
	for _, list := range []struct {
		path  string
		names []string
		most  int
	}{{"filter.actions", f.Actions, 100}, {"filter.queues", f.Queues, 100}, {"filter.assets", f.Assets, 1000}} {
		fields.Count(list.path, len(list.names), list.most)
		for i, name := range list.names {
			fields.Name(list.path+"["+strconv.Itoa(i)+"]", name, 128)
		}
	}
}
