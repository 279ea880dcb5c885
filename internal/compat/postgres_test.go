package compat

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"hostler.dev/hostler/internal/store/storetest"
)

func execPostgres(ctx context.Context, t testing.TB, dsn, sql string) {
	t.Helper()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(ctx) }()
	if _, err := c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

// newDatabase makes a database without any tables in the cluster of the tests and
// runs SQL in it. The database goes with the test.
func newDatabase(t testing.TB, name, sql string) (dsn string) {
	t.Helper()
	other := storetest.Postgres(t)
	u, err := url.Parse(other)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	execPostgres(t.Context(), t, other, "CREATE DATABASE "+name+" TEMPLATE template0")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		execPostgres(ctx, t, other, "DROP DATABASE "+name+" WITH (FORCE)")
	})
	if sql != "" {
		execPostgres(t.Context(), t, u.String(), sql)
	}
	return u.String()
}
