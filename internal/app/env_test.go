package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/outbox"
	"hostler.dev/hostler/internal/resolve"
	"hostler.dev/hostler/internal/risk"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// env is a bootstrapped App on one database, with people in two projects.
type env struct {
	*app.App
	resolver *resolve.Resolver
	h        *storetest.Harness
	cfg      app.Config
	log      *logBuffer

	admin    auth.Caller // of the default project
	operator auth.Caller // of the default project
	viewer   auth.Caller // of the default project
	stranger auth.Caller // admin of the project "other"
}

// logBuffer keeps what was logged.
type logBuffer struct{ text []byte }

func (b *logBuffer) Write(p []byte) (int, error) {
	b.text = append(b.text, p...)
	return len(p), nil
}

func eachEnv(t *testing.T, fn func(t *testing.T, w *env)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) { fn(t, newEnv(t, h)) })
}

func newEnv(t *testing.T, h *storetest.Harness) *env {
	t.Helper()
	w := &env{h: h, log: &logBuffer{}}
	key := make([]byte, 32)
	key[0] = 7
	box, err := secret.NewBox(key)
	if err != nil {
		t.Fatal(err)
	}
	actions, logger := testActions(t), slog.New(slog.NewJSONHandler(w.log, nil))
	w.resolver = resolve.New(resolve.Config{Store: h.Store, Actions: actions, Box: box, Log: logger})
	w.cfg = app.Config{
		Store: h.Store, Actions: actions, Box: box, Now: h.Now, Stream: outbox.NewStream(outbox.StreamConfig{Store: h.Store}),
		Log: logger,
	}
	w.App = app.New(w.cfg)
	adminKey, created, err := w.Bootstrap(t.Context(), "")
	if err != nil || !created {
		t.Fatalf("bootstrap: %v, created %v", err, created)
	}
	w.admin = w.login(t, adminKey)
	must(w.CreateProject(t.Context(), w.admin, hostler.ProjectInput{Name: "other"}))(t)
	w.admin = w.login(t, adminKey)
	w.operator = w.person(t, "olga", "default", hostler.RoleOperator)
	w.viewer = w.person(t, "vera", "default", hostler.RoleViewer)
	w.stranger = w.person(t, "sven", "other", hostler.RoleAdmin)
	return w
}

// limited is the App with other limits.
func (w *env) limited(l app.Limits) *app.App {
	cfg := w.cfg
	cfg.Limits = l
	return app.New(cfg)
}

// must unwraps a result that cannot fail.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantCode(t *testing.T, err error, want hostler.Code) {
	t.Helper()
	if got := hostler.CodeOf(err); got != want {
		t.Errorf("code %q (%v), want %q", got, err, want)
	}
}

func (w *env) login(t *testing.T, key string) auth.Caller {
	t.Helper()
	return must(w.Authenticate(t.Context(), key, "", "192.0.2.9"))(t)
}

// person makes a user with one role and returns it as a caller.
func (w *env) person(t *testing.T, name, project string, role hostler.Role) auth.Caller {
	t.Helper()
	must(
		w.CreateUser(
			t.Context(),
			w.admin,
			hostler.UserInput{Name: name, Roles: map[string]hostler.Role{project: role}},
		),
	)(t)
	made := must(w.CreateKey(t.Context(), w.admin, hostler.KeyInput{Name: "first", User: name, Project: project}))(t)
	return w.login(t, made.Secret)
}

func (w *env) asset(t *testing.T, in hostler.AssetInput) hostler.Asset {
	t.Helper()
	if in.Address == "" {
		in.Address = in.Name + ".example"
	}
	return must(w.CreateAsset(t.Context(), w.admin, in))(t)
}

func (w *env) password(t *testing.T, name, value string) hostler.Credential {
	t.Helper()
	return must(w.CreateCredential(t.Context(), w.admin, hostler.CredentialInput{
		Name: name, Kind: hostler.CredentialPassword, Username: "root", Password: value,
	}))(t)
}

// allow adds a rule to a credential.
func (w *env) allow(t *testing.T, credential string, rule hostler.CredentialRuleInput) hostler.CredentialRule {
	t.Helper()
	return must(w.AddCredentialRule(t.Context(), w.admin, credential, rule))(t)
}

func (w *env) run(t *testing.T, req hostler.JobRequest) hostler.JobsCreated {
	t.Helper()
	return must(w.RunJobs(t.Context(), w.operator, req, ""))(t)
}

// worker is a leasing process.
type worker struct {
	w  *env
	id hostler.WorkerID
}

func (w *env) worker(t *testing.T) worker {
	t.Helper()
	var id hostler.WorkerID
	w.tx(t, func(tx *store.Tx) (err error) {
		id, err = tx.RegisterWorker(hostler.WorkerInfo{Name: "w", Hostname: "h", Queues: []string{"*"}, Slots: 2000})
		return err
	})
	return worker{w, id}
}

