package app_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// oneOfEach makes a job in every state and returns their ids.
func (w *env) oneOfEach(t *testing.T) map[hostler.State]hostler.JobID {
	t.Helper()
	ctx := t.Context()
	w.asset(t, hostler.AssetInput{Name: "web1"})
	w.asset(t, hostler.AssetInput{Name: "web2"})
	k := w.worker(t)
	out := map[hostler.State]hostler.JobID{}
	end := func(state hostler.State, o hostler.Outcome, req hostler.JobRequest) {
		out[state] = w.run(t, req).Jobs[0]
		k.finish(t, k.lease(t, 1), o)
	}
	end(
		hostler.StateSucceeded,
		hostler.OutcomeSucceeded,
		hostler.JobRequest{Action: "ping", Args: json.RawMessage(`{"port":1}`)},
	)
	end(
		hostler.StateFailed,
		hostler.OutcomeFailed,
		hostler.JobRequest{Action: "check_port", Assets: []string{"web1"}},
	)
	end(hostler.StateUnknown, hostler.OutcomeUnknown, hostler.JobRequest{Action: "change", Assets: []string{"web1"}})
	out[hostler.StateCancelled] = w.run(t, hostler.JobRequest{Action: "ping", Lane: "deploy"}).Jobs[0]
	must(w.CancelJob(ctx, w.operator, out[hostler.StateCancelled]))(t)
	out[hostler.StateRunning] = w.run(t, hostler.JobRequest{Action: "change", Assets: []string{"web2"}}).Jobs[0]
	k.lease(t, 1)
	out[hostler.StateScheduled] = w.run(t, hostler.JobRequest{Action: "ping", Delay: hostler.Duration(time.Hour)}).Jobs[0]
	out[hostler.StateQueued] = w.run(t, hostler.JobRequest{Action: "ping", Priority: 9}).Jobs[0]
	// Waits behind the unknown job in the lane of web1.
	out["waiting"] = w.run(t, hostler.JobRequest{Action: "change", Assets: []string{"web1"}}).Jobs[0]
	return out
}

func TestListingFindsWhatItShould(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		ids := w.oneOfEach(t)
		all := []hostler.State{
			"succeeded",
			"failed",
			"unknown",
			"cancelled",
			"running",
			"scheduled",
			"queued",
			"waiting",
		}
		web1 := must(w.Asset(ctx, w.viewer, "web1"))(t).ID.String()
		now, before, after := w.h.Now(), w.h.Now().Add(-time.Hour), w.h.Now().Add(time.Hour)
		tests := []struct {
			name   string
			filter hostler.JobFilter
			want   []hostler.State
		}{
			{"everything", hostler.JobFilter{}, all},
			{
				"ended",
				hostler.JobFilter{States: []hostler.State{"succeeded", "failed", "cancelled"}},
				[]hostler.State{"succeeded", "failed", "cancelled"},
			},
			{"one ended state", hostler.JobFilter{States: []hostler.State{"failed"}}, []hostler.State{"failed"}},
			{
				"live",
				hostler.JobFilter{States: []hostler.State{"queued", "running"}},
				[]hostler.State{"queued", "waiting", "running"},
			},
			{"unknown", hostler.JobFilter{States: []hostler.State{"unknown"}}, []hostler.State{"unknown"}},
			{"scheduled", hostler.JobFilter{States: []hostler.State{"scheduled"}}, []hostler.State{"scheduled"}},
			{"asset by name", hostler.JobFilter{Asset: "web1"}, []hostler.State{"failed", "unknown", "waiting"}},
			{
				"asset by id",
				hostler.JobFilter{Asset: web1, States: []hostler.State{"failed"}},
				[]hostler.State{"failed"},
			},
			{"no such asset", hostler.JobFilter{Asset: "web9"}, nil},
			{"action", hostler.JobFilter{Action: "port"}, []hostler.State{"failed"}},
			{"lane", hostler.JobFilter{Lane: "web1.example"}, []hostler.State{"unknown", "waiting"}},
			{"own lane", hostler.JobFilter{Lane: "deploy"}, []hostler.State{"cancelled"}},
			{"queue", hostler.JobFilter{Queue: "other"}, nil},
			{
				"queue and state",
				hostler.JobFilter{Queue: "default", States: []hostler.State{"succeeded"}},
				[]hostler.State{"succeeded"},
			},
			{"since", hostler.JobFilter{Since: &before}, all},
			{"since, too late", hostler.JobFilter{Since: &after}, nil},
			{"until, too early", hostler.JobFilter{Until: &now}, nil},
			{"until", hostler.JobFilter{Until: &after}, all},
		}
		for _, tt := range tests {
			var want []hostler.JobID
			for _, s := range tt.want {
				want = append(want, ids[s])
			}
			slices.Sort(want)
			slices.Reverse(want)
			for _, limit := range []int{1, 2, 100} {
				if diff := cmp.Diff(want, w.walk(t, tt.filter, limit)); diff != "" {
					t.Errorf("%s by %d (-want +got):\n%s", tt.name, limit, diff)
				}
			}
		}
	})
}

