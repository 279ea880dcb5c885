package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// put writes a row of meta.
func put(ctx context.Context, c sqldb.Conn, key, value string) error {
	_, err := c.Exec(ctx, `INSERT INTO meta (key, value) VALUES (?, ?)`, key, value)
	return err
}

func mustTx(t *testing.T, d sqldb.Driver, fn func(ctx context.Context, c sqldb.Conn) error) {
	t.Helper()
	ctx := t.Context()
	if err := d.InTx(ctx, func(c sqldb.Conn) error { return fn(ctx, c) }); err != nil {
		t.Fatal(err)
	}
}

func mustPut(t *testing.T, d sqldb.Driver, key, value string) {
	t.Helper()
	mustTx(t, d, func(ctx context.Context, c sqldb.Conn) error { return put(ctx, c, key, value) })
}

// strs reads the first column of a query as text.
func strs(ctx context.Context, c sqldb.Conn, sql string, args ...any) ([]string, error) {
	r, err := c.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []string
	for r.Next() {
		var s string
		if err := r.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, r.Err()
}

func wantStrings(t *testing.T, d sqldb.Driver, want []string, sql string, args ...any) {
	t.Helper()
	var got []string
	err := d.View(t.Context(), func(c sqldb.Conn) (err error) {
		got, err = strs(t.Context(), c, sql, args...)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", sql, diff)
	}
}

const metaKeys = `SELECT key FROM meta ORDER BY key`

func TestRows(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		rows := sqldb.NewBatch([]struct {
			Job  int64  `db:"job"`
			Data []byte `db:"data"`
			Key  string `db:"key"`
		}{{1, []byte("a"), "k1"}, {2, []byte{}, "k2"}, {3, nil, "k'?3"}})
		mustTx(t, d, func(ctx context.Context, c sqldb.Conn) error {
			n, err := c.ExecRows(ctx, `INSERT INTO meta (key, value) SELECT v.key, '' FROM @rows`, rows)
			if err != nil || n != 3 {
				return fmt.Errorf("insert: %d rows, %w", n, err)
			}
			update := `UPDATE meta SET value = 'job ' || v.job FROM @rows WHERE meta.key = v.key`
			if _, err := c.ExecRows(ctx, update, rows); err != nil {
				return err
			}
			remove := `DELETE FROM meta WHERE key IN (SELECT v.key FROM @rows)`
			n, err = c.ExecRows(ctx, remove, sqldb.BatchOf(sqldb.Texts("key", "k2", "none")))
			if err != nil || n != 1 {
				return fmt.Errorf("delete: %d rows, %w", n, err)
			}
			if n, err := c.ExecRows(ctx, remove, sqldb.BatchOf(sqldb.Texts("key"))); err != nil || n != 0 {
				return fmt.Errorf("no rows: %d, %w", n, err)
			}
			_, err = c.ExecRows(ctx, `INSERT INTO meta (key, value) SELECT v.key || '+', m.value
FROM @rows JOIN meta m ON m.key = v.key WHERE true ON CONFLICT (key) DO NOTHING`, rows)
			return err
		})
		wantStrings(t, d, []string{"k'?3=job 3", "k'?3+=job 3", "k1=job 1", "k1+=job 1"},
			`SELECT key || '=' || value FROM meta ORDER BY value DESC, length(key)`)
	})
}

