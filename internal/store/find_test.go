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

// TestJobsOfHostsLanesAndWorkers asks for jobs in every state by what the compatible
// endpoints know: a host, a device's lane, workers.
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
			if _, err := tx.SetQueue("q", store.QueueChange{}); err != nil {
				return err
			}
			specs := specsOf(project, "a", 5)
			specs[0].AssetName = "192.0.2.1" // a host that is no asset
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
					_, err = tx.Finish(w, []hostler.Report{{LeaseRef: l.LeaseRef, Attempt: l.Attempt, Outcome: hostler.OutcomeSucceeded}})
				}
			}
			if err == nil && len(leased) != 2 {
				err = fmt.Errorf("leased %v", leased)
			}
			return err
		})
		filters("when one has ended and one runs")
		check("by worker", store.JobQuery{Workers: []int64{int64(w)}}, leased...)
		check("by worker and state", store.JobQuery{Workers: []int64{int64(w)}, States: []hostler.State{hostler.StateSucceeded}}, leased[0])
		check("by worker and state", store.JobQuery{Workers: []int64{int64(w)}, States: []hostler.State{hostler.StateRunning}}, leased[1])
		check("by worker and state", store.JobQuery{Workers: []int64{int64(w)}, States: []hostler.State{hostler.StateQueued, hostler.StateScheduled}})
		check("by another worker", store.JobQuery{Workers: []int64{1}})
	})
}
