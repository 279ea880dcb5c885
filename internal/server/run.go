package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auditor"
	"hostler.dev/hostler/internal/clicontext"
	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/egress"
	"hostler.dev/hostler/internal/engine"
	"hostler.dev/hostler/internal/node"
	"hostler.dev/hostler/internal/notify"
	"hostler.dev/hostler/internal/outbox"
	"hostler.dev/hostler/internal/resolve"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/stats"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/postgres"
	"hostler.dev/hostler/internal/store/sqlite"
	"hostler.dev/hostler/internal/telemetry"
	"hostler.dev/hostler/internal/webhook"
)

// Process describes the process that Run runs in.
type Process struct {
	Version string
	// Out receives what a person at the terminal must read: the address, and the
	// first admin key.
	Out io.Writer
	// ContextFile is the command line's file that learns of this server; "" for
	ContextFile string
	// Hold holds dispatch before the first job could start.
	Hold bool
	// Abort ends the drain early: the second signal.
	Abort <-chan struct{}
}

// shutdownLimit bounds how long open requests may take after the drain.
const shutdownLimit = 5 * time.Second

// Run runs a server. It returns after ctx is done and the running jobs have ended, or
// the drain time has passed.
func Run(ctx context.Context, cfg config.Config, p Process) (err error) {
	log, err := newLog(cfg, os.Stderr, p.Version)
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings() {
		log.WarnContext(ctx, "configuration", "warning", w.In(cfg.Lang))
	}
	if limit := limitMemory(os.DirFS("/"), cfg.Slots, debug.SetMemoryLimit); limit > 0 {
		log.InfoContext(ctx, "the garbage collector keeps within a limit; GOMEMLIMIT sets another", "bytes", limit)
	}
	s, err := open(ctx, cfg, p, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	l, err := listen(ctx, cfg, log)
	if err != nil {
		return err
	}
	dispatch, err := s.holdDispatch(ctx)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if err := s.announce(ctx, l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := s.showHeld(ctx, dispatch); err != nil {
		return errors.Join(err, l.Close())
	}
	return s.serve(ctx, l)
}

// server holds the parts, from open to close.
type server struct {
	cfg       config.Config
	proc      Process
	log       *slog.Logger
	unlock    func()
	store     *store.Store
	shared    *postgres.DB // nil: no other server can use the database
	app       *app.App
	engine    *engine.Engine
	stream    *outbox.Stream
	publisher *outbox.Publisher
	auditor   *auditor.Auditor
	notifier  *notify.Notifier
	node      *node.Node
	keys      *keyKeeper
	self      clicontext.Context // this server, for the command line on its machine
	handler   http.Handler
	telemetry *telemetry.Telemetry
	draining  chan struct{}
}

func newLog(cfg config.Config, w io.Writer, version string) (*slog.Logger, error) {
	opt := &slog.HandlerOptions{Level: cfg.LogLevel}
	var h slog.Handler = slog.NewTextHandler(w, opt)
	if cfg.LogFormat == "json" {
		h = slog.NewJSONHandler(w, opt)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("read the name of this machine: %w", err)
	}
	hidden := secret.NewRedactor(cfg.SentryDSN.Reveal(), cfg.AdminKey.Reveal(), cfg.MasterKey.Reveal(),
		cfg.OTLPHeaders.Reveal(), cfg.WebhookToken.Reveal(), cfg.WebhookSecret.Reveal(), cfg.WebhookURL.Reveal(), cfg.DB)
	reports, err := telemetry.NewSentry(cfg.SentryDSN.Reveal(), version, host, hidden.String)
	return slog.New(reports.Handler(h)), err
}

// open builds every part and starts none of them.
func open(ctx context.Context, cfg config.Config, p Process, log *slog.Logger) (_ *server, err error) {
	s := &server{cfg: cfg, proc: p, log: log, unlock: func() {}, draining: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	_, sole := cfg.SQLitePath()
	if sole {
		if s.unlock, err = sqlite.LockFolder(cfg.Data); err != nil {
			s.unlock = func() {}
			return nil, err
		}
	} else if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("create the data folder: %w", err)
	}
	if s.store, s.shared, err = openStore(ctx, cfg, opening{server: true}, log); err != nil {
		return nil, err
	}
	box, err := openBox(ctx, cfg, s.store)
	if err != nil {
		return nil, err
	}
	account, err := s.localAccount(ctx)
	if err != nil {
		return nil, err
	}
	restricted := map[string][]string{localAction: cfg.LocalProjects}
	s.store.Restrict(restricted)
	s.telemetry, err = telemetry.New(context.WithoutCancel(ctx), telemetry.Config{
		Endpoint: cfg.OTLPEndpoint, Headers: strings.Split(cfg.OTLPHeaders.Reveal(), ","), Version: p.Version, Instance: cfg.Listen,
	})
	if err != nil {
		return nil, err
	}
	s.keys = newKeyKeeper(cfg, s.store, box, sole, log)
	trace, traceJob := s.spans()
	s.node, err = node.New(node.Options{
		Trace:   traceJob,
		Version: p.Version, Queues: []string{"*"}, Slots: cfg.Slots,
		OutputLimit: int(cfg.OutputLimit), EgressAllow: cfg.EgressAllow,
		LegacySSH: cfg.SSHAlgorithms == config.SSHAlgorithmsLegacy, LocalCommand: account != nil, LocalAccount: accountOf(account), Log: log,
	})
	if err != nil {
		return nil, err
	}
	s.store.Confine(s.node.Actions().Elsewhere())
	s.stream = outbox.NewStream(outbox.StreamConfig{Store: s.store, Log: log})
	s.auditor = newAuditor(cfg, s.store, box, log)
	resolver := resolve.New(resolve.Config{Store: s.store.ForWork(), Actions: s.node.Actions(), Box: box, Log: log})
	s.app = app.New(app.Config{
		Restricted: restricted, Store: s.store, Actions: s.node.Actions(), Box: box, Stream: s.stream,
		Auditor: s.auditor, Plan: resolver.Plan, PublicURL: cfg.PublicURL, Log: log,
	})
	live := &stats.Live{}
	s.notifier = notify.New(notify.Config{
		Live: live, Store: s.store, Open: openWebhook(box), Egress: egress.New(cfg.EgressAllow...),
		Retry: cfg.WebhookRetry, Retention: cfg.Retention, Sole: sole, ApprovalLink: approvalLink(cfg.PublicURL, box), Log: log,
	})
	s.publisher = &outbox.Publisher{Store: s.store, Log: log}
	s.engine = engine.New(engine.Config{
		Traced: s.telemetry != nil, Live: live, Store: s.store, Resolve: resolver.Leases, Pin: resolver.PinHostKey, Plan: resolver.Plan,
		Check: s.app.CheckJobs, Retention: cfg.Retention, Sole: sole, Log: log,
		Artefacts: store.ArtefactLimits{File: cfg.ArtefactLimit, Job: cfg.ArtefactJob, Project: cfg.ArtefactProject},
		Fire:      s.app.FireSchedules, CancelReplaced: s.app.CancelReplaced, FollowUps: s.app.FollowUps,
	})
	if err := s.node.Connect(s.engine); err != nil {
		return nil, err
	}
	var gather func(context.Context) prometheus.Gatherer
	s.handler, err = api.New(api.Config{
		Trace: trace, Metrics: func(of func(context.Context) prometheus.Gatherer) { gather = of },
		Live: live, App: s.app, Version: p.Version, TrustedProxies: cfg.TrustedProxies, Forwarded: cfg.ForwardedHeader, OpenHealth: cfg.OpenHealth,
		BodyLimit: cfg.BodyLimit, Connections: mostConnections(cfg), TLS: cfg.TLS(), Log: log, Draining: s.draining,
	})
	if err != nil {
		return nil, err
	}
	return s, s.telemetry.SendMetrics(ctx, gather(context.WithoutCancel(ctx)))
}

// spans returns what makes the spans of requests and jobs; nil while none are recorded.
func (s *server) spans() (
	request func(*http.Request) (*http.Request, func(string, int)), job func(*hostler.Lease) func(hostler.Outcome),
) {
	if s.telemetry == nil {
		return nil, nil
	}
	return s.telemetry.Request, s.telemetry.Job
}

// approvalLink returns the links of notices; nil without an address to link to.
func approvalLink(publicURL string, box *secret.Box) func(hostler.ApprovalID) string {
	if publicURL == "" {
		return nil
	}
	return func(id hostler.ApprovalID) string {
		return publicURL + "/approve/" + id.String() + "/" + app.ApprovalToken(box, id)
	}
}

// openWebhook returns the notifier's access to the secrets of webhooks.
func openWebhook(box *secret.Box) func(hostler.ProjectID, hostler.WebhookID, []byte) (webhook.Secrets, error) {
	return func(project hostler.ProjectID, id hostler.WebhookID, sealed []byte) (webhook.Secrets, error) {
		return webhook.Open(box, project, id, sealed)
	}
}

func listen(ctx context.Context, cfg config.Config, log *slog.Logger) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, errListen(cfg.Listen, err)
	}
	l = rest.LimitConns(l, rest.ConnLimits{Most: mostConnections(cfg), Shared: cfg.TrustedProxies, Log: log})
	if !cfg.TLS() {
		return l, nil
	}
	cert, err := loadCertificate(cfg.TLSCert, cfg.TLSKey, log)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	onHangup(ctx, cert.reload)
	return tls.NewListener(l, &tls.Config{
		GetCertificate: cert.get, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	}), nil
}

