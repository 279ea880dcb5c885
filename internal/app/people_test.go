package app_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

// role creates a role of the default project that limits operators.
func (w *env) role(t *testing.T, name string, actions []string, labels map[string][]string) hostler.CustomRole {
	t.Helper()
	return must(w.CreateCustomRole(t.Context(), w.admin, hostler.CustomRoleInput{
		Name: name, Base: hostler.RoleOperator, Actions: actions, Labels: labels,
	}))(t)
}

// key creates a key with a caller's key, and returns it as a caller.
func (w *env) key(t *testing.T, c auth.Caller, in hostler.KeyInput) (auth.Caller, hostler.Key) {
	t.Helper()
	in.Name = "k"
	made := must(w.CreateKey(t.Context(), c, in))(t)
	return w.login(t, made.Secret), made.Key
}

// TestAKeyNeverExceedsItsParent tries to create, rotate and revoke more than a key
// permits, with keys that are narrow in one way each.
func TestAKeyNeverExceedsItsParent(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		hours := func(n int) hostler.Duration { return hostler.Duration(time.Duration(n) * time.Hour) }
		weak, weakKey := w.key(t, w.admin, hostler.KeyInput{Role: hostler.RoleViewer})
		_, err := w.RevokeKey(ctx, weak, w.admin.Key) // the owner's admin key
		wantCode(t, err, hostler.CodeForbidden)

		short, shortKey := w.key(t, w.admin, hostler.KeyInput{ExpiresIn: hours(2)})
		_, err = w.CreateKey(ctx, short, hostler.KeyInput{Name: "k", ExpiresIn: hours(3)})
		wantCode(t, err, hostler.CodeInvalid)
		_, child := w.key(t, short, hostler.KeyInput{})
		if child.ExpiresAt == nil || !child.ExpiresAt.Equal(*shortKey.ExpiresAt) || child.Parent != shortKey.ID {
			t.Errorf("the child of a key that expires: %+v", child)
		}
		w.h.Advance(time.Hour)
		next := must(w.RotateKey(ctx, short, shortKey.ID))(t)
		if next.Key.ExpiresAt == nil || next.Key.ExpiresAt.After(*shortKey.ExpiresAt) {
			t.Errorf("a key that expires at %v prolonged itself: %v", shortKey.ExpiresAt, next.Key.ExpiresAt)
		}
		// Its successor would expire with this one, and so would those that it adopts.
		for _, id := range []hostler.KeyID{w.viewer.Key, w.admin.Key} {
			_, err := w.RotateKey(ctx, short, id)
			wantCode(t, err, hostler.CodeForbidden)
		}

		only, _ := w.key(t, w.admin, hostler.KeyInput{Projects: []string{"default"}, Actions: []string{"check_*"}})
		for _, in := range []hostler.KeyInput{
			{Projects: []string{"other"}}, {Actions: []string{"change"}}, {Actions: []string{"*"}},
		} {
			in.Name = "k"
			_, err := w.CreateKey(ctx, only, in)
			wantCode(t, err, hostler.CodeInvalid)
		}
		_, err = w.CreateKey(ctx, only, hostler.KeyInput{Name: "k", Project: "other"})
		wantCode(t, err, hostler.CodeNotFound)
		_, err = w.RotateKey(ctx, only, w.admin.Key)
		wantCode(t, err, hostler.CodeForbidden)
		_, err = w.RunJobs(ctx, only, hostler.JobRequest{Action: "ping"}, "")
		wantCode(t, err, hostler.CodeForbidden)
		_, err = w.CreateUser(ctx, only, hostler.UserInput{Name: "eve"})
		wantCode(t, err, hostler.CodeForbidden)

		must(w.RevokeKey(ctx, weak, weakKey.ID))(t) // a key may always revoke itself
	})
}

