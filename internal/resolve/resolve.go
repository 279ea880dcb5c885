// Package resolve prepares what a leased job needs to run: the asset and the way to
// it, pinned host keys, and opened credentials.
//
// # Model
//
// A [Resolver] sits between the store, which holds references and sealed secrets, and
// the engine, which hands out leases. [Resolver.Leases] completes a batch of leases;
// [Resolver.PinHostKey] decides about a host key that a running job was offered. Both
// act for a job, not for a person: the permission was checked when the job was made.
//
// # Invariants
//
//   - A lease gets the credentials of its own project only, and only those that its
//     asset or its arguments name.
//   - An opened secret is in the lease and nowhere else: not in an error, not in a
//     log line.
//   - A host key is trusted without a person only if it is the first one at its
//     address and no asset there is strict.
package resolve

import (
	"log/slog"

	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

// Config configures a Resolver.
type Config struct {
	Store   *store.Store
	Actions *action.Registry // which credentials the args of a job name
	Box     *secret.Box      // opens credentials
	Log     *slog.Logger     // nil discards
}

// Resolver resolves what leases refer to.
type Resolver struct{ cfg Config }

// New returns a Resolver.
func New(cfg Config) *Resolver {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Resolver{cfg: cfg}
}
