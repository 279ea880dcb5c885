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
	// pollEvery is the fallback for lost notifications.
	pollEvery = time.Second
	reconnect = time.Second
	// pingAfter is how long the LISTEN connection may be silent before it is probed.
	pingAfter = 30 * time.Second
)

// notifier delivers notifications to this process directly, and to the other
// servers through LISTEN and NOTIFY. NOTIFY is sent after the commit, on a dedicated
// connection, at most once per notifyEvery; the topics of a period are merged. The
// loops start on first use.
type notifier struct {
	sqldb.Notifier
	cfg    *pgx.ConnConfig
	log    *slog.Logger
	unsent atomic.Uint32   // TopicSet not yet sent to the other servers
	due    chan struct{}   // signals that unsent is not empty
	ctx    context.Context //nolint:containedctx // the lifetime of the loops
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex // guards the start of loops against close
	notify sync.Once
	listen sync.Once
}

func (n *notifier) init(cfg *pgx.ConnConfig, log *slog.Logger) {
	n.cfg, n.log, n.due = cfg, log, make(chan struct{}, 1)
	//nolint:forbidigo // the loops live as long as the driver, not as a caller
	n.ctx, n.cancel = context.WithCancel(context.Background())
}

// start runs a loop, unless the notifier is closed.
func (n *notifier) start(loop func(ctx context.Context)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() == nil {
		n.wg.Go(func() { loop(n.ctx) })
	}
}

func (n *notifier) close() {
	n.mu.Lock()
	n.cancel()
	n.mu.Unlock()
	n.wg.Wait()
}

// Notify implements sqldb.Driver.
func (db *DB) Notify(topics sqldb.TopicSet) {
	n := &db.notifier
	n.Notify(topics)
	n.notify.Do(func() { n.start(n.notifyLoop) })
	n.queue(topics)
}

// NotifyLocal implements sqldb.Driver.
func (db *DB) NotifyLocal(topics sqldb.TopicSet) { db.notifier.Notify(topics) }

// queue adds topics to those that the notify loop sends next.
func (n *notifier) queue(topics sqldb.TopicSet) {
	n.unsent.Or(uint32(topics))
	select {
	case n.due <- struct{}{}:
	default:
	}
}

// Subscribe implements sqldb.Driver.
func (db *DB) Subscribe(t sqldb.Topic) (notified <-chan struct{}, stop func()) {
	n := &db.notifier
	n.listen.Do(func() {
		n.start(n.listenLoop)
		n.start(n.pollLoop)
	})
	return n.Subscribe(t)
}

func (n *notifier) notifyLoop(ctx context.Context) {
	n.connected(ctx, "notify", func(c *pgx.Conn) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-n.due:
			}
			if err := n.send(ctx, c); err != nil {
				return err
			}
			if wait.Sleep(ctx, notifyEvery) != nil {
				return nil
			}
		}
	})
}

func (n *notifier) send(ctx context.Context, c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	topics := n.unsent.Swap(0)
	if topics == 0 {
		return nil
	}
	_, err := c.Exec(ctx, fmt.Sprintf("NOTIFY %s, '%d'", channel, topics))
	if err != nil {
		n.queue(sqldb.TopicSet(topics)) // resend on the next connection
	}
	return err
}

func (n *notifier) listenLoop(ctx context.Context) {
	n.connected(ctx, "listen", func(c *pgx.Conn) error {
		if _, err := c.Exec(ctx, "LISTEN "+channel); err != nil {
			return err
		}
		n.Notify(sqldb.AllTopics) // covers notifications sent before LISTEN
		for {
			if err := n.receive(ctx, c); err != nil {
				return err
			}
		}
	})
}

// receive waits for one notification. After pingAfter without one it pings the
// server, because a half-open connection returns no error on its own.
func (n *notifier) receive(ctx context.Context, c *pgx.Conn) error {
	waiting, cancel := context.WithTimeout(ctx, pingAfter)
	defer cancel()
	msg, err := c.WaitForNotification(waiting)
	if err == nil {
		n.Notify(topicsOf(msg.Payload))
		return nil
	}
	if waiting.Err() == nil || ctx.Err() != nil || c.IsClosed() {
		return err
	}
	ping, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return c.Ping(ping)
}

// connected runs use with a connection and reconnects whenever use fails, until ctx
// ends. name identifies the connection in the log.
func (n *notifier) connected(ctx context.Context, name string, use func(c *pgx.Conn) error) {
	for ctx.Err() == nil {
		err := n.connect(ctx, use)
		if ctx.Err() != nil {
			return
		}
		n.log.WarnContext(ctx, "notification connection failed; polling until it is restored",
			"connection", name, "err", err)
		_ = wait.Sleep(ctx, wait.Jitter(reconnect, 0.5))
	}
}

func (n *notifier) connect(ctx context.Context, use func(c *pgx.Conn) error) error {
	c, err := pgx.ConnectConfig(ctx, n.cfg.Copy())
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

// pollLoop notifies all topics about once per pollEvery, in case a notification was
// lost.
func (n *notifier) pollLoop(ctx context.Context) {
	for wait.Sleep(ctx, wait.Jitter(pollEvery, 0.25)) == nil {
		n.Notify(sqldb.AllTopics)
	}
}

// topicsOf parses the payload of a notification. An unknown payload means all topics.
func topicsOf(payload string) sqldb.TopicSet {
	n, err := strconv.ParseUint(payload, 10, 8)
	if err != nil {
		return sqldb.AllTopics
	}
	return sqldb.TopicSet(n)
}
