package storetest_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/storetest"
)

// block starts n transactions that block until the test ends, and returns when running of
// them hold a connection. The others wait, or fail for lack of a connection.
func block(t *testing.T, n, running int, begin func(fn func(c sqldb.Conn) error) error) {
	t.Helper()
	release, connected := make(chan struct{}), make(chan struct{}, n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			err := begin(func(sqldb.Conn) error {
				connected <- struct{}{}
				<-release
				return nil
			})
			if err != nil && !errors.Is(err, context.Canceled) && hostler.CodeOf(err) != hostler.CodeUnavailable {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { close(release); wg.Wait() })
	for range running {
		<-connected
	}
}

// quick fails the test unless fn returns within 3 s, well before a lease expires.
func quick(t *testing.T, name string, fn func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := fn(ctx); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// TestBlockedReadsDelayNoWork is a regression test: 60 blocked reads on PostgreSQL, or 8
// on SQLite, occupied every connection, and workers lost their leases.
func TestBlockedReadsDelayNoWork(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		block(t, 60, 3, func(fn func(c sqldb.Conn) error) error { return d.View(ctx, fn) })
		for range 3 {
			for name, class := range map[string]sqldb.Class{"work": sqldb.Work, "leases": sqldb.Leases} {
				d := sqldb.Classed(d, class)
				read := func(c sqldb.Conn) error {
					_, err := strs(t.Context(), c, metaKeys)
					return err
				}
				quick(t, "a read of "+name, func(ctx context.Context) error { return d.View(ctx, read) })
				quick(t, "a write of "+name, func(ctx context.Context) error { return d.InTx(ctx, read) })
			}
			quick(t, "a request's write", func(ctx context.Context) error {
				return d.InTx(ctx, func(c sqldb.Conn) error { _, err := strs(ctx, c, metaKeys); return err })
			})
		}
	})
}

// TestBlockedWorkDelaysNoLease checks that leases are renewed while the transactions of
// the queue are blocked. On SQLite, where all writes are serialized, nothing is blocked.
func TestBlockedWorkDelaysNoLease(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if ds.Kind == sqldb.Postgres {
			work, requests := sqldb.Classed(d, sqldb.Work), d
			var n atomic.Int64
			block(t, 60, 14, func(fn func(c sqldb.Conn) error) error {
				if n.Add(1)%2 == 0 {
					return requests.InTx(ctx, fn)
				}
				return work.InTx(ctx, fn)
			})
		}
		leases := sqldb.Classed(d, sqldb.Leases)
		for range 3 {
			quick(t, "a heartbeat", func(ctx context.Context) error {
				return leases.InTx(ctx, func(c sqldb.Conn) error { return nil })
			})
		}
	})
}

// TestCancelledReadsEndTheirTransaction is a regression test: if the first read of a
// connection was cancelled, its transaction stayed open and every later read failed.
func TestCancelledReadsEndTheirTransaction(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			err := d.View(ctx, func(sqldb.Conn) error {
				cancel()
				return ctx.Err()
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a cancelled read: %v", err)
			}
		}
		for range 20 {
			wantStrings(t, d, nil, metaKeys)
		}
	})
}
