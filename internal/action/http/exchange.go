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
	"hostler.dev/hostler/internal/destination"
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
	LatencyMS float64           `json:"latency_ms"`          // until the response's headers
}

// exchange is one run of the action.
type exchange struct {
	args
	call      *action.Call
	secret    string // of the Authorization header
	redirects []string
	began     time.Time
	// reached is set once a connection is ready for the request: from then on the server
	// may have received it.
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
	if err := x.authorise(); err != nil {
		return action.ResultOf(err)
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
	return x.evaluate(ctx, res)
}

// refused returns the result of a job whose args can never work.
func refused(path string, why hostler.Text) action.Result {
	return action.NewFault(hostler.ErrKindBadArgs,
		"args.%[1]s: %[2]s", "args.%[1]s：%[3]s", path, why.EN, why.ZH).Final().Result()
}

// authorise sets the Authorization header from the credential, and redacts it and the
// secrets in the job's own headers.
func (x *exchange) authorise() error {
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
		return action.NewFault(hostler.ErrKindCredential,
			"the credential %s is missing, or is neither a token nor a password",
			"凭据 %s 不存在，或既不是令牌也不是密码", x.Credential).Final()
	}
	if strings.ContainsFunc(x.secret, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return action.NewFault(hostler.ErrKindCredential,
			"the credential %s contains characters that a header cannot have",
			"凭据 %s 含有请求头不能携带的字符", x.Credential).Final()
	}
	_, word, _ := strings.Cut(x.secret, " ")
	x.call.Redact(word)
	return nil
}

// secrets lists the values to redact for a header: all of it, and the parts that a server
// may repeat alone.
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

// sensitive reports whether a header is likely to have a secret value.
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

// redirect decides about one hop. A redirect that is not followed is the response.
func (x *exchange) redirect(next *nethttp.Request, via []*nethttp.Request) error {
	if !x.Follow || len(via) > maxRedirects {
		return nethttp.ErrUseLastResponse
	}
	if _, fault := parseURL(next.URL.String()); fault != (hostler.Text{}) {
		return nethttp.ErrUseLastResponse
	}
	next.Header.Del("Referer") // it would reveal the query of the previous URL
	if !x.sameOrigin(next, via) {
		if next.Body != nil || next.GetBody != nil {
			return nethttp.ErrUseLastResponse // the body is for the first origin only
		}
		next.Header = nethttp.Header{"User-Agent": next.Header["User-Agent"]}
	}
	x.redirects = append(x.redirects, next.URL.Redacted())
	return nil
}

// sameOrigin reports whether every hop so far, and the next, goes to the origin in the job's
// args.
func (x *exchange) sameOrigin(next *nethttp.Request, via []*nethttp.Request) bool {
	return !slices.ContainsFunc(append([]*nethttp.Request{next}, via...), func(r *nethttp.Request) bool {
		return origin(r.URL) != origin(x.destination)
	})
}

// origin returns scheme, host and port (RFC 6454).
func origin(u *url.URL) string { return destination.Origin(u) }
