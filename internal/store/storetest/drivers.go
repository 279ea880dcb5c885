package storetest

import (
	"io/fs"
	"path/filepath"
	"testing"

	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/postgres"
	"hostler.dev/hostler/internal/store/sqlite"
)

// Drivers opens drivers of one kind on one database.
type Drivers struct {
	Kind    sqldb.Dialect
	Clock   *Clock
	Schema  fs.FS  // replaces the migrations when set before Open
	Version string // of the program that opens the database
	dsn     string // of PostgreSQL
	try     func() (sqldb.Driver, error)
}

// Open opens the main database. On PostgreSQL each call is another server; on
// SQLite the last driver must be closed first.
func (d *Drivers) Open(tb testing.TB) sqldb.Driver {
	tb.Helper()
	db, err := d.try()
	if err != nil {
		tb.Fatalf("open %s: %v", d.Kind, err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

// Try is Open for a database that may refuse; the caller closes it.
func (d *Drivers) Try() (sqldb.Driver, error) { return d.try() }

// EachEmptyDriver runs fn once per database without any tables. The first Open migrates
// it.
func EachEmptyDriver(t *testing.T, fn func(t *testing.T, d *Drivers)) {
	t.Helper()
	EachDriver(t, func(t *testing.T, d *Drivers) {
		if d.dsn != "" { // a copy of the migrated template
			if err := postgres.MigrateDown(t.Context(), d.dsn); err != nil {
				t.Fatalf("empty the database: %v", err)
			}
		}
		fn(t, d)
	})
}

// EachDriver runs fn once per database, each fresh and migrated.
func EachDriver(t *testing.T, fn func(t *testing.T, d *Drivers)) {
	t.Helper()
	t.Run(string(sqldb.SQLite), func(t *testing.T) {
		d := &Drivers{Kind: sqldb.SQLite, Clock: NewClock()}
		path := filepath.Join(t.TempDir(), "hostler.db")
		d.try = func() (sqldb.Driver, error) {
			return sqlite.Open(path, sqlite.Options{
				Now: d.Clock.Now, SegmentRows: 100, Schema: d.Schema, Version: d.Version,
			})
		}
		fn(t, d)
	})
	t.Run(string(sqldb.Postgres), func(t *testing.T) {
		d := &Drivers{Kind: sqldb.Postgres, Clock: NewClock(), dsn: Postgres(t)}
		d.try = func() (sqldb.Driver, error) {
			return postgres.Open(t.Context(), d.dsn, postgres.Options{
				Now: d.Clock.Now, Schema: d.Schema, Version: d.Version,
			})
		}
		fn(t, d)
	})
}
