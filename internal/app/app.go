// Package app holds the use cases of Hostler: what people and programs can do,
// whichever API they use.
//
// # Model
//
// A use case takes a Caller and an input. It gets a grant from [App.allow], checks
// every field of the input, and runs one transaction through the grant: view for
// reading, change for writing. Both may be repeated by the store, so that they set
// nothing outside but what they return.
//
//	g, err := a.allow(c, auth.WriteAsset)      permission, before anything else
//	row, err := assetRow(in)                   all faults of the input at once
//	return change(ctx, g, func(s *scope) …)    write, audit row, event
//
// The files are named after the objects of the glossary; job_plan.go checks a job
// request, job_run.go makes jobs of it. setup.go holds what runs before there is a
// caller.
//
// # Invariants
//
//   - Permission is decided before anything is read, and before any fault of the
//     input is reported.
//   - Objects are looked up in the acting project only: an object of another project
//     and one that does not exist are the same CodeNotFound.
//   - A change that wrote no audit row does not commit.
//   - Secrets enter with a credential, a webhook or a job request. No answer, error
//     or audit row holds one.
package app

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/auditor"
	"hostler.dev/hostler/internal/outbox"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

// Limits bound what one call may request.
type Limits struct {
	Jobs    int           // jobs of one RunJobs; default 100,000
	Bulk    int           // jobs of one bulk change; default 1,000
	Keys    int           // valid keys of one user; default 100
	Chain   int           // runs that may follow one, and each other; default 1,000
	Timeout time.Duration // of an attempt, when the request has none; default 5 minutes

	// Bytes of the args of the jobs that one call creates: each job counted, default
	// 1 GiB, and args that jobs have in common counted once, default 64 MiB.
	Args, DistinctArgs int64
}

// Config configures an App.
type Config struct {
	Store   *store.Store
	Actions *action.Registry
	Box     *secret.Box      // seals credentials
	Stream  *outbox.Stream   // of events; nil without event streams
	Auditor *auditor.Auditor // nil without verification of the audit
	// Plan computes what an approval approves; see resolve.Resolver.Plan.
	Plan   func(ctx context.Context, a store.ApprovalRow) (*store.ApprovalPlan, error)
	Limits Limits
	// Restricted are actions that only admins of the default project may run, and the
	// operators of the projects that are named; see [store.Store.Restrict].
	Restricted map[string][]string
	Now        func() time.Time // for caches; rows are stamped by the database's clock
	PublicURL  string           // as people reach the server; "": not known
	Log        *slog.Logger
}

// App offers the use cases.
type App struct {
	cfg     Config
	store   *store.Store
	work    *store.Store // with connections that slow requests do not use up
	callers callerCache

	imports  importTurns
	refusals refusalLimit // of records of refusals by command rules
}

// New returns an App.
func New(cfg Config) *App {
	cfg.Limits.Jobs = cmp.Or(cfg.Limits.Jobs, 100_000)
	cfg.Limits.Bulk = cmp.Or(cfg.Limits.Bulk, 1000)
	cfg.Limits.Args = cmp.Or(cfg.Limits.Args, 1<<30)
	cfg.Limits.DistinctArgs = cmp.Or(cfg.Limits.DistinctArgs, 64<<20)
	cfg.Limits.Keys = cmp.Or(cfg.Limits.Keys, 100)
	cfg.Limits.Chain = cmp.Or(cfg.Limits.Chain, 1000)
	cfg.Limits.Timeout = cmp.Or(cfg.Limits.Timeout, 5*time.Minute)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &App{cfg: cfg, store: cfg.Store, work: cfg.Store.ForWork()}
}
