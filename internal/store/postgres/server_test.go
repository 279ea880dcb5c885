package postgres_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store/postgres"
	"hostler.dev/hostler/internal/store/schema"
	"hostler.dev/hostler/internal/store/storetest"
)

// laterSchema returns the migrations of a later version, with which this one cannot work.
func laterSchema(t *testing.T) fs.FS {
	t.Helper()
	later := fstest.MapFS{"main/90000_later.sql": {Data: []byte("-- +goose Up\nCREATE TABLE later (n BIGINT);\n")}}
	err := fs.WalkDir(schema.Migrations, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := schema.Migrations.ReadFile(path)
		later[path] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return later
}

func serverOptions(host, version string, files fs.FS) postgres.Options {
	return postgres.Options{
		Version: version, Schema: files, OlderPatience: time.Nanosecond,
		Server: &postgres.Server{Hostname: host, PID: 42},
	}
}

// execAfter is exec on a connection that it closes, also for the end of a test.
func execAfter(t *testing.T, dsn, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Close(ctx) }()
	if _, err := c.Exec(ctx, sql); err != nil {
		t.Errorf("%s: %v", sql, err)
	}
}

// watch runs the watch of a server.
func watch(t *testing.T, db *postgres.DB) (ended <-chan error, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- db.Watch(ctx) }()
	t.Cleanup(cancel)
	return done, cancel
}

// TestNewerServerWaitsForOlderOnes is a regression test: a server migrated the database
// under live servers that could not work with the result.
func TestNewerServerWaitsForOlderOnes(t *testing.T) {
	dsn := storetest.Postgres(t)
	older := mustOpen(t, dsn, serverOptions("old-host", "1.0", nil))
	ended, stop := watch(t, older)
	_, err := postgres.Open(t.Context(), dsn, serverOptions("new-host", "2.0", laterSchema(t)))
	if hostler.CodeOf(err) != hostler.CodeConflict || !strings.Contains(err.Error(), "old-host (pid 42, version 1.0)") {
		t.Fatalf("beside an older server: %v", err)
	}
	if n := texts(t, dsn, `SELECT count(*)::text FROM pg_tables WHERE tablename = 'later'`); n[0] != "0" {
		t.Fatal("the database was migrated")
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dsn, serverOptions("new-host", "2.0", laterSchema(t)))
	_, err = postgres.Open(t.Context(), dsn, serverOptions("old-host", "1.0", nil))
	if hostler.CodeOf(err) != hostler.CodeConflict || !strings.Contains(err.Error(), "Hostler 1.0 is too old") {
		t.Errorf("the older one after the upgrade: %v", err)
	}
}

// TestServersWithoutACheckAreSeen checks that the start of this version waits for live
// servers of those that have no table of servers; their workers show them.
func TestServersWithoutACheckAreSeen(t *testing.T) {
	dsn := storetest.Postgres(t)
	mustOpen(t, dsn, postgres.Options{})
	exec(t, dsn, `DROP TABLE schema_floor; DROP TABLE server; DROP VIEW history_part; DROP TABLE done_part;
DELETE FROM goose_postgres_version WHERE version_id >= 2;
INSERT INTO worker (id, name, hostname, pid, version, queues, slots, started_at, heartbeat_at, lease_until, level)
VALUES (1, 'w', 'earlier-host', 7, '0.1', '[]', 1, 0, extract(epoch FROM clock_timestamp()) * 1000000, 0, 0)`)
	_, err := postgres.Open(t.Context(), dsn, serverOptions("new-host", "2.0", nil))
	if hostler.CodeOf(err) != hostler.CodeConflict || !strings.Contains(fmt.Sprint(err), "earlier-host (pid 7") {
		t.Fatalf("beside an earlier server: %v", err)
	}
	exec(t, dsn, `UPDATE worker SET heartbeat_at = 0`)
	mustOpen(t, dsn, serverOptions("new-host", "2.0", nil))
	if dead := texts(t, dsn, `SELECT dead::text FROM worker WHERE id = 1`); dead[0] != "1" {
		t.Error("the worker of a silent earlier server may go on")
	}
	c := connect(t, dsn)
	_, err = c.Exec(t.Context(), `INSERT INTO worker (id, name, hostname, pid, version, queues, slots, started_at,
heartbeat_at, lease_until) VALUES (2, 'w', 'h', 7, '0.1', '[]', 1, 0, 0, 0)`)
	if err == nil {
		t.Error("an earlier server that was suspended can register a worker")
	}
}

// TestServerBelowTheFloorStops: a server that was suspended while the data was upgraded
// finds out and stops.
func TestServerBelowTheFloorStops(t *testing.T) {
	dsn := storetest.Postgres(t)
	older := mustOpen(t, dsn, serverOptions("old-host", "1.0", nil))
	exec(t, dsn, `UPDATE server SET heartbeat_at = 0`) // as after a suspension
	mustOpen(t, dsn, serverOptions("new-host", "2.0", laterSchema(t)))
	ended, _ := watch(t, older)
	if err := <-ended; hostler.CodeOf(err) != hostler.CodeConflict || !strings.Contains(err.Error(), "2.0") {
		t.Errorf("the older server's watch ended with %v", err)
	}
}

// TestIdentityOfACopy checks that a database made from another, by a copy or by a dump
// that replaces its tables, has another identity, and that a plain user can read it.
func TestIdentityOfACopy(t *testing.T) {
	dsn := storetest.Postgres(t)
	identity := func(dsn string) string {
		t.Helper()
		db, err := postgres.Open(t.Context(), dsn, postgres.Options{Existing: true})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		id, err := db.Identity(t.Context())
		if err != nil || id == "" {
			t.Fatalf("identity %q, %v", id, err)
		}
		return id
	}
	first := identity(dsn)
	if again := identity(dsn); again != first {
		t.Errorf("the identity changed from %s to %s", first, again)
	}
	execAfter(t, dsn, `CREATE ROLE plain_reader; SET ROLE plain_reader;
SELECT system_identifier FROM pg_control_system(); RESET ROLE; DROP ROLE plain_reader`)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	admin := *u
	admin.Path = "/postgres"
	exec(t, admin.String(), "CREATE DATABASE "+name+"_copy TEMPLATE "+name)
	t.Cleanup(func() { execAfter(t, admin.String(), "DROP DATABASE "+name+"_copy WITH (FORCE)") })
	copied := *u
	copied.Path += "_copy"
	if identity(copied.String()) == first {
		t.Error("a copy has the identity of the original")
	}
	exec(t, dsn, `CREATE TABLE m AS TABLE meta; DROP TABLE meta; ALTER TABLE m RENAME TO meta`)
	if identity(dsn) == first {
		t.Error("a dump that was restored over the database has its identity")
	}
}
