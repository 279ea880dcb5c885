package postgres

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// TestEachFaultOfAConnectionHasItsOwnWords fails for a fault without a remedy of its own.
func TestEachFaultOfAConnectionHasItsOwnWords(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"password": {&pgconn.PgError{Code: "28P01"}, "password"},
		"user":     {&pgconn.PgError{Code: "28000"}, "pg_hba.conf"},
		"database": {&pgconn.PgError{Code: "3D000"}, "CREATE DATABASE"},
		"right":    {&pgconn.PgError{Code: "42501", Message: "permission denied for schema public"}, "owner"},
	} {
		if e := describe(fmt.Errorf("open: %w", tt.err)); e == nil || !strings.Contains(e.Text.EN, tt.want) {
			t.Errorf("%s: %v", name, e)
		}
	}
	for text, dsn := range map[string]string{
		"no PostgreSQL answers": "postgres://u:p@127.0.0.1:1/d?sslmode=disable",
		"is not known":          "postgres://u:p@no-such-host.invalid/d",
	} {
		_, err := pgx.Connect(t.Context(), dsn)
		if e := describe(err); e == nil || !strings.Contains(e.Text.EN, text) {
			t.Errorf("%s: %v (%v)", dsn, e, err)
		}
	}
	if e := describe(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}); e == nil {
		t.Error("a refused connection has no text")
	}
}