func (w *env) tx(t *testing.T, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := w.h.Store.InTx(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// lease takes n jobs.
func (k worker) lease(t *testing.T, n int) []hostler.Lease {
	t.Helper()
	var got store.Claimed
	k.w.tx(t, func(tx *store.Tx) (err error) {
		got, err = tx.Claim(k.id, n)
		return err
	})
	return got.Leases
}

// finish ends leases with an outcome.
func (k worker) finish(t *testing.T, leases []hostler.Lease, o hostler.Outcome) {
	t.Helper()
	reports := make([]hostler.Report, len(leases))
	for i, l := range leases {
		reports[i] = hostler.Report{LeaseRef: l.LeaseRef, Attempt: l.Attempt, Outcome: o}
	}
	k.w.tx(t, func(tx *store.Tx) error {
		errs, err := tx.Finish(k.id, reports)
		return errors.Join(append(errs, err)...)
	})
}

// finishWith ends a lease with success and a result.
func (k worker) finishWith(t *testing.T, l hostler.Lease, result string) {
	t.Helper()
	k.w.tx(t, func(tx *store.Tx) error {
		errs, err := tx.Finish(k.id, []hostler.Report{{
			LeaseRef: l.LeaseRef, Attempt: l.Attempt, Outcome: hostler.OutcomeSucceeded, Result: json.RawMessage(result),
		}})
		return errors.Join(append(errs, err)...)
	})
}

// testActions are check_port, which only looks, check_url, which may look at another host
// than its asset, change, which changes the host and may name a credential, and off, which
// is switched off.
func testActions(t *testing.T) *action.Registry {
	t.Helper()
	looks := func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} }
	changes := func(json.RawMessage) action.Traits { return action.Traits{Changes: true} }
	run := func(context.Context, *action.Call) action.Result { return action.Succeeded(nil) }
	open := json.RawMessage(`{"type":"object","properties":{"port":{"type":"integer"}},"additionalProperties":false}`)
	r, err := action.NewRegistry(
		action.Action{
			Name:    "check_port",
			Aliases: []string{"port"},
			Schema:  open,
			Traits:  looks,
			Enabled: true,
			Run:     run,
		},
		action.Action{
			Name:    "ping",
			Schema:  open,
			Asset:   action.AssetOptional,
			Traits:  looks,
			Enabled: true,
			Run:     run,
		},
		action.Action{
			Name: "check_url", Schema: json.RawMessage(`{"type":"object","properties":{"url":{"type":"string"}}}`),
			Asset: action.AssetOptional, Traits: looks, Enabled: true, Run: run,
			Elsewhere: func(args json.RawMessage) bool { return bytes.Contains(args, []byte("http")) },
		},
		action.Action{Name: "off", Schema: open, Traits: looks, Run: run},
		action.Action{
			Name: "shell", Schema: json.RawMessage(`{"type":"object","properties":{"command":{"type":"string"}}}`),
			Asset: action.AssetOptional, Traits: changes, Enabled: true, Run: run,
			Commands: func(args json.RawMessage) []risk.Command {
				var a struct{ Command string }
				_ = json.Unmarshal(args, &a)
				return []risk.Command{{Path: "command", Text: a.Command}}
			},
		},
		action.Action{
			Name:    "nowhere",
			Schema:  open,
			Asset:   action.AssetNever,
			Traits:  looks,
			Enabled: true,
			Run:     run,
		},
		action.Action{
			Name: "fetch", Schema: json.RawMessage(`{"type":"object","properties":{"credential":{"type":"string"}}}`),
			Asset: action.AssetOptional, Traits: looks, Enabled: true, Run: run,
			Credentials: func(args json.RawMessage) []action.CredentialUse {
				var in struct{ Credential string }
				if json.Unmarshal(args, &in) != nil || in.Credential == "" {
					return nil
				}
				return []action.CredentialUse{{
					Name: in.Credential, Use: hostler.UseHTTP, Origin: "https://api.corp.example:443",
				}}
			},
		},
		action.Action{
			Name: "change", Traits: changes, Enabled: true, Run: run,
			Schema: json.RawMessage(
				`{"type":"object","properties":{"sudo":{"type":"string"},"stdin":{"type":"string","x-secret":true}},"additionalProperties":false}`,
			),
			LogsIn: true,
			Credentials: func(args json.RawMessage) []action.CredentialUse {
				var in struct{ Sudo string }
				if json.Unmarshal(args, &in) != nil || in.Sudo == "" {
					return nil
				}
				return []action.CredentialUse{{Name: in.Sudo, Use: hostler.UseSudo}}
			},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const day = 24 * time.Hour

// paths lists the fields that an error names.
func paths(err error) []string {
	var out []string
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		for _, f := range e.Fields {
			out = append(out, f.Path)
		}
	}
	return out
}