// walk reads every page of a listing.
func (w *env) walk(t *testing.T, f hostler.JobFilter, limit int) []hostler.JobID {
	t.Helper()
	var out []hostler.JobID
	p := hostler.Page{Limit: limit}
	for range 100 {
		l := must(w.Jobs(t.Context(), w.viewer, f, p))(t)
		for _, j := range l.Items {
			out = append(out, j.ID)
		}
		if p.Cursor = l.Next; p.Cursor == "" {
			return out
		}
	}
	t.Fatal("the listing has no end")
	return nil
}

func TestBadFiltersAndPages(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		for _, f := range []hostler.JobFilter{
			{States: []hostler.State{"odd"}}, {Queue: "a\x00"}, {Asset: "\xff"}, {Lane: "a\nb"}, {Action: "\x00"}, {Since: &time.Time{}},
		} {
			_, err := w.Jobs(t.Context(), w.viewer, f, hostler.Page{})
			wantCode(t, err, hostler.CodeInvalid)
		}
		for _, p := range []hostler.Page{{Limit: -1}, {Limit: 1001}, {Cursor: "!"}, {Cursor: "bm90aGluZw"}} {
			_, err := w.Jobs(t.Context(), w.viewer, hostler.JobFilter{}, p)
			wantCode(t, err, hostler.CodeInvalid)
		}
	})
}

func TestAJobInEachState(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		ids := w.oneOfEach(t)
		for want, id := range ids {
			j := must(w.Job(ctx, w.viewer, id))(t)
			if want == "waiting" {
				want = hostler.StateQueued
			}
			if j.State != want || j.Project != "default" || j.CreatedBy != "olga" {
				t.Errorf("%s: %+v", want, j)
			}
			attempts := must(w.Attempts(ctx, w.viewer, id))(t)
			tried := want == hostler.StateSucceeded || want == hostler.StateFailed || want == hostler.StateUnknown
			if (len(attempts) == 1) != tried {
				t.Errorf("%s: attempts %+v", want, attempts)
			}
		}
		why := must(w.Waiting(ctx, w.viewer, ids["waiting"]))(t)
		if len(why) != 1 || why[0].Reason != hostler.WaitLaneUnknown ||
			!slices.Contains(why[0].Holders, ids[hostler.StateUnknown]) {
			t.Errorf("waiting because %+v", why)
		}
		if entries, _, err := w.ReadLog(ctx, w.viewer, ids[hostler.StateSucceeded], 0, 0); err != nil ||
			len(entries) != 0 {
			t.Errorf("log: %v, %v", entries, err)
		}
	})
}

