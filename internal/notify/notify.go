// Package notify delivers published events to webhooks and notification channels.
//
// # Model
//
// A delivery is one event on its way to one webhook. It passes four steps:
//
//	maker     makes it of a published event, behind a durable cursor
//	runOnce   finds the webhooks with deliveries that are due
//	start     claims as many as the limiter admits, for a limited time
//	try       sends one, and records the response and when to retry
//
// A channel is a webhook whose messages are for people; package channel has their texts.
// What exceeds its rate is merged into one message: a claim then has several deliveries,
// of which the first has the message and the others name it.
//
// A claim expires, so that another server takes over what a dead one had claimed.
// Any number of servers deliver from one database; one at a time makes deliveries.
//
// # Invariants
//
//   - The deliveries of an event are made once: the transaction that makes them moves
//     the cursor. However many events and webhooks there are, it makes few of them.
//   - What cannot be made into deliveries is set aside and reported; the rest goes on.
//   - A delivery is sent at least once, and has the same id in every try.
//   - A server runs no more requests of a webhook at once than its Limit. Its Rate
//     holds for all servers together, since the claim checks it in the database.
//   - The deliveries of one webhook never wait for another's receiver; see limiter.
//   - Requests go only where the egress policy allows, and follow no redirect.
//   - No secret of a webhook is in a row, an error or the log, even if the receiver
//     sends it back; see redactorOf.
//   - Nothing that a receiver does affects the job of the event.
package notify

import (
	"context"
	"crypto/x509"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"hostler.dev/hostler/internal/webhook"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/egress"
	"hostler.dev/hostler/internal/stats"
	"hostler.dev/hostler/internal/store"
)

const (
	// defaultTimeout bounds one request, whatever the webhook allows.
	defaultTimeout   = 10 * time.Second
	defaultRetention = 30 * 24 * time.Hour
	// claimMargin is how much longer a claim lasts than a request. It must exceed
	// recordTimeout: else another server could send a delivery that this one is about
	// to record.
	claimMargin = 20 * time.Second
	// maxIdle is the longest time between two rounds.
	maxIdle = 30 * time.Second
	// roundPause is how many times as long as a round the loop waits after it: with
	// very many webhooks due, most of them of dead receivers, a round is long, and
	// must not occupy the database. maxRoundPause bounds it: a round may also be long
	// because the database was slow for once.
	roundPause    = 4
	maxRoundPause = time.Second
	errorPause    = time.Second
)

// Config is what a [Notifier] needs.
type Config struct {
	Store *store.Store
	// Open decrypts the secrets of a webhook.
	Open   func(project hostler.ProjectID, id hostler.WebhookID, sealed []byte) (webhook.Secrets, error)
	Egress *egress.Policy // nil means the default policy
	// Resolver looks up the addresses of receivers; nil means the system's.
	Resolver *net.Resolver
	// Timeout bounds one request, whatever the webhook allows; 0 means 10 seconds.
	Timeout time.Duration
	// Retry are the waits after a failed try, one for each retry.
	Retry []time.Duration
	// Retention is how long finished deliveries are stored; 0 means 30 days.
	Retention time.Duration
	// Sole states that no other server uses the database. The claims that are found
	// at start are then released, so that what was in flight is sent again at once.
	Sole bool
	// RootCAs are the authorities whose certificates of mail servers are valid; nil means
	// the system's.
	RootCAs *x509.CertPool
	// ApprovalLink returns the link in the notice of an approval; nil: there is none.
	ApprovalLink func(id hostler.ApprovalID) string
	// Live counts tries; nil: they are not counted.
	Live *stats.Live
	Log  *slog.Logger
}

// Notifier delivers events to webhooks.
type Notifier struct {
	cfg       Config
	store     *store.Store
	work      *store.Store // for the loops that make and delete deliveries
	log       *slog.Logger
	transport *http.Transport
	limiter   *limiter
	finished  chan struct{} // receives after a request has finished

	mu      sync.Mutex
	resume  map[hostler.WebhookID]bool // webhooks whose requests have finished since the last look
	sending sync.WaitGroup
}