// TestAKeyDoesNotOutliveItsParent revokes a key: the keys that it created, and those that
// they created, are refused; after a rotation, those of the successor.
func TestAKeyDoesNotOutliveItsParent(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		stolen, stolenKey := w.key(t, w.operator, hostler.KeyInput{})
		child := must(w.CreateKey(ctx, stolen, hostler.KeyInput{Name: "child"}))(t)
		grandchild := must(w.CreateKey(ctx, w.login(t, child.Secret), hostler.KeyInput{Name: "grandchild"}))(t)
		next := must(w.RotateKey(ctx, w.operator, stolenKey.ID))(t)
		w.login(t, grandchild.Secret)
		must(w.RevokeKey(ctx, w.operator, next.Key.ID))(t)
		for _, k := range []hostler.KeyCreated{next, child, grandchild} {
			_, err := w.Authenticate(ctx, k.Secret, "", "")
			wantCode(t, err, hostler.CodeUnauthenticated)
		}
		_, err := w.CreateKey(ctx, w.login(t, must(w.CreateKey(ctx, w.operator, hostler.KeyInput{Name: "k"}))(t).Secret),
			hostler.KeyInput{Name: "k"})
		wantCode(t, err, "")
		// A caller that was cached before its key was revoked creates nothing.
		gone, goneKey := w.key(t, w.operator, hostler.KeyInput{})
		must(w.RevokeKey(ctx, w.operator, goneKey.ID))(t)
		_, err = w.CreateKey(ctx, gone, hostler.KeyInput{Name: "k"})
		wantCode(t, err, hostler.CodeUnauthenticated)
	})
}

func TestKeysOfAUserAreLimited(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		var last hostler.Key
		var err error
		for n := 0; err == nil && n < 200; n++ {
			var made hostler.KeyCreated
			if made, err = w.CreateKey(t.Context(), w.viewer, hostler.KeyInput{Name: "k"}); err == nil {
				last = made.Key
			}
		}
		wantCode(t, err, hostler.CodeConflict)
		must(w.RotateKey(t.Context(), w.viewer, last.ID))(t)
		_, err = w.RotateKey(t.Context(), w.viewer, last.ID)
		wantCode(t, err, hostler.CodeConflict)
		must(w.RevokeKey(t.Context(), w.viewer, last.ID))(t)
	})
}

func TestEffectiveRoleOfKeys(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.role(t, "testers", []string{"check_*"}, nil)
		_, full := w.key(t, w.viewer, hostler.KeyInput{})
		_, limited := w.key(t, w.operator, hostler.KeyInput{Role: "testers"})
		_, gone := w.key(t, w.operator, hostler.KeyInput{})
		must(w.RevokeKey(ctx, w.operator, gone.ID))(t)
		want := map[hostler.KeyID]hostler.Role{full.ID: "viewer", limited.ID: "testers", gone.ID: ""}
		if full.EffectiveRole != "viewer" || limited.EffectiveRole != "testers" {
			t.Errorf("as created: effective %q and %q", full.EffectiveRole, limited.EffectiveRole)
		}
		for _, k := range must(w.Keys(ctx, w.admin, hostler.Page{}))(t).Items {
			if role, ok := want[k.ID]; ok && k.EffectiveRole != role {
				t.Errorf("key of %s with the role %s: effective %q, want %q", k.User, k.Role, k.EffectiveRole, role)
			}
		}
	})
}

// limitedEnv has a user lara, who is an operator of the assets with the label env=test
// and may run change and check_port only, and an asset on either side of the limit with a
// job that has ended.
type limitedEnv struct {
	*env
	lara      auth.Caller
	in, out   hostler.Asset
	mine, not hostler.JobID
}

func eachLimited(t *testing.T, fn func(t *testing.T, w *limitedEnv)) {
	t.Helper()
	eachEnv(t, func(t *testing.T, e *env) {
		w := &limitedEnv{env: e}
		e.role(t, "testers", []string{"check_*", "change"}, map[string][]string{"env": {"test", "dev"}})
		w.lara = e.person(t, "lara", "default", "testers")
		w.in = e.asset(t, hostler.AssetInput{Name: "in", Labels: map[string]string{"env": "test"}})
		w.out = e.asset(t, hostler.AssetInput{Name: "out", Labels: map[string]string{"env": "live"}})
		k := e.worker(t)
		for _, name := range []string{"in", "out"} {
			e.run(t, hostler.JobRequest{Action: "check_port", Assets: []string{name}})
		}
		leases := k.lease(t, 10)
		k.finish(t, leases, hostler.OutcomeFailed)
		for _, j := range must(e.Jobs(t.Context(), e.admin, hostler.JobFilter{}, hostler.Page{}))(t).Items {
			if j.Asset == w.in.ID {
				w.mine = j.ID
			} else {
				w.not = j.ID
			}
		}
		fn(t, w)
	})
}