// TestManyRows writes batches of every size around those of SQLite's statements, with
// columns that are the same in all rows, and in none.
func TestManyRows(t *testing.T) {
	type row struct {
		Last int64  `db:"last"`
		N    int64  `db:"n"`
		At   int64  `db:"at"`
		Body []byte `db:"body"`
	}
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		write := func(rows []row) (got []row, n int64, err error) {
			err = d.InTx(t.Context(), func(c sqldb.Conn) error {
				n, err = c.ExecRows(t.Context(), `INSERT INTO event (last, n, at, body)
SELECT v.last, v.n, v.at, v.body FROM @rows`, sqldb.NewBatch(rows))
				if err != nil {
					return err
				}
				r, err := c.Query(t.Context(), `SELECT last, n, at, body FROM event WHERE last >= ? ORDER BY last`, rows[0].Last)
				if err != nil {
					return err
				}
				defer r.Close()
				for r.Next() {
					var v row
					if err := r.Scan(&v.Last, &v.N, &v.At, &v.Body); err != nil {
						return err
					}
					got = append(got, v)
				}
				return r.Err()
			})
			return got, n, err
		}
		last := int64(0)
		for _, n := range []int{1, 3, 4, 5, 16, 21, 63, 64, 65, 150} {
			for _, varied := range []int64{0, 1} {
				rows := make([]row, n)
				for i := range rows {
					last++
					rows[i] = row{last, 3 + varied*int64(i), 4, []byte{}}
					if varied == 1 {
						rows[i].Body = []byte{byte(i), 0}
					}
				}
				got, written, err := write(rows)
				if diff := cmp.Diff(rows, got, cmpopts.EquateEmpty()); err != nil || diff != "" || written != int64(n) {
					t.Fatalf("%d of %d rows written, %v (-want +got):\n%s", written, n, err, diff)
				}
			}
		}
	})
}

func TestEmptyBytesAreNotNull(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		mustTx(t, d, func(ctx context.Context, c sqldb.Conn) error {
			_, err := c.Exec(ctx, `INSERT INTO project (id, name, created_at) VALUES (1, 'p', 0)`)
			if err != nil {
				return err
			}
			n, err := c.Exec(ctx, `INSERT INTO credential (id, project, name, kind, sealed, created_at, updated_at)
SELECT 1, p.id, 'c', 'token', ?, 0, 0 FROM project p`, []byte(nil))
			if err != nil || n != 1 {
				return fmt.Errorf("%d rows: %w", n, err)
			}
			r, err := c.Query(ctx, `SELECT sealed, id, kind FROM credential`)
			if err != nil {
				return err
			}
			defer r.Close()
			for r.Next() {
				sealed, kind := []byte("x"), hostler.State("")
				var id bool
				if err := r.Scan(&sealed, &id, &kind); err != nil {
					return err
				}
				if len(sealed) != 0 || !id || kind != "token" {
					return fmt.Errorf("got %q %v %q", sealed, id, kind)
				}
			}
			return r.Err()
		})
	})
}

func TestLists(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		for i, k := range []string{"a", `b"]`, "c"} {
			mustPut(t, d, k, fmt.Sprint(i))
		}
		wantStrings(t, d, []string{"a", `b"]`}, `SELECT key FROM meta WHERE key IN ?* ORDER BY key`, []string{"a", `b"]`, "z"})
		wantStrings(t, d, []string{"c"}, `SELECT key FROM meta WHERE key NOT IN ?* ORDER BY key`, []string{"a", `b"]`})
		wantStrings(t, d, nil, `SELECT key FROM meta WHERE key IN ?*`, []string{})
		wantStrings(t, d, []string{"b\"]"}, `SELECT key FROM meta WHERE length(key) IN ?*`, []int64{3, 2, 9007199254740993})
	})
}

