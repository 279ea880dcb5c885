package rest

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"hostler.dev/hostler/internal/auth"
)

// Config is what the framework needs from the rest of the server.
type Config struct {
	// Authenticate returns the caller that a key belongs to, acting in the project;
	// "" is the key's own project.
	Authenticate func(ctx context.Context, key, project, clientAddr string) (auth.Caller, error)
	// KnownKeys returns which of the keys are valid, for an address that sends many that are
	// not. Nil knows none.
	KnownKeys func(ctx context.Context, keys []string) (map[string]bool, error)
	// Default is the dialect of errors for paths below no route.
	Default *Dialect
	// Document is the path of the OpenAPI document; Title and Version describe it.
	Document, Title, Version string
	// TrustedProxies are the peers whose forwarding headers count.
	TrustedProxies []netip.Prefix
	// ForwardedHeader is the one header in which they name the client: x-forwarded-for,
	// which is the default, forwarded or x-real-ip.
	ForwardedHeader string
	// BodyLimit is the largest request body in bytes; 0 means 8 MiB.
	BodyLimit int64
	// Connections is how many connections the listener accepts at once: callers with a key
	// have requests on at most 7/8 of them, and one user on half of those. 0 means no limit.
	Connections int
	// TLS is set when clients connect with TLS: browsers then use nothing else.
	TLS bool
	// AnswerTime bounds an answer that is not a stream, so that a client which does not
	// read cannot hold memory for ever; 0 means 90 s.
	AnswerTime time.Duration
	// StreamWait is how long one piece of a stream may take to be sent: a client that
	// does not read is disconnected. 0 means 20 s.
	StreamWait time.Duration
	// Draining is closed when the server is about to stop: streams and answers that are
	// held back end. Nil means never.
	Draining <-chan struct{}
	// Refused is called for each request that is refused for its key or its caller's role;
	// nil means not at all.
	Refused func(context.Context, Refusal)
	// Trace begins the span of a request, and returns it with what ends the span; nil means
	// no spans.
	Trace func(*http.Request) (*http.Request, func(route string, status int))
	// Observe is called after each answer; nil means not at all.
	Observe func(Answer)
	// Log is for internal errors; nil discards them.
	Log *slog.Logger
}

// Answer describes an answer that was sent, for metrics.
type Answer struct {
	Method string
	Route  string // the pattern of the path; "" when none matched
	Status int
	Took   time.Duration
	// Held reports that the answer was a stream or was held back on request, so that
	// Took does not measure the server's speed.
	Held bool
}

func (c Config) withDefaults() Config {
	c.BodyLimit = cmp.Or(c.BodyLimit, 8<<20)
	c.AnswerTime = cmp.Or(c.AnswerTime, 90*time.Second)
	c.StreamWait = cmp.Or(c.StreamWait, 20*time.Second)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	c.ForwardedHeader = cmp.Or(c.ForwardedHeader, "x-forwarded-for")
	if c.KnownKeys == nil {
		c.KnownKeys = func(context.Context, []string) (map[string]bool, error) { return nil, nil }
	}
	if c.Refused == nil {
		c.Refused = func(context.Context, Refusal) {}
	}
	if c.Observe == nil {
		c.Observe = func(Answer) {}
	}
	return c
}