// TestLimitedRoleSeesItsAssetsOnly looks for an asset outside the limit, and for its job,
// in every way that leads to either.
func TestLimitedRoleSeesItsAssetsOnly(t *testing.T) {
	eachLimited(t, func(t *testing.T, w *limitedEnv) {
		ctx, c, page := t.Context(), w.lara, hostler.Page{}
		out := w.out.ID.String()
		for name, err := range map[string]error{
			"Asset by name": second(w.Asset(ctx, c, "out")), "Asset": second(w.Asset(ctx, c, out)),
			"HostKeys": second(w.HostKeys(ctx, c, out)), "Job": second(w.Job(ctx, c, w.not)),
			"Attempts": second(w.Attempts(ctx, c, w.not)), "Waiting": second(w.Waiting(ctx, c, w.not)),
			"TailLog": second(w.TailLog(ctx, c, w.not, 5)), "CancelJob": second(w.CancelJob(ctx, c, w.not)),
			"RetryJob":        second(w.RetryJob(ctx, c, w.not, "")),
			"ResolveJob":      second(w.ResolveJob(ctx, c, w.not, hostler.ResolveInput{State: hostler.StateFailed})),
			"RunJobs by name": second(w.RunJobs(ctx, c, hostler.JobRequest{Action: "check_port", Assets: []string{"in", "out"}}, "")),
			"RunJobs by id":   second(w.RunJobs(ctx, c, hostler.JobRequest{Action: "check_port", Assets: []string{out}}, "")),
			"RunTask":         second(w.RunTask(ctx, c, w.out.ID, "check_port", nil)),
			"RunTask unknown": second(w.RunTask(ctx, c, w.out.ID, "check_nothing", nil)),
			"RunJobs by label": second(w.RunJobs(ctx, c, hostler.JobRequest{
				Action: "check_port", Labels: map[string]string{"env": "live"},
			}, "")),
		} {
			if hostler.CodeOf(err) != hostler.CodeNotFound {
				t.Errorf("%s: %v, want not found", name, err)
			}
		}
		k := w.worker(t)
		k.heartbeat(t, hostler.Heartbeat{Sessions: []hostler.HostSession{{Address: w.in.Address}, {Address: w.out.Address}}})
		for _, worker := range must(w.Workers(ctx, c))(t) {
			if slices.ContainsFunc(worker.Sessions, func(s hostler.HostSession) bool { return s.Address == w.out.Address }) {
				t.Errorf("connections %+v", worker.Sessions)
			}
		}
		if l := must(w.Assets(ctx, c, "", page))(t).Items; len(l) != 1 || l[0].Name != "in" {
			t.Errorf("assets %v", l)
		}
		if l := must(w.Assets(ctx, c, "env=live", page))(t).Items; len(l) != 0 {
			t.Errorf("assets by label %v", l)
		}
		for _, f := range []hostler.JobFilter{
			{}, {Asset: out}, {Asset: "out"}, {States: []hostler.State{hostler.StateFailed}}, {Action: "check_port"},
		} {
			for _, j := range must(w.Jobs(ctx, c, f, page))(t).Items {
				if j.Asset != w.in.ID {
					t.Errorf("filter %+v lists the job of %s", f, j.AssetName)
				}
			}
		}
		if l := must(w.FindJob(ctx, c, w.not))(t).Items; len(l) != 0 {
			t.Errorf("found %v", l)
		}
		if n := must(w.ActionStats(ctx, c))(t)["check_port"].Count; n != 1 {
			t.Errorf("the statistics count %d jobs", n)
		}
		res := must(w.RetryJobs(ctx, c, hostler.BulkRequest{IDs: []hostler.JobID{w.mine, w.not}}, ""))(t)
		for _, i := range res.Items {
			if i.OK != (i.ID == w.mine.String()) {
				t.Errorf("retry: %+v", i)
			}
		}
		if made := must(w.RetryJobs(ctx, c, hostler.BulkRequest{Filter: &hostler.JobFilter{Action: "check_port"}}, ""))(t); made.Matched != 1 {
			t.Errorf("a filter retried %d jobs", made.Matched)
		}
	})
}