// TestMemberErrorUndoesOnlyItself checks that the error of a transaction rolls back only
// that transaction, not the others of its group.
func TestMemberErrorUndoesOnlyItself(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		errBad := errors.New("bad")
		var wg sync.WaitGroup
		var want []string
		for i := range 60 {
			key := fmt.Sprintf("%02d", i)
			if i%3 != 0 {
				want = append(want, key)
			}
			wg.Go(func() {
				err := d.InTx(t.Context(), func(c sqldb.Conn) error {
					if err := put(t.Context(), c, key, "x"); err != nil {
						return err
					}
					switch {
					case i%6 == 0:
						return errBad
					case i%6 == 3: // an error of the statement
						return put(t.Context(), c, key, "again")
					}
					return nil
				})
				switch {
				case i%6 == 0 && !errors.Is(err, errBad),
					i%6 == 3 && hostler.CodeOf(err) != hostler.CodeConflict,
					i%3 != 0 && err != nil:
					t.Errorf("transaction %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		wantStrings(t, d, want, metaKeys)
	})
}

// TestCancelledMemberHarmsNoOther is a regression test: cancelling the context of one
// member must neither roll back its group nor commit a part of the next member.
func TestCancelledMemberHarmsNoOther(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		for round := range 20 {
			cancelled, cancel := context.WithCancel(t.Context())
			running, queued := make(chan struct{}), make(chan struct{})
			var wg sync.WaitGroup
			var aErr, bErr error
			wg.Go(func() { // blocks the writer, so that the next two form one group
				_ = d.InTx(t.Context(), func(sqldb.Conn) error {
					close(running)
					<-queued
					return nil
				})
			})
			<-running
			a, b := fmt.Sprintf("a%02d", round), fmt.Sprintf("b%02d", round)
			wg.Go(func() {
				aErr = d.InTx(cancelled, func(c sqldb.Conn) error {
					if err := put(cancelled, c, a+"1", ""); err != nil {
						return err
					}
					cancel()
					return put(cancelled, c, a+"2", "")
				})
			})
			wg.Go(func() {
				bErr = d.InTx(t.Context(), func(c sqldb.Conn) error {
					return errors.Join(put(t.Context(), c, b+"1", ""), put(t.Context(), c, b+"2", ""))
				})
			})
			close(queued)
			wg.Wait()
			if bErr != nil {
				t.Fatalf("the other member: %v", bErr)
			}
			want := []string{b + "1", b + "2"}
			if aErr == nil {
				want = append([]string{a + "1", a + "2"}, want...)
			}
			wantStrings(t, d, want, `SELECT key FROM meta WHERE key LIKE ? ORDER BY key`, fmt.Sprintf("_%02d_", round))
		}
	})
}

func TestCancelledBeforeItStarts(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		ran := false
		err := d.InTx(ctx, func(sqldb.Conn) error { ran = true; return nil })
		if !errors.Is(err, context.Canceled) || ran {
			t.Errorf("got %v, ran %v; want context.Canceled and no run", err, ran)
		}
	})
}

func TestPanicIsAnError(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		boom := func(c sqldb.Conn) error {
			if err := put(t.Context(), c, "lost", ""); err != nil && d.Name() != "" {
				return err
			}
			panic("boom")
		}
		err := d.InTx(t.Context(), boom)
		if hostler.CodeOf(err) != hostler.CodeInternal || !strings.Contains(fmt.Sprint(errors.Unwrap(err)), "boom") {
			t.Errorf("InTx: %v", err)
		}
		if err := d.View(t.Context(), func(sqldb.Conn) error { panic("boom") }); hostler.CodeOf(err) != hostler.CodeInternal {
			t.Errorf("View: %v", err)
		}
		mustPut(t, d, "after", "")
		wantStrings(t, d, []string{"after"}, metaKeys)
	})
}

// TestGoexitInATransaction ends the goroutine inside a transaction, as a failing test
// does. The next transaction must not hang.
func TestGoexitInATransaction(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = d.InTx(t.Context(), func(c sqldb.Conn) error {
				_ = put(t.Context(), c, "lost", "")
				exitGoroutine()
				return nil
			})
		}()
		<-ended
		mustPut(t, d, "after", "")
		wantStrings(t, d, []string{"after"}, metaKeys)
	})
}

func TestViewIsASnapshotAndReadsOnly(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		mustPut(t, d, "old", "")
		err := d.View(t.Context(), func(c sqldb.Conn) error {
			before, err := strs(t.Context(), c, metaKeys)
			if err != nil {
				return err
			}
			for i := range 200 { // writers do not wait for an open snapshot
				mustPut(t, d, fmt.Sprintf("new%03d", i), "")
			}
			after, err := strs(t.Context(), c, metaKeys)
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("the snapshot changed (-before +after):\n%s", diff)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.View(t.Context(), func(c sqldb.Conn) error { return put(t.Context(), c, "written", "") }); err == nil {
			t.Error("a view could write")
		}
		wantStrings(t, d, nil, `SELECT key FROM meta WHERE key = 'written'`)
	})
}

