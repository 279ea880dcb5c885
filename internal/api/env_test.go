package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	netaction "hostler.dev/hostler/internal/action/net"
	"hostler.dev/hostler/internal/api"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auditchain"
	"hostler.dev/hostler/internal/auditor"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/engine"
	"hostler.dev/hostler/internal/outbox"
	"hostler.dev/hostler/internal/resolve"
	"hostler.dev/hostler/internal/runlog"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/sqlite"
	"hostler.dev/hostler/internal/store/storetest"
	"hostler.dev/hostler/internal/worker"
)

// env is a real server on a fresh SQLite, with people in two projects.
type env struct {
	*httptest.Server
	app      *app.App
	resolver *resolve.Resolver
	store    *store.Store
	auditor  *auditor.Auditor
	registry *action.Registry
	log      *syncBuffer
	draining chan struct{}
	keys     map[string]string // by person
}

// syncBuffer keeps what was logged.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// The people: one of each role in the default project, an admin of the project
// other, and nobody.
const (
	admin    = "admin"
	approver = "approver"
	operator = "operator"
	viewer   = "viewer"
	stranger = "stranger"
	nobody   = ""
)

func newEnv(t *testing.T, change ...func(*api.Config)) *env {
	t.Helper()
	return newEnvOn(t, openStore(t), change...)
}

// eachEnv runs what depends on the database on both of them.
func eachEnv(t *testing.T, fn func(t *testing.T, w *env)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) { fn(t, newEnvOn(t, h.Store)) })
}

func TestMain(m *testing.M) { storetest.Main(m) }