// TestLimitedRoleStaysInItsLimit tries what would lead around the limit.
func TestLimitedRoleStaysInItsLimit(t *testing.T) {
	eachLimited(t, func(t *testing.T, w *limitedEnv) {
		ctx, c := t.Context(), w.lara
		in := hostler.AssetInput{Name: "out", Address: "out.example", Labels: map[string]string{"env": "test"}}
		elsewhere := hostler.JobRequest{
			Action: "check_url", Assets: []string{"in"}, Args: json.RawMessage(`{"url":"http://out.example"}`),
		}
		k := w.worker(t)
		ended := w.run(t, elsewhere).Jobs[0]
		k.finish(t, k.lease(t, 1), hostler.OutcomeFailed)
		_, _, eventErr := w.Events(ctx, c, hostler.EventFilter{}, 0, 10)
		for name, err := range map[string]error{
			"another action": second(w.RunJobs(ctx, c, hostler.JobRequest{Action: "ping", Assets: []string{"in"}}, "")),
			"an inline host": second(w.RunJobs(ctx, c, hostler.JobRequest{
				Action: "change", Target: inline("out.example", "p"),
			}, "")),
			"an unknown action": second(w.RunTask(ctx, c, w.in.ID, "nothing", nil)),
			"a URL":             second(w.RunJobs(ctx, c, elsewhere, "")),
			"a task with a URL": second(w.RunTask(ctx, c, w.in.ID, elsewhere.Action, elsewhere.Args)),
			"retry of a URL":    second(w.RetryJob(ctx, c, ended, "")),
			"create asset":      second(w.CreateAsset(ctx, c, hostler.AssetInput{Name: "new", Address: "out.example"})),
			"change labels":     second(w.PutAsset(ctx, c, "out", in)),
			"change own asset":  second(w.PutAsset(ctx, c, "in", in)),
			"delete":            second(w.DeleteAsset(ctx, c, "in")),
			"import":            second(w.ImportAssets(ctx, c, "name,address\nx,out.example\n", hostler.ImportOptions{})),
			"dry run":           second(w.ImportAssets(ctx, c, "name,address\nx,y\n", hostler.ImportOptions{DryRun: true})),
			"deliveries":        second(w.Deliveries(ctx, c, hostler.DeliveryFilter{}, hostler.Page{})),
			"webhooks":          second(w.Webhooks(ctx, c, hostler.Page{})),
			"uses":              second(w.CredentialUses(ctx, c, "root", hostler.Page{})),
			"events":            eventErr,
			"role":              second(w.CreateCustomRole(ctx, c, hostler.CustomRoleInput{Name: "x", Base: "operator"})),
		} {
			if hostler.CodeOf(err) != hostler.CodeForbidden {
				t.Errorf("%s: %v, want forbidden", name, err)
			}
		}
		outcomes := must(w.RunBatch(ctx, c, []hostler.JobRequest{
			{Action: "change", Assets: []string{"in"}},
			{Action: "change", Assets: []string{"out"}},
			{Action: "change", Target: inline("out.example", "p")},
			elsewhere,
			{Action: "check_url", Assets: []string{"in"}, Args: json.RawMessage(`{"url":"/"}`)},
		}))(t)
		for i, want := range []hostler.Code{"", hostler.CodeNotFound, hostler.CodeForbidden, hostler.CodeForbidden, ""} {
			if got := hostler.CodeOf(outcomes[i].Err); got != want {
				t.Errorf("request %d of a batch: %q, want %q", i, got, want)
			}
		}
		// A job of another action on its asset is visible, but not to be changed.
		ping := w.run(t, hostler.JobRequest{Action: "ping", Assets: []string{"in"}}).Jobs[0]
		must(w.Job(ctx, c, ping))(t)
		_, err := w.CancelJob(ctx, c, ping)
		wantCode(t, err, hostler.CodeForbidden)
		if l := must(w.CancelWaiting(ctx, c, []hostler.JobID{ping}, app.JobSearch{}))(t); len(l) != 0 {
			t.Errorf("cancelled %v", l)
		}
		// A key cannot leave the role of its user, nor give it away.
		own, _ := w.key(t, c, hostler.KeyInput{})
		_, err = w.Asset(ctx, own, "out")
		wantCode(t, err, hostler.CodeNotFound)
		if me := must(w.Me(ctx, c))(t); me.Role != "testers" || !slices.Equal(me.Labels["env"], []string{"dev", "test"}) {
			t.Errorf("me %+v", me)
		}
	})
}

