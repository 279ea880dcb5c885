package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/postgres"
)

// OpenPostgres opens a driver on a database that [Postgres] created. Each driver
// represents one server.
func OpenPostgres(tb testing.TB, dsn string, now func() time.Time) *postgres.DB {
	tb.Helper()
	return openPostgresDriver(tb, dsn, postgres.Options{Now: now})
}

func openPostgresDriver(tb testing.TB, dsn string, opt postgres.Options) *postgres.DB {
	tb.Helper()
	db, err := postgres.Open(tb.Context(), dsn, opt)
	if err != nil {
		tb.Fatalf("open postgres: %v", err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

// Proxied creates a fresh store on PostgreSQL whose connections go through a proxy.
func Proxied(tb testing.TB) (*Harness, *Proxy) {
	tb.Helper()
	c, p := NewClock(), NewProxy(tb, Postgres(tb))
	db := OpenPostgres(tb, p.DSN(), c.Now)
	return &Harness{Store: store.New(db, db), Kind: db.Name(), clock: c}, p
}

// wipe deletes all rows of a migrated database, which is much faster than creating
// another.
func wipe(tb testing.TB, dsn string) {
	tb.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		tb.Fatalf("connect to wipe: %v", err)
	}
	defer func() { _ = c.Close(ctx) }()
	// Without triggers: the audit table rejects deletions.
	_, err = c.Exec(ctx, `DO $$
DECLARE t text;
BEGIN
  SET LOCAL session_replication_role = replica;
  FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'goose%'
    AND tablename <> 'schema_floor' LOOP
    EXECUTE 'DELETE FROM ' || quote_ident(t);
  END LOOP;
END $$`)
	if err != nil {
		tb.Fatalf("wipe: %v", err)
	}
}

// openPostgres returns a function that opens an empty store on PostgreSQL, on the same
// database each time.
func openPostgres() func(tb testing.TB, c *Clock) *store.Store {
	dsn, used := "", false
	return func(tb testing.TB, c *Clock) *store.Store {
		tb.Helper()
		if dsn == "" {
			dsn = Postgres(tb)
		}
		if used {
			wipe(tb, dsn)
		}
		used = true
		db := OpenPostgres(tb, dsn, c.Now)
		return store.New(db, db)
	}
}
