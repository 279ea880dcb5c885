package storetest

import (
	"path/filepath"
	"testing"

	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/sqlite"
)

// Drivers opens drivers of one kind on one database.
type Drivers struct {
	Kind  sqldb.Dialect
	Clock *Clock
	open  func(tb testing.TB) sqldb.Driver
}

// Open opens the main database. On PostgreSQL each call is another server; on
// SQLite the last driver must be closed first.
func (d *Drivers) Open(tb testing.TB) sqldb.Driver {
	tb.Helper()
	return d.open(tb)
}

// EachDriver runs fn once per database, each fresh and migrated.
func EachDriver(t *testing.T, fn func(t *testing.T, d *Drivers)) {
	t.Helper()
	t.Run(string(sqldb.SQLite), func(t *testing.T) {
		c, path := NewClock(), filepath.Join(t.TempDir(), "hostler.db")
		fn(t, &Drivers{sqldb.SQLite, c, func(tb testing.TB) sqldb.Driver {
			tb.Helper()
			db, err := sqlite.Open(path, sqlite.Options{Now: c.Now, SegmentRows: 100})
			if err != nil {
				tb.Fatalf("open sqlite: %v", err)
			}
			tb.Cleanup(func() { _ = db.Close() })
			return db
		}})
	})
	t.Run(string(sqldb.Postgres), func(t *testing.T) {
		c, dsn := NewClock(), Postgres(t)
		fn(t, &Drivers{sqldb.Postgres, c, func(tb testing.TB) sqldb.Driver {
			tb.Helper()
			return OpenPostgres(tb, dsn, c.Now)
		}})
	})
}
