package app_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
)

func TestKeysEndAtOnce(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		key := func(in hostler.KeyInput) hostler.KeyCreated {
			t.Helper()
			in.Name, in.User = "k", "vera"
			made := must(w.CreateKey(ctx, w.admin, in))(t)
			w.login(t, made.Secret)
			return made
		}
		refused := func(k hostler.KeyCreated) {
			t.Helper()
			_, err := w.Authenticate(ctx, k.Secret, "", "")
			wantCode(t, err, hostler.CodeUnauthenticated)
		}
		k := key(hostler.KeyInput{})
		must(w.RevokeKey(ctx, w.viewer, k.Key.ID))(t)
		refused(k)

		k = key(hostler.KeyInput{ExpiresIn: hostler.Duration(time.Hour)})
		w.h.Advance(time.Hour)
		refused(k)

		k = key(hostler.KeyInput{})
		yes, no := true, false
		must(w.ChangeUser(ctx, w.admin, "vera", hostler.UserChange{Disabled: &yes}))(t)
		refused(k)
		must(w.ChangeUser(ctx, w.admin, "vera", hostler.UserChange{Disabled: &no}))(t)
		w.login(t, k.Secret)

		refused(hostler.KeyCreated{Secret: auth.NewKey()})
		refused(hostler.KeyCreated{Secret: "hst_nonsense"})
	})
}

// TestAnotherServersRevocationCountsWithinASecond: two Apps on one database stand
// for two servers.
func TestAnotherServersRevocationCountsWithinASecond(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		made := must(w.CreateKey(ctx, w.viewer, hostler.KeyInput{Name: "k"}))(t)
		elsewhere := app.New(app.Config{Store: w.h.Store, Actions: testActions(t), Now: w.h.Now})
		must(elsewhere.Authenticate(ctx, made.Secret, "", ""))(t)
		must(w.RevokeKey(ctx, w.viewer, made.Key.ID))(t)
		w.h.Advance(time.Second)
		_, err := elsewhere.Authenticate(ctx, made.Secret, "", "")
		wantCode(t, err, hostler.CodeUnauthenticated)
	})
}

// TestKnownKeysAreTheValidOnes asks for many keys at once, as an address that tries keys does.
func TestKnownKeysAreTheValidOnes(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		create := func(in hostler.KeyInput) hostler.KeyCreated {
			in.Name = "k"
			return must(w.CreateKey(ctx, w.operator, in))(t)
		}
		revoked, valid := create(hostler.KeyInput{}), create(hostler.KeyInput{})
		expired := create(hostler.KeyInput{ExpiresIn: hostler.Duration(time.Hour)})
		must(w.RevokeKey(ctx, w.operator, revoked.Key.ID))(t)
		w.h.Advance(2 * time.Hour)
		all := []string{revoked.Secret, expired.Secret, "no key", valid.Secret}
		for range 1200 {
			all = append(all, auth.NewKey())
		}
		known := must(w.KnownKeys(ctx, all))(t)
		if len(known) != 1 || !known[valid.Secret] {
			t.Errorf("known: %d, the valid one: %v", len(known), known[valid.Secret])
		}
		must(w.ChangeUser(ctx, w.admin, valid.Key.User, hostler.UserChange{Disabled: new(true)}))(t)
		if known := must(w.KnownKeys(ctx, all))(t); len(known) != 0 {
			t.Errorf("%d keys of a disabled user are known", len(known))
		}
	})
}

func TestRotationOverlaps(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		old := must(w.CreateKey(ctx, w.viewer, hostler.KeyInput{Name: "k", ExpiresIn: hostler.Duration(90 * day)}))(t)
		w.h.Advance(30 * day)
		next := must(w.RotateKey(ctx, w.viewer, old.Key.ID))(t)
		if next.Key.ExpiresAt == nil || next.Key.ExpiresAt.Sub(w.h.Now()) != 90*day ||
			next.Key.Role != old.Key.Role ||
			next.Key.Project != "default" {
			t.Errorf("successor %+v", next.Key)
		}
		w.login(t, old.Secret)
		w.login(t, next.Secret)
		w.h.Advance(61 * time.Minute)
		_, err := w.Authenticate(ctx, old.Secret, "", "")
		wantCode(t, err, hostler.CodeUnauthenticated)
		w.login(t, next.Secret)
		_, err = w.RotateKey(ctx, w.viewer, old.Key.ID)
		wantCode(t, err, hostler.CodeConflict)
	})
}

