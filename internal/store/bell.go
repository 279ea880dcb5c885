package store

import (
	"context"
	"sync"
)

// Topic is what a wake-up is about.
type Topic uint8

// The topics.
const (
	TopicWork       Topic = iota // jobs came into ready or sched
	TopicOutbox                  // events wait to be published; tells this process only
	TopicEvents                  // events were published
	TopicDeliveries              // deliveries of webhooks came up
	topics
)

// TopicSet is some topics, one bit each.
type TopicSet uint8

// AllTopics are all of them.
const AllTopics TopicSet = 1<<topics - 1

// SharedTopics are those that other servers must hear of. Not the outbox: who
// wrote an event publishes it.
const SharedTopics = AllTopics &^ (1 << TopicOutbox)

func (s *TopicSet) add(t Topic) { *s |= 1 << t }

// Has reports whether t is in the set.
func (s TopicSet) Has(t Topic) bool { return s&(1<<t) != 0 }

// Bells are a Bell for each topic. The zero value is ready.
type Bells [topics]Bell

// Ring wakes the subscribers of these topics.
func (b *Bells) Ring(set TopicSet) {
	for t := range topics {
		if set.Has(t) {
			b[t].Ring()
		}
	}
}

// Bell wakes those who wait in this process for one thing. Drivers use it for
// Wake and Woken. The zero value is ready.
type Bell struct {
	mu   sync.Mutex
	subs map[chan struct{}]bool
}

// Ring wakes every subscriber. It never blocks; rings that a subscriber has not
// seen yet are one.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.subs {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Listen subscribes. The channel is closed by stop.
func (b *Bell) Listen() (woken <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = map[chan struct{}]bool{}
	}
	b.subs[c] = true
	return c, sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs, c)
		close(c)
	})
}

type growKey struct{}

// Growing marks a context whose transaction brings new work. While the disk is
// full, a driver refuses such transactions with CodeDiskFull and keeps the space
// that is left for finishing what runs.
func Growing(ctx context.Context) context.Context {
	return context.WithValue(ctx, growKey{}, true)
}

// IsGrowing reports whether the context was marked by Growing.
func IsGrowing(ctx context.Context) bool { return ctx.Value(growKey{}) != nil }
