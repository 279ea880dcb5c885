// Package client is the Go client of Hostler's REST API.
//
// Model: a Client is an address and a key; each method is one route of the API
// and speaks in the types of the root package. Every error is a *hostler.Error:
// the server's own problem where it sent one, CodeUnavailable where it could not
// be reached.
//
// Invariants: a request is repeated only when that is harmless: it reads, it
// sets a whole object, it carries an Idempotency-Key (every POST that makes
// work does, and each repetition sends the same key), or it never left this
// machine. Repetitions are bounded and honour Retry-After. The key goes to the
// given address only: redirects are refused. A Client is safe for use by many
// goroutines.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/wait"
)

const (
	defaultRetries = 4
	defaultTimeout = 30 * time.Second
	firstBackoff   = 200 * time.Millisecond
	maxBackoff     = 10 * time.Second
	// maxAnswer bounds what is read of an answer that is not a stream.
	maxAnswer = 256 << 20
)

// Client calls one Hostler server, or several behind one address.
type Client struct {
	base      *url.URL
	key       string
	project   string
	lang      hostler.Lang
	userAgent string
	http      *http.Client
	retries   int
	timeout   time.Duration
	outage    func(err error)
	// pause waits between two tries; a test replaces it.
	pause func(ctx context.Context, d time.Duration) error
}

// Option changes a Client that New makes.
type Option func(*Client)

// WithHTTPClient takes the transport and the cookies of h. Its timeout should
// be zero: following output lasts as long as the job.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { cp := *h; c.http = &cp } }

// WithProject works in the project instead of the key's own.
func WithProject(name string) Option { return func(c *Client) { c.project = name } }

// WithLang asks for texts in the language.
func WithLang(l hostler.Lang) Option { return func(c *Client) { c.lang = l } }

// WithUserAgent names the calling program.
func WithUserAgent(name string) Option { return func(c *Client) { c.userAgent = name } }

// WithRetries sets how often a request that failed harmlessly is repeated;
// 0 never. The default is 4.
func WithRetries(n int) Option { return func(c *Client) { c.retries = n } }

// WithTimeout bounds each try of each request but streams; the default is 30 s.
func WithTimeout(d time.Duration) Option { return func(c *Client) { c.timeout = d } }

// WithOutage has f told when a stream has lost the server and it is not back at
// once, and with nil when it is back: once each, in between steps of the stream.
func WithOutage(f func(err error)) Option { return func(c *Client) { c.outage = f } }

// New makes a client for the server at baseURL, such as http://127.0.0.1:9000.
// The key may be empty for the public routes. It does not call the server.
func New(baseURL, key string, opts ...Option) (*Client, error) {
	base, err := url.Parse(strings.TrimRight(baseURL, "/"))
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"the server's address must look like http://host:9000 or https://host",
			"服务器地址应形如 http://host:9000 或 https://host")
	}
	c := &Client{
		base:      base,
		key:       key,
		lang:      hostler.LangEN,
		userAgent: "hostler-go",
		http:      &http.Client{},
		retries:   defaultRetries,
		timeout:   defaultTimeout,
		outage:    func(error) {},
		pause:     wait.Sleep,
	}
	for _, o := range opts {
		o(c)
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// URL is the server's address.
func (c *Client) URL() string { return c.base.String() }

// call is one request of the API.
type call struct {
	method string
	path   []string // segments below /api/v1, not escaped
	query  url.Values
	body   any           // nil for none
	raw    []byte        // a body that is no JSON; the header has its type
	idem   string        // Idempotency-Key
	extra  time.Duration // the server may hold the answer back that long
	header http.Header
}

// repeatable reports whether sending it twice is as good as once.
func (r call) repeatable() bool {
	return r.method == http.MethodGet || r.method == http.MethodPut || r.idem != ""
}

// do sends the request, again where that is harmless, and decodes the answer
// into out unless out is nil.
func (c *Client) do(ctx context.Context, r call, out any) error {
	body := r.raw
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return hostler.Errorf(hostler.CodeInvalid, "the request cannot be encoded: %v", "请求无法编码：%v", err)
		}
	}
	retry := newBackoff()
	for try := 0; ; try++ {
		err := c.once(ctx, r, body, out)
		if err == nil || try >= c.retries || ctx.Err() != nil || !worthRepeating(r, err) {
			return err
		}
		if perr := c.pause(ctx, retryIn(&retry, err)); perr != nil {
			return err
		}
	}
}

