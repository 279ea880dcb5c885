package webhook

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// Limits of an endpoint.
const (
	maxURL         = 2048
	maxHeaders     = 32
	maxHeaderName  = 128
	maxHeaderValue = 4096
	maxHeaderBytes = 16 << 10 // of all headers together
	maxToken       = 4096
	minTimeout     = 100 * time.Millisecond
	maxTimeout     = 10 * time.Second // the default too
)

// Endpoint is where the requests of a webhook are sent, and how.
type Endpoint struct {
	URL     string
	Format  hostler.WebhookFormat
	Method  string
	Headers map[string]string
	Token   string // sent as Authorization: Bearer
	Secret  string // signs the requests
	Timeout time.Duration
}

// String hides the secret parts.
func (e Endpoint) String() string { return hostler.MaskURL(e.URL) + " (secret)" }

// GoString hides the secret parts from %#v.
func (e Endpoint) GoString() string { return e.String() }

// Of returns the endpoint of a new webhook.
func Of(in hostler.WebhookInput) Endpoint {
	e := Endpoint{URL: in.URL, Format: in.Format, Method: in.Method, Headers: in.Headers, Timeout: in.Timeout.D()}
	if in.Token != nil {
		e.Token = *in.Token
	}
	if in.Secret != nil {
		e.Secret = *in.Secret
	}
	return e
}

// OfJob returns the endpoint that a job request brings.
func OfJob(w hostler.JobWebhook) Endpoint {
	return Endpoint{
		URL: w.URL, Format: w.Format, Method: w.Method, Headers: w.Headers,
		Token: w.Token, Secret: w.Secret, Timeout: w.Timeout.D(),
	}
}

// Replace returns the endpoint of a webhook that is replaced. A part that the input
// leaves out is taken from the old one; secret parts must be given when the URL
// leads to another origin.
func Replace(fields *check.Fields, in hostler.WebhookInput, old Endpoint) Endpoint {
	e := Of(in)
	if e.URL == "" || e.URL == hostler.MaskURL(old.URL) {
		e.URL = old.URL
	}
	if in.Token == nil {
		e.Token = old.Token
	}
	if in.Secret == nil {
		e.Secret = old.Secret
	}
	if in.Headers == nil {
		e.Headers = old.Headers
	}
	if origin(e.URL) == origin(old.URL) {
		return e
	}
	for _, part := range []struct {
		path  string
		taken bool // from the old endpoint
	}{
		{"token", in.Token == nil && old.Token != ""},
		{"secret", in.Secret == nil && old.Secret != ""},
		{"headers", in.Headers == nil && len(old.Headers) > 0},
	} {
		fields.Require(!part.taken, part.path,
			"must be given again, or as empty, because the URL leads to another scheme, host or port",
			"URL 的协议、主机或端口已更改，必须重新提供，或明确置空")
	}
	return e
}

// Check reports every field at fault and sets the defaults.
func (e *Endpoint) Check(fields *check.Fields) {
	u := checkURL(fields, e.URL)
	if u == nil {
		u = &url.URL{}
	}
	detected := formatOf(u)
	if e.Format == "" || e.Format == hostler.FormatNetPulse && detected.IsChatBot() {
		e.Format = detected // a chat bot does not understand NetPulse's message
	}
	e.Method = cmp.Or(e.Method, http.MethodPost)
	e.Timeout = cmp.Or(e.Timeout, maxTimeout)
	check.OneOf(fields, "format", e.Format, hostler.WebhookFormats()...)
	check.OneOf(fields, "method", e.Method, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodGet)
	check.Between(fields, "timeout", e.Timeout, minTimeout, maxTimeout)
	e.Headers = checkHeaders(fields, e.Headers)
	e.checkToken(fields, u)
	if e.Format.IsChatBot() {
		fields.Require(e.Method == http.MethodPost, "method", "must be POST for this format", "此格式只能用 POST")
	}
	checkSecret(fields, e.Format, e.Secret)
}

func (e *Endpoint) checkToken(fields *check.Fields, u *url.URL) {
	if e.Token == "" {
		return
	}
	fields.Require(len(e.Token) <= maxToken && visible(e.Token), "token",
		"must be at most %d visible ASCII characters", "最多 %d 个可见 ASCII 字符", maxToken)
	_, both := e.Headers["Authorization"]
	fields.Require(!both, "token", "excludes the header Authorization", "不能与 Authorization 头同时指定")
	fields.Require(u.User == nil, "token", "excludes a user in the URL", "不能与 URL 中的用户同时指定")
	fields.Require(!e.Format.IsChatBot(), "token", "is not supported by this format", "此格式不支持")
}

// Describe sets what may be shown of the endpoint.
func (e Endpoint) Describe(w *hostler.Webhook) {
	w.URL, w.Format, w.Method = hostler.MaskURL(e.URL), e.Format, e.Method
	w.Timeout = hostler.Duration(e.Timeout)
	w.Headers = slices.Sorted(maps.Keys(e.Headers))
	w.Signed, w.Token = e.Secret != "", e.Token != ""
}

// reservedHeaders are set by Hostler: they control where a request goes, how long it
// is, what its body is and how it is signed.
var reservedHeaders = []string{
	"Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Accept-Encoding",
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Te", "Trailer", "Upgrade", "Expect",
	"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature",
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
			fields.Add("headers", "has an invalid header name", "包含不合法的头名称")
		case slices.Contains(reservedHeaders, canonical):
			fields.Add(path, "is set by Hostler itself", "由 Hostler 自行设置")
		case twice:
			fields.Add(path, "is given twice, in another spelling", "重复出现（大小写不同）")
		case len(value) > maxHeaderValue || !isFieldValue(value):
			fields.Add(path, "must be at most %d bytes of one line, without control characters",
				"最多 %d 字节，单行且不含控制字符", maxHeaderValue)
		}
		out[canonical] = value
	}
	fields.Require(total <= maxHeaderBytes, "headers",
		"must be at most %d bytes together", "合计最多 %d 字节", maxHeaderBytes)
	return out
}

// isToken reports whether a text is the name of a header: a token of RFC 9110 §5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// isFieldValue reports whether a text is the value of a header: one line without
// control characters except the tab (RFC 9110 §5.5).
func isFieldValue(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && r != '\t' || r == 0x7f
	})
}

// visible reports whether a text consists of visible ASCII characters.
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