func newEnvOn(t *testing.T, s *store.Store, change ...func(*api.Config)) *env {
	t.Helper()
	w := &env{store: s, log: &syncBuffer{}, draining: make(chan struct{}), keys: map[string]string{}}
	var err error
	if w.registry, err = action.NewRegistry(slices.Concat(netaction.Actions(), []action.Action{noop()}, fakeSSH())...); err != nil {
		t.Fatal(err)
	}
	w.Server, w.app = w.server(t, change...)
	if w.keys[admin], _, err = w.app.Bootstrap(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	w.people(t)
	return w
}

// server starts one of the servers that share the database.
func (w *env) server(t *testing.T, change ...func(*api.Config)) (*httptest.Server, *app.App) {
	t.Helper()
	box, err := secret.NewBox(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.resolver = resolve.New(resolve.Config{Store: w.store, Actions: w.registry, Box: box, Log: log})
	key, err := auditchain.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	w.auditor = auditor.New(auditor.Config{
		Store: w.store, Log: log, Keys: func() (auditchain.Keys, error) { return auditchain.Keys{Current: key}, nil },
	})
	a := app.New(app.Config{
		Store: w.store, Actions: w.registry, Box: box, Stream: w.events(t, log), Auditor: w.auditor,
		Plan: w.resolver.Plan, Log: log,
	})
	cfg := api.Config{
		App: a, Version: "test", Log: log, Draining: w.draining,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}
	for _, f := range change {
		f(&cfg)
	}
	h, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	rest.Harden(s.Config)
	s.Listener = rest.LimitConns(s.Listener, rest.ConnLimits{Most: 512, Log: log})
	s.Start()
	t.Cleanup(s.Close)
	return s, a
}

func openStore(t *testing.T) *store.Store {
	t.Helper()
	dir := storetest.SQLite(t)
	db, err := sqlite.Open(filepath.Join(dir, "hostler.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log, err := sqlite.OpenLog(filepath.Join(dir, "log.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := store.New(db, log)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// noop is an action for what is not about actions.
func noop() action.Action {
	return action.Action{
		Name: "noop", Title: hostler.Text{EN: "Nothing", ZH: "空"}, Help: hostler.Text{EN: "Does nothing.", ZH: "什么也不做。"},
		Schema: json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{"say":{"type":"string"}}}`),
		Asset:  action.AssetOptional, Enabled: true,
		Traits: func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Run:    func(context.Context, *action.Call) action.Result { return action.Succeeded(nil) },
	}
}

// events starts what publishes and what follows events.
func (w *env) events(t *testing.T, log *slog.Logger) *outbox.Stream {
	f := outbox.NewStream(outbox.StreamConfig{Store: w.store, Log: log})
	p := &outbox.Publisher{Store: w.store, Log: log}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var loops sync.WaitGroup
	loops.Go(func() { _ = p.Run(ctx) })
	loops.Go(func() { _ = f.Run(ctx) })
	t.Cleanup(func() { stop(); loops.Wait() })
	return f
}

func (w *env) people(t *testing.T) {
	t.Helper()
	w.mustDo(t, admin, "POST", "/api/v1/projects", `{"name":"other"}`, nil)
	for name, where := range map[string][2]string{
		approver: {"default", "approver"}, operator: {"default", "operator"},
		viewer: {"default", "viewer"}, stranger: {"other", "admin"},
	} {
		w.mustDo(t, admin, "POST", "/api/v1/users", `{"name":"`+name+`","roles":{"`+where[0]+`":"`+where[1]+`"}}`, nil)
		var made hostler.KeyCreated
		w.mustDo(t, admin, "POST", "/api/v1/keys", `{"name":"first","user":"`+name+`","project":"`+where[0]+`"}`, &made)
		w.keys[name] = made.Secret
	}
}

// answer is what came back.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// problem is an error of the native API, or of the simple one.
type problem struct {
	Type, Title, Detail string
	Status              int
	Code                any
	Errors              []struct{ Path, Text string }
	Text                hostler.Text
}

func (a answer) problem(t *testing.T) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(a.Body), &p); err != nil {
		t.Fatalf("status %d: no problem: %q", a.Status, a.Body)
	}
	return p
}

func (p problem) paths() []string {
	var paths []string
	for _, e := range p.Errors {
		paths = append(paths, e.Path)
	}
	return paths
}

// request makes a request as the person; edit it before it is sent.
func (w *env) request(t *testing.T, as, method, path, body string) *http.Request {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, w.URL+path, r)
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if as != nobody {
		req.Header.Set("X-API-Key", w.keys[as])
	}
	return req
}

func (w *env) send(t *testing.T, req *http.Request) answer {
	t.Helper()
	res, err := w.Client().Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	defer res.Body.Close()
	if res.Header.Get("Content-Type") == "text/event-stream" && req.URL.Path == "/api/v1/events" {
		return answer{res.StatusCode, res.Header, ""} // it would not end
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func (w *env) do(t *testing.T, as, method, path, body string) answer {
	t.Helper()
	return w.send(t, w.request(t, as, method, path, body))
}

// mustDo expects success and decodes the answer into out unless it is nil.
func (w *env) mustDo(t *testing.T, as, method, path, body string, out any) answer {
	t.Helper()
	a := w.do(t, as, method, path, body)
	if a.Status/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, a.Status, a.Body)
	}
	if out != nil {
		if err := json.Unmarshal([]byte(a.Body), out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, a.Body)
		}
	}
	return a
}

func (w *env) caller(t *testing.T, as string) auth.Caller {
	t.Helper()
	c, err := w.app.Authenticate(t.Context(), w.keys[as], "", "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *env) makeJob(t *testing.T, as string) hostler.Job {
	t.Helper()
	var made hostler.JobsCreated
	w.mustDo(t, as, "POST", "/api/v1/jobs", `{"action":"noop"}`, &made)
	return *made.Job
}

func (w *env) makeAsset(t *testing.T, as, name string) hostler.Asset {
	t.Helper()
	var a hostler.Asset
	w.mustDo(t, as, "POST", "/api/v1/assets", `{"name":"`+name+`","address":"`+name+`.example"}`, &a)
	return a
}

// manualWorker leases jobs by hand, so that a test decides when they go on.
type manualWorker struct {
	w  *env
	e  *engine.Engine
	id hostler.WorkerID
}

func (w *env) engine() *engine.Engine {
	return engine.New(engine.Config{
		Store: w.store, Resolve: w.resolver.Leases, Retention: time.Hour, Sole: true,
		Pin: w.resolver.PinHostKey, Log: slog.New(slog.DiscardHandler),
		Artefacts: store.ArtefactLimits{File: 1 << 20, Job: 1 << 20, Project: 1 << 20},
	})
}

func (w *env) manualWorker(t *testing.T) *manualWorker {
	t.Helper()
	d := &manualWorker{w: w, e: w.engine()}
	id, err := d.e.Register(t.Context(), hostler.WorkerInfo{Name: "manualWorker", Hostname: "h", PID: 1, Queues: []string{"*"}, Slots: 10})
	if err != nil {
		t.Fatal(err)
	}
	d.id = id
	return d
}

func (d *manualWorker) lease(t *testing.T) hostler.Lease {
	t.Helper()
	leases, err := d.e.Lease(t.Context(), hostler.LeaseRequest{Worker: d.id, Slots: 1, Wait: 10 * time.Second})
	if err != nil || len(leases) != 1 {
		t.Fatalf("lease: %v, %d leases", err, len(leases))
	}
	return leases[0]
}

func (d *manualWorker) appendLog(t *testing.T, l hostler.Lease, seq int, texts ...string) {
	t.Helper()
	var lines []hostler.LogLine
	for _, text := range texts {
		lines = append(lines, hostler.LogLine{At: time.Now().UTC().Truncate(time.Microsecond), Stream: hostler.StreamStdout, Text: text})
	}
	err := d.e.AppendLog(t.Context(), d.id, hostler.LogChunk{LeaseRef: l.LeaseRef, Attempt: l.Attempt, Seq: seq, Lines: lines})
	if err != nil {
		t.Fatal(err)
	}
}

func (d *manualWorker) report(t *testing.T, l hostler.Lease, o hostler.Outcome) {
	t.Helper()
	errs, err := d.e.Report(t.Context(), d.id, []hostler.Report{{LeaseRef: l.LeaseRef, Attempt: l.Attempt, Outcome: o}})
	if err != nil || errs[0] != nil {
		t.Fatalf("report: %v %v", err, errs)
	}
}

// work runs a real worker until the test ends.
func (w *env) work(t *testing.T) {
	t.Helper()
	e := w.engine()
	wk, err := worker.New(worker.Config{
		Info:       hostler.WorkerInfo{Name: "w1", Hostname: "h", PID: 1, Version: "test", Queues: []string{"*"}, Slots: 4},
		Dispatcher: e, Actions: w.registry, Log: slog.New(slog.DiscardHandler),
		Redactor: func(values ...string) runlog.Redactor { return secret.NewRedactor(values...) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 2)
	go func() { done <- wk.Run(ctx) }()
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			<-done
		}
	})
}

// eventually waits until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
