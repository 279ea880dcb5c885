// Package notify takes what the outbox tells to where it is wanted: it publishes
// events (Publisher) and delivers them to webhooks (Notifier).
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
	"strings"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/egress"
	"hostler.dev/hostler/internal/store"
)

const (
	// requestLimit bounds one request, whatever the webhook says.
	requestLimit = 10 * time.Second
	// claimSpan is longer than a request and what is written about it.
	claimSpan = 30 * time.Second
	// atOnce bounds the requests of a server, and atOnceHost those to one host.
	// Hosts that did not answer the last time, or were never asked, have fewer:
	// atOnceNew each, and atOnceDead together.
	atOnce     = 512
	atOnceHost = 100
	atOnceNew  = 2
	atOnceDead = atOnce / 2
	// hostsKept bounds the hosts that are known to answer.
	hostsKept = 10_000
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
	ended     chan struct{} // receives when a request has ended

	mu       sync.Mutex
	total    int
	inFlight map[hostler.WebhookID]int
	hosts    map[string]int                  // requests in flight
	alive    map[string]bool                 // hosts that answered the last time
	free     map[hostler.WebhookID]time.Time // when its rate allows the next request
	over     map[hostler.WebhookID]bool      // whose requests have ended: there may be more to send
	waits    map[hostler.WebhookID]string    // of runs, whose hosts had no place when they were looked at last
	sending  sync.WaitGroup
}

// New makes a Notifier; Run starts it.
func New(cfg Config) *Notifier {
	if cfg.Egress == nil {
		cfg.Egress = egress.New()
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
		ended:     make(chan struct{}, 1), inFlight: map[hostler.WebhookID]int{}, hosts: map[string]int{}, alive: map[string]bool{}, free: map[hostler.WebhookID]time.Time{},
		over: map[hostler.WebhookID]bool{}, waits: map[hostler.WebhookID]string{},
	}
}

// Deliver queues deliveries of events that were just published, in the
// transaction of that.
func (n *Notifier) Deliver(tx *store.Tx, p store.Published) error {
	events, err := p.Events()
	if err != nil {
		return err
	}
	ended := map[hostler.RunID]bool{}
	for i := range events {
		if e := &events[i]; e.OfJob() && e.Job.Run != 0 && isEnd(e.Type) {
			ended[e.Job.Run] = true
		}
	}
	hooks, err := tx.Subscribers(slices.Sorted(maps.Keys(ended)))
	if err != nil || len(hooks) == 0 {
		return err
	}
	_, err = tx.QueueDeliveries(matches(events, hooks))
	return err
}

// matches are the deliveries of events to the webhooks that want them. Those of a
// run are found by it, for there may be as many as events.
func matches(events []store.Event, hooks []store.WebhookRow) []store.NewDelivery {
	byRun := map[hostler.RunID][]*store.WebhookRow{}
	for i := range hooks {
		w := &hooks[i]
		byRun[w.Run] = append(byRun[w.Run], w)
	}
	var list []store.NewDelivery
	add := func(e *store.Event, of []*store.WebhookRow) {
		for _, w := range of {
			if wants(w, e) {
				list = append(list, store.NewDelivery{Webhook: w.ID, Project: w.ProjectID, Event: e})
			}
		}
	}
	for i := range events {
		e := &events[i]
		add(e, byRun[0])
		if e.OfJob() && e.Job.Run != 0 {
			add(e, byRun[e.Job.Run])
		}
	}
	return list
}

// isEnd reports whether a job is over, or waits for a person to say so.
func isEnd(t hostler.EventType) bool {
	switch t {
	case hostler.EventJobSucceeded, hostler.EventJobFailed, hostler.EventJobCancelled, hostler.EventJobExpired, hostler.EventJobUnknown:
		return true
	default:
		return false
	}
}

// wants reports whether a webhook subscribes to an event. The configured one,
// which belongs to no project, is told of all projects' events; those of queues
// and workers, which belong to none either, are for everyone.
func wants(w *store.WebhookRow, e *store.Event) bool {
	switch {
	case w.Run != 0:
		return e.OfJob() && e.Job.Run == w.Run && isEnd(e.Type)
	case w.ProjectID != 0 && e.Project != 0 && w.ProjectID != e.Project:
		return false
	case w.Format.OnlyEnds() && !isEnd(e.Type):
		return false
	case len(w.Events) == 0 && !isEnd(e.Type):
		return false
	case len(w.Events) > 0 && !slices.ContainsFunc(w.Events, e.Type.Matches):
		return false
	}
	f := w.Filter
	return !e.OfJob() || among(f.Actions, e.Job.Action) && among(f.Queues, e.Job.Queue) && among(f.Assets, e.Job.AssetName)
}

func among(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }

