package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// failingReads fails the queries of transactions that contain a text.
type failingReads struct {
	sqldb.Driver
	text string
	err  error
}

func (d *failingReads) InTx(ctx context.Context, fn func(c sqldb.Conn) error) error {
	return d.Driver.InTx(ctx, func(c sqldb.Conn) error { return fn(failingConn{c, d}) })
}

type failingConn struct {
	sqldb.Conn
	d *failingReads
}

func (c failingConn) Query(ctx context.Context, sql string, args ...any) (sqldb.Rows, error) {
	if c.d.text != "" && strings.Contains(sql, c.d.text) {
		return nil, c.d.err
	}
	return c.Conn.Query(ctx, sql, args...)
}

// TestRescueReportsAFailedRead fails the read of a worker's row during a rescue: it must
// report the error, not "nothing to do".
func TestRescueReportsAFailedRead(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, d *storetest.Drivers) {
		db := &failingReads{Driver: d.Open(t), err: errors.New("the disk cannot be read")}
		f := &fixture{Harness: &storetest.Harness{Store: store.New(db, db)}, t: t}
		f.tx(func(tx *store.Tx) error {
			_, err := tx.SetQueue("q", store.QueueSettings{})
			return err
		})
		w := f.register("*")
		f.enqueue(specsOf(testProject, "a", 1)...)
		f.claim(w, 1)
		f.tx(func(tx *store.Tx) error { _, err := tx.RetireWorker(w); return err })
		rescue := func() (n int, err error) {
			err = f.Store.InTx(t.Context(), func(tx *store.Tx) (err error) {
				n, err = tx.RescueJobs(10)
				return err
			})
			return n, err
		}
		db.text = "dead = 0"
		if n, err := rescue(); !errors.Is(err, db.err) {
			t.Errorf("rescued %d, %v; want the error of the read", n, err)
		}
		db.text = ""
		if n, err := rescue(); n != 1 || err != nil {
			t.Errorf("then rescued %d, %v; want one job", n, err)
		}
	})
}
