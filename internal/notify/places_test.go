package notify

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/egress"
	"hostler.dev/hostler/internal/store"
)

// hookTo is the webhook of a run, or of none, that leads to a host.
func hookTo(id hostler.WebhookID, run hostler.RunID, host string, limit int) *store.WebhookRow {
	return &store.WebhookRow{Run: run, Webhook: hostler.Webhook{ID: id, URL: "http://" + host + "/", Limit: limit}}
}

// TestRunsOfADeadHost: a round does not read the webhooks of runs that find no
// place, however many they are, and as many as there are places once there are.
func TestRunsOfADeadHost(t *testing.T) {
	p, now := newPlaces(), time.Now()
	for id := range hostler.WebhookID(1000) {
		p.reserve(hookTo(id+1, 7, "dead.example.com", 4), now)
	}
	named := hookTo(2000, 0, "dead.example.com", 4)
	p.reserve(named, now)
	due := func() (ids []hostler.WebhookID) {
		for id := range hostler.WebhookID(1000) {
			ids = append(ids, id+1)
		}
		return append(ids, named.ID, 3000)
	}
	// The one that got the places may have more to send; the named one may have been
	// changed; nothing is known of 3000.
	if got := p.startable(due()); len(got) != 3 {
		t.Errorf("with all places taken %d webhooks are read, want 3", len(got))
	}
	p.release(hookTo(1, 7, "dead.example.com", 4), 1)
	if got := p.startable(due()); len(got) != 4 {
		t.Errorf("with one place %d webhooks are read, want 4", len(got))
	}
}

// TestPlacesOfHosts: silent hosts have a part of the places, one that answers takes
// no more than it leaves, and all are given back.
func TestPlacesOfHosts(t *testing.T) {
	p, now := newPlaces(), time.Now()
	silent := 0
	var all []*store.WebhookRow
	for id := range hostler.WebhookID(1000) {
		w := hookTo(id+1, 0, fmt.Sprintf("h%d.example.com", id), 10)
		room, _ := p.reserve(w, now)
		silent += room
		for range room {
			all = append(all, w)
		}
	}
	if silent != atOnceDead {
		t.Errorf("hosts that never answered took %d places, want %d", silent, atOnceDead)
	}
	good := hookTo(5000, 0, "good.example.com", 1000)
	if room, _ := p.reserve(good, now); room != 0 {
		t.Errorf("a new host took %d places when the silent ones had all of theirs", room)
	}
	p.answered(good, true)
	room, _ := p.reserve(good, now)
	if room != atOnceHost {
		t.Errorf("a host that answers took %d places, want %d", room, atOnceHost)
	}
	other := hookTo(5001, 0, "other.example.com", 1000)
	p.answered(other, true)
	if got, _ := p.reserve(other, now); got != (atOnce-atOnceDead-atOnceHost+1)/2 {
		t.Errorf("the next one took %d places, want half of what is left", got)
	}
	p.answered(good, false)
	if got, _ := p.reserve(good, now); got != 0 {
		t.Errorf("a host that stopped to answer took %d more", got)
	}
	p.release(good, room)
	p.release(other, (atOnce-atOnceDead-atOnceHost+1)/2)
	for _, w := range all {
		p.release(w, 1)
	}
	if p.taken != 0 || len(p.hosts) != 0 || len(p.webhooks) != 0 {
		t.Errorf("%d places are still taken: %v %v", p.taken, p.hosts, p.webhooks)
	}
}

// TestHostThatWasNotAsked: a webhook that cannot even be sent says nothing about its
// host, which may be many others' too; one that gets no answer does.
func TestHostThatWasNotAsked(t *testing.T) {
	w := hookTo(1, 0, "127.0.0.1:1", 4)
	w.Method, w.Timeout = http.MethodPost, hostler.Duration(time.Minute)
	for name, tt := range map[string]struct {
		opens error
		alive bool
	}{"secrets of another key": {errors.New("another key"), true}, "no answer": {nil, false}} {
		n := New(Config{
			Egress: egress.New(netip.MustParsePrefix("127.0.0.0/8")),
			Open: func(hostler.WebhookID, []byte) (store.WebhookSecrets, error) {
				return store.WebhookSecrets{URL: w.URL}, tt.opens
			},
		})
		n.places.answered(w, true)
		_, _, v := n.attempt(t.Context(), *w, store.ClaimedDelivery{Body: "{}"}, time.Now())
		if got := n.places.alive["127.0.0.1:1"]; v.err == nil || got != tt.alive {
			t.Errorf("%s: %v, alive %v, want %v", name, v.err, got, tt.alive)
		}
	}
}

// TestPlacesOfARate: with a rate, one at a time and not before its turn.
func TestPlacesOfARate(t *testing.T) {
	p, now := newPlaces(), time.Now()
	w := hookTo(1, 0, "robot.example.com", 4)
	w.Rate = 20
	if room, wait := p.reserve(w, now); room != 1 || wait != 3*time.Second {
		t.Errorf("reserved %d, wait %v; want 1 and 3s", room, wait)
	}
	p.spend(w, now)
	p.release(w, 1)
	if room, wait := p.reserve(w, now.Add(time.Second)); room != 0 || wait != 2*time.Second {
		t.Errorf("before its turn: reserved %d, wait %v; want 0 and 2s", room, wait)
	}
	if room, _ := p.reserve(w, now.Add(3*time.Second)); room != 1 {
		t.Errorf("at its turn: reserved %d, want 1", room)
	}
}
