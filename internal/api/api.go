// Package api assembles Hostler's HTTP surface from the APIs in the folders below it.
//
// # Model
//
//	rest/      the framework: it knows no route
//	native/    the REST API under /api/v1
//	simple/    the simple task API at the root
//	netpulse/  NetPulse's job API at the root and under /netpulse/0.3
//	monitor/   /livez, /readyz, /health, /metrics
//
// Each is a table of routes on the framework, and none imports another. Another API
// becomes another folder and one more line in [Routes]; see the package comment of
// rest for what a route consists of, and for the invariants of every answer.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostler.dev/hostler/internal/api/monitor"
	"hostler.dev/hostler/internal/api/native"
	"hostler.dev/hostler/internal/api/netpulse"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/api/simple"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/stats"
)

// Config is what the surface needs.
type Config struct {
	App            *app.App
	Version        string
	TrustedProxies []netip.Prefix
	Forwarded      string        // the header that they write; see rest.Config
	OpenHealth     string        // who may read /health and /metrics without a key; see monitor.Config
	BodyLimit      int64         // see rest.Config
	Connections    int           // likewise
	TLS            bool          // likewise
	Followers      int           // see native.Config
	Listeners      int           // likewise
	StreamWait     time.Duration // see rest.Config
	Log            *slog.Logger
	Live           *stats.Live // of this server; see monitor.Config
	// Trace makes the spans of requests; see rest.Config.
	Trace func(*http.Request) (*http.Request, func(route string, status int))
	// Metrics gets what /metrics shows, of requests with a context; nil: nothing does.
	Metrics func(of func(ctx context.Context) prometheus.Gatherer)
	// Draining is closed when the server is about to stop: streams and answers that are
	// held back end, and /readyz answers 503. Nil means never.
	Draining <-chan struct{}
}

// slack is how long an answer may take beyond the longest wait that a request can ask
// for.
const slack = 30 * time.Second

// New returns the handler of the whole surface. It starts nothing.
func New(cfg Config) (http.Handler, error) {
	watch := monitor.New(monitor.Config{
		App: cfg.App, Version: cfg.Version, Open: cfg.OpenHealth, Draining: cfg.Draining, Live: cfg.Live,
	})
	if cfg.Metrics != nil {
		cfg.Metrics(watch.Gatherer)
	}
	plains := append(watch.Routes(),
		netpulse.Health(watch.StoreError, watch.Open),
		rest.Plain{Pattern: "GET /{$}", Dialect: native.Dialect, Serve: home(cfg.Version)})
	plains = append(plains, approvalRoutes(cfg.App)...)
	plains = append(plains, inboundRoute(cfg.App))
	return rest.New(rest.Config{
		Authenticate: cfg.App.Authenticate, KnownKeys: cfg.App.KnownKeys, Default: native.Dialect,
		Document: native.Prefix + "/openapi.json", Title: "Hostler", Version: cfg.Version,
		TrustedProxies: cfg.TrustedProxies, ForwardedHeader: cfg.Forwarded, Refused: refused(cfg.App, watch),
		BodyLimit: cfg.BodyLimit, Connections: cfg.Connections, TLS: cfg.TLS,
		AnswerTime: native.MaxWait + slack, StreamWait: cfg.StreamWait,
		Draining: cfg.Draining, Observe: watch.Observe, Trace: cfg.Trace, Log: cfg.Log,
	}, Routes(cfg), plains)
}

// refused counts refusals, and records those in the audit that are not too many.
func refused(a *app.App, watch *monitor.Monitor) func(context.Context, rest.Refusal) {
	return func(ctx context.Context, r rest.Refusal) {
		watch.Refused(r)
		if r.Count > 0 {
			a.RecordRefusal(ctx, r.Caller, r.Code, r.Addr, r.Route, r.Count)
		}
	}
}

// Routes returns the operations of every API.
func Routes(cfg Config) []rest.Route {
	return slices.Concat(
		native.Routes(native.Config{
			App: cfg.App, Version: cfg.Version, Followers: cfg.Followers, Listeners: cfg.Listeners,
		}),
		simple.Routes(cfg.App),
		netpulse.Routes(cfg.App),
	)
}
