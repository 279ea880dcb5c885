package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// TestJobsOfHostsLanesAndWorkers lists jobs in every state by the conditions of the
// compatible endpoints: a host, a device's lane, workers.
func TestJobsOfHostsLanesAndWorkers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		var project hostler.ProjectID
		var w hostler.WorkerID
		named := map[string]hostler.JobID{}
		inTx(t, h, func(tx *store.Tx) error {
			p, err := tx.InsertProject("p")
			if err != nil {
				return err
			}
			project = p.ID
			if _, err := tx.SetQueue("q", store.QueueSettings{}); err != nil {
				return err
			}
			specs := specsOf(project, "a", 5)
			specs[0].AssetName = "192.0.2.1" // an ad-hoc host
			specs[1].AssetName, specs[1].Asset = "web", 77
			specs[1].LaneKey, specs[1].LaneLimit = hostler.AssetLaneKey("192.0.2.1"), 1
			specs[2].LaneKey, specs[2].LaneLimit = hostler.OwnLaneKey(project, "deploy"), 1
			specs[3].AssetName, specs[3].Asset = "web", 78
			specs[4].RunAt = tx.Now().Add(time.Hour)
			ids, err := tx.Enqueue(specs)
			if err != nil {
				return err
			}
			for i, name := range []string{"inline", "pinned", "own lane", "other asset", "later"} {
				named[name] = ids[i]
			}
			w, err = tx.RegisterWorker(hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: 2})
			return err
		})
		check := func(when string, q store.JobQuery, want ...string) {
			t.Helper()
			q.Project = project
			var got []hostler.JobID
			err := h.Store.View(t.Context(), func(tx *store.Tx) (err error) {
				got, _, err = tx.ListJobIDs(q, 0, 10)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			var ids []hostler.JobID
			for _, name := range want {
				ids = append(ids, named[name])
			}
			slices.Sort(ids)
			slices.Reverse(ids)
			if diff := cmp.Diff(ids, got); diff != "" {
				t.Errorf("%s, %+v (-want +got):\n%s", when, q, diff)
			}
		}
		filters := func(when string) {
			t.Helper()
			check(when, store.JobQuery{Host: "192.0.2.1"}, "inline")
			check(when, store.JobQuery{Host: "192.0.2.1", Hosts: []int64{77}}, "inline", "pinned")
			check(when, store.JobQuery{Host: "web"}, "pinned", "other asset")
			check(when, store.JobQuery{Lanes: []string{hostler.AssetLaneKey("192.0.2.1"), hostler.AssetLaneKey("x")}}, "pinned")
			check(when, store.JobQuery{NoLane: true}, "inline", "own lane", "other asset", "later")
			check(when, store.JobQuery{Host: "nothing"})
		}
		filters("while they wait")
		check("while they wait", store.JobQuery{Workers: []int64{int64(w)}})

		var leased []string
		inTx(t, h, func(tx *store.Tx) error {
			got, err := tx.Claim(w, 2)
			leased = nil
			for i, l := range got.Leases {
				for name, id := range named {
					if id == l.Job {
						leased = append(leased, name)
					}
				}
				if err == nil && i == 0 {
					_, err = tx.Finish(w, []hostler.Report{
						{LeaseRef: l.LeaseRef, Attempt: l.Attempt, Outcome: hostler.OutcomeSucceeded},
					})
				}
			}
			if err == nil && len(leased) != 2 {
				err = fmt.Errorf("leased %v", leased)
			}
			return err
		})
		filters("when one has ended and one runs")
		check("by worker", store.JobQuery{Workers: []int64{int64(w)}}, leased...)
		ofWorker := func(states ...hostler.State) store.JobQuery {
			return store.JobQuery{Workers: []int64{int64(w)}, States: states}
		}
		check("by worker and state", ofWorker(hostler.StateSucceeded), leased[0])
		check("by worker and state", ofWorker(hostler.StateRunning), leased[1])
		check("by worker and state", ofWorker(hostler.StateQueued, hostler.StateScheduled))
		check("by another worker", store.JobQuery{Workers: []int64{1}})
	})
}