func TestCancelResolveRetry(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		ids := w.oneOfEach(t)
		note := hostler.ResolveInput{State: hostler.StateSucceeded, Note: "looked at the host"}

		if j := must(w.CancelJob(ctx, w.operator, ids[hostler.StateQueued]))(t); j.State != hostler.StateCancelled {
			t.Errorf("a queued job is %s", j.State)
		}
		if j := must(w.CancelJob(ctx, w.operator, ids[hostler.StateRunning]))(t); j.State != hostler.StateRunning ||
			j.CancelAt == nil {
			t.Errorf("a running job is %s, asked at %v", j.State, j.CancelAt)
		}
		for _, state := range []hostler.State{hostler.StateSucceeded, hostler.StateUnknown} {
			_, err := w.CancelJob(ctx, w.operator, ids[state])
			wantCode(t, err, hostler.CodeConflict)
		}

		_, err := w.ResolveJob(ctx, w.operator, ids[hostler.StateFailed], note)
		wantCode(t, err, hostler.CodeConflict)
		_, err = w.ResolveJob(
			ctx,
			w.operator,
			ids[hostler.StateUnknown],
			hostler.ResolveInput{State: hostler.StateCancelled},
		)
		wantCode(t, err, hostler.CodeInvalid)
		for _, state := range []hostler.State{hostler.StateUnknown, hostler.StateRunning, "waiting"} {
			_, err := w.RetryJob(ctx, w.operator, ids[state], "")
			wantCode(t, err, hostler.CodeConflict)
		}
		if j := must(w.ResolveJob(ctx, w.operator, ids[hostler.StateUnknown], note))(t); j.State != hostler.StateSucceeded {
			t.Errorf("a resolved job is %s", j.State)
		}

		old := must(w.Job(ctx, w.viewer, ids[hostler.StateFailed]))(t)
		again := must(w.RetryJob(ctx, w.operator, old.ID, "k"))(t)
		same := must(w.RetryJob(ctx, w.operator, old.ID, "k"))(t)
		if again.ID != same.ID || again.RetryOf != old.ID || again.State != hostler.StateQueued ||
			again.Action != old.Action ||
			again.Asset != old.Asset ||
			again.Run == old.Run {
			t.Errorf("retried as %+v and %v", again, same.ID)
		}
		must(w.DeleteAsset(ctx, w.operator, "web1"))(t)
		_, err = w.RetryJob(ctx, w.operator, old.ID, "")
		wantCode(t, err, hostler.CodeConflict)
	})
}

func TestRetryKeepsTheTTLAndTakesTheNewLane(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.1"})
		old := w.run(t, hostler.JobRequest{
			Action: "change", Assets: []string{"web1"}, TTL: hostler.Duration(time.Minute), Priority: 2, MaxAttempts: 1,
			Timeout: hostler.Duration(
				time.Hour,
			), Backoff: hostler.Backoff{Kind: "fixed", Base: hostler.Duration(time.Second)},
		}).Job
		must(w.CancelJob(ctx, w.operator, old.ID))(t)
		must(
			w.PutAsset(
				ctx,
				w.operator,
				"web1",
				hostler.AssetInput{Name: "web1", Address: "192.0.2.1", DeviceKey: "switch-7"},
			),
		)(t)
		w.h.Advance(time.Hour)
		again := must(w.RetryJob(ctx, w.operator, old.ID, ""))(t)
		if again.Lane != "switch-7" || since(w.h.Now(), again.ExpiresAt) != time.Minute || again.Priority != 2 ||
			again.TimeoutS != 3600 ||
			again.Backoff != old.Backoff {
			t.Errorf("retried as %+v", again)
		}
	})
}

