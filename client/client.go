// Package client is the Go client of Hostler's REST API.
//
// # Model
//
// A [Client] is an address and a key. Each method is one route of the API, in the types
// of package hostler; there is one file per kind of object.
//
//	c, err := client.New("http://127.0.0.1:9000", key)
//	made, err := c.CreateJobs(ctx, hostler.JobRequest{Action: "check_port", Assets: []string{"web1"}},
//		client.CreateOptions{Wait: 30 * time.Second})
//
// [All] walks a listing page by page. [Client.Follow] and [Client.Events] are streams,
// which resume where they were when a connection breaks.
//
// # Errors
//
// Every error but that of the caller's context is a *[hostler.Error]: the server's
// problem where it sent one, CodeUnavailable where it could not be reached.
//
// # Invariants
//
//   - A request is repeated only when that is safe: it reads, it replaces a whole object,
//     it has an Idempotency-Key (every POST that creates work has one, the same in each
//     repetition), or it was not sent.
//   - Repetitions are bounded and respect Retry-After.
//   - The key is sent to the given address only: redirects are refused.
//   - A Client is safe for use by many goroutines.
package client

import (
	"context"
	"net/http"
	"net/url"
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
	// maxAnswer bounds an answer that is not a stream.
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
	// pause waits between two attempts; a test replaces it.
	pause func(ctx context.Context, d time.Duration) error
}

// Option configures a Client.
type Option func(*Client)

// WithHTTPClient uses the transport and the cookies of h. Its timeout should be zero,
// since following output takes as long as the job.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { cp := *h; c.http = &cp } }

// WithProject acts in the project instead of the key's own.
func WithProject(name string) Option { return func(c *Client) { c.project = name } }

// WithLang sets the language of texts; the default is English.
func WithLang(l hostler.Lang) Option { return func(c *Client) { c.lang = l } }

// WithUserAgent sets the header User-Agent, which names the calling program.
func WithUserAgent(name string) Option { return func(c *Client) { c.userAgent = name } }

// WithRetries sets how often a request that is safe to repeat is repeated; 0 means never.
// The default is 4.
func WithRetries(n int) Option { return func(c *Client) { c.retries = n } }

// WithTimeout bounds each attempt of a request that is not a stream; the default is 30 s.
func WithTimeout(d time.Duration) Option { return func(c *Client) { c.timeout = d } }

// WithOutage calls f when a stream has lost the server and cannot reconnect immediately,
// or a request is repeated for more than two seconds, with the reason; and again with nil when
// the server answers. It calls f between the steps of the stream or request, in the same goroutine.
func WithOutage(f func(err error)) Option { return func(c *Client) { c.outage = f } }

// New returns a client for the server at baseURL, such as http://127.0.0.1:9000. The key
// may be empty for the public routes. New does not call the server.
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

// URL returns the server's address.
func (c *Client) URL() string { return c.base.String() }
