// Package server wires a Hostler server, and offers what works on a data folder
// without a running one.
//
// # Model
//
// [Run] builds every part from one configuration (store, engine, node, API,
// publisher, notifier), starts them, and stops them in order. [Backup], [Restore],
// [LocalAdminKey] and [Doctor] open the data folder or the database themselves.
//
// # Invariants
//
// This is the only package that wires: constructors of other packages start nothing
// and find nothing by themselves. A stopping server leases no new jobs before it
// drains, and gives up its lease after that, so that no job waits for a dead worker.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/postgres"
	"hostler.dev/hostler/internal/store/sqlite"
)

// opening says how a store is opened.
type opening struct {
	existing bool // without migrations: a server of another version may use it
	server   bool // the caller is a server, and calls Watch of a shared database
}

// openStore opens and migrates the database that the configuration names. On SQLite,
// job output has a file of its own, so that its writes do not wait for the queue's.
// shared is the database if other servers may use it too.
func openStore(
	ctx context.Context, cfg config.Config, o opening, log *slog.Logger,
) (st *store.Store, shared *postgres.DB, err error) {
	path, embedded := cfg.SQLitePath()
	if embedded {
		main, output, err := openSQLite(cfg, path, o, log)
		if err != nil {
			return nil, nil, err
		}
		return store.New(main, output), nil, nil
	}
	opt := postgres.Options{Log: log, Version: cfg.Version, Existing: o.existing}
	if o.server {
		host, err := os.Hostname()
		if err != nil {
			return nil, nil, fmt.Errorf("the name of this machine: %w", err)
		}
		opt.Server = &postgres.Server{Hostname: host, PID: os.Getpid()}
	}
	db, err := postgres.Open(ctx, cfg.DB, opt)
	if err != nil {
		return nil, nil, err
	}
	return store.New(db, db), db, nil
}

func openSQLite(cfg config.Config, path string, o opening, log *slog.Logger) (main, output *sqlite.DB, err error) {
	opt := sqlite.Options{Log: log, Version: cfg.Version, Existing: o.existing}
	if main, err = sqlite.Open(path, opt); err != nil {
		return nil, nil, err
	}
	if output, err = sqlite.OpenLog(outputPath(path), opt); err != nil {
		return nil, nil, errors.Join(err, main.Close())
	}
	return main, output, nil
}

// keyPath is the file of the master key, unless the environment has the key.
func keyPath(cfg config.Config) string { return filepath.Join(cfg.Data, "master.key") }

// outputPath is the file of the job output beside the main one.
func outputPath(path string) string {
	return strings.TrimSuffix(path, filepath.Ext(path)) + "-output.db"
}