func TestBulkChanges(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		ids := w.oneOfEach(t)
		by := func(f hostler.JobFilter) hostler.BulkRequest { return hostler.BulkRequest{Filter: &f} }

		for _, b := range []hostler.BulkRequest{
			{},
			by(hostler.JobFilter{}),
			{Filter: &hostler.JobFilter{Queue: "default"}, IDs: []hostler.JobID{1}},
			{IDs: make([]hostler.JobID, 1001)},
			by(hostler.JobFilter{States: []hostler.State{"odd"}}),
		} {
			_, err := w.CancelJobs(ctx, w.operator, b)
			wantCode(t, err, hostler.CodeInvalid)
		}

		res := must(w.CancelJobs(ctx, w.operator, by(hostler.JobFilter{Queue: "default"})))(t)
		if res.Matched != 4 || res.More || !allOK(res) {
			t.Errorf("cancelled %+v", res)
		}
		// The running job was asked: it is not asked again.
		if res = must(w.CancelJobs(ctx, w.operator, by(hostler.JobFilter{Queue: "default"})))(t); res.Matched != 0 {
			t.Errorf("cancelled again %+v", res)
		}
		if res = must(w.CancelJobs(ctx, w.operator, by(hostler.JobFilter{States: []hostler.State{"failed"}})))(t); res.Matched != 0 {
			t.Errorf("cancelled ended jobs: %+v", res)
		}

		mixed := hostler.BulkRequest{
			IDs:   []hostler.JobID{ids[hostler.StateUnknown], ids[hostler.StateFailed], ids[hostler.StateUnknown]},
			State: hostler.StateFailed, Note: "checked",
		}
		if res = must(w.ResolveJobs(ctx, w.operator, mixed))(t); res.Matched != 2 || allOK(res) {
			t.Errorf("resolved %+v", res)
		}
		if j := must(w.Job(ctx, w.viewer, ids[hostler.StateUnknown]))(t); j.State != hostler.StateFailed {
			t.Errorf("the unknown job is %s", j.State)
		}

		retry := hostler.BulkRequest{IDs: []hostler.JobID{ids[hostler.StateFailed], ids[hostler.StateRunning], 77}}
		first := must(w.RetryJobs(ctx, w.operator, retry, "k"))(t)
		if first.Matched != 3 || fmt.Sprint(oks(first)) != "[false true false]" {
			t.Errorf("retried %+v", first)
		}
		if diff := cmp.Diff(first, must(w.RetryJobs(ctx, w.operator, retry, "k"))(t)); diff != "" {
			t.Errorf("the same request again (-want +got):\n%s", diff)
		}
		if res = must(w.RetryJobs(ctx, w.operator, by(hostler.JobFilter{Asset: "web1"}), ""))(t); res.Matched != 3 ||
			!allOK(res) {
			t.Errorf("retried by asset %+v", res)
		}

		// A repeated request gets its answer although the filter selects more by now than
		// one call may retry.
		all := by(hostler.JobFilter{Queue: "default"})
		first = must(w.RetryJobs(ctx, w.operator, all, "all"))(t)
		w.cancelled(t, 1001)
		if diff := cmp.Diff(first, must(w.RetryJobs(ctx, w.operator, all, "all"))(t)); diff != "" {
			t.Errorf("the same request again (-want +got):\n%s", diff)
		}
		_, err := w.RetryJobs(ctx, w.operator, all, "")
		wantCode(t, err, hostler.CodeInvalid)
		_, err = w.RetryJobs(ctx, w.operator, by(hostler.JobFilter{Queue: "bulk"}), "all")
		wantCode(t, err, hostler.CodeConflict)
	})
}

// cancelled creates so many cancelled jobs.
func (w *env) cancelled(t *testing.T, n int) {
	t.Helper()
	specs := make([]hostler.JobSpec, n)
	for i := range specs {
		specs[i] = hostler.JobSpec{
			Project: w.operator.Project, Queue: "default", Action: "ping", Priority: hostler.PriorityDefault, MaxAttempts: 1,
			OnLost: hostler.OnLostRetry, OnUnknown: hostler.OnUnknownHold, OnRetry: hostler.OnRetryHold,
		}
	}
	w.tx(t, func(tx *store.Tx) error {
		ids, err := tx.Enqueue(specs)
		if err == nil {
			_, err = tx.CancelWaiting(ids, "alice")
		}
		return err
	})
}

func oks(r hostler.BulkResult) []bool {
	out := make([]bool, len(r.Items))
	for i, it := range r.Items {
		out[i] = it.OK
	}
	return out
}

func allOK(r hostler.BulkResult) bool { return !slices.Contains(oks(r), false) }

// TestFourEyesForUnknownJobs: where a project wants it, nobody says that a job of his own succeeded.
func TestFourEyesForUnknownJobs(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		ids, on := w.oneOfEach(t), true
		if p := must(w.ChangeProject(ctx, w.admin, "default", hostler.ProjectChange{FourEyes: &on}))(t); !p.FourEyes {
			t.Errorf("project %+v", p)
		}
		id, in := ids[hostler.StateUnknown], hostler.ResolveInput{State: hostler.StateSucceeded, Note: "looked"}
		_, err := w.ResolveJob(ctx, w.operator, id, in)
		wantCode(t, err, hostler.CodeForbidden)
		res := must(w.ResolveJobs(ctx, w.operator, hostler.BulkRequest{IDs: []hostler.JobID{id}, State: in.State, Note: in.Note}))(t)
		if allOK(res) {
			t.Error("the requester resolves in bulk")
		}
		if j := must(w.ResolveJob(ctx, w.admin, id, in))(t); j.State != hostler.StateSucceeded {
			t.Errorf("the job is %s", j.State)
		}
	})
}
