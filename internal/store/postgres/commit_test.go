package postgres_test

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/postgres"
	"hostler.dev/hostler/internal/store/storetest"
)

// cuts is how many connections [TestCutConnections] resets.
var cuts = flag.Int("cuts", 300, "connections to reset in TestCutConnections")

// resets are the ways to break a connection at a message.
var resets = []storetest.Action{storetest.ResetBefore, storetest.ResetAfter, storetest.ResetClient}

// TestCutConnections checks that a connection that is reset at any message of the
// protocol, in any way, neither duplicates nor loses a transaction, and that InTx
// returns its true outcome.
func TestCutConnections(t *testing.T) {
	dsn := storetest.Postgres(t)
	proxy := storetest.NewProxy(t, dsn)
	db := mustOpen(t, proxy.DSN(), postgres.Options{MaxConns: 2})
	check := connect(t, dsn)
	var outcomes struct{ ok, failed, ambiguous int }
	const messages = 40 // more than a transaction on a new connection exchanges
	for i := range *cuts {
		proxy.Cut(1+i%messages, resets[i/messages%len(resets)])
		runs := 0
		err := db.InTx(t.Context(), func(c sqldb.Conn) error {
			runs++
			_, err := c.Exec(t.Context(), `INSERT INTO meta (key, value) VALUES (?, '')`, fmt.Sprintf("%d/%d", i, runs))
			return err
		})
		proxy.Decide(nil)
		rows := column(t, check, fmt.Sprintf(`SELECT key FROM meta WHERE key LIKE '%d/%%'`, i))
		_, ambiguous := errors.AsType[*sqldb.AmbiguousError](err)
		switch {
		case len(rows) > 1:
			t.Errorf("cut %d: duplicated: %v, %v", i, rows, err)
		case err == nil && len(rows) == 1:
			outcomes.ok++
		case ambiguous:
			outcomes.ambiguous++
		case err != nil && len(rows) == 0:
			outcomes.failed++
		default:
			t.Errorf("cut %d: %v, but %d rows", i, err, len(rows))
		}
	}
	t.Logf("%d connections reset: %+v", proxy.Resets(), outcomes)
}

// TestKilledAtCommitIsRetried terminates a backend during COMMIT, which rolls the
// transaction back.
func TestKilledAtCommitIsRetried(t *testing.T) {
	dsn := storetest.Postgres(t)
	db := mustOpen(t, dsn, postgres.Options{})
	exec(t, dsn, `CREATE SEQUENCE commits`) // a sequence is not rolled back
	atCommit(t, dsn, `IF nextval('commits') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF`)
	if err := put(t.Context(), db, "k"); err != nil {
		t.Errorf("got %v, want a second run that succeeds", err)
	}
	if got := texts(t, dsn, `SELECT last_value::text FROM commits`); !slices.Equal(got, []string{"2"}) {
		t.Errorf("%v commits, want 2", got)
	}
}

// TestWarningAtCommitIsResolved covers a cancelled wait for a synchronous standby,
// which reports success with a WARNING: the commit counts as durable when a later
// commit is confirmed without one.
func TestWarningAtCommitIsResolved(t *testing.T) {
	dsn := storetest.Postgres(t)
	db := mustOpen(t, dsn, postgres.Options{Patience: 200 * time.Millisecond})
	atCommit(t, dsn, `RAISE WARNING 'the standby did not confirm'`)
	if err := put(t.Context(), db, "k"); err != nil {
		t.Errorf("got %v, want success: the transaction is committed", err)
	}
	exec(t, dsn, `CREATE TRIGGER at_look AFTER UPDATE ON commit_mark FOR EACH STATEMENT EXECUTE FUNCTION at_commit()`)
	err := put(t.Context(), db, "k2")
	var ambiguous *sqldb.AmbiguousError
	var he *hostler.Error
	if !errors.As(err, &ambiguous) || !errors.As(err, &he) || !strings.Contains(fmt.Sprint(he.Cause), "standby") {
		t.Fatalf("got %v, want an AmbiguousError", err)
	}
	if he.Code != hostler.CodeUnavailable {
		t.Errorf("got code %s, want unavailable", he.Code)
	}
	if got := texts(t, dsn, `SELECT key FROM meta`); len(got) != 2 {
		t.Errorf("rows %v, want both", got)
	}
	exec(t, dsn, `DROP TRIGGER at_commit ON meta`)
	for range 20 { // the connection does not retain the warning
		if err := db.InTx(t.Context(), func(sqldb.Conn) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLateCommitFails checks that a COMMIT fails if it reaches the server after its
// transaction was marked as undone and retried.
func TestLateCommitFails(t *testing.T) {
	dsn := storetest.Postgres(t)
	proxy := storetest.NewProxy(t, dsn)
	db := mustOpen(t, proxy.DSN(), postgres.Options{Timeout: time.Second})
	var held atomic.Bool
	refused := make(chan struct{})
	proxy.Decide(func(m storetest.Message) storetest.Action {
		switch {
		case m.Type == 'Q' && strings.Contains(string(m.Body), "; COMMIT") && held.CompareAndSwap(false, true):
			return storetest.Hold
		case m.FromServer && m.Type == 'E' && strings.Contains(string(m.Body), "commit_mark_pkey"):
			close(refused)
		}
		return storetest.Forward
	})
	runs := 0
	err := db.InTx(t.Context(), func(c sqldb.Conn) error {
		runs++
		_, err := c.Exec(t.Context(), `INSERT INTO meta (key, value) VALUES (?, '')`, fmt.Sprint(runs))
		return err
	})
	if err != nil || runs != 2 {
		t.Fatalf("%d runs, %v; want a second run that succeeds", runs, err)
	}
	proxy.Release()
	<-refused
	if got := texts(t, dsn, `SELECT key FROM meta`); !slices.Equal(got, []string{"2"}) {
		t.Errorf("rows %v, want that of the second run", got)
	}
}

// TestOldMarksAreDeleted checks that old marks are deleted, including those of other
// servers, and recent ones are not.
func TestOldMarksAreDeleted(t *testing.T) {
	dsn := storetest.Postgres(t)
	clock := storetest.NewClock()
	db := mustOpen(t, dsn, postgres.Options{Now: clock.Now})
	other := mustOpen(t, dsn, postgres.Options{Now: clock.Now})
	for _, d := range []*postgres.DB{db, other, db} {
		if err := put(t.Context(), d, clock.Now().String()); err != nil {
			t.Fatal(err)
		}
		if err := db.Maintain(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		clock.Advance(6 * time.Minute)
	}
	if got := texts(t, dsn, `SELECT count(*)::text FROM commit_mark`); !slices.Equal(got, []string{"2"}) {
		t.Errorf("%v marks, want those of the last ten minutes", got)
	}
}

// TestReadOnlyTransactionWritesNoMark checks that a transaction that writes nothing
// inserts no mark, so that its COMMIT does not wait for the disk.
func TestReadOnlyTransactionWritesNoMark(t *testing.T) {
	dsn := storetest.Postgres(t)
	db := mustOpen(t, dsn, postgres.Options{})
	err := db.InTx(t.Context(), func(c sqldb.Conn) error {
		_, err := c.Exec(t.Context(), `SELECT key FROM meta`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := texts(t, dsn, `SELECT at::text FROM commit_mark`); len(got) != 0 {
		t.Errorf("marks %v", got)
	}
}