func (c *Client) once(ctx context.Context, r call, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout+r.extra)
	defer cancel()
	res, err := c.send(ctx, r, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return c.unreachable(err)
	}
	if out == nil || len(answer) == 0 {
		return nil
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = answer
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return notHostler(res.StatusCode, err)
	}
	return nil
}

// send returns a successful answer, whose body the caller closes.
func (c *Client) send(ctx context.Context, r call, body []byte) (*http.Response, error) {
	req, err := c.request(ctx, r, body)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, problem(res)
}

func (c *Client) request(ctx context.Context, r call, body []byte) (*http.Request, error) {
	u := c.base.JoinPath("api", "v1")
	for _, segment := range r.path {
		if segment == "" || segment == "." || segment == ".." {
			return nil, hostler.Errorf(hostler.CodeInvalid, "a name or id is missing", "缺少名称或 ID")
		}
		u = u.JoinPath(url.PathEscape(segment))
	}
	u.RawQuery = r.query.Encode()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), reader)
	if err != nil {
		return nil, hostler.Errorf(hostler.CodeInvalid, "the request cannot be made: %v", "无法构造请求：%v", err)
	}
	maps.Copy(req.Header, r.header)
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("Accept-Language", string(c.lang))
	if body != nil && r.raw == nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if c.project != "" {
		req.Header.Set("X-Project", c.project)
	}
	if r.idem != "" {
		req.Header.Set("Idempotency-Key", r.idem)
	}
	return req, nil
}

// worthRepeating decides after a failed try. What never left this machine may
// always be repeated.
func worthRepeating(r call, err error) bool {
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok {
		return false
	}
	if op, ok := errors.AsType[*net.OpError](e.Cause); ok && op.Op == "dial" {
		return true
	}
	switch e.Code {
	case hostler.CodeRateLimited:
		return true // refused before anything was done
	case hostler.CodeUnavailable, hostler.CodeTimeout:
		return r.repeatable()
	default:
		return false
	}
}

func newBackoff() wait.Backoff { return wait.Backoff{First: firstBackoff, Max: maxBackoff} }

// retryIn returns the next wait of a backoff, or the longer one that the server
// asked for with Retry-After, a minute at most.
func retryIn(b *wait.Backoff, err error) time.Duration {
	d := b.Next()
	if e, ok := errors.AsType[*hostler.Error](err); ok && e.RetryAfter > 0 {
		d = max(d, min(time.Duration(e.RetryAfter)*time.Second, time.Minute))
	}
	return d
}

func (c *Client) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	e := hostler.Errorf(hostler.CodeUnavailable,
		"cannot reach Hostler at %s: %v", "无法连接位于 %s 的 Hostler：%v", c.base.Redacted(), plain(err))
	e.Cause = err
	return e
}

// plain drops the method and address that net/http puts before the reason.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// wireProblem is an RFC 9457 problem as Hostler sends it.
type wireProblem struct {
	Title  string               `json:"title"`
	Detail string               `json:"detail"`
	Code   hostler.Code         `json:"code"`
	Text   hostler.Text         `json:"text"`
	Fields []hostler.FieldError `json:"fields"`
}

// problem reads the error that an answer carries.
func problem(res *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	err := problemOf(body, res.StatusCode)
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		e.RetryAfter, _ = strconv.Atoi(res.Header.Get("Retry-After"))
	}
	return err
}

// problemOf reads a problem from its text.
func problemOf(text []byte, status int) error {
	var p wireProblem
	if err := json.Unmarshal(text, &p); err != nil || p.Code == "" {
		return notHostler(status, err)
	}
	e := &hostler.Error{Code: p.Code, Text: p.Text, Fields: p.Fields}
	if e.Text.EN == "" {
		e.Text = hostler.Text{EN: firstNonEmpty(p.Detail, p.Title), ZH: firstNonEmpty(p.Detail, p.Title)}
	}
	return e
}

// notHostler is the error for an answer that something else gave: a proxy, or
// another program at that address.
func notHostler(status int, cause error) error {
	code := hostler.CodeInternal
	switch status {
	case http.StatusUnauthorized:
		code = hostler.CodeUnauthenticated
	case http.StatusForbidden:
		code = hostler.CodeForbidden
	case http.StatusNotFound:
		code = hostler.CodeNotFound
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		code = hostler.CodeUnavailable
	}
	what := fmt.Sprintf("%d %s", status, http.StatusText(status))
	e := hostler.Errorf(code,
		"the answer (%s) is not Hostler's; check the address, and the proxy if there is one",
		"收到的响应（%s）不是来自 Hostler；请检查地址以及代理（如有）", what)
	e.Cause = cause
	return e
}

func firstNonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
