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
	Kind   sqldb.Dialect
	Clock  *Clock
	Schema fs.FS  // replaces the migrations when set before Open
	dsn    string // of PostgreSQL
	open   func(tb testing.TB, schema fs.FS) sqldb.Driver
}

// Open opens the main database. On PostgreSQL each call is another server; on
// SQLite the last driver must be closed first.
func (d *Drivers) Open(tb testing.TB) sqldb.Driver {
	tb.Helper()
	return d.open(tb, d.Schema)
}

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
		c, path := NewClock(), filepath.Join(t.TempDir(), "hostler.db")
		fn(t, &Drivers{Kind: sqldb.SQLite, Clock: c, open: func(tb testing.TB, schema fs.FS) sqldb.Driver {
			tb.Helper()
			db, err := sqlite.Open(path, sqlite.Options{Now: c.Now, SegmentRows: 100, Schema: schema})
			if err != nil {
				tb.Fatalf("open sqlite: %v", err)
			}
			tb.Cleanup(func() { _ = db.Close() })
			return db
		}})
	})
	t.Run(string(sqldb.Postgres), func(t *testing.T) {
		c, dsn := NewClock(), Postgres(t)
		fn(t, &Drivers{Kind: sqldb.Postgres, Clock: c, dsn: dsn, open: func(tb testing.TB, schema fs.FS) sqldb.Driver {
			tb.Helper()
			return openPostgresDriver(tb, dsn, postgres.Options{Now: c.Now, Schema: schema})
		}})
	})
}
