package app_test

import (
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// holdCalls names the asset web1 and a hold of it.
func (w *env) holdCalls(t *testing.T, c auth.Caller) map[string]func() error {
	in := hostler.HoldInput{Asset: "web1", HoldTerms: hostler.HoldTerms{Reason: "power"}}
	held := must(w.CreateHold(t.Context(), w.operator, in))(t)
	return map[string]func() error{
		"CreateHold": func() error { return second(w.CreateHold(t.Context(), c, in)) },
		"EndHold":    func() error { return w.EndHold(t.Context(), c, held.ID) },
	}
}

// TestMaintenance: an operator sets it, with a reason and a time, and only an admin holds
// the whole project. New jobs wait or are refused, also those of a run of a flow.
func TestMaintenance(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.1", Labels: map[string]string{"rack": "7"}})
		why := hostler.HoldTerms{Reason: "power", For: hostler.Duration(2 * time.Hour)}
		_, err := w.CreateHold(ctx, w.viewer, hostler.HoldInput{Asset: "web1", HoldTerms: why})
		wantCode(t, err, hostler.CodeForbidden)
		_, err = w.CreateHold(ctx, w.operator, hostler.HoldInput{HoldTerms: why})
		wantCode(t, err, hostler.CodeForbidden)
		_, err = w.CreateHold(ctx, w.operator, hostler.HoldInput{Asset: "web1"})
		wantCode(t, err, hostler.CodeInvalid)
		_, err = w.CreateHold(ctx, w.stranger, hostler.HoldInput{Asset: "web1", HoldTerms: why})
		wantCode(t, err, hostler.CodeNotFound)

		labels := hostler.HoldInput{Labels: map[string]string{"rack": "7"}, HoldTerms: why}
		held := must(w.CreateHold(ctx, w.operator, labels))(t)
		if held.By != "olga" || held.Until == nil || held.Mode != hostler.HoldWait {
			t.Errorf("the hold %+v", held)
		}
		k := w.worker(t)
		waits := w.run(t, hostler.JobRequest{Action: "check_port", Assets: []string{"web1"}}).Jobs[0]
		if got := k.claim(t, 10); len(got) != 0 {
			t.Fatal("a job on an asset in maintenance started")
		}
		reasons := must(w.Waiting(ctx, w.viewer, waits))(t)
		if len(reasons) != 1 || reasons[0].Reason != hostler.WaitHold || !strings.Contains(reasons[0].Text.EN, "by olga") ||
			!strings.Contains(reasons[0].Text.EN, "power") || reasons[0].Until == nil {
			t.Errorf("it waits for %+v", reasons)
		}

		labels.Mode = hostler.HoldRefuse
		if again := must(w.CreateHold(ctx, w.operator, labels))(t); again.ID != held.ID {
			t.Errorf("the same labels made a second hold")
		}
		_, err = w.RunJobs(ctx, w.operator, hostler.JobRequest{Action: "check_port", Labels: labels.Labels}, "")
		wantCode(t, err, hostler.CodeConflict)
		if all := must(w.Dispatch(ctx, w.viewer))(t).Holds; len(all) != 1 || all[0].Waiting != 1 {
			t.Errorf("the holds %+v", all)
		}

		wantCode(t, w.EndHold(ctx, w.stranger, held.ID), hostler.CodeNotFound)
		if err := w.EndHold(ctx, w.operator, held.ID); err != nil {
			t.Fatal(err)
		}
		for more := true; more; {
			w.tx(t, func(tx *store.Tx) (err error) { more, err = tx.FollowHolds(); return err })
		}
		if got := k.claim(t, 10); len(got) != 1 || got[0].Job != waits {
			t.Errorf("after the end: %+v", got)
		}
	})
}

// TestDispatchIsHeldUntil holds the installation with a reason until a time.
func TestDispatchIsHeldUntil(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.1"})
		past := w.h.Now().Add(-time.Hour)
		_, err := w.HoldDispatch(ctx, w.admin, hostler.HoldTerms{Until: &past})
		wantCode(t, err, hostler.CodeInvalid)
		d := must(w.HoldDispatch(ctx, w.admin, hostler.HoldTerms{Reason: "move", For: hostler.Duration(time.Hour)}))(t)
		if !d.Held || d.Note != "move" || d.Until == nil || d.By != "admin" {
			t.Errorf("held: %+v", d)
		}
		k := w.worker(t)
		w.run(t, hostler.JobRequest{Action: "check_port", Assets: []string{"web1"}})
		if got := k.claim(t, 1); len(got) != 0 {
			t.Error("a job started while dispatch was held")
		}
		w.h.Advance(2 * time.Hour)
		w.tx(t, func(tx *store.Tx) error { return tx.ReleaseLate() })
		if d := must(w.Dispatch(ctx, w.admin))(t); d.Held {
			t.Error("dispatch is still held after its time")
		}
		if got := w.worker(t).claim(t, 1); len(got) != 1 {
			t.Error("the job did not start after the time")
		}
	})
}
