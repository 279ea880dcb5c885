package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
)

func (w *env) again(run hostler.RunID, edit ...func(*hostler.RerunInput)) (hostler.Run, error) {
	req := app.RerunRequest{Run: run}
	for _, e := range edit {
		e(&req.Edit)
	}
	return w.Rerun(context.Background(), w.operator, req)
}

// wantPath checks that an error names a field.
func wantPath(t *testing.T, err error, path string) {
	t.Helper()
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok || len(e.Fields) == 0 || e.Fields[0].Path != path {
		t.Errorf("error %v, want one of %s", err, path)
	}
}

// TestRerunOfAdHocRuns: a run of a job, and one of several hosts in waves, run again on the
// same hosts with the same and with other arguments.
func TestRerunOfAdHocRuns(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		for _, name := range []string{"web1", "web2"} {
			w.asset(t, hostler.AssetInput{Name: name, Labels: map[string]string{"role": "web"}})
		}
		req := hostler.JobRequest{
			Action: "check_port", Args: []byte(`{"port":22}`), Assets: []string{"web1"}, Priority: 3,
			Timeout: hostler.Duration(90e9), MaxAttempts: 2, Concurrency: &hostler.Concurrency{Key: "k", Limit: 4},
		}
		single := w.run(t, req)
		wantCode(t, second(w.again(single.Run)), hostler.CodeConflict) // it has not ended
		w.endJobs(t)
		req.Assets, req.Labels, req.Concurrency = nil, map[string]string{"role": "web"}, nil
		many := w.run(t, req)
		w.endJobs(t)
		req.Rollout = &hostler.Rollout{Batch: []hostler.Amount{{N: 1}}}
		waves := w.run(t, req)
		inline := w.run(t, hostler.JobRequest{
			Action: "check_port", Args: []byte(`{"port":22}`), Target: &hostler.InlineTarget{Address: "192.0.2.1"},
		})
		w.endJobs(t)

		r := must(w.again(single.Run))(t)
		if r.RetryOf != single.Run || r.Source != hostler.RunAdHoc || r.Total != 1 {
			t.Errorf("again %+v", r)
		}
		jobs := must(w.Jobs(ctx, w.viewer, hostler.JobFilter{Run: r.Run}, hostler.Page{}))(t).Items
		if len(jobs) != 1 || jobs[0].Priority != 3 ||
			jobs[0].MaxAttempts != 2 || jobs[0].AssetName != "web1" || string(jobs[0].Args) != `{"port":22}` {
			t.Errorf("jobs %+v", jobs)
		}
		r = must(w.again(r.Run, func(in *hostler.RerunInput) { in.Args = []byte(`{"port":23}`) }))(t)
		if string(r.Steps[0].Args) != `{"port":23}` {
			t.Errorf("args %s", r.Steps[0].Args)
		}
		_, err := w.again(single.Run, func(in *hostler.RerunInput) { in.Args = []byte(`{"port":"x"}`) })
		wantPath(t, err, "args.port")
		_, err = w.again(single.Run, func(in *hostler.RerunInput) { in.Latest = true })
		wantPath(t, err, "params")

		must(w.CreateAsset(ctx, w.admin, hostler.AssetInput{Name: "web3", Address: "w3", Labels: map[string]string{"role": "web"}}))(t)
		if r = must(w.again(many.Run))(t); r.Total != 2 {
			t.Errorf("%d hosts, want those of the first run", r.Total)
		}
		if r = must(w.again(waves.Run))(t); len(r.Steps[0].Waves) != 2 || r.Total != 0 {
			t.Errorf("waves %+v", r.Steps[0])
		}
		wantCode(t, second(w.again(inline.Run)), hostler.CodeConflict) // its login is gone
		wantCode(t, second(w.again(1)), hostler.CodeNotFound)
		wantCode(t, second(w.Rerun(ctx, w.viewer, app.RerunRequest{Run: many.Run})), hostler.CodeForbidden)
		wantCode(t, second(w.Rerun(ctx, w.stranger, app.RerunRequest{Run: many.Run})), hostler.CodeNotFound)
		once := app.RerunRequest{Run: many.Run, Key: "k1"}
		one, two := must(w.Rerun(ctx, w.operator, once))(t), must(w.Rerun(ctx, w.operator, once))(t)
		if one.Run != two.Run {
			t.Error("a repeated call ran it twice")
		}
		if _, err := w.DeleteAsset(ctx, w.admin, "web2"); err != nil {
			t.Fatal(err)
		}
		wantCode(t, second(w.again(many.Run)), hostler.CodeNotFound)
	})
}

