package http

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	nethttp "net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// Result is the result of http_request.
type Result struct {
	Text      string            `json:"text"` // "200 OK"
	Status    int               `json:"status"`
	URL       string            `json:"url"` // the last one, after redirects
	Redirects []string          `json:"redirects,omitempty"`
	Headers   map[string]string `json:"headers"`
	Body      string            `json:"body"`                // invalid UTF-8 is replaced by U+FFFD
	Truncated bool              `json:"truncated,omitempty"` // the body was longer
	LatencyMS float64           `json:"latency_ms"`          // until the answer's headers
}

// exchange is one run of the action.
type exchange struct {
	args
	call      *action.Call
	secret    string // of the Authorization header
	redirects []string
	began     time.Time
	// reached is set once a connection was ready for the request: from then on
	// the server may have seen it.
	reached atomic.Bool
}

func (f *family) run(ctx context.Context, c *action.Call) action.Result {
	a, faults := parse(c.Args)
	if faults != nil {
		return refused(faults[0].Path, faults[0].Text)
	}
	if text := a.locate(c.Asset); text != (hostler.Text{}) {
		return refused("url", text)
	}
	x := &exchange{args: a, call: c, began: time.Now()}
	if refused := x.authorise(); refused != nil {
		return *refused
	}
	ctx, cancel := context.WithTimeoutCause(ctx, a.Timeout.D(), errOwnTimeout)
	defer cancel()
	req, err := x.request(ctx)
	if err != nil {
		return x.failed(ctx, err)
	}
	res, err := x.client(f).Do(req)
	if err != nil {
		return x.failed(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	return x.judge(ctx, res)
}

// refused is the result of a job that would fail the same way again.
func refused(path string, why hostler.Text) action.Result {
	r := action.Failed(nil, hostler.ErrKindBadArgs, "args.%[1]s: %[2]s", "args.%[1]s：%[3]s", path, why.EN, why.ZH)
	r.NoRetry = true
	return r
}

// authorise makes the Authorization header from the credential and sees to it
// that neither it nor what the job's own headers say is printed.
func (x *exchange) authorise() *action.Result {
	for name, value := range x.Headers {
		x.call.Redact(secrets(name, value)...)
	}
	if x.Credential == "" {
		return nil
	}
	c, ok := x.call.Credentials[x.Credential]
	switch {
	case ok && c.Secret.Token != "":
		x.secret = "Bearer " + strings.TrimSpace(c.Secret.Token)
	case ok && c.Secret.Password != "":
		x.secret = "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Secret.Password))
	default:
		r := action.Failed(nil, hostler.ErrKindCredential,
			"the credential %s is missing, or is neither a token nor a password", "凭据 %s 不存在，或既不是令牌也不是密码", x.Credential)
		r.NoRetry = true
		return &r
	}
	if strings.ContainsFunc(x.secret, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		r := action.Failed(nil, hostler.ErrKindCredential,
			"the credential %s holds characters that no header can carry", "凭据 %s 含有请求头不能携带的字符", x.Credential)
		r.NoRetry = true
		return &r
	}
	_, word, _ := strings.Cut(x.secret, " ")
	x.call.Redact(word)
	return nil
}

// secrets lists what must not be printed of a header: all of it, and the part
// that a server may repeat alone.
func secrets(name, value string) []string {
	if !sensitive(name) {
		return nil
	}
	all := []string{value}
	if _, word, ok := strings.Cut(value, " "); ok && strings.EqualFold(name, "Authorization") {
		all = append(all, word) // after Bearer, Basic, …
	}
	if cookies, err := nethttp.ParseCookie(value); err == nil && strings.EqualFold(name, "Cookie") {
		for _, c := range cookies {
			all = append(all, c.Value)
		}
	}
	return all
}

// sensitive reports whether a header is likely to carry a secret.
func sensitive(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"auth", "cookie", "token", "secret", "key", "password", "session", "signature"},
		func(word string) bool { return strings.Contains(name, word) })
}

func (x *exchange) request(ctx context.Context) (*nethttp.Request, error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { x.reached.Store(true) },
	})
	var body io.Reader
	if x.Body != "" {
		body = strings.NewReader(x.Body)
	}
	req, err := nethttp.NewRequestWithContext(ctx, x.Method, x.destination.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("User-Agent", "Hostler")
	for name, value := range x.Headers {
		if strings.EqualFold(name, "Host") {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	if x.secret != "" {
		req.Header.Set("Authorization", x.secret)
	}
	return req, nil
}

func (x *exchange) client(f *family) *nethttp.Client {
	t := f.policy.Transport(f.resolver)
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x.roots}
	return &nethttp.Client{Transport: t, CheckRedirect: x.redirect}
}

// redirect decides about one hop. What it does not follow is the answer.
func (x *exchange) redirect(next *nethttp.Request, via []*nethttp.Request) error {
	if !x.Follow || len(via) > maxRedirects {
		return nethttp.ErrUseLastResponse
	}
	if _, fault := parseURL(next.URL.String()); fault != (hostler.Text{}) {
		return nethttp.ErrUseLastResponse
	}
	next.Header.Del("Referer") // it would tell the query of the URL before
	if !x.atHome(next, via) {
		if next.Body != nil || next.GetBody != nil {
			return nethttp.ErrUseLastResponse // the body was meant for somebody else
		}
		next.Header = nethttp.Header{"User-Agent": next.Header["User-Agent"]}
	}
	x.redirects = append(x.redirects, next.URL.Redacted())
	return nil
}

// atHome reports whether every hop so far, and the next, goes to the origin that
// the job named.
func (x *exchange) atHome(next *nethttp.Request, via []*nethttp.Request) bool {
	return !slices.ContainsFunc(append([]*nethttp.Request{next}, via...), func(r *nethttp.Request) bool {
		return origin(r.URL) != origin(x.destination)
	})
}

// origin is scheme, host and port (RFC 6454).
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
