package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// endedRow is a job in the history of the test.
type endedRow struct {
	ID      int64     `db:"id"`
	Project int64     `db:"project"`
	Run     int64     `db:"run"`
	Queue   string    `db:"queue"`
	Action  string    `db:"action"`
	Asset   int64     `db:"asset"`
	State   string    `db:"state"`
	MadeAt  time.Time `db:"created_at"`
	EndedAt time.Time `db:"ended_at"`
}

func insertEnded(ctx context.Context, c sqldb.Conn, rows []endedRow) error {
	_, err := c.ExecRows(ctx, `INSERT INTO `+c.InsertTable("done")+` (id, project, run, queue, action, asset, asset_name,
lane_key, lane_lim, prio, state, attempt, max_attempts, backoff, timeout, on_lost, on_unknown, on_retry, run_at, expires_at,
retry_of, created_by, created_at, queued_at, started_at, ended_at, worker, fence, args, result, error, output)
SELECT v.id, v.project, v.run, v.queue, v.action, v.asset, '', '', 0, 5, v.state, 1, 1, '', 0, '', '', '', 0, 0,
0, '', v.created_at, 0, v.ended_at, v.ended_at, 0, 1, '{}', '', '', '' FROM @rows`, sqldb.NewBatch(rows))
	return err
}

