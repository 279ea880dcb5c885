package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/stats"
	"hostler.dev/hostler/internal/store"
)

// addUp takes steps until nothing is left, and returns how many jobs they counted.
func (f *fixture) addUp(read func(tx *store.Tx) (*store.StatsStep, error)) (jobs int) {
	f.t.Helper()
	for {
		var s *store.StatsStep
		if err := f.Store.View(f.t.Context(), func(tx *store.Tx) (err error) {
			s, err = read(tx)
			return err
		}); err != nil {
			f.t.Fatal(err)
		}
		if s == nil || s.Idle() {
			return jobs
		}
		for _, want := range []bool{true, false} { // another server has the same step
			f.tx(func(tx *store.Tx) error {
				added, err := tx.AddStats(s)
				if added != want {
					f.t.Errorf("added: %t, want %t", added, want)
				}
				return err
			})
		}
		if s.Missed > 0 {
			f.t.Errorf("missed %d events", s.Missed)
		}
		jobs += s.Jobs
	}
}

// totals are what rows of statistics are compared by.
type totals struct {
	Succeeded, Failed, Cancelled, Started int64
	Run, Wait                             time.Duration
	P95                                   time.Duration
	Last                                  int64
}

func totalsOf(f *stats.Figures) totals {
	return totals{
		f.Succeeded, f.Failed, f.Cancelled, f.Started, f.RunTotal, f.WaitTotal, f.RunTimes.Quantile(0.95), f.Last.UnixMicro(),
	}
}

// wantRecount compares all rows of statistics with a count of the history.
func (f *fixture) wantRecount(when string) {
	f.t.Helper()
	var got, want map[store.StatsKey]*stats.Figures
	f.tx(func(tx *store.Tx) (err error) {
		if got, err = tx.AllStats(); err != nil {
			return err
		}
		want, err = tx.Recount()
		return err
	})
	short := func(m map[store.StatsKey]*stats.Figures) map[store.StatsKey]totals {
		out := map[store.StatsKey]totals{}
		for k, v := range m {
			out[k] = totalsOf(v)
		}
		return out
	}
	if diff := cmp.Diff(short(want), short(got)); diff != "" {
		f.t.Errorf("%s (-recount +statistics):\n%s", when, diff)
	}
}

// TestStatsEqualARecount runs random jobs, adds up their events in steps of any size, and
// compares every row with a count of the history. So are those that are added up later
// from the history alone.
func TestStatsEqualARecount(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test
		w := f.register("*")
		for range 40 {
			spec := job()
			spec.Action = fmt.Sprint("act", rnd.IntN(3))
			spec.CreatedBy = []string{"li", "vera"}[rnd.IntN(2)]
			if rnd.IntN(2) == 0 {
				spec.AssetName = fmt.Sprint("host", rnd.IntN(4))
			}
			if rnd.IntN(3) == 0 {
				spec.Queue = "bulk"
			}
			withRow := rnd.IntN(2) == 0
			f.tx(func(tx *store.Tx) (err error) {
				if spec.Run, err = tx.NewRunID(withRow); err != nil || !withRow {
					return err
				}
				_, err = tx.InsertFire(store.FireRow{Fire: hostler.Fire{
					Schedule: 7, Name: "night", At: tx.Now(), Trigger: hostler.FireManual, State: hostler.FireStarted, Run: spec.Run,
				}})
				return err
			})
			ids := f.enqueue(spec)
			f.Advance(time.Duration(rnd.IntN(5000)) * time.Millisecond)
			switch rnd.IntN(4) {
			case 0:
				f.tx(func(tx *store.Tx) error {
					_, err := tx.CancelJob(ids[0], "li")
					return err
				})
			default:
				for _, l := range f.claim(w, 2) {
					f.Advance(time.Duration(rnd.IntN(90)) * time.Minute)
					o := []hostler.Outcome{hostler.OutcomeSucceeded, hostler.OutcomeFailed}[rnd.IntN(2)]
					if err := f.finish(w, l, o); err != nil {
						t.Fatal(err)
					}
				}
			}
			if rnd.IntN(8) == 0 {
				f.published()
				f.addUp((*store.Tx).EndedEvents)
				f.wantRecount("on the way")
			}
		}
		f.published()
		f.addUp((*store.Tx).EndedEvents)
		f.wantRecount("at the end")
		f.tx((*store.Tx).ForgetStats)
		if n := f.addUp((*store.Tx).EndedEvents); n != 0 {
			t.Errorf("%d jobs are counted twice", n)
		}
		if n := f.addUp((*store.Tx).EndedPast); n < 30 {
			t.Errorf("%d jobs in the history", n)
		}
		f.wantRecount("from the history")
	})
}

// TestStatsKeepEventsAndDropOldRows: events wait for the statistics, old hours and days go,
// and the totals stay.
func TestStatsKeepEventsAndDropOldRows(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		w := f.register("*")
		for range 3 {
			f.enqueue(job())
			if err := f.finish(w, f.claim(w, 1)[0], hostler.OutcomeSucceeded); err != nil {
				t.Fatal(err)
			}
		}
		f.published()
		f.Advance(48 * time.Hour)
		f.tx(func(tx *store.Tx) error {
			if _, err := tx.SkipEvents(); err != nil {
				return err
			}
			_, err := tx.DeleteEvents(tx.Now(), 1000)
			return err
		})
		if n := f.addUp((*store.Tx).EndedEvents); n != 3 {
			t.Errorf("%d jobs counted, want 3", n)
		}
		left := func() (n int64) {
			f.tx(func(tx *store.Tx) error {
				rows, err := tx.Stats(testProject, hostler.StatsByAction, store.Hourly, []string{"noop"}, time.Unix(0, 0), tx.Now())
				if err == nil {
					n = int64(len(rows))
				}
				return err
			})
			return n
		}
		for _, want := range []int64{1, 0} {
			if n := left(); n != want {
				t.Errorf("%d hours, want %d", n, want)
			}
			f.tx(func(tx *store.Tx) error {
				_, err := tx.DeleteStats(store.Hourly, tx.Now(), 100)
				return err
			})
		}
		f.tx(func(tx *store.Tx) error {
			all, err := tx.ActionTotals(testProject)
			if err == nil && all["noop"].Succeeded != 3 {
				t.Errorf("totals: %+v", all["noop"])
			}
			return err
		})
	})
}

// BenchmarkStatsPage reads a page of the statistics of ten million jobs on 2,000 hosts.
func BenchmarkStatsPage(b *testing.B) {
	s, cleanup := openExample()
	defer cleanup()
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	mustTx(s, func(tx *store.Tx) error { return tx.FillStats(testProject, from, 30, 2000, 170) })
	b.ResetTimer()
	for range b.N {
		mustTx(s, func(tx *store.Tx) error {
			names, err := tx.StatsNames(testProject, hostler.StatsByAsset, store.Daily, "", 100)
			if err != nil {
				return err
			}
			rows, err := tx.Stats(testProject, hostler.StatsByAsset, store.Daily, names, from, from.AddDate(0, 0, 30))
			if err == nil && len(rows) != 3000 {
				err = fmt.Errorf("%d rows", len(rows))
			}
			return err
		})
	}
}
