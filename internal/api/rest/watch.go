package rest

import (
	"context"
	"reflect"
	"sync"
	"time"

	"hostler.dev/hostler/internal/auth"
)

// watches authenticate the keys of all streams, each once every RenewEvery however many
// streams it has, so that a stream without news costs nothing until its caller changes.
type watches struct {
	authenticate func(ctx context.Context, key, project, clientAddr string) (auth.Caller, error)
	draining     <-chan struct{}

	mu  sync.Mutex
	all map[watchedKey]*watch
}

// watchedKey is a key and the project that it acts in.
type watchedKey struct{ key, project string }

// watch is one key of at least one stream. The fields below mu of [watches] are guarded by it.
type watch struct {
	streams int
	caller  auth.Caller   // as last authenticated
	steady  bool          // the last authentication returned caller
	changed chan struct{} // closed when the next one returned something else
	unused  chan struct{} // closed when no stream has it any more
}

// join watches the key of a caller, and returns a function that ends that for the stream.
func (w *watches) join(ctx context.Context, k watchedKey, c auth.Caller) (*watch, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.all[k]
	if one == nil {
		one = &watch{caller: rightsOf(c), steady: true, changed: make(chan struct{}), unused: make(chan struct{})}
		if w.all == nil {
			w.all = map[watchedKey]*watch{}
		}
		w.all[k] = one
		go w.run(context.WithoutCancel(ctx), k, one) // the other streams outlive this one
	}
	one.streams++
	return one, sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if one.streams--; one.streams == 0 {
			delete(w.all, k)
			close(one.unused)
		}
	})
}

// run authenticates a key until no stream has it or the server drains.
func (w *watches) run(ctx context.Context, k watchedKey, one *watch) {
	tick := time.NewTicker(RenewEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.draining:
			w.update(one, auth.Caller{}, false)
			return
		case <-one.unused:
			return
		case <-tick.C:
		}
		c, err := w.authenticate(ctx, k.key, k.project, "")
		w.update(one, rightsOf(c), err == nil)
	}
}

// update stores the result of an authentication, and tells the streams of a change.
func (w *watches) update(one *watch, c auth.Caller, steady bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if steady && one.steady && reflect.DeepEqual(one.caller, c) {
		return
	}
	if one.steady = steady; steady {
		one.caller = c
	}
	close(one.changed)
	one.changed = make(chan struct{})
}

// change returns a channel that is closed when the rights of a caller may have changed. It
// returns nil when they are not those that were seen last.
func (w *watches) change(one *watch, c auth.Caller) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !one.steady || !reflect.DeepEqual(one.caller, rightsOf(c)) {
		return nil
	}
	return one.changed
}

// rightsOf is the part of a caller that is the same for all requests with its key.
func rightsOf(c auth.Caller) auth.Caller {
	c.Remote, c.Origin, c.Lang = "", "", ""
	return c
}
