package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/postgres"
	"hostler.dev/hostler/internal/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func exec(t *testing.T, dsn, sql string) {
	t.Helper()
	if _, err := connect(t, dsn).Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func mustOpen(t *testing.T, dsn string, opt postgres.Options) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), dsn, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func put(ctx context.Context, db *postgres.DB, key string) error {
	return db.InTx(ctx, func(c sqldb.Conn) error {
		_, err := c.Exec(ctx, `INSERT INTO meta (key, value) VALUES (?, '')`, key)
		return err
	})
}

func texts(t *testing.T, dsn, sql string) []string {
	t.Helper()
	return column(t, connect(t, dsn), sql)
}

// column returns the first column of a query.
func column(t *testing.T, c *pgx.Conn, sql string) []string {
	t.Helper()
	r, err := c.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(r, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// atCommit installs a trigger that runs body, in PL/pgSQL, at the COMMIT of every
// insert into meta.
func atCommit(t *testing.T, dsn, body string) {
	t.Helper()
	exec(t, dsn, `CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN `+body+`; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON meta DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION at_commit()`)
}

// TestCommitOnAMissingStandbyIsAmbiguous commits while the synchronous standby never
// answers: statement_timeout does not end the wait, the client's timeout does.
func TestCommitOnAMissingStandbyIsAmbiguous(t *testing.T) {
	c, err := storetest.StartCluster("synchronous_standby_names=missing", "synchronous_commit=local")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	dsn := c.DSN("postgres")
	mustOpen(t, dsn, postgres.Options{}) // migrates without waiting for the standby
	exec(t, dsn, `ALTER DATABASE postgres SET synchronous_commit = on`)
	// The servers of this test do not write until the insert below.
	db := mustOpen(t, dsn, postgres.Options{Timeout: 500 * time.Millisecond, Patience: 500 * time.Millisecond})
	err = put(t.Context(), db, "k")
	if _, ok := errors.AsType[*sqldb.AmbiguousError](err); !ok {
		t.Errorf("got %v, want an AmbiguousError", err)
	}
}

func TestKilledBeforeCommitIsRetried(t *testing.T) {
	dsn := storetest.Postgres(t)
	db := mustOpen(t, dsn, postgres.Options{})
	runs := 0
	err := db.InTx(t.Context(), func(c sqldb.Conn) error {
		runs++
		if _, err := c.Exec(t.Context(), `INSERT INTO meta (key, value) VALUES ('k', '')`); err != nil {
			return err
		}
		if runs == 1 {
			_, err := c.Exec(t.Context(), `SELECT pg_terminate_backend(pg_backend_pid())`)
			return err
		}
		return nil
	})
	if err != nil || runs != 2 {
		t.Errorf("%d runs, %v; want a second run that succeeds", runs, err)
	}
}

func TestDeadlocksAreRetried(t *testing.T) {
	dsn := storetest.Postgres(t)
	db := mustOpen(t, dsn, postgres.Options{})
	for _, k := range []string{"a", "b"} {
		if err := put(t.Context(), db, k); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	var met sync.WaitGroup
	met.Add(2)
	for _, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
		wg.Go(func() {
			first := true
			err := db.InTx(t.Context(), func(c sqldb.Conn) error {
				for _, k := range order {
					if _, err := c.Exec(t.Context(), `UPDATE meta SET value = value || '+' WHERE key = ?`, k); err != nil {
						return fmt.Errorf("wrapped: %w", err)
					}
					if first {
						first = false
						met.Done()
						met.Wait()
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff([]string{"++", "++"}, texts(t, dsn, `SELECT value FROM meta`)); diff != "" {
		t.Error(diff)
	}
}

func TestAssertsDurability(t *testing.T) {
	dsn := storetest.Postgres(t)
	exec(t, dsn, `DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET synchronous_commit = off'; END $$`)
	_, err := postgres.Open(t.Context(), dsn, postgres.Options{})
	if hostler.CodeOf(err) != hostler.CodeUnavailable || !strings.Contains(err.Error(), "synchronous_commit = off") {
		t.Errorf("synchronous_commit = off: %v", err)
	}

	c, err := storetest.StartCluster("fsync=off")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	_, err = postgres.Open(t.Context(), c.DSN("postgres"), postgres.Options{})
	if hostler.CodeOf(err) != hostler.CodeUnavailable || !strings.Contains(err.Error(), "fsync = off") {
		t.Errorf("fsync = off: %v", err)
	}
}

// TestServerCrashAndRestart checks that transactions return CodeUnavailable while the
// server is down and succeed after its restart, and that the ones acknowledged before
// the crash are durable.
func TestServerCrashAndRestart(t *testing.T) {
	c, err := storetest.StartCluster()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	dsn := c.DSN("postgres")
	db := mustOpen(t, dsn, postgres.Options{Patience: 50 * time.Millisecond})
	notified, stop := db.Subscribe(store.TopicWork)
	defer stop()
	if err := put(t.Context(), db, "before"); err != nil {
		t.Fatal(err)
	}
	c.Halt()
	if err := put(t.Context(), db, "away"); hostler.CodeOf(err) != hostler.CodeUnavailable {
		t.Errorf("while the server is down: %v", err)
	}
	if err := db.View(t.Context(), func(sqldb.Conn) error { return nil }); hostler.CodeOf(err) != hostler.CodeUnavailable {
		t.Errorf("view while the server is down: %v", err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := put(t.Context(), db, "back"); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	if diff := cmp.Diff([]string{"back", "before"}, texts(t, dsn, `SELECT key FROM meta ORDER BY key`)); diff != "" {
		t.Error(diff)
	}
	<-notified // by the poll at the latest
}

func TestUnreachable(t *testing.T) {
	for dsn, want := range map[string]hostler.Code{
		"postgres://hostler:geheim@127.0.0.1:1/x?sslmode=disable": hostler.CodeUnavailable,
		"postgres://hostler:geheim@127.0.0.1:port/x":              hostler.CodeInvalid,
	} {
		_, err := postgres.Open(t.Context(), dsn, postgres.Options{})
		if hostler.CodeOf(err) != want || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}

// TestStatementTimeout checks that statements time out even when the caller's context
// has no deadline.
func TestStatementTimeout(t *testing.T) {
	db := mustOpen(t, storetest.Postgres(t), postgres.Options{Timeout: 200 * time.Millisecond, Patience: time.Millisecond})
	start := time.Now()
	err := db.View(t.Context(), func(c sqldb.Conn) error {
		_, err := c.Exec(context.Background(), `SELECT pg_sleep(60)`)
		return err
	})
	if hostler.CodeOf(err) != hostler.CodeTimeout || time.Since(start) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// TestNotifyAcrossServers checks that servers on one database notify each other faster
// than the poll.
func TestNotifyAcrossServers(t *testing.T) {
	dsn := storetest.Postgres(t)
	a, b := mustOpen(t, dsn, postgres.Options{}), mustOpen(t, dsn, postgres.Options{})
	notified, stop := b.Subscribe(store.TopicWork)
	defer stop()
	// The first notifications may be received before both loops run.
	deadline := time.After(20 * time.Second)
	fast := 0
	for fast < 5 {
		sent := time.Now()
		a.Notify(sqldb.AllTopics)
		select {
		case <-notified:
		case <-deadline:
			t.Fatal("notifications are not faster than the poll")
		}
		if time.Since(sent) < 200*time.Millisecond {
			fast++
		}
	}
}

func tables(t *testing.T, dsn string) []string {
	t.Helper()
	return texts(t, dsn, `SELECT c.relkind::text || ' ' || c.relname || ' ' || coalesce(array_to_string(c.reloptions, ','), '')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relname NOT LIKE 'goose%' AND c.relname <> 'schema_floor'
ORDER BY 1`)
}

func TestMigrateDownAndUp(t *testing.T) {
	dsn := storetest.Postgres(t)
	mustOpen(t, dsn, postgres.Options{})
	want := tables(t, dsn)
	if err := postgres.MigrateDown(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	if left := tables(t, dsn); len(left) != 0 {
		t.Errorf("remaining tables: %v", left)
	}
	// Servers that start at the same time migrate one after another.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			db, err := postgres.Open(t.Context(), dsn, postgres.Options{MaxConns: 2})
			if err != nil {
				t.Error(err)
				return
			}
			_ = db.Close()
		})
	}
	wg.Wait()
	if diff := cmp.Diff(want, tables(t, dsn)); diff != "" {
		t.Errorf("after down and up (-want +got):\n%s", diff)
	}
}

func partitions(t *testing.T, dsn string) []string {
	t.Helper()
	return texts(t, dsn, `SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'done'::regclass ORDER BY 1`)
}

// TestPartitions checks that partitions are created ahead of time and dropped after
// the retention, including one whose removal was interrupted, while a view is open.
func TestPartitions(t *testing.T) {
	dsn := storetest.Postgres(t)
	clock := storetest.NewClock()
	db := mustOpen(t, dsn, postgres.Options{Now: clock.Now})
	first := clock.Now()
	clock.Advance(10 * 24 * time.Hour)
	exec(t, dsn, `ALTER TABLE done DETACH PARTITION done_`+first.Format("20060102"))
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := db.View(t.Context(), func(c sqldb.Conn) error {
			r, err := c.Query(t.Context(), `SELECT count(*) FROM meta`)
			if err != nil {
				return err
			}
			r.Close()
			close(held)
			<-release
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-held
	err := db.Maintain(t.Context(), 48*time.Hour)
	close(release)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range daysAhead + 1 {
		want = append(want, "done_"+clock.Now().AddDate(0, 0, i).Format("20060102"))
	}
	if diff := cmp.Diff(want, partitions(t, dsn)); diff != "" {
		t.Errorf("partitions (-want +got):\n%s", diff)
	}
	// A read that began before may still need the table for a while.
	clock.Advance(5 * time.Minute)
	if err := db.Maintain(t.Context(), 48*time.Hour); err != nil {
		t.Fatal(err)
	}
	query := `SELECT relname::text FROM pg_class WHERE relname = 'done_` + first.Format("20060102") + `'`
	if left := texts(t, dsn, query); len(left) != 0 {
		t.Errorf("a detached partition was not dropped: %v", left)
	}
}

const daysAhead = 7

func TestOneServerMaintains(t *testing.T) {
	dsn := storetest.Postgres(t)
	a, b := mustOpen(t, dsn, postgres.Options{}), mustOpen(t, dsn, postgres.Options{})
	var wg sync.WaitGroup
	for _, db := range []*postgres.DB{a, b, a, b} {
		wg.Go(func() {
			if err := db.Maintain(t.Context(), time.Hour); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(partitions(t, dsn)); n != daysAhead+1 {
		t.Errorf("%d partitions", n)
	}
}

func TestLogRetention(t *testing.T) {
	dsn := storetest.Postgres(t)
	db := mustOpen(t, dsn, postgres.Options{})
	old, now := time.Now().Add(-72*time.Hour), time.Now()
	exec(t, dsn, fmt.Sprintf(`INSERT INTO log_block (job, fence, seq, attempt, at, size, data)
SELECT %d, 1, i, 1, %d, 0, '' FROM generate_series(1, 2001) i`,
		hostler.MakeID(old.Unix(), 1), old.UnixMicro()))
	exec(t, dsn, fmt.Sprintf(`INSERT INTO log_block (job, fence, seq, attempt, at, size, data)
SELECT %d, 2, i, 1, %d, 0, '' FROM generate_series(1, 3) i`,
		hostler.MakeID(old.Unix(), 1), now.UnixMicro()))
	if err := db.Maintain(t.Context(), 48*time.Hour); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"2", "2", "2"}, texts(t, dsn, `SELECT fence::text FROM log_block`)); diff != "" {
		t.Errorf("remaining output (-want +got):\n%s", diff)
	}
}

func TestClockIsTheDatabases(t *testing.T) {
	dsn := storetest.Postgres(t)
	db := mustOpen(t, dsn, postgres.Options{})
	if off := time.Until(db.Now()); off > time.Second || off < -time.Second {
		t.Errorf("the clock differs by %v on one machine", off)
	}
	err := db.InTx(t.Context(), func(c sqldb.Conn) error {
		ids, err := c.NewIDs(t.Context(), 1)
		if err == nil && hostler.IDTime(ids[0]).Sub(db.Now()).Abs() > 2*time.Second {
			err = fmt.Errorf("id %d is of %v", ids[0], hostler.IDTime(ids[0]))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestLock checks that shared locks are compatible with each other and block an
// exclusive one until the end of the transaction.
func TestLock(t *testing.T) {
	db := mustOpen(t, storetest.Postgres(t), postgres.Options{})
	err := db.InTx(t.Context(), func(c sqldb.Conn) error {
		if err := c.Lock(t.Context(), 1, true); err != nil {
			return err
		}
		err := db.InTx(t.Context(), func(c sqldb.Conn) error { return c.Lock(t.Context(), 1, true) })
		if err != nil {
			return err
		}
		waiting, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err = db.InTx(waiting, func(c sqldb.Conn) error { return c.Lock(waiting, 1, false) })
		if hostler.CodeOf(err) != hostler.CodeTimeout {
			return fmt.Errorf("the exclusive lock: %w", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.InTx(t.Context(), func(c sqldb.Conn) error { return c.Lock(t.Context(), 1, false) }); err != nil {
		t.Error(err)
	}
}
