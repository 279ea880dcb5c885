// Package monitor has the endpoints by which programs watch a server: /livez, /readyz,
// /health and /metrics.
//
// # Model
//
// A [Monitor] counts the answers of the API ([Monitor.Observe]) and fetches the vitals
// of the store ([app.Vitals]) at most once a second, however many requests arrive.
//
//   - /livez: the process answers.
//   - /readyz: requests may be sent here; the store answers, and the server does not drain.
//   - /health: a summary as JSON with the reasons why it is degraded, in the envelope
//     that NetPulse's clients read; metrics when the Accept header asks for them.
//   - /metrics: for Prometheus and OpenMetrics.
//
// The last two need a key, depending on [Config.Open].
package monitor

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/stats"
)

// The values of Config.Open.
const (
	OpenNone     = "none"     // every request needs a key
	OpenLoopback = "loopback" // a request that originated on this machine needs none
	OpenAll      = "all"
)

// Config is what a Monitor needs.
type Config struct {
	App     *app.App
	Version string
	// Open is who may read /health and /metrics without a key; "" is OpenLoopback.
	Open string
	// Live has the figures of this server; nil: there are none.
	Live *stats.Live
	// Draining is closed when the server is about to stop; nil means never.
	Draining <-chan struct{}
}

// Monitor watches one server.
type Monitor struct {
	cfg     Config
	traffic *traffic
	metrics *metrics
	vitals  cached[app.Vitals]
	started time.Time
}

// probeDialect and healthDialect are those of errors.
var (
	probeDialect  = &rest.Dialect{Lang: hostler.LangEN}
	healthDialect = &rest.Dialect{Lang: hostler.LangZH, Errors: rest.DetailJSON, KeyProject: true}
)

// New returns a monitor. It starts nothing.
func New(cfg Config) *Monitor {
	if cfg.Open == "" {
		cfg.Open = OpenLoopback
	}
	m := &Monitor{cfg: cfg, traffic: newTraffic(time.Now), started: time.Now()}
	m.vitals.fetch = cfg.App.Vitals
	m.metrics = newMetrics(cfg.Version, cfg.App.StoreKind(), m.vitals.get, cfg.App.TaskFigures)
	m.metrics.live = cfg.Live
	return m
}

// Observe counts an answer.
func (m *Monitor) Observe(a rest.Answer) {
	m.metrics.count(a)
	if !a.Held {
		m.traffic.add(a.Status, a.Took)
	}
}

// Refused counts a request that was refused.
func (m *Monitor) Refused(r rest.Refusal) { m.metrics.refusals.WithLabelValues(string(r.Code)).Inc() }

// Routes returns the endpoints.
func (m *Monitor) Routes() []rest.Plain {
	return []rest.Plain{
		{Pattern: "GET /livez", Dialect: probeDialect, Serve: livez},
		{Pattern: "GET /readyz", Dialect: probeDialect, Serve: m.readyz},
		m.guarded("GET /health", m.health),
		m.guarded("GET /metrics", m.serveMetrics),
	}
}

// guarded returns an endpoint that needs a key; see [Config.Open].
func (m *Monitor) guarded(pattern string, serve func(http.ResponseWriter, *http.Request) error) rest.Plain {
	return rest.Plain{Pattern: pattern, Dialect: healthDialect, Verb: auth.ReadWorker, Open: m.Open, Serve: serve}
}

// Open reports whether a request may read the health without a key.
func (m *Monitor) Open(r *http.Request) bool {
	return m.cfg.Open == OpenAll || m.cfg.Open == OpenLoopback && rest.Local(r)
}

// StoreError returns nil when the store answers, and else a CodeUnavailable error.
func (m *Monitor) StoreError(ctx context.Context) error {
	if _, err := m.vitals.get(ctx); err != nil {
		return &hostler.Error{Code: hostler.CodeUnavailable, Text: textStoreDown, Cause: err}
	}
	return nil
}

func livez(w http.ResponseWriter, _ *http.Request) error {
	writeText(w, http.StatusOK, "ok\n")
	return nil
}

func (m *Monitor) readyz(w http.ResponseWriter, r *http.Request) error {
	select {
	case <-m.cfg.Draining:
		writeText(w, http.StatusServiceUnavailable, "draining\n")
		return nil
	default:
	}
	if m.StoreError(r.Context()) != nil {
		writeText(w, http.StatusServiceUnavailable, textStoreDown.EN+"\n")
		return nil
	}
	text := "ok\n"
	v, err := m.vitals.get(r.Context())
	if err == nil && v.Refuses != (hostler.Text{}) {
		writeText(w, http.StatusServiceUnavailable, v.Refuses.EN+"\n")
		return nil
	}
	if err == nil && v.Held != (hostler.Text{}) {
		text += v.Held.EN + "\n" // jobs are accepted, and wait
	}
	writeText(w, http.StatusOK, text)
	return nil
}

// Gatherer returns what /metrics shows, each time that it is gathered.
func (m *Monitor) Gatherer(ctx context.Context) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return m.metrics.gatherer(ctx).Gather() })
}

func (m *Monitor) serveMetrics(w http.ResponseWriter, r *http.Request) error {
	m.metrics.serve(w, r)
	return nil
}

func writeText(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the client may have disconnected
}