func TestCan(t *testing.T) {
	eachLimited(t, func(t *testing.T, w *limitedEnv) {
		for _, c := range []struct {
			caller  auth.Caller
			q       hostler.CanQuery
			allowed bool
			by      bool
		}{
			{w.lara, hostler.CanQuery{Action: "change", Asset: "in"}, true, false},
			{w.lara, hostler.CanQuery{Action: "change", Asset: "out"}, false, false},
			{w.lara, hostler.CanQuery{Action: "ping", Asset: "in"}, false, true},
			{w.lara, hostler.CanQuery{Action: "change"}, false, true},
			{w.viewer, hostler.CanQuery{Action: "ping"}, false, true},
			{w.operator, hostler.CanQuery{Action: "off"}, false, true},
			{w.operator, hostler.CanQuery{Action: "nothing"}, false, false},
			{w.operator, hostler.CanQuery{Action: "ping"}, true, false},
		} {
			got := must(w.Can(t.Context(), c.caller, c.q))(t)
			if got.Allowed != c.allowed || got.Reason.EN == "" || got.Reason.ZH == "" ||
				slices.Contains(got.AllowedBy, "admin") != c.by {
				t.Errorf("%s, %+v: %+v", c.caller.User, c.q, got)
			}
		}
	})
}

func TestRolesInUseStay(t *testing.T) {
	eachLimited(t, func(t *testing.T, w *limitedEnv) {
		ctx := t.Context()
		_, err := w.DeleteCustomRole(ctx, w.admin, "testers")
		wantCode(t, err, hostler.CodeConflict)
		must(w.ChangeUser(ctx, w.admin, "lara", hostler.UserChange{Roles: map[string]hostler.Role{"default": "viewer"}}))(t)
		must(w.DeleteCustomRole(ctx, w.admin, "testers"))(t)
		for _, in := range []hostler.CustomRoleInput{
			{Name: "admin", Base: "operator", Actions: []string{"x"}},
			{Name: "a", Base: "admin", Actions: []string{"x"}},
			{Name: "a", Base: "operator"},
			{Name: "a", Base: "operator", Actions: []string{"*x"}},
			{Name: "a", Base: "operator", Labels: map[string][]string{"env": nil}},
		} {
			_, err := w.CreateCustomRole(ctx, w.admin, in)
			wantCode(t, err, hostler.CodeInvalid)
		}
	})
}

// claim leases up to n jobs, and holds those that may not start, as the engine does.
func (k worker) claim(t *testing.T, n int) []hostler.Lease {
	t.Helper()
	var got store.Claimed
	k.w.tx(t, func(tx *store.Tx) (err error) {
		got, err = tx.Claim(k.id, n)
		return err
	})
	if len(got.Forbidden) > 0 {
		k.w.tx(t, func(tx *store.Tx) error {
			_, err := tx.HoldJobs(got.Forbidden)
			return err
		})
	}
	return got.Leases
}

// due queues what is due.
func (w *env) due(t *testing.T) {
	t.Helper()
	w.tx(t, func(tx *store.Tx) error {
		_, _, err := tx.DueJobs(100)
		return err
	})
}

