package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/wait"
)

const (
	channel = "hostler_wake"
	// notifyEvery bounds the rate of NOTIFY, whose commit takes a lock that the
	// whole database shares.
	notifyEvery = 10 * time.Millisecond
	// pollEvery is the fall-back for notifications that got lost.
	pollEvery = time.Second
	reconnect = time.Second
	quiet     = 30 * time.Second
)

// waker tells this process at once, and the other servers through NOTIFY on a
// connection of its own, after the commit and at most once in notifyEvery. Its
// loops start when they are first needed.
type waker struct {
	sqldb.Notifier
	cfg    *pgx.ConnConfig
	log    *slog.Logger
	unsent atomic.Uint32   // the topics that others have not been told of
	due    chan struct{}   // there are some
	ctx    context.Context //nolint:containedctx // the life of the loops
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex // guards the start of loops against close
	notify sync.Once
	listen sync.Once
}

func (w *waker) init(cfg *pgx.ConnConfig, log *slog.Logger) {
	w.cfg, w.log, w.due = cfg, log, make(chan struct{}, 1)
	w.ctx, w.cancel = context.WithCancel(context.Background()) //nolint:forbidigo // the loops live as long as the driver, not as a caller
}

// start runs a loop, unless the waker is closed.
func (w *waker) start(loop func(ctx context.Context)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() == nil {
		w.wg.Go(func() { loop(w.ctx) })
	}
}

func (w *waker) close() {
	w.mu.Lock()
	w.cancel()
	w.mu.Unlock()
	w.wg.Wait()
}

// Notify implements sqldb.Driver.
func (db *DB) Notify(topics sqldb.TopicSet) {
	w := &db.waker
	w.Notify(topics)
	w.notify.Do(func() { w.start(w.notifyLoop) })
	w.tell(topics)
}

// NotifyLocal implements sqldb.Driver.
func (db *DB) NotifyLocal(topics sqldb.TopicSet) { db.waker.Notify(topics) }

// tell has the notify loop tell the other servers.
func (w *waker) tell(topics sqldb.TopicSet) {
	w.unsent.Or(uint32(topics))
	select {
	case w.due <- struct{}{}:
	default:
	}
}

// Subscribe implements sqldb.Driver.
func (db *DB) Subscribe(t sqldb.Topic) (woken <-chan struct{}, stop func()) {
	w := &db.waker
	w.listen.Do(func() {
		w.start(w.listenLoop)
		w.start(w.pollLoop)
	})
	return w.Subscribe(t)
}

func (w *waker) notifyLoop(ctx context.Context) {
	w.connected(ctx, "notify", func(c *pgx.Conn) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-w.due:
			}
			if err := w.send(ctx, c); err != nil {
				return err
			}
			if wait.Sleep(ctx, notifyEvery) != nil {
				return nil
			}
		}
	})
}

func (w *waker) send(ctx context.Context, c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	topics := w.unsent.Swap(0)
	if topics == 0 {
		return nil
	}
	_, err := c.Exec(ctx, fmt.Sprintf("NOTIFY %s, '%d'", channel, topics))
	if err != nil {
		w.tell(sqldb.TopicSet(topics)) // with the next connection
	}
	return err
}

func (w *waker) listenLoop(ctx context.Context) {
	w.connected(ctx, "listen", func(c *pgx.Conn) error {
		if _, err := c.Exec(ctx, "LISTEN "+channel); err != nil {
			return err
		}
		w.Notify(sqldb.AllTopics) // for what came while nobody listened
		for {
			if err := w.hear(ctx, c); err != nil {
				return err
			}
		}
	})
}

// hear waits for one notification. After a quiet time it asks whether the
// connection still lives: a half-open one never says anything.
func (w *waker) hear(ctx context.Context, c *pgx.Conn) error {
	waiting, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	n, err := c.WaitForNotification(waiting)
	if err == nil {
		w.Notify(topicsOf(n.Payload))
		return nil
	}
	if waiting.Err() == nil || ctx.Err() != nil || c.IsClosed() {
		return err
	}
	alive, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return c.Ping(alive)
}

// connected runs use with a connection, and anew with another when it fails.
func (w *waker) connected(ctx context.Context, what string, use func(c *pgx.Conn) error) {
	for ctx.Err() == nil {
		err := w.connect(ctx, use)
		if ctx.Err() != nil {
			return
		}
		w.log.WarnContext(ctx, "the wake-up connection failed; polling meanwhile", "connection", what, "err", err)
		_ = wait.Sleep(ctx, wait.Jitter(reconnect, 0.5))
	}
}

func (w *waker) connect(ctx context.Context, use func(c *pgx.Conn) error) error {
	c, err := pgx.ConnectConfig(ctx, w.cfg.Copy())
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
		defer cancel()
		_ = c.Close(closing)
	}()
	return use(c)
}

// pollLoop rings every second, give or take, in case a notification was lost.
func (w *waker) pollLoop(ctx context.Context) {
	for wait.Sleep(ctx, wait.Jitter(pollEvery, 0.25)) == nil {
		w.Notify(sqldb.AllTopics)
	}
}

// topicsOf reads a notification. One that is none of ours wakes everybody.
func topicsOf(payload string) sqldb.TopicSet {
	n, err := strconv.ParseUint(payload, 10, 8)
	if err != nil {
		return sqldb.AllTopics
	}
	return sqldb.TopicSet(n)
}