// Run sends what is due until ctx is done, and then lets the requests in flight
// end, which takes no longer than one may.
func (n *Notifier) Run(ctx context.Context) error {
	woken, stop := n.store.Woken(store.TopicDeliveries)
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
	for n.drop(ctx); sleep(ctx, dropEvery); {
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
		due, err = tx.WebhooksByID(n.startable(ids))
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

// startable leaves out the webhooks of runs whose hosts have no place for them: of a
// dead host there may be very many, and to read them would take long.
func (n *Notifier) startable(due []hostler.WebhookID) []hostler.WebhookID {
	n.mu.Lock()
	defer n.mu.Unlock()
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] }) // not always the same ones
	places, waits := map[string]int{}, map[hostler.WebhookID]string{}
	may := make([]hostler.WebhookID, 0, len(due))
	for _, id := range due {
		if host, known := n.waits[id]; known {
			if _, seen := places[host]; !seen {
				places[host] = n.places(host)
			}
			if places[host] <= 0 {
				waits[id] = host
				continue
			}
			places[host]--
		}
		may = append(may, id)
	}
	n.waits = waits
	return may
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
		wait, err := n.start(ctx, due[i])
		if err != nil {
			return 0, err
		}
		pause = min(pause, wait)
	}
	return pause, nil
}

// start sends as many deliveries of a webhook as may be sent now, and says when to
// look again at the latest.
func (n *Notifier) start(ctx context.Context, w store.WebhookRow) (time.Duration, error) {
	room, wait := n.reserve(w)
	if room == 0 {
		return wait, nil
	}
	var got []store.ClaimedDelivery
	err := n.store.InTx(ctx, func(tx *store.Tx) (err error) {
		got, err = tx.ClaimDeliveries(w, room, claimSpan)
		return err
	})
	if err != nil {
		n.release(w, room)
		return 0, err
	}
	n.release(w, room-len(got))
	if w.Rate > 0 && len(got) > 0 {
		n.mu.Lock()
		n.free[w.ID] = n.store.Now().Add(time.Minute / time.Duration(w.Rate))
		n.mu.Unlock()
	}
	for _, d := range got {
		n.sending.Go(func() {
			defer n.done(w)
			// A request that has begun is ended, and what came of it is kept, also
			// when the server is about to stop.
			n.try(context.WithoutCancel(ctx), w, d)
		})
	}
	if len(got) < room && w.Rate == 0 {
		return idlePause, nil
	}
	return wait, nil // also when another server has used what the rate allows
}

// reserve takes the places of requests that may start now; with none, or when the
// rate allows no more, it says how long to wait for that.
func (n *Notifier) reserve(w store.WebhookRow) (room int, wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	room = min(max(w.Limit, 1)-n.inFlight[w.ID], n.places(hostOf(w)))
	wait = idlePause // the end of a request wakes the loop
	if w.Rate > 0 {
		if left := n.free[w.ID].Sub(n.store.Now()); left > 0 {
			return 0, left
		}
		room, wait = min(room, 1), time.Minute/time.Duration(w.Rate)
	}
	room = max(room, 0)
	if room == 0 && w.Run != 0 {
		n.waits[w.ID] = hostOf(w)
	}
	n.take(w, room)
	return room, wait
}

// places are those that a host may take now. Hosts that keep requests waiting must
// not leave the others without: one takes no more places than it leaves free, and
// those that do not answer have a part of their own. n.mu is held.
func (n *Notifier) places(host string) int {
	own, free := n.hosts[host], atOnce-n.total
	if n.alive[host] {
		return min(atOnceHost-own, (free-own+1)/2)
	}
	dead := 0
	for other, held := range n.hosts {
		if !n.alive[other] {
			dead += held
		}
	}
	return min(atOnceNew-own, atOnceDead-dead, free)
}

// hostOf is the receiver's host and port, which are never masked.
func hostOf(w store.WebhookRow) string {
	_, rest, _ := strings.Cut(w.URL, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// take takes places, or gives them back when they are negative. n.mu is held.
func (n *Notifier) take(w store.WebhookRow, places int) {
	host := hostOf(w)
	n.total += places
	if n.inFlight[w.ID] += places; n.inFlight[w.ID] == 0 {
		delete(n.inFlight, w.ID)
	}
	if n.hosts[host] += places; n.hosts[host] == 0 {
		delete(n.hosts, host)
	}
}

func (n *Notifier) release(w store.WebhookRow, places int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.take(w, -places)
	for id, at := range n.free {
		if n.store.Now().After(at) {
			delete(n.free, id)
		}
	}
}

// answered notes whether the host of a webhook answers at all.
func (n *Notifier) answered(w store.WebhookRow, is bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !is {
		delete(n.alive, hostOf(w))
		return
	}
	if len(n.alive) >= hostsKept {
		clear(n.alive) // they show it again
	}
	n.alive[hostOf(w)] = true
}

// done gives a place back and wakes the loop, for there may be more to send.
func (n *Notifier) done(w store.WebhookRow) {
	n.release(w, 1)
	n.mu.Lock()
	n.over[w.ID] = true
	n.mu.Unlock()
	select {
	case n.ended <- struct{}{}:
	default:
	}
}
