package postgres_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/postgres"
	"hostler.dev/hostler/internal/store/storetest"
)

// TestSuspendedServerReleasesLocks checks that a server that is suspended inside a
// transaction holds its locks for IdleTimeout only, and retries the transaction when
// it resumes.
func TestSuspendedServerReleasesLocks(t *testing.T) {
	dsn := storetest.Postgres(t)
	proxy := storetest.NewProxy(t, dsn)
	const idle = 300 * time.Millisecond
	stopped := mustOpen(t, proxy.DSN(), postgres.Options{IdleTimeout: idle})
	other := mustOpen(t, dsn, postgres.Options{})
	if err := put(t.Context(), other, "k"); err != nil {
		t.Fatal(err)
	}
	held := make(chan struct{})
	var first atomic.Bool
	proxy.Decide(func(m storetest.Message) storetest.Action {
		if !m.FromServer && strings.Contains(string(m.Body), "'stopped'") && first.CompareAndSwap(false, true) {
			close(held)
			return storetest.Hold
		}
		return storetest.Forward
	})
	update := `UPDATE meta SET value = value || ? WHERE key = 'k'`
	runs := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		err := stopped.InTx(t.Context(), func(c sqldb.Conn) error {
			runs++
			if _, err := c.Exec(t.Context(), update, "a"); err != nil {
				return err
			}
			_, err := c.Exec(t.Context(), `SELECT 'stopped'`)
			return err
		})
		if err != nil {
			t.Errorf("the stopped server: %v", err)
		}
	})
	<-held
	start := time.Now()
	err := other.InTx(t.Context(), func(c sqldb.Conn) error {
		_, err := c.Exec(t.Context(), update, "b")
		return err
	})
	if err != nil {
		t.Errorf("the other server: %v", err)
	}
	if waited := time.Since(start); waited > idle+10*time.Second {
		t.Errorf("the other server waited %v", waited)
	}
	wg.Wait()
	proxy.Release()
	if got := texts(t, dsn, `SELECT value FROM meta`); len(got) != 1 || len(got[0]) != 2 {
		t.Errorf("value %q, want a and b once each", got)
	}
	if runs != 2 {
		t.Errorf("%d runs, want 2", runs)
	}
}