// TestCancelWaitingTouchesNothingThatStarted cancels and claims the same jobs
// concurrently: each job is cancelled or leased, never both, and no leased job is asked
// to stop.
func TestCancelWaitingTouchesNothingThatStarted(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		specs := make([]hostler.JobSpec, 60)
		for i := range specs {
			specs[i] = job()
		}
		ids := f.enqueue(specs...)
		var mu sync.Mutex
		outcome := map[hostler.JobID]string{}
		note := func(what string, ids ...hostler.JobID) {
			mu.Lock()
			defer mu.Unlock()
			for _, id := range ids {
				outcome[id] += what
			}
		}
		attempt := func(fn func(tx *store.Tx) (func(), error)) {
			var after func()
			err := f.Store.InTx(t.Context(), func(tx *store.Tx) (err error) {
				after, err = fn(tx)
				return err
			})
			if err != nil {
				t.Error(err)
				return
			}
			after()
		}
		var wg sync.WaitGroup
		for n := range 3 {
			w := f.register("*")
			wg.Go(func() {
				for range 4 {
					attempt(func(tx *store.Tx) (func(), error) {
						c, err := tx.Claim(w, 5)
						return func() {
							for _, l := range c.Leases {
								note("leased", l.Job)
							}
						}, err
					})
				}
			})
			wg.Go(func() {
				for chunk := range slices.Chunk(ids[n*10:], 7) {
					attempt(func(tx *store.Tx) (func(), error) {
						gone, err := tx.CancelWaiting(chunk, "a person")
						return func() { note("cancelled", gone...) }, err
					})
				}
			})
		}
		wg.Wait()
		for id, what := range outcome {
			if what != "leased" && what != "cancelled" {
				t.Errorf("%v was %s", id, what)
			}
		}
		f.tx(func(tx *store.Tx) error {
			asked, err := tx.CancelRequested(ids)
			if len(asked) > 0 {
				t.Errorf("%d running jobs were asked to end", len(asked))
			}
			gone, err2 := tx.CancelWaiting(ids, "a person")
			if len(gone)+len(outcome) != len(ids) {
				t.Errorf("%d more cancelled; %d had a outcome, of %d", len(gone), len(outcome), len(ids))
			}
			return errors.Join(err, err2)
		})
	})
}

// TestActionStatsLooksAtTheNewest counts by action, within a project, among the newest
// jobs only.
func TestActionStatsLooksAtTheNewest(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		w := f.register("*")
		for i, outcome := range []hostler.Outcome{hostler.OutcomeFailed, hostler.OutcomeSucceeded, hostler.OutcomeSucceeded} {
			spec := job()
			spec.Action = "a"
			if i == 2 {
				spec.Action = "b"
			}
			f.enqueue(spec)
			l := f.claim(w, 1)[0]
			f.Advance(3 * time.Second)
			if err := f.finish(w, l, outcome); err != nil {
				t.Fatal(err)
			}
		}
		stats := func(project hostler.ProjectID, newest int) (out map[string]store.ActionStats) {
			f.tx(func(tx *store.Tx) (err error) {
				out, err = tx.ActionStats(project, newest)
				return err
			})
			for name, st := range out {
				if st.Last.IsZero() {
					t.Errorf("%s ended never", name)
				}
				st.Last = time.Time{}
				out[name] = st
			}
			return out
		}
		b := store.ActionStats{Count: 1, Success: 1, Total: 3 * time.Second}
		want := map[string]store.ActionStats{"a": {Count: 2, Success: 1, Failure: 1, Total: 6 * time.Second}, "b": b}
		if diff := cmp.Diff(want, stats(testProject, 10)); diff != "" {
			t.Errorf("all (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]store.ActionStats{"b": b}, stats(testProject, 1)); diff != "" {
			t.Errorf("the newest (-want +got):\n%s", diff)
		}
		if got := stats(testProject+1, 10); len(got) != 0 {
			t.Errorf("of another project: %v", got)
		}
	})
}