// span stores the spans of the history as upkeep does, and returns of how many parts.
func span(t *testing.T, s *store.Store) int {
	t.Helper()
	var names []string
	err := s.InTx(t.Context(), func(tx *store.Tx) (err error) {
		if names, err = tx.UnspannedParts(1000); err != nil {
			return err
		}
		for _, name := range names {
			spans, err := tx.SpansOf(name)
			if err != nil {
				return err
			}
			if err := tx.InsertSpans(spans); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// pages lists jobs page by page to the end, and returns them with the number of pages.
func pages(t *testing.T, s *store.Store, q store.JobQuery, limit int) (all []hostler.JobID, n int) {
	t.Helper()
	for before := hostler.JobID(0); ; {
		var ids []hostler.JobID
		var next hostler.JobID
		err := s.View(t.Context(), func(tx *store.Tx) (err error) {
			ids, next, err = tx.ListJobIDs(q, before, limit)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		all, n = append(all, ids...), n+1
		if next == 0 {
			return all, n
		}
		if before != 0 && next >= before {
			t.Fatalf("%+v: page %d goes on at %v, the page before at %v", q, n, next, before)
		}
		before = next
	}
}

// TestListsOverManyParts fills 45 days of history with jobs of a large and a small
// project, some of which ended long after they were created, and lists them by each
// filter: every job is there once, in order, and the reads of each job and list agree.
func TestListsOverManyParts(t *testing.T) {
	const days, large, small = 45, 1, 2
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		s := store.New(d, d)
		rnd := rand.New(rand.NewPCG(1, 2))
		start := ds.Clock.Now()
		var all []endedRow
		seq := int64(0)
		for day := range days {
			rows := make([]endedRow, 12)
			for i := range rows {
				seq++
				made := start.Add(time.Duration(day)*24*time.Hour + time.Duration(rnd.IntN(3600))*time.Second)
				if rnd.IntN(8) == 0 { // delayed
					made = made.Add(-time.Duration(rnd.IntN(30)) * 24 * time.Hour)
				}
				rows[i] = endedRow{
					ID: hostler.MakeID(made.Unix(), 0) + seq, Project: large, Run: 1000 + int64(day),
					Queue: fmt.Sprint("q", rnd.IntN(3)), Action: fmt.Sprint("a", rnd.IntN(3)), Asset: 1 + int64(rnd.IntN(40)),
					State:  []string{"succeeded", "failed", "expired"}[min(2, rnd.IntN(20)/9)],
					MadeAt: made, EndedAt: ds.Clock.Now(),
				}
			}
			if day%9 == 3 {
				rows[0].Project = small
			}
			all = append(all, rows...)
			err := d.InTx(t.Context(), func(c sqldb.Conn) error { return insertEnded(t.Context(), c, rows) })
			if err != nil {
				t.Fatal(err)
			}
			ds.Clock.Advance(24 * time.Hour)
			if err := d.Maintain(t.Context(), (days+1)*24*time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(all, func(a, b endedRow) int { return int(b.ID - a.ID) })
		insertProjects(t, s, large, small)
		check := func(when string) {
			t.Helper()
			for _, project := range []hostler.ProjectID{large, small} {
				for _, q := range []store.JobQuery{
					{},
					{Queue: "q1"},
					{Action: "a2"},
					{Asset: 7},
					{Asset: 7, Queue: "q1"},
					{Run: 1005},
					{States: []hostler.State{hostler.StateFailed}},
					{States: []hostler.State{hostler.StateSucceeded}},
					{States: []hostler.State{hostler.StateFailed, hostler.StateExpired, hostler.StateQueued}, Action: "a1"},
					{Since: start.Add(20 * 24 * time.Hour), Until: start.Add(30 * 24 * time.Hour)},
				} {
					q.Project = project
					var want []hostler.JobID
					for _, r := range all {
						if selects(q, r) {
							want = append(want, hostler.JobID(r.ID))
						}
					}
					got, n := pages(t, s, q, 10)
					if diff := cmp.Diff(want, got); diff != "" {
						t.Fatalf("%s, %+v (-want +got):\n%s", when, q, diff)
					}
					// A page ends after 16 parts.
					if most := len(want)/10 + days/16 + 5; n > most {
						t.Errorf("%s, %+v: %d pages for %d jobs, want at most %d", when, q, n, len(want), most)
					}
				}
			}
		}
		check("without spans")
		want := days - 5
		if d.Name() == string(sqldb.SQLite) {
			want = days/2 - 5 // a segment has a thirtieth of the retention, or a day
		}
		if n := span(t, s); n < want {
			t.Fatalf("%d parts of the history get no more rows, want at least %d", n, want)
		}
		check("with spans")
		for i := 0; i < len(all); i += 7 {
			r := all[i]
			err := s.View(t.Context(), func(tx *store.Tx) error {
				j, err := tx.Job(hostler.ProjectID(r.Project), hostler.JobID(r.ID))
				if err == nil && (j == nil || j.Queue != r.Queue) {
					err = fmt.Errorf("job %v reads %+v", r.ID, j)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func insertProjects(t *testing.T, s *store.Store, ids ...int64) {
	t.Helper()
	err := s.InTx(t.Context(), func(tx *store.Tx) error {
		for _, id := range ids {
			if _, err := tx.Exec(`INSERT INTO project (id, name, created_at) VALUES (?, ?, 0)`, id, fmt.Sprint("p", id)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// selects reports whether a query selects a job, by its definition.
func selects(q store.JobQuery, r endedRow) bool {
	return r.Project == int64(q.Project) && (q.Queue == "" || r.Queue == q.Queue) && (q.Action == "" || r.Action == q.Action) &&
		(q.Asset == 0 || r.Asset == int64(q.Asset)) && (q.Run == 0 || r.Run == int64(q.Run)) &&
		(len(q.States) == 0 || slices.Contains(q.States, hostler.State(r.State))) &&
		(q.Since.IsZero() || !r.MadeAt.Before(q.Since)) && (q.Until.IsZero() || r.MadeAt.Before(q.Until))
}

// TestManyGroups lists and counts the ended jobs of a project that has more groups of
// actions and queues than a list merges, beside one that has few.
func TestManyGroups(t *testing.T) {
	const wide, narrow = 1, 2
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		s := store.New(d, d)
		insertProjects(t, s, wide, narrow)
		now := ds.Clock.Now()
		var rows []endedRow
		for i := range int64(300) {
			r := endedRow{
				ID: hostler.MakeID(now.Unix(), 0) + i, Project: wide, Queue: fmt.Sprint("q", i%90), Action: "a",
				State: "succeeded", MadeAt: now, EndedAt: now,
			}
			if i%10 == 0 {
				r.Project, r.Queue = narrow, "q1"
			}
			rows = append(rows, r)
		}
		err := d.InTx(t.Context(), func(c sqldb.Conn) error { return insertEnded(t.Context(), c, rows) })
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(rows)
		for _, q := range []store.JobQuery{{Project: wide}, {Project: wide, Queue: "q7"}, {Project: narrow}} {
			var want []hostler.JobID
			for _, r := range rows {
				if selects(q, r) {
					want = append(want, hostler.JobID(r.ID))
				}
			}
			got, _ := pages(t, s, q, 20)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%+v (-want +got):\n%s", q, diff)
			}
		}
		for project, want := range map[hostler.ProjectID]int{wide: 270, narrow: 30} {
			err := s.View(t.Context(), func(tx *store.Tx) error {
				all, err := tx.ActionStats(project, 1000)
				if all["a"].Count != want {
					t.Errorf("project %v: %+v, want %d jobs", project, all, want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}
