// Package tracing carries the trace that a request belongs to, as a traceparent of the W3C
// (https://www.w3.org/TR/trace-context/), from the API to the jobs that it creates. It is
// pure; package telemetry makes the spans.
package tracing

import (
	"context"
	"regexp"
	"strings"
)

type key struct{}

// With returns a context with a traceparent.
func With(ctx context.Context, traceparent string) context.Context {
	return context.WithValue(ctx, key{}, traceparent)
}

// From returns the traceparent of a context; empty without one.
func From(ctx context.Context) string {
	s, _ := ctx.Value(key{}).(string)
	return s
}

var form = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// Valid reports whether a text is a traceparent.
func Valid(s string) bool {
	return form.MatchString(s) && !strings.HasPrefix(s[3:], strings.Repeat("0", 32)) && s[36:52] != strings.Repeat("0", 16)
}