// TestDisabledMeansStopped takes the right to run a job away after it was queued, in
// every way, and gives it back.
func TestDisabledMeansStopped(t *testing.T) {
	yes, no := true, false
	set := func(role hostler.Role) hostler.UserChange {
		return hostler.UserChange{Roles: map[string]hostler.Role{"default": role}}
	}
	change := func(ch hostler.UserChange) func(context.Context, *testing.T, *limitedEnv) {
		return func(ctx context.Context, t *testing.T, w *limitedEnv) {
			must(w.ChangeUser(ctx, w.admin, "lara", ch))(t)
		}
	}
	limit := func(actions []string, labels map[string][]string) func(context.Context, *testing.T, *limitedEnv) {
		return func(ctx context.Context, t *testing.T, w *limitedEnv) {
			in := hostler.CustomRoleInput{Base: hostler.RoleOperator, Actions: actions, Labels: labels}
			must(w.PutCustomRole(ctx, w.admin, "testers", in))(t)
		}
	}
	relabel := func(env string) func(context.Context, *testing.T, *limitedEnv) {
		return func(ctx context.Context, t *testing.T, w *limitedEnv) {
			must(w.PutAsset(ctx, w.admin, "in", hostler.AssetInput{
				Name: "in", Address: "in.example", Labels: map[string]string{"env": env},
			}))(t)
		}
	}
	for name, c := range map[string]struct {
		take, give func(context.Context, *testing.T, *limitedEnv)
	}{
		"disabled":      {change(hostler.UserChange{Disabled: &yes}), change(hostler.UserChange{Disabled: &no})},
		"viewer":        {change(set("viewer")), change(set("operator"))},
		"no role":       {change(set("")), change(set("testers"))},
		"action":        {limit([]string{"ping"}, nil), limit([]string{"change"}, nil)},
		"label of role": {limit(nil, map[string][]string{"env": {"x"}}), limit(nil, map[string][]string{"env": {"test"}})},
		"label":         {relabel("live"), relabel("test")},
	} {
		t.Run(name, func(t *testing.T) {
			eachLimited(t, func(t *testing.T, w *limitedEnv) {
				ctx, k := t.Context(), w.worker(t)
				// Two in one lane and one delayed, and one of another user behind them.
				req := hostler.JobRequest{Action: "change", Assets: []string{"in"}}
				job := must(w.RunJobs(ctx, w.lara, req, ""))(t).Jobs[0]
				must(w.RunJobs(ctx, w.lara, req, ""))(t)
				delayed := req
				delayed.Delay = hostler.Duration(time.Second)
				must(w.RunJobs(ctx, w.lara, delayed, ""))(t)
				other := w.run(t, req).Jobs[0]
				k.w.tx(t, func(tx *store.Tx) error { // fills the cache of rights
					_, err := tx.MayStart(job)
					return err
				})
				c.take(ctx, t, w)
				w.h.Advance(2 * time.Second)
				w.due(t)
				var leases []hostler.Lease
				for range 5 {
					leases = append(leases, k.claim(t, 10)...)
				}
				if len(leases) != 1 || leases[0].Job != other {
					t.Fatalf("leased %v, want the job of another user alone", leases)
				}
				why := must(w.Waiting(ctx, w.admin, job))(t)
				if len(why) == 0 || why[0].Reason != hostler.WaitForbidden {
					t.Errorf("why: %+v", why)
				}
				k.finish(t, leases, hostler.OutcomeSucceeded)
				w.h.Advance(2 * time.Minute)
				w.due(t) // still not
				if got := k.claim(t, 10); len(got) != 0 {
					t.Errorf("leased %v after a while", got)
				}
				c.give(ctx, t, w)
				w.h.Advance(2 * time.Minute)
				w.due(t)
				if got := k.claim(t, 10); len(got) != 1 {
					t.Errorf("leased %v, want the first job of the lane", got)
				}
				w.tx(t, func(tx *store.Tx) error {
					broken, err := tx.CheckInvariants()
					if len(broken) > 0 {
						t.Errorf("broken: %v", broken)
					}
					return err
				})
			})
		})
	}
}

