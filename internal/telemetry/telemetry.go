// Package telemetry sends traces and metrics to an OTLP receiver, and faults and alerts to
// Sentry, when they are configured.
//
// # Model
//
//	request   a span of the API, of the trace that its traceparent names or a new one
//	job       a span of the worker, below the request that made the job
//
// # Invariants
//
//   - What is sent names methods, routes, ids, actions, queues, assets and outcomes. No args,
//     output, headers, bodies or error texts of jobs are in it.
//   - A receiver that is slow or away delays nothing: what does not fit into the buffers is
//     dropped.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	promtotel "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/prometheus/client_golang/prometheus"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/tracing"
)

// Config is where traces and metrics are sent.
type Config struct {
	// Endpoint is the base URL of an OTLP receiver over HTTP, such as
	// http://collector:4318.
	Endpoint string
	// Headers authorize the requests, each as name=value.
	Headers  []string
	Version  string
	Instance string // name of this server
	Interval time.Duration
}

// Telemetry makes spans. A nil Telemetry makes none.
type Telemetry struct {
	cfg     Config
	headers map[string]string
	res     *resource.Resource
	spans   *sdktrace.TracerProvider
	meters  *metric.MeterProvider
	tracer  trace.Tracer
}

// New returns a Telemetry, which sends from then on; nil without an endpoint.
func New(ctx context.Context, cfg Config) (*Telemetry, error) {
	if cfg.Endpoint == "" {
		return nil, nil
	}
	t := &Telemetry{cfg: cfg, headers: map[string]string{}}
	for _, h := range cfg.Headers {
		name, value, _ := strings.Cut(h, "=")
		t.headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	t.res = resource.NewSchemaless(
		attribute.String("service.name", "hostler"), attribute.String("service.version", cfg.Version),
		attribute.String("service.instance.id", cfg.Instance))
	out, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(t.url("traces")), otlptracehttp.WithHeaders(t.headers))
	if err != nil {
		return nil, fmt.Errorf("open the receiver of traces: %w", err)
	}
	t.spans = sdktrace.NewTracerProvider(sdktrace.WithBatcher(out), sdktrace.WithResource(t.res))
	t.tracer = t.spans.Tracer("hostler.dev/hostler")
	return t, nil
}

func (t *Telemetry) url(signal string) string {
	return strings.TrimRight(t.cfg.Endpoint, "/") + "/v1/" + signal
}

// SendMetrics sends what a gatherer has, each minute.
func (t *Telemetry) SendMetrics(ctx context.Context, g prometheus.Gatherer) error {
	if t == nil {
		return nil
	}
	out, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(t.url("metrics")), otlpmetrichttp.WithHeaders(t.headers))
	if err != nil {
		return fmt.Errorf("open the receiver of metrics: %w", err)
	}
	every := t.cfg.Interval
	if every == 0 {
		every = time.Minute
	}
	t.meters = metric.NewMeterProvider(metric.WithResource(t.res), metric.WithReader(metric.NewPeriodicReader(out,
		metric.WithInterval(every), metric.WithProducer(promtotel.NewMetricProducer(promtotel.WithGatherer(g))))))
	return nil
}

// Close sends what is left.
func (t *Telemetry) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	err := t.spans.Shutdown(ctx)
	if t.meters != nil {
		err = errors.Join(err, t.meters.Shutdown(ctx))
	}
	return err
}

// Request begins the span of a request; end ends it. What the request creates belongs to
// its trace.
func (t *Telemetry) Request(r *http.Request) (traced *http.Request, end func(route string, status int)) {
	if t == nil {
		return r, func(string, int) {}
	}
	ctx, span := t.tracer.Start(parent(r.Context(), r.Header.Get("Traceparent")), r.Method, trace.WithSpanKind(trace.SpanKindServer))
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return r.WithContext(tracing.With(ctx, carrier["traceparent"])), func(route string, status int) {
		span.SetName(r.Method + " " + route)
		span.SetAttributes(attribute.String("http.request.method", r.Method), attribute.String("http.route", route),
			attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Job begins the span of a job; end ends it.
func (t *Telemetry) Job(l *hostler.Lease) (end func(o hostler.Outcome)) {
	if t == nil {
		return func(hostler.Outcome) {}
	}
	attrs := []attribute.KeyValue{
		attribute.String("hostler.job", l.Job.String()), attribute.String("hostler.run", l.Run.String()),
		attribute.String("hostler.action", l.Action), attribute.String("hostler.queue", l.Queue),
		attribute.Int("hostler.attempt", l.Attempt),
	}
	if l.Asset != nil {
		attrs = append(attrs, attribute.String("hostler.asset", l.Asset.Name))
	}
	//nolint:contextcheck,forbidigo // the span has no other parent than the trace of the job
	_, span := t.tracer.Start(parent(context.Background(), l.Trace), "job "+l.Action,
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attrs...))
	return func(o hostler.Outcome) {
		span.SetAttributes(attribute.String("hostler.outcome", string(o)))
		if o != hostler.OutcomeSucceeded {
			span.SetStatus(codes.Error, string(o))
		}
		span.End()
	}
}

// parent returns a context in a trace, if the traceparent is valid.
func parent(ctx context.Context, traceparent string) context.Context {
	if !tracing.Valid(traceparent) {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
}
