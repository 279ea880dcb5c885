package rest

import (
	"context"
	"net/http"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/wait"
)

// Call is an admitted request: its caller is authenticated and has the permission of
// the route.
type Call struct {
	auth.Caller
	Request *http.Request
	// CSV is the body of a route that takes a CSV file.
	CSV string

	core    *core
	dialect *Dialect
	answer  *recorder
}

// callKey is the key of a request's *Call in its context.
type callKey struct{}

func callOf(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

// Renew authenticates the request again, for an answer that takes long: the key may
// have been revoked since, and the caller's role may have changed.
func (c *Call) Renew(ctx context.Context) error {
	caller, err := c.core.authenticate(ctx, c.Request, c.dialect)
	if err != nil {
		return err
	}
	c.Caller = caller
	return nil
}

// Renewed returns a function that renews the call and returns its caller.
func (c *Call) Renewed(ctx context.Context) func() (auth.Caller, error) {
	return func() (auth.Caller, error) {
		err := c.Renew(ctx)
		return c.Caller, err
	}
}

// Poll waits for the next look of an answer that is held back, and reports whether there
// is one: until the context is done, or the caller may no longer use its key.
func (c *Call) Poll(ctx context.Context, b *wait.Backoff) bool {
	return b.Sleep(ctx) == nil && c.Renew(ctx) == nil
}

// ShareLists waits for a share of the memory for lists, which the call holds until it is
// answered; see [List].
func (c *Call) ShareLists(ctx context.Context) error {
	release, err := c.core.lists.wait(ctx, c.UserID, listBytes, c.core.cfg.StreamWait)
	if err == nil {
		c.answer.onFinish(release)
		return nil
	}
	if n, now := c.core.alerts.due("lists"); now && ctx.Err() == nil {
		c.core.cfg.Log.WarnContext(ctx, "lists in memory reached a limit; some were refused",
			"user", c.User, "times", n)
	}
	return err
}

// Hold returns the context of an answer that is held back. It ends after d, with the
// request, or when the server drains.
func (c *Call) Hold(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	c.answer.hold()
	ctx, cancel := context.WithTimeout(ctx, d)
	go func() {
		select {
		case <-c.core.cfg.Draining:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// problem returns the problem for an error, in the form of the route's dialect.
func (c *Call) problem(err error) *Problem { return c.core.problem(c.Request, c.dialect, err) }

// core is what every call shares.
type core struct {
	cfg      Config
	bodies   *budget  // bytes of request bodies in memory
	lists    *budget  // bytes of lists in memory
	requests *Limiter // requests of callers with a key; nil for no limit
	alerts   *alerts
	refusals *refusals
	watches  *watches
}

func newCore(cfg Config) core {
	s := core{
		cfg: cfg, alerts: &alerts{}, refusals: newRefusals(time.Now, cfg.KnownKeys),
		bodies: newBudget(bodiesInFlight(cfg.BodyLimit)), lists: newBudget(listsInFlight),
		watches: &watches{authenticate: cfg.Authenticate, draining: cfg.Draining},
	}
	if cfg.Connections > 0 {
		most := max(cfg.Connections-cfg.Connections/8, 1)
		s.requests = NewLimiter(most, hostler.Text{EN: "requests", ZH: "请求"})
	}
	return s
}

// shareConnections counts the request among those of its user until it is answered.
// [LimitConns] closes no connection whose request is being answered: without a share for
// each user, the streams and held answers of one would keep out all others, and probes.
func (s *core) shareConnections(ctx context.Context, answer *recorder, c auth.Caller) error {
	if s.requests == nil {
		return nil
	}
	release, err := s.requests.Acquire(c)
	if err == nil {
		answer.onFinish(release)
		return nil
	}
	if n, now := s.alerts.due("requests"); now {
		s.cfg.Log.WarnContext(ctx, "requests at once reached a limit; some were refused",
			"user", c.User, "limit", s.requests.most, "times", n)
	}
	return err
}

// authenticate returns the caller whose key the request carries.
func (s *core) authenticate(ctx context.Context, r *http.Request, d *Dialect) (auth.Caller, error) {
	key, project := keyAndProject(r, d)
	return s.login(ctx, r, d, key, project)
}

// login returns the caller of a key, which the request carries anywhere.
func (s *core) login(ctx context.Context, r *http.Request, d *Dialect, key, project string) (auth.Caller, error) {
	if key == "" {
		return auth.Caller{}, hostler.Errorf(hostler.CodeUnauthenticated,
			"an API key is required: send it as X-API-KEY or as Authorization: Bearer",
			"需要 API 密钥：请通过 X-API-KEY 或 Authorization: Bearer 请求头发送")
	}
	addr := s.clientAddr(r)
	if err := s.refusals.admit(ctx, addr, key); err != nil {
		return auth.Caller{}, err
	}
	c, err := s.cfg.Authenticate(ctx, key, project, addr)
	switch hostler.CodeOf(err) {
	case "":
		s.refusals.tried(addr, key, true)
	case hostler.CodeUnauthenticated:
		s.refusals.tried(addr, key, false)
		return auth.Caller{}, err
	default:
		return auth.Caller{}, err
	}
	c.Origin, c.Lang = originOf(r), langOf(r, d)
	if info := infoOf(r); info != nil {
		info.caller = c
	}
	return c, nil
}

// originOf tells the command line, which names itself, from other programs.
func originOf(r *http.Request) string {
	if strings.HasPrefix(r.UserAgent(), "hostler-cli/") {
		return "cli"
	}
	return "api"
}

// keyAndProject returns the key of a request, and the project that it names.
func keyAndProject(r *http.Request, d *Dialect) (key, project string) {
	if !d.KeyProject {
		project = r.Header.Get("X-Project")
	}
	return keyOf(r.Header), project
}

// keyOf returns the key in a request's headers. A key in the URL does not count: URLs
// are logged.
func keyOf(h http.Header) string {
	if key := strings.TrimSpace(h.Get("X-Api-Key")); key != "" {
		return key
	}
	scheme, key, _ := strings.Cut(h.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(key)
	}
	return ""
}

// permit refuses a caller without the permission before its input is read, so that
// the answer describes no input that the caller may not send. The use case decides
// again.
func permit(c auth.Caller, v auth.Verb) error {
	if auth.Allow(c, v, c.Project) {
		return nil
	}
	return auth.Refusal(c, v)
}

func langOf(r *http.Request, d *Dialect) hostler.Lang {
	return Lang(r.Header.Get("Accept-Language"), d.Lang)
}

// problem returns the problem for an error, and logs an internal one.
func (s *core) problem(r *http.Request, d *Dialect, err error) *Problem {
	e := toError(err)
	s.refused(r, e.Code)
	if e.Code.HTTPStatus() >= http.StatusInternalServerError && r.Context().Err() == nil {
		s.cfg.Log.ErrorContext(r.Context(), "request failed",
			"method", r.Method, "route", r.Pattern, "code", string(e.Code), "error", e.Text.EN, "cause", e.Cause)
	}
	p := NewProblem(e, langOf(r, d), d.Errors)
	if d.BadRequest && e.Code == hostler.CodeInvalid {
		p.Status = http.StatusBadRequest
	}
	return p
}

// fail answers with an error.
func (s *core) fail(w http.ResponseWriter, r *http.Request, d *Dialect, err error) {
	s.problem(r, d, err).write(w)
}