// TestJobsOfEarlierVersions have the name of their user only.
func TestJobsOfEarlierVersions(t *testing.T) {
	eachLimited(t, func(t *testing.T, w *limitedEnv) {
		ctx, k := t.Context(), w.worker(t)
		must(w.RunJobs(ctx, w.lara, hostler.JobRequest{Action: "change", Assets: []string{"in"}}, ""))(t)
		w.tx(t, func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE job SET created_by_id = 0`)
			return err
		})
		yes := true
		must(w.ChangeUser(ctx, w.admin, "lara", hostler.UserChange{Disabled: &yes}))(t)
		if got := k.claim(t, 10); len(got) != 0 {
			t.Errorf("leased %v", got)
		}
		res := must(w.CancelJobsOfUser(ctx, w.admin, "lara"))(t)
		if res.Cancelled != 1 || res.More {
			t.Errorf("cancelled %+v", res)
		}
	})
}

func TestCancelJobsOfUser(t *testing.T) {
	eachLimited(t, func(t *testing.T, w *limitedEnv) {
		ctx, k := t.Context(), w.worker(t)
		req := hostler.JobRequest{Action: "check_port", Assets: []string{"in"}}
		must(w.RunJobs(ctx, w.lara, req, ""))(t)
		running := k.lease(t, 1)
		for range 3 {
			must(w.RunJobs(ctx, w.lara, req, ""))(t)
		}
		theirs := w.run(t, req).Jobs[0]
		if res := must(w.CancelJobsOfUser(ctx, w.admin, "lara"))(t); res.Cancelled != 4 {
			t.Errorf("cancelled %+v", res)
		}
		if j := must(w.Job(ctx, w.admin, running[0].Job))(t); j.CancelAt == nil {
			t.Error("the running job goes on")
		}
		if j := must(w.Job(ctx, w.admin, theirs))(t); j.State != hostler.StateQueued {
			t.Errorf("the job of another user is %s", j.State)
		}
		_, err := w.CancelJobsOfUser(ctx, w.operator, "lara")
		wantCode(t, err, hostler.CodeForbidden)
	})
}

// TestIDsStandBesideNames: four-eyes compares ids.
func TestIDsStandBesideNames(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		j := must(w.Job(ctx, w.viewer, w.run(t, hostler.JobRequest{Action: "ping"}).Jobs[0]))(t)
		k := w.worker(t)
		k.finish(t, k.lease(t, 1), hostler.OutcomeFailed)
		ended := must(w.Job(ctx, w.viewer, j.ID))(t)
		again := must(w.RetryJob(ctx, w.admin, j.ID, ""))(t)
		for _, c := range []struct{ got, want hostler.UserID }{
			{j.CreatedByID, w.operator.UserID},
			{ended.CreatedByID, w.operator.UserID},
			{again.CreatedByID, w.admin.UserID},
			{must(w.Audit(ctx, w.admin, hostler.AuditFilter{}, hostler.Page{Limit: 1}))(t).Items[0].UserID, w.admin.UserID},
		} {
			if c.got != c.want || c.got == 0 {
				t.Errorf("id %v, want %v", c.got, c.want)
			}
		}
	})
}

// TestRestrictedActions: what runs on the server itself is for admins of the installation
// and for the projects that the configuration names, on every path and when it starts.
func TestRestrictedActions(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx, k := t.Context(), w.worker(t)
		restricted := map[string][]string{"ping": {"other"}}
		w.h.Store.Restrict(restricted)
		a := app.New(app.Config{
			Store: w.h.Store, Actions: testActions(t), Box: testBox(t), Now: w.h.Now, Restricted: restricted,
		})
		ping := hostler.JobRequest{Action: "ping"}
		before := w.run(t, ping).Jobs[0] // by a server that restricts nothing
		if got := k.claim(t, 10); len(got) != 0 {
			t.Fatalf("leased %v", got)
		}
		w.asset(t, hostler.AssetInput{Name: "web1"})
		batch := must(a.RunBatch(ctx, w.operator, []hostler.JobRequest{ping}))(t)
		asset := must(a.Asset(ctx, w.operator, "web1"))(t)
		for name, err := range map[string]error{
			"run":   second(a.RunJobs(ctx, w.operator, ping, "")),
			"batch": batch[0].Err,
			"task":  second(a.RunTask(ctx, w.operator, asset.ID, "ping", nil)),
		} {
			if hostler.CodeOf(err) != hostler.CodeForbidden {
				t.Errorf("%s: %v, want forbidden", name, err)
			}
		}
		if can := must(a.Can(ctx, w.operator, hostler.CanQuery{Action: "ping"}))(t); can.Allowed {
			t.Errorf("can: %+v", can)
		}
		must(a.CancelJob(ctx, w.operator, before))(t)
		_, err := a.RetryJob(ctx, w.operator, before, "")
		wantCode(t, err, hostler.CodeForbidden)

		must(a.RunJobs(ctx, w.admin, ping, ""))(t)
		must(a.RunJobs(ctx, w.stranger, ping, ""))(t)
		if got := k.claim(t, 10); len(got) != 2 {
			t.Errorf("leased %d jobs, want those of the admin and of the named project", len(got))
		}
	})
}

// TestALimitedUserSendsNoQueuedJobElsewhere: jobs that a user left in the queue before the role
// was limited to assets stay on their assets, too.
func TestALimitedUserSendsNoQueuedJobElsewhere(t *testing.T) {
	eachLimited(t, func(t *testing.T, w *limitedEnv) {
		ctx, k := t.Context(), w.worker(t)
		w.h.Store.Confine(testActions(t).Elsewhere())
		w.asset(t, hostler.AssetInput{Name: "in2", Labels: map[string]string{"env": "test"}})
		padding := strings.Repeat("x", 4096) // args that jobs share
		var there, here []hostler.JobID
		for args, to := range map[string]*[]hostler.JobID{
			`{"url":"http://out.example"}`:                       &there,
			`{"url":"http://out.example","s":"` + padding + `"}`: &there,
			`{"url":"/"}`:                       &here,
			`{"url":"/","s":"` + padding + `"}`: &here,
		} {
			made := must(w.RunJobs(ctx, w.operator, hostler.JobRequest{
				Action: "check_url", Assets: []string{"in", "in2"}, Args: json.RawMessage(args),
			}, ""))(t)
			*to = append(*to, made.Jobs...)
		}
		must(w.ChangeUser(ctx, w.admin, "olga", hostler.UserChange{
			Roles: map[string]hostler.Role{"default": "testers"},
		}))(t)
		var started []hostler.JobID
		for _, l := range k.claim(t, 100) {
			started = append(started, l.Job)
		}
		slices.Sort(started)
		slices.Sort(here)
		if !slices.Equal(started, here) {
			t.Errorf("started %v, want %v", started, here)
		}
		for _, id := range there {
			why := must(w.Waiting(ctx, w.admin, id))(t)
			if len(why) == 0 || why[0].Reason != hostler.WaitForbidden {
				t.Errorf("job %v waits for %+v", id, why)
			}
		}
	})
}

func testBox(t *testing.T) *secret.Box {
	t.Helper()
	key := make([]byte, 32)
	key[0] = 7
	return must(secret.NewBox(key))(t)
}

// TestRevokingRacesWithCreating revokes a key while its child creates keys: none of them
// stays valid.
func TestRevokingRacesWithCreating(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		for range 6 {
			parent, parentKey := w.key(t, w.operator, hostler.KeyInput{})
			child, _ := w.key(t, parent, hostler.KeyInput{})
			made := make([]hostler.KeyCreated, 4)
			var calls sync.WaitGroup
			for i, c := range []auth.Caller{parent, child, child, parent} {
				calls.Go(func() { made[i], _ = w.CreateKey(ctx, c, hostler.KeyInput{Name: "k"}) }) // or is refused
			}
			must(w.RevokeKey(ctx, w.operator, parentKey.ID))(t)
			calls.Wait()
			for _, k := range made {
				if k.Secret == "" {
					continue
				}
				_, err := w.Authenticate(ctx, k.Secret, "", "")
				wantCode(t, err, hostler.CodeUnauthenticated)
			}
		}
	})
}