// errListen is why an address cannot be listened on.
func errListen(address string, err error) error {
	e := hostler.Errorf(hostler.CodeUnavailable, "cannot listen on %s: %v", "无法监听 %s：%v", address, err)
	var dns *net.DNSError
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		e.Text = hostler.Textf("another program uses %s: stop it, or choose another --listen",
			"%s 已被其他程序占用：请停止该程序，或改用其他 --listen", address)
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.As(err, &dns):
		e.Text = hostler.Textf("%s is not an address of this machine: choose one of its own for --listen, or 0.0.0.0 for all",
			"%s 不是本机地址：请在 --listen 中使用本机地址，或用 0.0.0.0 表示全部", address)
	case errors.Is(err, unix.EACCES):
		e.Text = hostler.Textf("only root may listen on %s: choose a port from 1024 for --listen",
			"只有 root 可以监听 %s：请在 --listen 中使用 1024 及以上的端口", address)
	}
	e.Cause = err
	return e
}

const (
	fewConnections  = 32
	manyConnections = 4096
)

// mostConnections is how many connections clients may have. By default it leaves half of
// the files that the process may open to the database and to the connections of jobs.
func mostConnections(cfg config.Config) int {
	if cfg.MaxConnections > 0 {
		return cfg.MaxConnections
	}
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return manyConnections
	}
	return int(min(max(lim.Cur/2, fewConnections), manyConnections))
}