// TestRerunLeavesNothingOut: not the host that a request brought, and no host of a run that
// is too large.
func TestRerunLeavesNothingOut(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: chainedDocuments}))(t)
		inline := w.run(t, hostler.JobRequest{
			Action: "check_url", Args: []byte(`{"url":"x"}`), Target: &hostler.InlineTarget{Address: "192.0.2.1"},
			Then: []hostler.FollowUp{{Task: "tell"}},
		})
		for _, name := range []string{"a1", "a2", "a3"} {
			w.asset(t, hostler.AssetInput{Name: name, Labels: map[string]string{"role": "a"}})
		}
		many := w.run(t, hostler.JobRequest{Action: "check_port", Args: []byte(`{"port":22}`), Labels: map[string]string{"role": "a"}})
		w.endJobs(t)
		wantCode(t, second(w.again(inline.Run)), hostler.CodeConflict) // its login is gone
		must(w.RetryJobs(ctx, w.operator, hostler.BulkRequest{IDs: many.Jobs}, ""))(t)
		w.endJobs(t)
		run := must(w.Jobs(ctx, w.viewer, hostler.JobFilter{}, hostler.Page{Limit: 1}))(t).Items[0].Run
		cfg := w.cfg
		cfg.Limits.Bulk = 2
		_, err := app.New(cfg).Rerun(ctx, w.operator, app.RerunRequest{Run: run})
		wantCode(t, err, hostler.CodeConflict)
		if r := must(w.again(run))(t); r.Total != 3 {
			t.Errorf("%d hosts", r.Total)
		}
	})
}

// TestRerunOfTasks: with its own version and parameters, or with the latest version, whose
// schema they are checked by.
func TestRerunOfTasks(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1"})
		w.asset(t, hostler.AssetInput{Name: "web2"})
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: timedDocuments}))(t)
		first := must(w.StartRun(ctx, w.operator, hostler.RunRequest{
			Task: "look-22", Params: []byte(`{"port":24}`), Targets: &hostler.StepTarget{Assets: []string{"web2"}},
		}, ""))(t)
		newer := strings.NewReplacer("[port]", "[port, name]", "{type: integer}", "{type: integer, maximum: 30}, name: {type: string}").
			Replace(timedDocuments)
		must(w.Apply(ctx, w.admin, hostler.ApplyInput{Documents: newer}))(t)
		r := must(w.again(first.Run))(t)
		hosts := must(w.RunHosts(ctx, w.viewer, r.Run, "look", hostler.Page{}))(t).Items
		if r.Version != 1 || string(r.Params) != `{"port":24}` || r.RetryOf != first.Run || r.Name != "look-22" ||
			len(hosts) != 1 || hosts[0].Name != "web2" {
			t.Errorf("again %+v on %+v", r, hosts)
		}
		latest := func(params string) func(*hostler.RerunInput) {
			return func(in *hostler.RerunInput) { in.Latest, in.Params = true, json.RawMessage(params) }
		}
		_, err := w.again(first.Run, latest(`{"port":31,"name":"x"}`))
		wantPath(t, err, "params.port")
		_, err = w.again(first.Run, latest(``))
		wantPath(t, err, "params.name")
		_, err = w.again(first.Run, func(in *hostler.RerunInput) { in.Args = []byte(`{}`) })
		wantPath(t, err, "args")
		if r = must(w.again(first.Run, latest(`{"name":"x"}`)))(t); r.Version != 2 || string(r.Params) != `{"name":"x","port":24}` {
			t.Errorf("the latest %+v", r)
		}
		must(w.RetireTemplate(ctx, w.admin, "look", 1))(t)
		wantCode(t, second(w.again(first.Run)), hostler.CodeConflict)
	})
}
