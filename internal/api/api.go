// Package api is Hostler's HTTP surface: the native REST API under /api/v1, the
// simple task API at the root, health and metrics.
//
// Model: a Route is a method, a path, the permission that it needs and a handler
// of three lines: decode, call app, encode. The table in routes.go is the whole
// surface; the OpenAPI document, the tests of permissions and the tests of bad
// input are made from it. Huma decodes and validates; app decides and does.
//
// Invariants: permission is decided before anything is said about the input, and
// once more in app. Every error is a problem with a stable code and a text in the
// caller's language; none repeats an input or names a cause of ours. A key is read
// from headers, never from the URL. Bodies are bounded in size, time and depth
// before they are decoded. Nothing is changed by GET, nor by a request that
// another site's page made.
package api

import (
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
)

// Who may read /health and /metrics without a key.
const (
	OpenHealthNone     = "none"
	OpenHealthLoopback = "loopback"
	OpenHealthAll      = "all"
)

// Config is what the surface needs.
type Config struct {
	App            *app.App
	Version        string
	TrustedProxies []netip.Prefix
	OpenHealth     string // see the constants; "" is loopback
	BodyLimit      int64  // bytes; 0 means 8 MiB
	Followers      int    // streams of output at once, half of them for one user; 0 means 512
	Listeners      int    // streams of events at once, likewise; 0 means 1,024
	// StreamWait is how long one piece of a stream may take to be sent: a client
	// that does not read is cut off. 0 means 20 s.
	StreamWait time.Duration
	Log        *slog.Logger
	// Draining is closed when the server is about to stop: followed output and
	// waiting calls end, and /readyz says no. Nil means never.
	Draining <-chan struct{}
}

const (
	defaultBodyLimit = 8 << 20
	defaultFollowers = 512
	defaultListeners = 1024
	defaultWait      = 20 * time.Second
)

// server holds what the handlers share.
type server struct {
	app       *app.App
	cfg       Config
	log       *slog.Logger
	csrf      *http.CrossOriginProtection
	mux       *http.ServeMux
	traffic   *traffic
	metrics   *metrics
	followers *places // of output
	listeners *places // to events
	openAPI   []byte
	vitals    cached[app.Vitals]
	started   time.Time
}

// New makes the handler of the whole surface. It starts nothing.
func New(cfg Config) (http.Handler, error) {
	if cfg.BodyLimit == 0 {
		cfg.BodyLimit = defaultBodyLimit
	}
	if cfg.Followers == 0 {
		cfg.Followers = defaultFollowers
	}
	if cfg.StreamWait == 0 {
		cfg.StreamWait = defaultWait
	}
	if cfg.Listeners == 0 {
		cfg.Listeners = defaultListeners
	}
	if cfg.OpenHealth == "" {
		cfg.OpenHealth = OpenHealthLoopback
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{
		app: cfg.App, cfg: cfg, log: cfg.Log,
		csrf:      http.NewCrossOriginProtection(),
		mux:       http.NewServeMux(),
		traffic:   newTraffic(time.Now),
		followers: newPlaces(cfg.Followers, hostler.Text{EN: "streams of output", ZH: "输出流"}),
		listeners: newPlaces(cfg.Listeners, hostler.Text{EN: "streams of events", ZH: "事件流"}),
		started:   time.Now(),
	}
	s.vitals.fetch = s.app.Vitals
	s.metrics = newMetrics(cfg.Version, cfg.App.StoreKind(), s.vitals.get)
	if err := s.mount(); err != nil {
		return nil, err
	}
	return s.outermost(http.HandlerFunc(s.route)), nil
}

// setUpHuma sets the three things of Huma that are global, to one value for the
// whole program.
var setUpHuma = sync.OnceFunc(func() {
	huma.ValidateStrictCasing = true // a field has one spelling
	huma.DefaultArrayNullable = false
	huma.NewErrorWithContext = humaProblem
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return humaProblem(nil, status, msg, errs...)
	}
})

// newHuma makes the registrar of operations, without Huma's own routes: its
// documents load scripts from elsewhere.
func (s *server) newHuma() huma.API {
	setUpHuma()
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	aliasTexts(registry)
	return humago.New(s.mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Hostler", Version: s.cfg.Version,
				Description: "Runs operations work on hosts. Errors are problem+json (RFC 9457) with a stable code.",
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"key":    {Type: "apiKey", In: "header", Name: "X-API-KEY"},
					"bearer": {Type: "http", Scheme: "bearer"},
				},
			},
		},
		// The second is what Huma calls problem+json.
		Formats:       map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat: "application/json",
	})
}

// Harden sets the limits of a server that strangers can reach: slow headers, huge
// headers, idle connections. Bodies and answers have deadlines of their own, for
// output may be followed for days.
func Harden(srv *http.Server) {
	srv.ReadHeaderTimeout = 10 * time.Second
	srv.IdleTimeout = 2 * time.Minute
	srv.MaxHeaderBytes = 32 << 10
}

func text(en, zh string) hostler.Text { return hostler.Text{EN: en, ZH: zh} }
