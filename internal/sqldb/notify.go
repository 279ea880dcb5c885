package sqldb

import (
	"sync"
)

// MaxTopics is how many topics there can be: a set of them is one byte, so that it
// travels as a small number.
const MaxTopics = 8

// Topic numbers what a notification is about, from 0 to MaxTopics-1. The meaning of
// each number is the caller's.
type Topic uint8

// TopicSet is a set of topics, one bit each.
type TopicSet uint8

// AllTopics holds every topic.
const AllTopics TopicSet = 1<<MaxTopics - 1

// Topics makes a set.
func Topics(list ...Topic) TopicSet {
	var s TopicSet
	for _, t := range list {
		s.Add(t)
	}
	return s
}

// Add puts t into the set.
func (s *TopicSet) Add(t Topic) { *s |= 1 << t }

// Has reports whether t is in the set.
func (s TopicSet) Has(t Topic) bool { return s&(1<<t) != 0 }

// Notifier delivers notifications inside one process. Drivers use it for Notify and
// Subscribe. The zero value is ready.
type Notifier struct {
	topics [MaxTopics]subscribers
}

// Notify sends to every subscriber of these topics. It never blocks: notifications
// that a subscriber has not received yet are merged into one.
func (n *Notifier) Notify(set TopicSet) {
	for t := range n.topics {
		if set.Has(Topic(t)) {
			n.topics[t].notify()
		}
	}
}

// Subscribe returns a channel that receives after Notify was called with the topic.
// The channel is closed by stop, which may be called more than once.
func (n *Notifier) Subscribe(t Topic) (notified <-chan struct{}, stop func()) {
	return n.topics[t].add()
}

// subscribers are the subscribers of one topic.
type subscribers struct {
	mu   sync.Mutex
	subs map[chan struct{}]bool
}

func (s *subscribers) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.subs {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (s *subscribers) add() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subs == nil {
		s.subs = map[chan struct{}]bool{}
	}
	s.subs[c] = true
	return c, sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs, c)
		close(c)
	})
}
