package app_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/store"
)

// TestCancelWaitingRaces: while a worker takes jobs, each of them is either
// cancelled or started, never both and never neither.
func TestCancelWaitingRaces(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		reqs := make([]hostler.JobRequest, 60)
		for i := range reqs {
			reqs[i] = hostler.JobRequest{
				Action: "change",
				Lane:   hostler.LaneNone,
				Target: inline("sw1.example", "pw"),
			}
		}
		var all []hostler.JobID
		for _, o := range must(w.RunBatch(t.Context(), w.operator, reqs))(t) {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
			all = append(all, o.Job.ID)
		}
		k := w.worker(t)
		cancelled := make(chan []hostler.JobID, 1)
		failed := make(chan error, 1)
		go func() {
			gone, err := w.CancelWaiting(t.Context(), w.operator, all, app.JobSearch{})
			cancelled <- gone
			failed <- err
		}()
		var started []hostler.JobID
		for _, l := range k.lease(t, 20) {
			started = append(started, l.Job)
		}
		gone := <-cancelled
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
		for _, id := range all {
			if slices.Contains(gone, id) == slices.Contains(started, id) {
				j := must(w.Job(t.Context(), w.viewer, id))(t)
				if j.State != hostler.StateQueued || slices.Contains(gone, id) {
					t.Errorf(
						"job %v is %s; cancelled %v, started %v",
						id,
						j.State,
						slices.Contains(gone, id),
						slices.Contains(started, id),
					)
				}
			}
		}
		for _, id := range started {
			if j := must(w.Job(t.Context(), w.viewer, id))(t); j.State != hostler.StateRunning || j.CancelAt != nil {
				t.Errorf("a job that runs was touched: %s, %v", j.State, j.CancelAt)
			}
		}
		w.checkInvariants(t)
	})
}

// Large results make short pages, which lose and repeat nothing.
func TestPagesOfLargeResults(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		reqs := make([]hostler.JobRequest, 100)
		for i := range reqs {
			reqs[i] = hostler.JobRequest{Action: "ping"}
		}
		must(w.RunBatch(t.Context(), w.operator, reqs))(t)
		k := w.worker(t)
		big := json.RawMessage(`{"text":"` + strings.Repeat("x", 1<<20) + `"}`)
		for _, l := range k.lease(t, len(reqs)) {
			k.w.tx(t, func(tx *store.Tx) error {
				errs, err := tx.Finish(
					k.id,
					[]hostler.Report{
						{LeaseRef: l.LeaseRef, Attempt: l.Attempt, Outcome: hostler.OutcomeSucceeded, Result: big},
					},
				)
				return errors.Join(append(errs, err)...)
			})
		}
		// Small jobs in front say nothing about the size of those behind.
		const small = 12
		must(w.RunBatch(t.Context(), w.operator, reqs[:small]))(t)
		native := func(p hostler.Page) (hostler.List[hostler.Job], error) {
			return w.Jobs(t.Context(), w.viewer, hostler.JobFilter{}, p)
		}
		found := func(p hostler.Page) (hostler.List[hostler.Job], error) {
			f, err := w.FindJobs(t.Context(), w.viewer, app.JobSearch{}, p)
			return f.List, err
		}
		for name, list := range map[string]func(hostler.Page) (hostler.List[hostler.Job], error){"Jobs": native, "FindJobs": found} {
			seen := map[hostler.JobID]bool{}
			pages := 0
			for p := (hostler.Page{Limit: 1000}); pages == 0 || p.Cursor != ""; pages++ {
				l := must(list(p))(t)
				size := 0
				for _, j := range l.Items {
					seen[j.ID] = true
					size += len(j.Result)
				}
				if size > 16<<20 {
					t.Errorf("%s: a page has %d MiB", name, size>>20)
				}
				p.Cursor = l.Next
			}
			if len(seen) != len(reqs)+small || pages > 40 {
				t.Errorf("%s: %d jobs on %d pages, want %d", name, len(seen), pages, len(reqs)+small)
			}
		}
	})
}

// TestFindJobs: by host, by lane and by the machine that ran them, in every state.
func TestFindJobs(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1", Address: "10.0.0.1", DeviceKey: "chassis"})
		onAsset := w.run(t, hostler.JobRequest{Action: "change", Assets: []string{"web1"}}).Job.ID
		onAddress := w.run(
			t,
			hostler.JobRequest{Action: "change", Lane: hostler.LaneNone, Target: inline("10.0.0.1", "pw")},
		).Job.ID
		find := func(f app.JobSearch, want ...hostler.JobID) {
			t.Helper()
			var got []hostler.JobID
			for _, j := range must(w.FindJobs(t.Context(), w.viewer, f, hostler.Page{}))(t).Items {
				got = append(got, j.ID)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%+v found %v, want %v", f, got, want)
			}
		}
		check := func() {
			t.Helper()
			find(app.JobSearch{Host: "10.0.0.1"}, onAsset, onAddress)
			find(app.JobSearch{Host: "web1"}, onAsset)
			find(app.JobSearch{Lane: "10.0.0.1"}, onAsset)
			find(app.JobSearch{Lane: "web1"}, onAsset)
			find(app.JobSearch{NoLane: true}, onAddress)
			find(app.JobSearch{Lane: "10.0.0.9"})
			find(app.JobSearch{Lane: "chassis"}, onAsset)
			find(app.JobSearch{Node: "elsewhere"})
		}
		check()
		for host, want := range map[string][]string{"chassis": {"10.0.0.1", "chassis"}, "web1": {"10.0.0.1", "web1"}, "10.0.0.1": {"10.0.0.1"}} {
			if got := must(w.AssetAddresses(t.Context(), w.viewer, host))(t); !slices.Equal(got, want) {
				t.Errorf("%s stands for %v, want %v", host, got, want)
			}
		}
		k := w.worker(t)
		host := must(w.Workers(t.Context(), w.operator))(t)[0].Hostname
		find(app.JobSearch{Node: host})
		leases := k.lease(t, 2)
		check()
		find(app.JobSearch{Node: host}, onAsset, onAddress)
		find(app.JobSearch{Node: host, States: []hostler.State{hostler.StateSucceeded}})
		k.finish(t, leases, hostler.OutcomeSucceeded)
		check()
		find(app.JobSearch{Node: host}, onAsset, onAddress)
		find(app.JobSearch{Node: host, States: []hostler.State{hostler.StateRunning}})
		if _, _, err := w.StopWorkers(t.Context(), w.admin, []hostler.WorkerID{k.id}); err != nil {
			t.Fatal(err)
		}
		find(app.JobSearch{Node: host}, onAsset, onAddress)
		if name := must(w.FindJob(t.Context(), w.viewer, onAsset))(t).Names[k.id]; name == "" {
			t.Error("the job's worker lost its name when it stopped")
		}
		w.addUp(t)
		if st := must(w.ActionStats(t.Context(), w.viewer))(t); st["change"].Count != 2 || st["change"].Success != 2 {
			t.Errorf("stats %+v", st)
		}
	})
}