// serve runs the parts until ctx is done or one of them fails, and then stops them in
// order: leasing, running jobs, requests, loops.
func (s *server) serve(ctx context.Context, l net.Listener) error {
	if err := s.engine.Recover(ctx); err != nil {
		return errors.Join(err, l.Close())
	}
	// The parts outlive ctx, which only starts the stop.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	srv := &http.Server{
		Handler:     s.handler,
		BaseContext: func(net.Listener) context.Context { return life },
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	rest.Harden(srv)
	g, failed := errgroup.WithContext(life)
	if s.shared != nil {
		g.Go(func() error { return s.shared.Watch(failed) })
	}
	g.Go(func() error { return s.engine.Run(failed) })
	g.Go(func() error { return s.publisher.Run(failed) })
	g.Go(func() error { return s.auditor.Run(failed) })
	g.Go(func() error { return s.stream.Run(failed) })
	g.Go(func() error { return s.keys.Run(failed) })
	g.Go(func() error { return s.keepContext(failed) })
	// After a stop the notifier finishes its open requests, of at most ten seconds each.
	g.Go(func() error { return s.notifier.Run(failed) })
	if s.node.HasWorker() {
		g.Go(func() error { return s.node.Run(failed) })
	}
	g.Go(func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-failed.Done():
		}
		defer end()
		return s.stop(life, srv)
	})
	return g.Wait()
}

// stop stops leasing, waits for running jobs until the drain time has passed or the
// second signal arrives, and then gives up the worker's lease, so that on_lost is
// applied to the jobs that still run.
func (s *server) stop(ctx context.Context, srv *http.Server) error {
	s.log.InfoContext(ctx, "stopping; waiting for running jobs", "drain", s.cfg.Drain)
	close(s.draining)
	var errs []error
	if s.node.HasWorker() {
		errs = append(errs, s.drain(ctx))
	}
	ctx, cancel := context.WithTimeout(ctx, shutdownLimit)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		errs = append(errs, srv.Close())
	}
	return errors.Join(errs...)
}

func (s *server) drain(ctx context.Context) error {
	drain, cancel := context.WithTimeout(ctx, s.cfg.Drain)
	defer cancel()
	go func() {
		select {
		case <-s.proc.Abort:
			cancel()
		case <-drain.Done():
		}
	}()
	if err := s.node.Drain(drain); err != nil {
		if drain.Err() == nil {
			return err
		}
		s.log.WarnContext(ctx, "jobs are still running after the drain time; on_lost is applied to them")
	}
	return s.engine.Retire(ctx, s.node.WorkerID())
}

// close releases what open acquired, in the opposite order.
func (s *server) close() error {
	if s.node != nil {
		s.node.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownLimit)
	defer cancel()
	if err := s.telemetry.Close(ctx); err != nil {
		s.log.WarnContext(ctx, "the last traces and metrics could not be sent", "err", err)
	}
	var err error
	if s.store != nil {
		err = s.store.Close()
	}
	s.unlock()
	return err
}
