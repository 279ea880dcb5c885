package notify

import (
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

const (
	// maxRequests bounds the requests in flight of a server, maxPerHost those to one
	// reachable host.
	maxRequests = 512
	maxPerHost  = 100
	// maxPerUnproven bounds the requests to a host that did not answer the last one,
	// or was never asked; maxUnproven bounds those to all such hosts together.
	maxPerUnproven = 2
	maxUnproven    = maxRequests / 2
	// maxReachable bounds the hosts that are remembered as reachable.
	maxReachable = 10_000
)

// limiter shares out the requests in flight of a server, so that hosts that let
// requests time out leave enough permits to the others.
//
//   - A reachable host gets no more permits than it leaves free, and at most
//     maxPerHost: alone on an idle server 100, the next one 100, and so on; once 400 of
//     the 512 are taken, a new host gets 56, and the one after it 28.
//   - Hosts that are not known to be reachable get 2 each, and 256 together. A thousand
//     dead hosts thus occupy half of the permits, until their requests time out.
//
// reserve takes permits, and release gives them back. The webhook's own limits are
// checked here too: its Limit, and its Rate, of which the database has the last word
// because it holds for all servers.
type limiter struct {
	mu        sync.Mutex
	inFlight  int
	byWebhook map[hostler.WebhookID]int       // requests in flight
	byHost    map[string]int                  // the same
	reachable map[string]bool                 // hosts that answered the last request
	next      map[hostler.WebhookID]time.Time // when the rate allows the next request
	blocked   map[hostler.WebhookID]string    // webhooks of runs that got no permit, with their hosts
}

func newLimiter() *limiter {
	return &limiter{
		byWebhook: map[hostler.WebhookID]int{},
		byHost:    map[string]int{},
		reachable: map[string]bool{},
		next:      map[hostler.WebhookID]time.Time{},
		blocked:   map[hostler.WebhookID]string{},
	}
}

// reserve takes permits for the requests of a webhook that may start now, and
// returns their number and when to try for more.
func (l *limiter) reserve(w *store.WebhookRow, now time.Time) (n int, again time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	host := hostOf(w)
	n = min(max(w.Limit, 1)-l.byWebhook[w.ID], l.available(host))
	again = maxIdle // until then, the end of a request notifies the loop
	if w.Rate > 0 {
		if left := l.next[w.ID].Sub(now); left > 0 {
			return 0, left
		}
		n, again = min(n, 1), interval(w)
	}
	n = max(n, 0)
	if n == 0 && w.Run != 0 {
		l.blocked[w.ID] = host
	}
	l.add(w, n)
	return n, again
}

// available returns how many permits a host may take now. l.mu is held.
func (l *limiter) available(host string) int {
	own, free := l.byHost[host], maxRequests-l.inFlight
	if l.reachable[host] {
		return min(maxPerHost-own, (free-own+1)/2)
	}
	unproven := 0
	for other, n := range l.byHost {
		if !l.reachable[other] {
			unproven += n
		}
	}
	return min(maxPerUnproven-own, maxUnproven-unproven, free)
}

// add counts n more requests of a webhook, or fewer when n is negative. l.mu is
// held.
func (l *limiter) add(w *store.WebhookRow, n int) {
	host := hostOf(w)
	l.inFlight += n
	if l.byWebhook[w.ID] += n; l.byWebhook[w.ID] == 0 {
		delete(l.byWebhook, w.ID)
	}
	if l.byHost[host] += n; l.byHost[host] == 0 {
		delete(l.byHost, host)
	}
}

// release gives n permits of a webhook back.
func (l *limiter) release(w *store.WebhookRow, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(w, -n)
}

// delay admits no request of a webhook before its rate allows the next one.
func (l *limiter) delay(w *store.WebhookRow, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, at := range l.next {
		if now.After(at) {
			delete(l.next, id)
		}
	}
	l.next[w.ID] = now.Add(interval(w))
}

// interval returns the time between two requests of a webhook with a rate.
func interval(w *store.WebhookRow) time.Duration { return time.Minute / time.Duration(w.Rate) }

// setReachable records whether the host of a webhook answered a request, with
// whatever status.
func (l *limiter) setReachable(w *store.WebhookRow, reachable bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !reachable {
		delete(l.reachable, hostOf(w))
		return
	}
	if len(l.reachable) >= maxReachable {
		clear(l.reachable) // each is added again after its next response
	}
	l.reachable[hostOf(w)] = true
}

// startable leaves out the webhooks of runs that the limiter would not admit. A dead
// host may have a webhook in each of very many runs, and reading all their rows in
// every round would take long.
func (l *limiter) startable(due []hostler.WebhookID) []hostler.WebhookID {
	l.mu.Lock()
	defer l.mu.Unlock()
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] }) // be fair to all
	free, blocked := map[string]int{}, map[hostler.WebhookID]string{}
	may := make([]hostler.WebhookID, 0, len(due))
	for _, id := range due {
		if host, known := l.blocked[id]; known {
			if _, counted := free[host]; !counted {
				free[host] = l.available(host)
			}
			if free[host] <= 0 {
				blocked[id] = host
				continue
			}
			free[host]--
		}
		may = append(may, id)
	}
	l.blocked = blocked
	return may
}

// hostOf returns the host and port of a webhook's receiver, which are never masked.
func hostOf(w *store.WebhookRow) string {
	_, rest, _ := strings.Cut(w.URL, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}
