// Package notify delivers published events to webhooks and chat bots.
//
// Model: in the transaction that publishes an event, Deliver queues one delivery
// for each webhook that subscribes to it. Run then claims what is due, webhook by
// webhook, sends it, and records what came back. A claim ends by itself, so that
// another server takes over what a dead one had in hand.
//
// Invariants: a delivery is sent at least once, under one id. No more than Limit
// requests of a webhook run at once in a server, its rate holds for all servers
// together, and one webhook's deliveries never wait for another's. A connection goes
// only where the egress policy allows, no redirect is followed, and a secret is in
// no row, error or log. What a receiver does never reaches the job.
package notify

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/egress"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/wait"
)

const (
	// requestLimit bounds one request, whatever the webhook says.
	requestLimit = 10 * time.Second
	// recordSpan is longer than it takes to write what came of a request.
	recordSpan = 20 * time.Second
	// idlePause is the longest time between two looks at what is due.
	idlePause = 30 * time.Second
	// roundShare bounds the part of the time that rounds take: with very many
	// webhooks due, most of them of dead receivers, a round is long.
	roundShare = 4
	// dropEvery is the time between two rounds of retention.
	dropEvery = 10 * time.Minute
	dropRows  = 1000
)

// DefaultRetry is the schedule of tries that Standard Webhooks proposes: ten in
// about 75 hours.
func DefaultRetry() []time.Duration {
	return []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
}

// Config is what a Notifier needs.
type Config struct {
	Store *store.Store
	// Open opens what is sealed of a webhook.
	Open   func(id hostler.WebhookID, sealed []byte) (store.WebhookSecrets, error)
	Egress *egress.Policy
	// Resolver finds addresses of names; nil is the system's.
	Resolver *net.Resolver
	// Timeout bounds one request, whatever the webhook says; 0 means 10 seconds.
	Timeout time.Duration
	// Retry are the waits after a failed try; none means one try.
	Retry []time.Duration
	// Retention is how long ended deliveries are kept; 0 means 30 days.
	Retention time.Duration
	// Sole says that no other server uses the database: what was in flight when the
	// last one died is sent again at once.
	Sole bool
	Log  *slog.Logger
}

// Notifier delivers events to webhooks.
type Notifier struct {
	cfg       Config
	store     *store.Store
	log       *slog.Logger
	transport *http.Transport
	places    *places
	ended     chan struct{} // receives when a request has ended

	mu      sync.Mutex
	over    map[hostler.WebhookID]bool // whose requests have ended: there may be more to send
	sending sync.WaitGroup
}

// New makes a Notifier; Run starts it.
func New(cfg Config) *Notifier {
	if cfg.Egress == nil {
		cfg.Egress = egress.New()
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = requestLimit
	}
	if cfg.Retention == 0 {
		cfg.Retention = 30 * 24 * time.Hour
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Notifier{
		cfg: cfg, store: cfg.Store, log: cfg.Log,
		transport: cfg.Egress.Transport(cfg.Resolver),
		ended:     make(chan struct{}, 1),
		places:    newPlaces(),
		over:      map[hostler.WebhookID]bool{},
	}
}

// Run sends what is due until ctx is done, and then lets the requests in flight
// end, which takes no longer than one may.
func (n *Notifier) Run(ctx context.Context) error {
	woken, stop := n.store.Subscribe(store.TopicDeliveries)
	defer stop()
	defer n.sending.Wait()
	if n.cfg.Sole {
		if err := n.store.InTx(ctx, (*store.Tx).ReleaseDeliveries); err != nil && ctx.Err() == nil {
			return err
		}
	}
	n.sending.Go(func() { n.retain(ctx) })
	var earliest time.Time // when the next round may begin
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		var pause time.Duration
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-woken:
		case <-n.ended:
			// Whoever had a request in flight goes on at once; a round, which finds
			// who else may use the place, follows.
			err = n.again(ctx)
		case <-next.C:
			began := time.Now()
			pause, err = n.runOnce(ctx)
			earliest = time.Now().Add(roundShare * time.Since(began))
		}
		if err != nil && ctx.Err() == nil {
			n.log.ErrorContext(ctx, "deliveries could not be looked at; trying again", "err", err)
			pause = time.Second
		}
		next.Reset(max(pause, time.Until(earliest)))
	}
}

// retain drops what is older than the retention, until ctx is done.
func (n *Notifier) retain(ctx context.Context) {
	for n.drop(ctx); wait.Sleep(ctx, dropEvery) == nil; {
		n.drop(ctx)
	}
}

func (n *Notifier) drop(ctx context.Context) {
	for more := true; more; {
		err := n.store.InTx(ctx, func(tx *store.Tx) (err error) {
			more, err = tx.DropDeliveries(tx.Now().Add(-n.cfg.Retention), dropRows)
			return err
		})
		if err != nil {
			if ctx.Err() == nil {
				n.log.ErrorContext(ctx, "old deliveries could not be deleted; trying again later", "err", err)
			}
			return
		}
	}
}

// runOnce starts what is due and may start, and says how long there is nothing to
// do unless something happens.
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
		due, err = tx.WebhooksByID(n.places.startable(ids))
		return err
	})
	if err != nil {
		return 0, err
	}
	pause := idlePause
	if !next.IsZero() {
		pause = min(pause, next.Sub(n.store.Now()))
	}
	wait, err := n.startAll(ctx, due)
	return max(min(pause, wait), time.Millisecond), err
}

// again starts what may start of the webhooks whose requests have ended.
func (n *Notifier) again(ctx context.Context) error {
	n.mu.Lock()
	ids := slices.Collect(maps.Keys(n.over))
	clear(n.over)
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

// startAll starts what may start of webhooks, and says when to look again.
func (n *Notifier) startAll(ctx context.Context, due []store.WebhookRow) (time.Duration, error) {
	pause := idlePause
	// Whoever comes first in one round must not do so in every one.
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	for i := range due {
		wait, err := n.start(ctx, &due[i])
		if err != nil {
			return 0, err
		}
		pause = min(pause, wait)
	}
	return pause, nil
}

// start sends as many deliveries of a webhook as may be sent now, and says when to
// look again at the latest.
func (n *Notifier) start(ctx context.Context, w *store.WebhookRow) (time.Duration, error) {
	room, wait := n.places.reserve(w, n.store.Now())
	if room == 0 {
		return wait, nil
	}
	var got []store.ClaimedDelivery
	err := n.store.InTx(ctx, func(tx *store.Tx) (err error) {
		got, err = tx.ClaimDeliveries(*w, room, n.cfg.Timeout+recordSpan)
		return err
	})
	if err != nil {
		n.places.release(w, room)
		return 0, err
	}
	n.places.release(w, room-len(got))
	if w.Rate > 0 && len(got) > 0 {
		n.places.spend(w, n.store.Now())
	}
	for _, d := range got {
		n.sending.Go(func() {
			defer n.done(w)
			// A request that has begun is ended, and what came of it is kept, also
			// when the server is about to stop.
			n.try(context.WithoutCancel(ctx), *w, d)
		})
	}
	if len(got) < room && w.Rate == 0 {
		return idlePause, nil
	}
	return wait, nil // also when another server has used what the rate allows
}

// done gives a place back and wakes the loop, for there may be more to send.
func (n *Notifier) done(w *store.WebhookRow) {
	n.places.release(w, 1)
	n.mu.Lock()
	n.over[w.ID] = true
	n.mu.Unlock()
	select {
	case n.ended <- struct{}{}:
	default:
	}
}
