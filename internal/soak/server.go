package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auditchain"
	"hostler.dev/hostler/internal/auditor"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/egress"
	"hostler.dev/hostler/internal/engine"
	"hostler.dev/hostler/internal/notify"
	"hostler.dev/hostler/internal/outbox"
	"hostler.dev/hostler/internal/runlog"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/wait"
	"hostler.dev/hostler/internal/webhook"
	"hostler.dev/hostler/internal/worker"
)

const (
	slots = 256
	// So many requests can be under way that the rate is kept when one takes 300 ms.
	producers = 64
	tries     = 10
	// failEvery is of how many jobs one fails at its first attempt.
	failEvery    = 100
	archiveEvery = time.Minute
)

// server has the parts of a server, without its API.
type server struct {
	o         Options
	app       *app.App
	caller    auth.Caller
	engine    *engine.Engine
	auditor   *auditor.Auditor
	publisher *outbox.Publisher
	stream    *outbox.Stream
	notifier  *notify.Notifier
	worker    *worker.Worker
	receiver  *http.Server // of the webhook
	listener  net.Listener

	made, ended, sent, refused atomic.Int64
}

// counting counts the attempts whose reports were acknowledged.
type counting struct {
	hostler.Dispatcher
	ended *atomic.Int64
}

// Report implements hostler.Dispatcher.
func (c counting) Report(ctx context.Context, w hostler.WorkerID, reports []hostler.Report) ([]error, error) {
	acks, err := c.Dispatcher.Report(ctx, w, reports)
	for _, ack := range acks {
		if ack == nil {
			c.ended.Add(1)
		}
	}
	return acks, err
}

func newServer(ctx context.Context, o Options, dir string, st *store.Store) (*server, error) {
	s := &server{o: o}
	box, err := secret.NewBox(make([]byte, 32)) // of a database that lives as long as the run
	if err != nil {
		return nil, err
	}
	actions, err := soakActions()
	if err != nil {
		return nil, err
	}
	s.stream = outbox.NewStream(outbox.StreamConfig{Store: st, Log: o.Log})
	s.app = app.New(app.Config{Store: st, Actions: actions, Box: box, Stream: s.stream, Log: o.Log})
	auditKey, err := auditchain.NewKey(make([]byte, 32))
	if err != nil {
		return nil, err
	}
	s.auditor = auditor.New(auditor.Config{
		Store: st, Keys: func() (auditchain.Keys, error) { return auditchain.Keys{Current: auditKey}, nil },
		HeadFile: filepath.Join(dir, "audit-head.json"), ArchiveDir: filepath.Join(dir, "audit"),
		Retention: day, ArchiveEvery: archiveEvery, Log: o.Log,
	})
	s.publisher = &outbox.Publisher{Store: st, Log: o.Log}
	s.notifier = notify.New(notify.Config{
		Store: st, Egress: egress.New(netip.MustParsePrefix("127.0.0.0/8")), Retention: day,
		Retry: []time.Duration{time.Minute}, Sole: o.DB == "", Log: o.Log,
		Open: func(project hostler.ProjectID, id hostler.WebhookID, sealed []byte) (webhook.Secrets, error) {
			return webhook.Open(box, project, id, sealed)
		},
	})
	s.engine = engine.New(engine.Config{
		Store: st, Retention: day, Sole: o.DB == "", Log: o.Log,
		Resolve: func(context.Context, []*hostler.Lease) error { return nil },
		Pin:     func(context.Context, store.LeasedJob, hostler.HostKeyOffer) error { return nil },
	})
	s.worker, err = worker.New(worker.Config{
		Info: hostler.WorkerInfo{
			Name: "soak", Hostname: "soak", Version: "soak", Queues: []string{"*"}, Slots: slots,
		},
		Dispatcher: counting{s.engine, &s.ended}, Actions: actions, Log: o.Log,
		Redactor: func(values ...string) runlog.Redactor { return secret.NewRedactor(values...) },
	})
	if err != nil {
		return nil, err
	}
	return s, s.setUp(ctx)
}