func TestIDsAscend(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		var mu sync.Mutex
		var all []int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				last := int64(0)
				for range 20 {
					var ids []int64
					err := d.InTx(t.Context(), func(c sqldb.Conn) (err error) {
						ids, err = c.NewIDs(t.Context(), 50)
						return err
					})
					if err != nil || len(ids) != 50 || ids[0] <= last || !slices.IsSorted(ids) {
						t.Errorf("after %d: %v, %v", last, ids, err)
						return
					}
					last = ids[len(ids)-1]
					mu.Lock()
					all = append(all, ids...)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		slices.Sort(all)
		if n := len(slices.Compact(slices.Clone(all))); n != 8000 {
			t.Errorf("%d distinct ids, want 8000", n)
		}
		newest := all[len(all)-1]
		if sec := hostler.IDTime(newest).Sub(ds.Clock.Now()); sec > time.Second || sec < -time.Second {
			t.Errorf("the newest id differs from the clock by %v", sec)
		}
		mustTx(t, d, func(ctx context.Context, c sqldb.Conn) error {
			_, err := c.Exec(ctx, `INSERT INTO project (id, name, created_at) VALUES (?, 'p', 0)`, newest)
			return err
		})
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		mustTx(t, ds.Open(t), func(ctx context.Context, c sqldb.Conn) error {
			ids, err := c.NewIDs(ctx, 1)
			if err == nil && ids[0] <= newest {
				err = fmt.Errorf("after a restart %d is not above %d", ids[0], newest)
			}
			return err
		})
	})
}

func TestConstraintsAreConflicts(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		mustPut(t, d, "k", "")
		for name, sql := range map[string]string{
			"unique":      `INSERT INTO meta (key, value) VALUES ('k', '')`,
			"foreign key": `INSERT INTO user_role (user_id, project, role) VALUES (1, 2, 'viewer')`,
		} {
			err := d.InTx(t.Context(), func(c sqldb.Conn) error {
				_, err := c.Exec(t.Context(), sql)
				return err
			})
			var he *hostler.Error
			if !errors.As(err, &he) || he.Code != hostler.CodeConflict || he.Text.ZH == "" {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestAuditIsAppendOnly(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		mustTx(t, d, func(ctx context.Context, c sqldb.Conn) error {
			_, err := c.Exec(ctx, `INSERT INTO audit (id, at, user_name, verb, object) VALUES (1, 1, 'a', 'b', 'c')`)
			return err
		})
		for _, sql := range []string{`UPDATE audit SET verb = 'x'`, `DELETE FROM audit`} {
			err := d.InTx(t.Context(), func(c sqldb.Conn) error {
				_, err := c.Exec(t.Context(), sql)
				return err
			})
			if err == nil {
				t.Errorf("%s was allowed", sql)
			}
		}
		wantStrings(t, d, []string{"b"}, `SELECT verb FROM audit`)
	})
}

func received(t *testing.T, c <-chan struct{}, within time.Duration) bool {
	t.Helper()
	select {
	case <-c:
		return true
	case <-time.After(within):
		return false
	}
}

func TestNotify(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		one, stopOne := d.Subscribe(store.TopicWork)
		two, stopTwo := d.Subscribe(store.TopicWork)
		defer stopTwo()
		d.Notify(sqldb.AllTopics)
		d.Notify(sqldb.AllTopics)
		if !received(t, one, time.Second) || !received(t, two, time.Second) {
			t.Error("a subscriber was not notified")
		}
		stopOne()
		stopOne()
		for range one { // drain the channel until it is closed
		}
		d.Notify(sqldb.AllTopics)
		if !received(t, two, time.Second) {
			t.Error("the other subscriber was not notified")
		}
	})
}

