// Package auditor makes changes of the audit evident: it takes its rows into the chain of
// package auditchain, signs checkpoints, verifies the chain, and archives old rows.
//
// # Model
//
// An [Auditor] is the auditor of one server. Its loops work on the store:
//
//	chain    rows that wait are given positions, in batches   chain.go
//	archive  old rows move to files                           archive.go
//
// and [Auditor.Verify] checks the whole chain, step by step (verify.go). Every server
// runs the loops; a lock in the database lets one of them extend the chain at a time.
// Writers of the audit never wait for it.
//
// # What the chain proves, and what it does not
//
// Whoever can write the database, but has neither the master key nor the data folder of a
// server, cannot change, remove or reorder a row that was chained without a fault in
// Verify. Rows are chained about a second after their commit: rows that are removed
// within that time, and rows that are added in the manner of a server, are not evident.
//
// The newest checkpoint is signed, but an old state of the whole database is signed as
// well. So each server remembers the newest checkpoint it saw in a file beside the
// master key (head.go); a database that went back behind it, or that continues
// differently, is a fault.
//
// # Invariants
//
//   - Nothing is signed before the checkpoint that it continues was verified, and the end
//     of the chain compared with it. If they do not agree, the next row in the chain is a
//     record of that, audit.broken, and each later checkpoint has its position.
//   - Each transaction has a bounded number of rows.
//   - Rows are deleted only after they are in an archive that was written to disk.
package auditor

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"hostler.dev/hostler/internal/auditchain"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/wait"
)

const (
	// chainInterval is the least time between two rounds, so that many rows get one
	// checkpoint. It is most of the time for which a new row is not chained.
	chainInterval = time.Second
	// chainRows bounds the rows of one transaction.
	chainRows = 256
	// idleInterval is how often a round looks for a new master key, and for rows of servers
	// that stopped before they chained them.
	idleInterval        = 2 * time.Second
	defaultArchiveEvery = time.Hour
	// retry is the wait after a failure.
	retry = 10 * time.Second
)

// Config is what an [Auditor] needs.
type Config struct {
	Store *store.Store
	// Keys returns the keys derived from the master key.
	Keys func() (auditchain.Keys, error)
	// HeadFile remembers the newest checkpoint; "" for nowhere.
	HeadFile string
	// ArchiveDir is the folder of archives.
	ArchiveDir string
	// Retention is how long rows are stored before they move to an archive; 0 is for ever.
	Retention time.Duration
	// ArchiveEvery is the time between two looks for old rows; 0 means an hour.
	ArchiveEvery time.Duration
	Log          *slog.Logger
}

// Auditor extends, verifies and archives the chain.
type Auditor struct {
	cfg   Config
	store *store.Store
	log   *slog.Logger
	head  headFile
}

// New returns an Auditor; [Auditor.Run] starts its loops.
func New(cfg Config) *Auditor {
	return &Auditor{cfg: cfg, store: cfg.Store.ForWork(), log: cfg.Log, head: headFile(cfg.HeadFile)}
}

// Run runs the loops until ctx is done. A failing store or disk is logged, and tried
// again.
func (a *Auditor) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.chainLoop(ctx) })
	if a.cfg.Retention > 0 {
		g.Go(func() error { return a.archiveLoop(ctx) })
	}
	return g.Wait()
}

func (a *Auditor) chainLoop(ctx context.Context) error {
	notified, stop := a.store.Subscribe(store.TopicAudit)
	defer stop()
	idle := time.NewTicker(idleInterval)
	defer idle.Stop()
	for {
		pause := chainInterval
		if err := a.chainOnce(ctx); err != nil && ctx.Err() == nil {
			a.log.ErrorContext(ctx, "extend the chain of the audit; will retry", "err", err)
			pause = retry
		}
		if wait.Sleep(ctx, pause) != nil {
			return nil
		}
		if pause == retry {
			continue // the rows are there, without a notification
		}
		select {
		case <-ctx.Done():
			return nil
		case <-notified:
		case <-idle.C:
		}
	}
}

func (a *Auditor) archiveLoop(ctx context.Context) error {
	for {
		if err := a.archiveOnce(ctx); err != nil && ctx.Err() == nil {
			a.log.ErrorContext(ctx, "archive old rows of the audit; will retry", "err", err)
		}
		if wait.Sleep(ctx, cmp.Or(a.cfg.ArchiveEvery, defaultArchiveEvery)) != nil {
			return nil
		}
	}
}