// soakActions returns the registry of one action, which prints a line and may fail once.
func soakActions() (*action.Registry, error) {
	return action.NewRegistry(action.Action{
		Name: "soak", Title: hostler.Text{EN: "Nothing", ZH: "空操作"},
		Schema: json.RawMessage(`{"type":"object"}`), Asset: action.AssetNever,
		Traits:  func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Enabled: true,
		Run: func(_ context.Context, c *action.Call) action.Result {
			_, _ = fmt.Fprintln(c.Stdout, "one line of output of job", c.Job)
			if c.Attempt == 1 && int64(c.Job)%failEvery == 0 {
				return action.ResultOf(errors.New("it fails at first"))
			}
			return action.Succeeded(map[string]string{"text": "done"})
		},
	})
}

// setUp creates the admin and a webhook whose receiver accepts everything.
func (s *server) setUp(ctx context.Context) error {
	key, _, err := s.app.Bootstrap(ctx, "")
	if err != nil {
		return err
	}
	if s.caller, err = s.app.Authenticate(ctx, key, "", ""); err != nil {
		return err
	}
	var lc net.ListenConfig
	if s.listener, err = lc.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listen for the webhook: %w", err)
	}
	s.receiver = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(
		func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			s.sent.Add(1)
		})}
	_, err = s.app.CreateWebhook(ctx, s.caller, hostler.WebhookInput{
		Name: "soak", URL: "http://" + s.listener.Addr().String(), Format: hostler.FormatStandard, Limit: 32, GenerateSecret: true,
	})
	return err
}

// run runs the parts until ctx is done.
func (s *server) run(ctx context.Context) error {
	if err := s.engine.Recover(ctx); err != nil {
		return errors.Join(err, s.listener.Close())
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := s.receiver.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error { return s.engine.Run(ctx) })
	g.Go(func() error { return s.auditor.Run(ctx) })
	g.Go(func() error { return s.publisher.Run(ctx) })
	g.Go(func() error { return s.stream.Run(ctx) })
	g.Go(func() error { return s.notifier.Run(ctx) })
	g.Go(func() error { return s.worker.Run(ctx) })
	<-ctx.Done()
	return errors.Join(s.receiver.Close(), g.Wait())
}

// produce makes jobs at a rate until ctx is done.
func (s *server) produce(ctx context.Context, rate int) error {
	var next atomic.Int64
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for range producers {
		g.Go(func() error {
			for {
				n := next.Add(1)
				due := began.Add(time.Duration(n) * time.Second / time.Duration(rate))
				if wait.Sleep(ctx, time.Until(due)) != nil {
					return nil
				}
				err := s.makeJob(ctx, n)
				// As a client does: again, with the same key.
				for try := 1; err != nil && try < tries && wait.Sleep(ctx, time.Second) == nil; try++ {
					s.refused.Add(1)
					s.o.Log.Warn("a request failed", "job", n, "error", err)
					err = s.makeJob(ctx, n)
				}
				if ctx.Err() != nil {
					return nil
				}
				if err != nil {
					return fmt.Errorf("job %d: %w", n, err)
				}
				s.made.Add(1)
			}
		})
	}
	return g.Wait()
}

// makeJob makes a job in a lane of its own. A tenth of the requests is repeated.
func (s *server) makeJob(ctx context.Context, n int64) error {
	req := hostler.JobRequest{Action: "soak", Lane: fmt.Sprint("lane ", n), MaxAttempts: 2}
	key := fmt.Sprint("soak ", n)
	made, err := s.app.RunJobs(ctx, s.caller, req, key)
	if err != nil || n%10 != 0 {
		return err
	}
	again, err := s.app.RunJobs(ctx, s.caller, req, key)
	if err == nil && (len(again.Jobs) != 1 || again.Jobs[0] != made.Jobs[0]) {
		err = fmt.Errorf("the same request made %v and %v", made.Jobs, again.Jobs)
	}
	return err
}
