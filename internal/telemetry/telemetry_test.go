package telemetry_test

import (
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/telemetry"
	"hostler.dev/hostler/internal/tracing"
)

// receiver takes OTLP and Sentry's events.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	spans   []*tracepb.Span
	metrics []string
	events  []string
	auth    string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t}
	r.Server = httptest.NewServer(http.HandlerFunc(r.take))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := io.ReadAll(req.Body)
	if err != nil {
		r.t.Error(err)
	}
	switch {
	case req.URL.Path == "/v1/traces":
		r.auth = req.Header.Get("X-Token")
		var in collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(b, &in); err != nil {
			r.t.Error(err)
		}
		for _, res := range in.ResourceSpans {
			for _, scope := range res.ScopeSpans {
				r.spans = append(r.spans, scope.Spans...)
			}
		}
	case req.URL.Path == "/v1/metrics":
		var in collectormetrics.ExportMetricsServiceRequest
		if err := proto.Unmarshal(b, &in); err != nil {
			r.t.Error(err)
		}
		for _, res := range in.ResourceMetrics {
			for _, scope := range res.ScopeMetrics {
				for _, m := range scope.Metrics {
					r.metrics = append(r.metrics, m.Name)
				}
			}
		}
	default:
		r.events = append(r.events, string(b))
	}
	w.WriteHeader(http.StatusOK)
}

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	spanID  = "b7ad6b7169203331"
)

// TestTraces follows a request with a traceparent to the job that it makes.
func TestTraces(t *testing.T) {
	r := newReceiver(t)
	tel, err := telemetry.New(t.Context(), telemetry.Config{Endpoint: r.URL, Headers: []string{"X-Token=canary"}, Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "hostler_test_total"})
	c.Inc()
	reg.MustRegister(c)
	if err := tel.SendMetrics(t.Context(), reg); err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest(http.MethodPost, "/api/v1/jobs?secret=canary", strings.NewReader("canary"))
	req.Header.Set("Traceparent", "00-"+traceID+"-"+spanID+"-01")
	req.Header.Set("Authorization", "Bearer canary")
	traced, end := tel.Request(req)
	carried := tracing.From(traced.Context())
	end("/api/v1/jobs", 201)
	finish := tel.Job(&hostler.Lease{
		LeaseRef: hostler.LeaseRef{Job: 7}, Action: "ssh_command", Queue: "default", Trace: carried, Args: []byte(`{"command":"canary"}`),
		Asset: &hostler.LeaseAsset{Name: "web1", Vars: map[string]string{"x": "canary"}},
	})
	finish(hostler.OutcomeFailed)
	if err := tel.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.spans) != 2 || r.auth != "canary" || strings.Join(r.metrics, " ") != "hostler_test_total" {
		t.Fatalf("%d spans, metrics %v, token %q", len(r.spans), r.metrics, r.auth)
	}
	request, job := r.spans[0], r.spans[1]
	if hex.EncodeToString(request.TraceId) != traceID || hex.EncodeToString(request.ParentSpanId) != spanID ||
		hex.EncodeToString(job.TraceId) != traceID || string(job.ParentSpanId) != string(request.SpanId) {
		t.Errorf("the trace is not one: %v %v", request, job)
	}
	if request.Name != "POST /api/v1/jobs" || job.Name != "job ssh_command" || job.Status.Code != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("spans %q %q %v", request.Name, job.Name, job.Status)
	}
	for _, s := range r.spans {
		if strings.Contains(s.String(), "canary") {
			t.Errorf("a secret is in %v", s)
		}
	}
}

// TestOffCostsNothing: without an endpoint nothing is made.
func TestOffCostsNothing(t *testing.T) {
	tel, err := telemetry.New(t.Context(), telemetry.Config{})
	if tel != nil || err != nil {
		t.Fatal(tel, err)
	}
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	if traced, _ := tel.Request(req); traced != req {
		t.Error("the request is another")
	}
	s, err := telemetry.NewSentry("", "1", "h", nil)
	h := slog.DiscardHandler
	if err != nil || s.Handler(h) != h {
		t.Error("records go through Sentry", err)
	}
}

func TestValidTraceparent(t *testing.T) {
	ok := "00-" + traceID + "-" + spanID + "-01"
	for s, want := range map[string]bool{
		ok: true, "": false, ok + "-x": false, strings.ToUpper(ok): false, "ff" + ok[2:]: false,
		"00-" + strings.Repeat("0", 32) + "-" + spanID + "-01": false, "00-" + traceID + "-" + strings.Repeat("0", 16) + "-01": false,
	} {
		if got := tracing.Valid(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

// TestSentry sends errors and alerts, redacted, and nothing else.
func TestSentry(t *testing.T) {
	r := newReceiver(t)
	dsn := strings.Replace(r.URL, "http://", "http://key@", 1) + "/1"
	s, err := telemetry.NewSentry(dsn, "1", "host", func(text string) string { return strings.ReplaceAll(text, "canary", "***") })
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(s.Handler(slog.DiscardHandler)).With("server", "canary")
	log.Info("nothing")
	log.Warn("a warning")
	log.Error("connect with canary", "err", errors.New("password canary"))
	log.Warn("alerts are firing", "alert", "failures", "first", "check_port")
	s.Close(5 * time.Second)
	r.mu.Lock()
	defer r.mu.Unlock()
	all := strings.Join(r.events, "\n")
	if len(r.events) != 2 || strings.Contains(all, "canary") || !strings.Contains(all, "alerts are firing: failures") ||
		!strings.Contains(all, "password ***") {
		t.Errorf("%d events: %s", len(r.events), all)
	}
}