func TestAKeyGivesNoMoreThanItsMaker(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		weak := must(w.CreateKey(ctx, w.admin, hostler.KeyInput{Name: "weak", Role: hostler.RoleViewer}))(t)
		c := w.login(t, weak.Secret)
		_, err := w.CreateAsset(ctx, c, hostler.AssetInput{Name: "a", Address: "a"})
		wantCode(t, err, hostler.CodeForbidden)
		_, err = w.CreateKey(ctx, c, hostler.KeyInput{Name: "strong", Role: hostler.RoleAdmin})
		wantCode(t, err, hostler.CodeInvalid)
		if k := must(w.CreateKey(ctx, c, hostler.KeyInput{Name: "same"}))(t); k.Key.Role != hostler.RoleViewer {
			t.Errorf("a viewer's key made a key of the role %s", k.Key.Role)
		}
		_, err = w.RotateKey(ctx, c, w.admin.Key)
		wantCode(t, err, hostler.CodeForbidden)
		// An admin of one project cannot become a user of another one.
		_, err = w.CreateKey(ctx, w.stranger, hostler.KeyInput{Name: "k", User: "admin"})
		wantCode(t, err, hostler.CodeForbidden)
	})
}

func TestXProject(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		made := must(w.CreateKey(ctx, w.admin, hostler.KeyInput{Name: "k", Role: hostler.RoleOperator}))(t)
		c := must(w.Authenticate(ctx, made.Secret, "other", "192.0.2.9"))(t)
		if c.ProjectName != "other" || c.RoleIn(c.Project) != hostler.RoleOperator || c.Remote != "192.0.2.9" {
			t.Errorf("caller %+v", c)
		}
		for _, project := range []string{"nowhere", "Other", "other\x00"} {
			_, err := w.Authenticate(ctx, made.Secret, project, "")
			wantCode(t, err, hostler.CodeNotFound)
		}
		stranger := must(w.CreateKey(ctx, w.stranger, hostler.KeyInput{Name: "k"}))(t)
		_, err := w.Authenticate(ctx, stranger.Secret, "default", "")
		wantCode(t, err, hostler.CodeNotFound)
		me := must(w.Me(ctx, w.stranger))(t)
		if me.User != "sven" || me.Project != "other" || me.Role != hostler.RoleAdmin || len(me.Projects) != 1 {
			t.Errorf("me %+v", me)
		}
	})
}

func TestUseOfAKeyIsNotedOnceAMinute(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		made := must(w.CreateKey(t.Context(), w.viewer, hostler.KeyInput{Name: "k"}))(t)
		used := func() time.Time {
			t.Helper()
			w.login(t, made.Secret)
			k := must(w.Keys(t.Context(), w.viewer, hostler.Page{Limit: 1}))(t).Items[0]
			if k.ID != made.Key.ID || k.LastUsed == nil {
				t.Fatalf("key %+v", k)
			}
			return *k.LastUsed
		}
		first := used()
		w.h.Advance(30 * time.Second)
		if used() != first {
			t.Error("noted again after 30 s")
		}
		w.h.Advance(31 * time.Second)
		if !used().Equal(w.h.Now()) {
			t.Error("not noted after a minute")
		}
	})
}

