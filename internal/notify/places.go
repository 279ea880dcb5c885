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
	// atOnce bounds the requests of a server, and atOnceHost those to one host.
	// Hosts that did not answer the last time, or were never asked, have fewer:
	// atOnceNew each, and atOnceDead together.
	atOnce     = 512
	atOnceHost = 100
	atOnceNew  = 2
	atOnceDead = atOnce / 2
	// hostsKept bounds the hosts that are known to answer.
	hostsKept = 10_000
)

// places shares out a server's requests in flight. Hosts that keep requests waiting
// must not leave the others without: one takes no more places than it leaves free,
// and those that do not answer have a part of their own.
type places struct {
	mu       sync.Mutex
	taken    int
	webhooks map[hostler.WebhookID]int       // requests in flight
	hosts    map[string]int                  // the same
	alive    map[string]bool                 // hosts that answered the last time
	next     map[hostler.WebhookID]time.Time // when its rate allows the next request
	waiting  map[hostler.WebhookID]string    // of runs, whose hosts had no place when they were looked at last
}

func newPlaces() *places {
	return &places{
		webhooks: map[hostler.WebhookID]int{},
		hosts:    map[string]int{},
		alive:    map[string]bool{},
		next:     map[hostler.WebhookID]time.Time{},
		waiting:  map[hostler.WebhookID]string{},
	}
}

// reserve takes the places of requests that may start now; with none, or when the
// rate allows no more, it says how long to wait for that.
func (p *places) reserve(w *store.WebhookRow, now time.Time) (room int, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	host := hostOf(w)
	room = min(max(w.Limit, 1)-p.webhooks[w.ID], p.free(host))
	wait = idlePause // the end of a request wakes the loop
	if w.Rate > 0 {
		if left := p.next[w.ID].Sub(now); left > 0 {
			return 0, left
		}
		room, wait = min(room, 1), time.Minute/time.Duration(w.Rate)
	}
	room = max(room, 0)
	if room == 0 && w.Run != 0 {
		p.waiting[w.ID] = host
	}
	p.take(w, room)
	return room, wait
}

// free are the places that a host may take now. p.mu is held.
func (p *places) free(host string) int {
	own, left := p.hosts[host], atOnce-p.taken
	if p.alive[host] {
		return min(atOnceHost-own, (left-own+1)/2)
	}
	dead := 0
	for other, held := range p.hosts {
		if !p.alive[other] {
			dead += held
		}
	}
	return min(atOnceNew-own, atOnceDead-dead, left)
}

// take takes places, or gives them back when they are negative. p.mu is held.
func (p *places) take(w *store.WebhookRow, n int) {
	host := hostOf(w)
	p.taken += n
	if p.webhooks[w.ID] += n; p.webhooks[w.ID] == 0 {
		delete(p.webhooks, w.ID)
	}
	if p.hosts[host] += n; p.hosts[host] == 0 {
		delete(p.hosts, host)
	}
}

// release gives places back.
func (p *places) release(w *store.WebhookRow, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.take(w, -n)
}

// spend notes that a webhook's rate allows nothing until its next turn.
func (p *places) spend(w *store.WebhookRow, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, at := range p.next {
		if now.After(at) {
			delete(p.next, id)
		}
	}
	p.next[w.ID] = now.Add(time.Minute / time.Duration(w.Rate))
}

// answered notes whether the host of a webhook answers at all.
func (p *places) answered(w *store.WebhookRow, is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !is {
		delete(p.alive, hostOf(w))
		return
	}
	if len(p.alive) >= hostsKept {
		clear(p.alive) // they show it again
	}
	p.alive[hostOf(w)] = true
}

// startable leaves out the webhooks of runs whose hosts have no place for them: of a
// dead host there may be very many, and to read them would take long.
func (p *places) startable(due []hostler.WebhookID) []hostler.WebhookID {
	p.mu.Lock()
	defer p.mu.Unlock()
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] }) // not always the same ones
	free, waiting := map[string]int{}, map[hostler.WebhookID]string{}
	may := make([]hostler.WebhookID, 0, len(due))
	for _, id := range due {
		if host, known := p.waiting[id]; known {
			if _, seen := free[host]; !seen {
				free[host] = p.free(host)
			}
			if free[host] <= 0 {
				waiting[id] = host
				continue
			}
			free[host]--
		}
		may = append(may, id)
	}
	p.waiting = waiting
	return may
}

// hostOf is the receiver's host and port, which are never masked.
func hostOf(w *store.WebhookRow) string {
	_, rest, _ := strings.Cut(w.URL, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}
