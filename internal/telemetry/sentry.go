package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/getsentry/sentry-go"
)

// AlertKey is the attribute of records that tell of an alert: these are sent too.
const AlertKey = "alert"

// Sentry sends errors of the log, and alerts, to a receiver of Sentry's events.
type Sentry struct {
	client *sentry.Client
	redact func(string) string
}

// NewSentry returns a Sentry; nil without a DSN. redact removes the secrets of the
// configuration from a text.
func NewSentry(dsn, version, instance string, redact func(string) string) (*Sentry, error) {
	if dsn == "" {
		return nil, nil
	}
	c, err := sentry.NewClient(sentry.ClientOptions{
		Dsn: dsn, Release: "hostler@" + version, ServerName: instance,
	})
	if err != nil {
		return nil, fmt.Errorf("sentry_dsn: %w", err)
	}
	return &Sentry{client: c, redact: redact}, nil
}

// Close waits a while for what is being sent.
func (s *Sentry) Close(wait time.Duration) {
	if s != nil {
		s.client.Flush(wait)
	}
}

// Handler returns a handler of log records that also sends those that matter.
func (s *Sentry) Handler(next slog.Handler) slog.Handler {
	if s == nil {
		return next
	}
	return &sentryHandler{Handler: next, s: s}
}

type sentryHandler struct {
	slog.Handler
	s     *Sentry
	attrs []slog.Attr
}

// Handle implements slog.Handler.
func (h *sentryHandler) Handle(ctx context.Context, r slog.Record) error {
	e := sentry.NewEvent()
	e.Message, e.Timestamp, e.Level = h.s.redact(r.Message), r.Time, sentry.LevelError
	values := map[string]any{}
	isAlert := false
	add := func(a slog.Attr) bool {
		if a.Key == AlertKey {
			isAlert = true
			e.Level = sentry.LevelWarning
			e.Message += ": " + h.s.redact(a.Value.String())
		}
		values[a.Key] = h.s.redact(a.Value.Resolve().String())
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	if isAlert || r.Level >= slog.LevelError {
		e.Contexts = map[string]sentry.Context{"log": values}
		e.Fingerprint = []string{e.Message}
		h.s.client.CaptureEvent(e, nil, nil)
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// Enabled implements slog.Handler. Alerts are sent whatever level the log has.
func (h *sentryHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn || h.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (h *sentryHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &sentryHandler{h.Handler.WithAttrs(attrs), h.s, append(slices.Clip(h.attrs), attrs...)}
}

// WithGroup implements slog.Handler.
func (h *sentryHandler) WithGroup(name string) slog.Handler {
	return &sentryHandler{h.Handler.WithGroup(name), h.s, h.attrs}
}
