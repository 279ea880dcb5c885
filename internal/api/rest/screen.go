package rest

import (
	"context"
	"sync"
	"time"

	"hostler.dev/hostler"
)

// The limits on the screening of keys.
const (
	screenEvery = 50 * time.Millisecond // between two questions to the database
	screenTime  = 10 * time.Second      // that a question may take
)

// screen finds out which keys are valid, of addresses that have sent too many that are not. It
// asks for all keys that came in meanwhile at once: however many they are, the database answers
// few questions, and a valid key only waits a moment. Refusing without a question would keep
// out whoever shares an address with one bad client.
type screen struct {
	known func(ctx context.Context, keys []string) (map[string]bool, error)

	mu      sync.Mutex // guards the fields below
	waiting *round     // nil: no question is due
}

// round is one question.
type round struct {
	keys  map[string]bool
	done  chan struct{} // closed when the fields below are set
	known map[string]bool
	err   error
}

// valid reports whether a key is known and valid.
func (s *screen) valid(ctx context.Context, key string) (bool, error) {
	s.mu.Lock()
	r := s.waiting
	if r == nil {
		r = &round{keys: map[string]bool{}, done: make(chan struct{})}
		s.waiting = r
		detached := context.WithoutCancel(ctx) // the round is for others, too
		time.AfterFunc(screenEvery, func() { s.ask(detached, r) })
	}
	r.keys[key] = true
	s.mu.Unlock()
	select {
	case <-r.done:
		return r.known[key], r.err
	case <-ctx.Done():
		return false, hostler.Errorf(hostler.CodeUnavailable, "the request has ended", "请求已结束")
	}
}

// ask answers a round. Keys that arrive from now on are in the next one.
func (s *screen) ask(ctx context.Context, r *round) {
	s.mu.Lock()
	s.waiting = nil
	s.mu.Unlock()
	keys := make([]string, 0, len(r.keys))
	for key := range r.keys {
		keys = append(keys, key)
	}
	ctx, cancel := context.WithTimeout(ctx, screenTime)
	defer cancel()
	r.known, r.err = s.known(ctx, keys)
	close(r.done)
}