// New returns a Notifier; [Notifier.Run] starts it.
func New(cfg Config) *Notifier {
	if cfg.Egress == nil {
		cfg.Egress = egress.New()
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Retention == 0 {
		cfg.Retention = defaultRetention
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Notifier{
		cfg: cfg, store: cfg.Store, log: cfg.Log,
		transport: cfg.Egress.Transport(cfg.Resolver),
		finished:  make(chan struct{}, 1),
		limiter:   newLimiter(),
		resume:    map[hostler.WebhookID]bool{},
	}
}

// Run sends what is due until ctx is done. It returns after the requests in flight
// have finished, which takes no longer than the timeout of one.
func (n *Notifier) Run(ctx context.Context) error {
	notified, stop := n.store.Subscribe(store.TopicDeliveries)
	defer stop()
	defer n.sending.Wait()
	if n.cfg.Sole {
		if err := n.store.InTx(ctx, (*store.Tx).ReleaseDeliveries); err != nil && ctx.Err() == nil {
			return err
		}
	}
	n.work = n.store.ForWork()
	n.sending.Go(func() { n.makeLoop(ctx) })
	n.sending.Go(func() { n.sweepLoop(ctx) })
	var earliest time.Time // when the next round may start
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		var pause time.Duration
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-notified:
		case <-n.finished:
			// The webhook of the request continues at once. A round follows, since its
			// permit may also serve webhooks of another host.
			err = n.resumeOnce(ctx)
		case <-next.C:
			began := time.Now()
			pause, err = n.runOnce(ctx)
			earliest = time.Now().Add(pauseAfter(time.Since(began)))
		}
		if err != nil && ctx.Err() == nil {
			n.log.ErrorContext(ctx, "start deliveries; will retry", "err", err)
			pause = errorPause
		}
		next.Reset(max(pause, time.Until(earliest)))
	}
}

// pauseAfter returns how long the loop waits after a round.
func pauseAfter(took time.Duration) time.Duration { return min(roundPause*took, maxRoundPause) }

// runOnce starts all deliveries that are due and admitted. It returns how long the
// loop may wait for the next round, unless it is notified.
func (n *Notifier) runOnce(ctx context.Context) (time.Duration, error) {
	var due []store.WebhookRow
	var next time.Time
	err := n.store.View(ctx, func(tx *store.Tx) error {
		ids, at, err := tx.DueWebhooks()
		if err != nil || len(ids) == 0 {
			due, next = nil, at
			return err
		}
		next = at
		due, err = tx.WebhooksByID(n.limiter.startable(ids))
		return err
	})
	if err != nil {
		return 0, err
	}
	pause := maxIdle
	if !next.IsZero() {
		pause = min(pause, next.Sub(n.store.Now()))
	}
	again, err := n.startAll(ctx, due)
	return max(min(pause, again), time.Millisecond), err
}

// resumeOnce starts more deliveries of the webhooks whose requests have finished.
func (n *Notifier) resumeOnce(ctx context.Context) error {
	n.mu.Lock()
	ids := slices.Collect(maps.Keys(n.resume))
	clear(n.resume)
	n.mu.Unlock()
	var due []store.WebhookRow
	err := n.store.View(ctx, func(tx *store.Tx) (err error) {
		due, err = tx.DueOf(ids)
		return err
	})
	if err != nil {
		return err
	}
	_, err = n.startAll(ctx, due)
	return err
}

// startAll starts the deliveries of webhooks in a random order, so that no webhook
// is first in every round. It returns when to look again.
func (n *Notifier) startAll(ctx context.Context, due []store.WebhookRow) (time.Duration, error) {
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	pause := maxIdle
	for i := range due {
		again, err := n.start(ctx, &due[i])
		if err != nil {
			return 0, err
		}
		pause = min(pause, again)
	}
	return pause, nil
}

// start claims and sends as many deliveries of a webhook as the limiter admits. It
// returns when to look at the webhook again; the end of a request comes before that.
func (n *Notifier) start(ctx context.Context, w *store.WebhookRow) (time.Duration, error) {
	admitted, again := n.limiter.reserve(w, n.store.Now())
	if admitted == 0 {
		return again, nil
	}
	var claimed []store.ClaimedDelivery
	err := n.store.InTx(ctx, func(tx *store.Tx) (err error) {
		claimed, err = tx.ClaimDeliveries(*w, admitted, n.cfg.Timeout+claimMargin)
		return err
	})
	if err != nil {
		n.limiter.release(w, admitted)
		return 0, err
	}
	messages := len(claimed)
	if w.Channel != nil {
		messages = min(messages, 1) // they are merged
	}
	n.limiter.release(w, admitted-messages)
	if w.Rate > 0 && len(claimed) > 0 {
		n.limiter.delay(w, n.store.Now())
	}
	for i := range messages {
		list := claimed[i : i+1]
		if w.Channel != nil {
			list = claimed
		}
		n.sending.Go(func() {
			defer n.finish(w)
			// A request that was sent is also recorded when the server stops meanwhile.
			n.try(context.WithoutCancel(ctx), *w, list)
		})
	}
	if messages < admitted && w.Rate == 0 {
		return maxIdle, nil // nothing more is due
	}
	return again, nil // with a rate, another server may have used this turn
}

// finish releases the permit of a request, and notifies the loop that the webhook
// may send more.
func (n *Notifier) finish(w *store.WebhookRow) {
	n.limiter.release(w, 1)
	n.mu.Lock()
	n.resume[w.ID] = true
	n.mu.Unlock()
	select {
	case n.finished <- struct{}{}:
	default:
	}
}