// TestTheLastAdminStays has two admins take the role from each other at once.
func TestTheLastAdminStays(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		yes := true
		none := map[string]hostler.Role{"default": hostler.RoleNone}
		for _, ch := range []hostler.UserChange{{Disabled: &yes}, {Roles: none}, {Roles: map[string]hostler.Role{"default": "viewer"}}} {
			_, err := w.ChangeUser(ctx, w.admin, "admin", ch)
			wantCode(t, err, hostler.CodeConflict)
		}
		second := w.person(t, "anna", "default", hostler.RoleAdmin)
		errs := make([]error, 2)
		var wg sync.WaitGroup
		wg.Go(func() { _, errs[0] = w.ChangeUser(ctx, w.admin, "anna", hostler.UserChange{Roles: none}) })
		wg.Go(func() { _, errs[1] = w.ChangeUser(ctx, second, "admin", hostler.UserChange{Disabled: &yes}) })
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("both ended with %v and %v; one must win", errs[0], errs[1])
		}
	})
}

func TestAdminsOfAProjectManageItsUsers(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx, c := t.Context(), w.stranger
		u := must(
			w.CreateUser(ctx, c, hostler.UserInput{Name: "nina", Roles: map[string]hostler.Role{"other": "viewer"}}),
		)(t)
		if u.Roles["other"] != hostler.RoleViewer {
			t.Errorf("made %+v", u)
		}
		must(
			w.ChangeUser(
				ctx,
				w.admin,
				"nina",
				hostler.UserChange{Roles: map[string]hostler.Role{"default": "viewer"}},
			),
		)(t)
		u = must(
			w.ChangeUser(ctx, c, "nina", hostler.UserChange{Roles: map[string]hostler.Role{"other": "operator"}}),
		)(t)
		if len(u.Roles) != 1 || u.Roles["other"] != hostler.RoleOperator {
			t.Errorf("seen from the other project: %+v", u)
		}
		yes := true
		_, err := w.ChangeUser(ctx, c, "nina", hostler.UserChange{Disabled: &yes})
		wantCode(t, err, hostler.CodeForbidden)
		_, err = w.CreateUser(ctx, c, hostler.UserInput{Name: "nina"})
		wantCode(t, err, hostler.CodeConflict)
		for name, want := range map[string]string{"a b": "name", "ab": "roles.other"} {
			_, err = w.CreateUser(ctx, c, hostler.UserInput{Name: name, Roles: map[string]hostler.Role{"other": "root"}})
			if got := strings.Join(paths(err), " "); got != want {
				t.Errorf("fields %q, want %q", got, want)
			}
		}
	})
}

func TestEveryChangeIsAudited(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		ids := w.oneOfEach(t)
		must(
			w.ResolveJob(
				ctx,
				w.operator,
				ids[hostler.StateUnknown],
				hostler.ResolveInput{State: hostler.StateFailed, Note: "gone"},
			),
		)(t)
		must(w.RetryJob(ctx, w.operator, ids[hostler.StateFailed], ""))(t)
		must(w.PauseQueue(ctx, w.admin, "default"))(t)
		seen := map[string]int{}
		p := hostler.Page{Limit: 3}
		for {
			l := must(w.Audit(ctx, w.admin, hostler.AuditFilter{}, p))(t)
			for _, a := range l.Items {
				seen[a.Verb]++
				if a.User == "" || a.At.IsZero() || a.Project != "default" ||
					(a.User != "local" && (a.Key == 0 || a.Remote != "192.0.2.9")) {
					t.Errorf("audit row %+v", a)
				}
				if a.Verb == "job.resolve" && !strings.Contains(string(a.Detail), "gone") {
					t.Errorf("detail %s", a.Detail)
				}
				if len(a.Detail) > 0 && !json.Valid(a.Detail) {
					t.Errorf("detail %s is not JSON", a.Detail)
				}
			}
			if p.Cursor = l.Next; p.Cursor == "" {
				break
			}
		}
		for verb, n := range map[string]int{
			"project.create": 1, "user.create": 3, "key.create": 4, "asset.create": 2, "job.run": 8, "job.cancel": 1,
			"job.resolve": 1, "job.retry": 1, "queue.pause": 1,
		} {
			if seen[verb] != n {
				t.Errorf("%d rows of %s, want %d", seen[verb], verb, n)
			}
		}
	})
}

