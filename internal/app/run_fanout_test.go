package app_test

import (
	"fmt"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/store"
)

// TestFanOutIsARun: a request for several hosts is a run of one step with a row, its
// jobs are counted, and one with a rollout leaves its jobs to the engine.
func TestFanOutIsARun(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		for i := range 4 {
			w.asset(t, hostler.AssetInput{
				Name: fmt.Sprint("web", i), Address: fmt.Sprint("192.0.2.", i+1), Labels: map[string]string{"role": "web"},
			})
		}
		web := map[string]string{"role": "web"}
		single := w.run(t, hostler.JobRequest{Action: "check_port", Assets: []string{"web1"}})
		made := w.run(t, hostler.JobRequest{Action: "check_port", Labels: web})
		if store.HasRow(single.Run) || !store.HasRow(made.Run) || len(made.Jobs) != 4 {
			t.Fatalf("a single job in %v, four in %v", single.Run, made.Run)
		}
		rolled := w.run(t, hostler.JobRequest{Action: "check_port", Labels: web, Rollout: &hostler.Rollout{Parallel: 2}})
		if rolled.Count != 4 || len(rolled.Jobs) != 0 {
			t.Errorf("with a rollout: %+v", rolled)
		}
		runs := must(w.Runs(ctx, w.viewer, app.RunFilter{}, hostler.Page{}))(t).Items
		if len(runs) != 2 || runs[1].Run != made.Run || runs[1].Source != hostler.RunAdHoc || runs[1].Name != "check_port" ||
			runs[1].Requester != "olga" || runs[1].State != hostler.RunRunning {
			t.Errorf("the runs %+v", runs)
		}
		k := w.worker(t)
		k.finish(t, k.lease(t, 2), hostler.OutcomeFailed)
		r := must(w.Run(ctx, w.viewer, made.Run))(t)
		failed := r.States[hostler.StateFailed]
		if r.Total != 4 || failed == 0 || r.Steps[0].Failed != failed || r.Steps[0].Hosts != 4 {
			t.Errorf("the run %+v", r)
		}
		hosts := must(w.RunHosts(ctx, w.viewer, made.Run, r.Steps[0].ID, hostler.Page{}))(t).Items
		if len(hosts) != 4 || hosts[0].Job == 0 || hosts[0].Name != "web0" {
			t.Errorf("its hosts %+v", hosts)
		}
		w.tx(t, func(tx *store.Tx) error {
			broken, err := tx.CheckInvariants()
			if len(broken) > 0 {
				t.Error(broken)
			}
			return err
		})

		for _, bad := range []hostler.JobRequest{
			{Action: "ping", Rollout: &hostler.Rollout{}},
			{Action: "ping", Labels: web, Delay: 1e9, Rollout: &hostler.Rollout{}},
			{Action: "ping", Labels: web, Rollout: &hostler.Rollout{Parallel: -1}},
			{Action: "ping", Labels: web, Rollout: &hostler.Rollout{Batch: []hostler.Amount{{}}}},
		} {
			_, err := w.RunJobs(ctx, w.operator, bad, "")
			wantCode(t, err, hostler.CodeInvalid)
		}
	})
}
