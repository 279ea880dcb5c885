package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// TestListingReadsABoundedNumberOfRows creates more jobs than one listing reads; the
// wanted ones are the oldest.
func TestListingReadsABoundedNumberOfRows(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		const others = 21_000
		var want []hostler.JobID
		var project hostler.ProjectID
		inTx(t, h, func(tx *store.Tx) error {
			p, err := tx.InsertProject("p")
			if err != nil {
				return err
			}
			project = p.ID
			if _, err := tx.SetQueue("q", store.QueueSettings{}); err != nil {
				return err
			}
			wanted := specsOf(project, "other", 3)
			for i := range wanted {
				wanted[i].AssetName = "wanted" // no index has it
			}
			if want, err = tx.Enqueue(wanted); err != nil {
				return err
			}
			_, err = tx.Enqueue(specsOf(project, "other", others))
			return err
		})
		q := store.JobQuery{Project: project, AssetName: "wanted"}
		var got []hostler.JobID
		pages := 0
		for before := hostler.JobID(0); ; pages++ {
			var ids []hostler.JobID
			err := h.Store.View(t.Context(), func(tx *store.Tx) (err error) {
				ids, before, err = tx.ListJobIDs(q, before, 2)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, ids...)
			if before == 0 {
				break
			}
		}
		slices.Reverse(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("found (-want +got):\n%s", diff)
		}
		if pages < 2 {
			t.Errorf("%d further pages: the first looked at every row", pages)
		}
	})
}

func specsOf(p hostler.ProjectID, action string, n int) []hostler.JobSpec {
	out := make([]hostler.JobSpec, n)
	for i := range out {
		out[i] = hostler.JobSpec{
			Project: p, Queue: "q", Action: action, Priority: 5, MaxAttempts: 3,
			OnLost: hostler.OnLostAsk, OnUnknown: hostler.OnUnknownHold, OnRetry: hostler.OnRetryHold,
		}
	}
	return out
}

func inTx(t *testing.T, h *storetest.Harness, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := h.Store.InTx(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// TestAttemptsListEveryAttempt follows a job that fails, has an unknown outcome, and is
// resolved.
func TestAttemptsListEveryAttempt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		var job hostler.JobID
		var w hostler.WorkerID
		inTx(t, h, func(tx *store.Tx) error {
			p, err := tx.InsertProject("p")
			if err != nil {
				return err
			}
			if _, err := tx.SetQueue("q", store.QueueSettings{}); err != nil {
				return err
			}
			ids, err := tx.Enqueue(specsOf(p.ID, "a", 1))
			if err != nil {
				return err
			}
			job = ids[0]
			w, err = tx.RegisterWorker(hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: 1})
			return err
		})
		attempt := func(o hostler.Outcome) {
			t.Helper()
			h.Advance(time.Minute)
			inTx(t, h, func(tx *store.Tx) error {
				if _, _, err := tx.DueJobs(10); err != nil {
					return err
				}
				got, err := tx.Claim(w, 1)
				if err != nil || len(got.Leases) != 1 {
					return fmt.Errorf("%d leases: %w", len(got.Leases), err)
				}
				l := got.Leases[0]
				_, err = tx.Finish(w, []hostler.Report{{LeaseRef: l.LeaseRef, Attempt: l.Attempt, Outcome: o}})
				return err
			})
		}
		attempt(hostler.OutcomeFailed)
		attempt(hostler.OutcomeUnknown)
		story := func() []string {
			var out []string
			inTx(t, h, func(tx *store.Tx) error {
				out = nil
				all, err := tx.Attempts(job)
				for _, a := range all {
					out = append(out, fmt.Sprint(a.N, a.Outcome))
				}
				return err
			})
			return out
		}
		if diff := cmp.Diff([]string{"1retry", "2unknown"}, story()); diff != "" {
			t.Errorf("before it is resolved (-want +got):\n%s", diff)
		}
		inTx(t, h, func(tx *store.Tx) error { return tx.ResolveJob(job, hostler.StateFailed, "a person", "") })
		if diff := cmp.Diff([]string{"1retry", "2unknown"}, story()); diff != "" {
			t.Errorf("after (-want +got):\n%s", diff)
		}
	})
}

func TestOnceInTheLifeOfADatabase(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		for _, want := range []bool{true, false, false} {
			inTx(t, h, func(tx *store.Tx) error {
				got, err := tx.MarkOnce("x")
				if got != want {
					t.Errorf("got %v, want %v", got, want)
				}
				return err
			})
		}
	})
}

// TestPagesOfLiveAndEndedJobs walks through lists in which live and ended jobs alternate, in
// runs of several lengths, and compares them with all jobs.
func TestPagesOfLiveAndEndedJobs(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		var project hostler.ProjectID
		var all []hostler.Job
		inTx(t, h, func(tx *store.Tx) error {
			p, err := tx.InsertProject("p")
			if err != nil {
				return err
			}
			project = p.ID
			_, err = tx.SetQueue("q", store.QueueSettings{})
			return err
		})
		var w hostler.WorkerID
		inTx(t, h, func(tx *store.Tx) (err error) {
			w, err = tx.RegisterWorker(hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: 9})
			return err
		})
		for i, n := range []int{3, 9, 1, 4, 1, 12, 2} {
			inTx(t, h, func(tx *store.Tx) error {
				ids, err := tx.Enqueue(append(specsOf(project, "odd", n), specsOf(project, "even", n)...))
				if err != nil || i%2 == 1 {
					return err
				}
				ended, err := tx.CancelWaiting(ids[1:], "li") // the first stays
				if err == nil && len(ended) != len(ids)-1 {
					err = fmt.Errorf("%d of %d jobs were cancelled", len(ended), len(ids)-1)
				}
				return err
			})
		}
		inTx(t, h, func(tx *store.Tx) error {
			c, err := tx.Claim(w, 2)
			if err == nil && len(c.Leases) != 2 {
				err = fmt.Errorf("%d leases", len(c.Leases))
			}
			return err
		})
		list := func(q store.JobQuery, limit int) (out []hostler.JobID) {
			for before := hostler.JobID(0); ; {
				err := h.Store.View(t.Context(), func(tx *store.Tx) (err error) {
					var ids []hostler.JobID
					ids, before, err = tx.ListJobIDs(q, before, limit)
					out = append(out, ids...)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				if before == 0 {
					return out
				}
			}
		}
		err := h.Store.View(t.Context(), func(tx *store.Tx) (err error) {
			all, err = tx.Jobs(project, list(store.JobQuery{Project: project}, 1000))
			return err
		})
		if err != nil || len(all) != 64 {
			t.Fatalf("%d jobs, %v", len(all), err)
		}
		for _, q := range []store.JobQuery{
			{},
			{Queue: "q"},
			{Action: "odd"},
			{Action: "even", Queue: "q"},
			{States: []hostler.State{hostler.StateRunning, hostler.StateCancelled}},
			{Action: "odd", States: []hostler.State{hostler.StateQueued}},
		} {
			var want []hostler.JobID
			for _, j := range all {
				if (q.Action == "" || j.Action == q.Action) && (q.States == nil || slices.Contains(q.States, j.State)) {
					want = append(want, j.ID)
				}
			}
			q.Project = project
			for _, limit := range []int{1, 2, 5, 24, 64} {
				if diff := cmp.Diff(want, list(q, limit)); diff != "" {
					t.Errorf("pages of %d of %+v (-want +got):\n%s", limit, q, diff)
				}
			}
		}
	})
}