func TestQueues(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		two := 2
		q := must(w.PutQueue(ctx, w.admin, "slow", hostler.QueueLimits{Limit: &two}))(t)
		if q.Limit != 2 || q.MaxDepth != 0 || q.Paused {
			t.Errorf("made %+v", q)
		}
		if q = must(w.PauseQueue(ctx, w.admin, "slow"))(t); !q.Paused || q.Limit != 2 {
			t.Errorf("paused %+v", q)
		}
		if q = must(w.ResumeQueue(ctx, w.admin, "slow"))(t); q.Paused {
			t.Errorf("resumed %+v", q)
		}
		_, err := w.PauseQueue(ctx, w.admin, "nope")
		wantCode(t, err, hostler.CodeNotFound)
		bad := -1
		_, err = w.PutQueue(ctx, w.admin, "a/b", hostler.QueueLimits{Limit: &bad, MaxDepth: &bad})
		if got := strings.Join(paths(err), " "); got != "name limit max_depth" {
			t.Errorf("fields %q", got)
		}
		if all := must(w.Queues(ctx, w.stranger))(t); len(all) != 2 {
			t.Errorf("%d queues", len(all))
		}
	})
}

func TestBootstrapOnce(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		if secret, created, err := w.Bootstrap(ctx, auth.NewKey()); err != nil || created || secret != "" {
			t.Errorf("again: created %v, %v", created, err)
		}
		_, _, err := w.Bootstrap(ctx, "changeme")
		wantCode(t, err, hostler.CodeInvalid)

		w.h.Reset(t)
		fresh := app.New(app.Config{Store: w.h.Store, Actions: testActions(t), Now: w.h.Now})
		_, err = fresh.LocalAdminKey(ctx, "lost")
		wantCode(t, err, hostler.CodeConflict)
		preset := auth.NewKey()
		var wg sync.WaitGroup
		var mu sync.Mutex
		made := 0
		for range 8 {
			wg.Go(func() {
				secret, created, err := fresh.Bootstrap(ctx, preset)
				mu.Lock()
				defer mu.Unlock()
				if err != nil || created != (secret == preset) {
					t.Errorf("created %v, %v", created, err)
				}
				if created {
					made++
				}
			})
		}
		wg.Wait()
		if made != 1 {
			t.Errorf("%d servers made the first admin", made)
		}
		must(fresh.Authenticate(ctx, preset, "", ""))(t)
	})
}

func TestLocalAdminKeyRecovers(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		anna := w.person(t, "anna", "default", hostler.RoleAdmin)
		yes := true
		must(
			w.ChangeUser(
				ctx,
				anna,
				"admin",
				hostler.UserChange{Disabled: &yes, Roles: map[string]hostler.Role{"default": hostler.RoleNone}},
			),
		)(t)
		c := w.login(t, must(w.LocalAdminKey(ctx, "recovery"))(t))
		if c.User != "admin" || c.RoleIn(c.Default) != hostler.RoleAdmin {
			t.Errorf("recovered %+v", c)
		}
	})
}

func TestSampleIsSeededOnce(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		for range 2 {
			if err := w.SeedSample(ctx, 9000); err != nil {
				t.Fatal(err)
			}
		}
		a := must(w.Asset(ctx, w.viewer, app.SampleAsset))(t)
		jobs := must(w.Jobs(ctx, w.viewer, hostler.JobFilter{Asset: app.SampleAsset}, hostler.Page{}))(t).Items
		if a.Port != 9000 || len(jobs) != 1 || jobs[0].Action != "check_port" {
			t.Errorf("asset %+v, jobs %+v", a, jobs)
		}
		must(w.DeleteAsset(ctx, w.admin, app.SampleAsset))(t)
		if err := w.SeedSample(ctx, 9000); err != nil {
			t.Fatal(err)
		}
		_, err := w.Asset(ctx, w.viewer, app.SampleAsset)
		wantCode(t, err, hostler.CodeNotFound)
	})
}
