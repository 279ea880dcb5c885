// Package app holds the use cases of Hostler: what people and programs can ask
// for, whichever way they come in.
//
// Model: a use case takes a Caller and an input. It asks allow for a grant, checks
// every field of the input at once, and then runs one transaction through the
// grant: view for reading, change for writing. Change refuses to commit a
// transaction that wrote no audit row, so that no change can go unrecorded.
//
// Invariants: permission is decided before anything is read or said about the
// input. Objects are looked up inside the acting project only, so that one of
// another project and one that does not exist are the same CodeNotFound. Secrets
// enter a credential and leave it in a lease; no answer, error or audit row holds
// one.
package app

import (
	"log/slog"
	"time"

	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/outbox"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

// Limits bound what one call may ask for.
type Limits struct {
	Jobs    int           // jobs of one RunJobs; default 100,000
	Bulk    int           // jobs of one bulk change; default 1,000
	Timeout time.Duration // of an attempt, when the request names none; default 5 minutes
}

// Config is what an App needs.
type Config struct {
	Store   *store.Store
	Actions *action.Registry
	Box     *secret.Box    // seals credentials
	Feed    *outbox.Stream // of events; nil when nobody follows them
	Limits  Limits
	Now     func() time.Time // for caches; rows are stamped by the database's clock
	Log     *slog.Logger
}

// App offers the use cases.
type App struct {
	cfg     Config
	store   *store.Store
	callers callerCache
}

// New makes an App.
func New(cfg Config) *App {
	if cfg.Limits.Jobs == 0 {
		cfg.Limits.Jobs = 100_000
	}
	if cfg.Limits.Bulk == 0 {
		cfg.Limits.Bulk = 1000
	}
	if cfg.Limits.Timeout == 0 {
		cfg.Limits.Timeout = 5 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &App{cfg: cfg, store: cfg.Store}
}
