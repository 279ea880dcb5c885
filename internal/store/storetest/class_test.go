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

// block begins n transactions and returns once all that get a connection hold it.
// They end with the test, or are refused.
func block(t *testing.T, n, running int, begin func(fn func(c sqldb.Conn) error) error) {
	t.Helper()
	release, holding := make(chan struct{}), make(chan struct{}, n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			err := begin(func(sqldb.Conn) error {
				holding <- struct{}{}
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
		<-holding
	}
}

// quick fails the test unless fn ends in a moment: long before a lease does.
func quick(t *testing.T, what string, fn func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := fn(ctx); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// The regression: 60 blocked reads on PostgreSQL, or 8 on SQLite, took every
// connection, and workers lost their leases.
func TestBlockedReadsDelayNoWork(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		block(t, 60, 3, func(fn func(c sqldb.Conn) error) error { return d.View(ctx, fn) })
		for range 3 {
			for name, class := range map[string]sqldb.Class{"work": sqldb.Work, "leases": sqldb.Leases} {
				d := sqldb.Classed(d, class)
				look := func(c sqldb.Conn) error {
					_, err := strs(t.Context(), c, metaKeys)
					return err
				}
				quick(t, "a read of "+name, func(ctx context.Context) error { return d.View(ctx, look) })
				quick(t, "a write of "+name, func(ctx context.Context) error { return d.InTx(ctx, look) })
			}
			quick(t, "a request's write", func(ctx context.Context) error {
				return d.InTx(ctx, func(c sqldb.Conn) error { _, err := strs(ctx, c, metaKeys); return err })
			})
		}
	})
}

// Leases are renewed also while the transactions that move jobs are blocked. (On SQLite
// all writes take turns.)
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

// The regression: a connection whose very first read was cancelled kept its
// transaction open, and every later read on it failed.
func TestCancelledReadsLeaveNothingBehind(t *testing.T) {
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