// doneRow inserts a job that ended at a time.
func doneRow(t *testing.T, d sqldb.Driver, id int64, at time.Time) {
	t.Helper()
	mustTx(t, d, func(ctx context.Context, c sqldb.Conn) error {
		_, err := c.ExecRows(ctx, `INSERT INTO `+c.InsertTable("done")+` (id, project, run, queue, action, asset, asset_name, lane_key, lane_lim, prio,
state, attempt, max_attempts, backoff, timeout, on_lost, on_unknown, on_retry, run_at, expires_at, retry_of, created_by, created_at,
queued_at, started_at, ended_at, worker, fence, args, result, error, output)
SELECT v.id, 1, 0, 'default', 'noop', 0, '', '', 0, 5, 'succeeded', 1, 1, '', 0, '', '', '', 0, 0, 0, '', 0, 0, 0, v.at, 0, 1, '{}', '', '', ''
FROM @rows`, sqldb.BatchOf(sqldb.Ints("id", id), sqldb.Ints("at", at.UnixMicro())))
		return err
	})
}

// TestHistory checks that reads span segments or partitions, and that rows older than
// the retention are dropped.
func TestHistory(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		const keep = 36 * time.Hour
		for i := range int64(5) {
			for k := range int64(60) { // more than half a segment of this test
				doneRow(t, d, 1000*i+k, ds.Clock.Now())
			}
			if i == 4 {
				break
			}
			if err := d.Maintain(t.Context(), 1000*time.Hour); err != nil {
				t.Fatal(err)
			}
			ds.Clock.Advance(24 * time.Hour)
		}
		count := `SELECT CAST(count(*) AS TEXT) FROM done`
		wantStrings(t, d, []string{"300"}, count)
		wantStrings(t, d, []string{"4000", "3059"}, `SELECT CAST(id AS TEXT) FROM done WHERE id <= 4000 ORDER BY done.id DESC LIMIT 2`)
		if err := d.Maintain(t.Context(), keep); err != nil {
			t.Fatal(err)
		}
		wantStrings(t, d, nil, `SELECT CAST(id AS TEXT) FROM done WHERE id < 1000`)
		wantStrings(t, d, []string{"2"}, `SELECT CAST(count(*) AS TEXT) FROM (SELECT 1 FROM done WHERE id IN ?*) x`, []int64{3059, 4059})
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		d = ds.Open(t)
		doneRow(t, d, 9000, ds.Clock.Now())
		wantStrings(t, d, []string{"9000"}, `SELECT CAST(id AS TEXT) FROM done WHERE id > 4059`)
	})
}

// TestHistoryOfAnyDay is a regression test for a job that ends on a day without a
// partition.
func TestHistoryOfAnyDay(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		for i, days := range []time.Duration{-400, 30, 400} {
			doneRow(t, d, int64(i), ds.Clock.Now().Add(days*24*time.Hour))
		}
		wantStrings(t, d, []string{"3"}, `SELECT CAST(count(*) AS TEXT) FROM done`)
	})
}

func TestFaulty(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		f := storetest.NewFaulty(ds.Open(t), 1)
		f.Set(0.3, 0.3)
		var want []string
		outcomes := map[string]int{}
		for i := range 60 {
			key := fmt.Sprintf("%02d", i)
			err := f.InTx(t.Context(), func(c sqldb.Conn) error { return put(t.Context(), c, key, "") })
			var ambiguous *sqldb.AmbiguousError
			switch {
			case err == nil:
				outcomes["ok"]++
			case errors.As(err, &ambiguous):
				outcomes["ambiguous"]++
			case errors.Is(err, storetest.ErrInjected) && hostler.CodeOf(err) == hostler.CodeUnavailable:
				outcomes["failed"]++
				continue
			default:
				t.Fatal(err)
			}
			want = append(want, key)
		}
		if len(outcomes) != 3 {
			t.Errorf("outcomes %v, want all three", outcomes)
		}
		wantStrings(t, f, want, metaKeys)
	})
}

func TestCloseRefusesNewWork(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		mustPut(t, d, "k", "")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for d.InTx(t.Context(), func(sqldb.Conn) error { return nil }) == nil {
				}
			})
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait() // none hangs
		if err := d.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
	})
}

func TestStats(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		s, err := ds.Open(t).Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Kind != string(ds.Kind) || s.Version == "" || s.SizeBytes == 0 || s.Latency <= 0 ||
			s.PoolMax == 0 || s.DiskFree <= 0 || s.DiskFree > 1 {
			t.Errorf("got %+v", s)
		}
	})
}

func exitGoroutine() { runtime.Goexit() }
