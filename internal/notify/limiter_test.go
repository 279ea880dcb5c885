package notify

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"hostler.dev/hostler/internal/webhook"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/egress"
	"hostler.dev/hostler/internal/store"
)

// hookTo returns a webhook, of a run or of none, whose receiver is on a host.
func hookTo(id hostler.WebhookID, run hostler.RunID, host string, limit int) *store.WebhookRow {
	return &store.WebhookRow{Run: run, Webhook: hostler.Webhook{ID: id, URL: "http://" + host + "/", Limit: limit}}
}

// TestStartableOfADeadHost gives a thousand runs a webhook on one dead host. A round
// reads only as many of their rows as the limiter would admit.
func TestStartableOfADeadHost(t *testing.T) {
	l, now := newLimiter(), time.Now()
	for id := range hostler.WebhookID(1000) {
		l.reserve(hookTo(id+1, 7, "dead.example.com", 4), now)
	}
	named := hookTo(2000, 0, "dead.example.com", 4)
	l.reserve(named, now)
	due := func() (ids []hostler.WebhookID) {
		for id := range hostler.WebhookID(1000) {
			ids = append(ids, id+1)
		}
		return append(ids, named.ID, 3000)
	}
	// Startable are: the one that got the permits and may have more to send; the named
	// one, which a person may have changed; and 3000, which was not seen before.
	if got := l.startable(due()); len(got) != 3 {
		t.Errorf("with no permit free, %d webhooks are startable, want 3", len(got))
	}
	l.release(hookTo(1, 7, "dead.example.com", 4), 1)
	if got := l.startable(due()); len(got) != 4 {
		t.Errorf("with one permit free, %d webhooks are startable, want 4", len(got))
	}
}

// TestLimitsPerHost takes the permits of hosts that never answered, then of reachable
// ones, and releases all of them.
func TestLimitsPerHost(t *testing.T) {
	l, now := newLimiter(), time.Now()
	unproven := 0
	var all []*store.WebhookRow
	for id := range hostler.WebhookID(1000) {
		w := hookTo(id+1, 0, fmt.Sprintf("h%d.example.com", id), 10)
		n, _ := l.reserve(w, now)
		unproven += n
		for range n {
			all = append(all, w)
		}
	}
	if unproven != maxUnproven {
		t.Errorf("hosts that never answered took %d permits, want %d", unproven, maxUnproven)
	}
	good := hookTo(5000, 0, "good.example.com", 1000)
	if n, _ := l.reserve(good, now); n != 0 {
		t.Errorf("a new host took %d permits beyond those for such hosts", n)
	}
	l.setReachable(good, true)
	ofGood, _ := l.reserve(good, now)
	if ofGood != maxPerHost {
		t.Errorf("a reachable host took %d permits, want %d", ofGood, maxPerHost)
	}
	other := hookTo(5001, 0, "other.example.com", 1000)
	l.setReachable(other, true)
	half := (maxRequests - maxUnproven - maxPerHost + 1) / 2
	if got, _ := l.reserve(other, now); got != half {
		t.Errorf("the next one took %d permits, want half of what is free, %d", got, half)
	}
	l.setReachable(good, false)
	if got, _ := l.reserve(good, now); got != 0 {
		t.Errorf("a host that no longer answers took %d more", got)
	}
	l.release(good, ofGood)
	l.release(other, half)
	for _, w := range all {
		l.release(w, 1)
	}
	if l.inFlight != 0 || len(l.byHost) != 0 || len(l.byWebhook) != 0 {
		t.Errorf("%d permits are still taken: %v %v", l.inFlight, l.byHost, l.byWebhook)
	}
}

// TestUnsentRequestLeavesHostReachable fails to build a request, which must not mark
// its host as unreachable for other webhooks. A request without a response must.
func TestUnsentRequestLeavesHostReachable(t *testing.T) {
	w := hookTo(1, 0, "127.0.0.1:1", 4)
	w.Method, w.Timeout = http.MethodPost, hostler.Duration(time.Minute)
	for name, tt := range map[string]struct {
		opens     error
		reachable bool
	}{"secrets of another key": {errors.New("another key"), true}, "no answer": {nil, false}} {
		n := New(Config{
			Egress: egress.New(netip.MustParsePrefix("127.0.0.0/8")),
			Open: func(hostler.ProjectID, hostler.WebhookID, []byte) (webhook.Secrets, error) {
				return webhook.Secrets{URL: w.URL}, tt.opens
			},
		})
		n.limiter.setReachable(w, true)
		_, _, res := n.attempt(t.Context(), *w, []store.ClaimedDelivery{{Body: "{}"}}, time.Now())
		if got := n.limiter.reachable["127.0.0.1:1"]; res.err == nil || got != tt.reachable {
			t.Errorf("%s: %v, reachable %v, want %v", name, res.err, got, tt.reachable)
		}
	}
}

// TestLimitOfARate reserves one request at a time, and none before the rate allows it.
func TestLimitOfARate(t *testing.T) {
	l, now := newLimiter(), time.Now()
	w := hookTo(1, 0, "bot.example.com", 4)
	w.Rate = 20
	if n, again := l.reserve(w, now); n != 1 || again != 3*time.Second {
		t.Errorf("reserved %d, again in %v; want 1 and 3s", n, again)
	}
	l.delay(w, now)
	l.release(w, 1)
	if n, again := l.reserve(w, now.Add(time.Second)); n != 0 || again != 2*time.Second {
		t.Errorf("after 1s: reserved %d, again in %v; want 0 and 2s", n, again)
	}
	if n, _ := l.reserve(w, now.Add(3*time.Second)); n != 1 {
		t.Errorf("after 3s: reserved %d, want 1", n)
	}
}
