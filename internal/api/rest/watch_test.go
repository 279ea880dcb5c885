package rest

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// TestWatchesAuthenticateOnceForAllStreams: the streams of a key cost one authentication
// every RenewEvery together, and each is told of a change of its caller in that time.
func TestWatchesAuthenticateOnceForAllStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries, refused atomic.Int64
		w := &watches{
			draining: make(chan struct{}),
			authenticate: func(_ context.Context, key, _, _ string) (auth.Caller, error) {
				tries.Add(1)
				if refused.Load() > 0 {
					return auth.Caller{}, hostler.Errorf(hostler.CodeUnauthenticated, "revoked", "已吊销")
				}
				return auth.Caller{User: key}, nil
			},
		}
		type stream struct {
			one    *watch
			caller auth.Caller
			leave  func()
		}
		var all []stream
		for n := range 512 {
			s := stream{caller: auth.Caller{User: []string{"a", "b"}[n%2], Remote: "192.0.2.1", Lang: hostler.LangZH}}
			s.one, s.leave = w.join(t.Context(), watchedKey{key: s.caller.User}, s.caller)
			all = append(all, s)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var noticed atomic.Int64
		for _, s := range all {
			change := w.change(s.one, s.caller)
			if change == nil {
				t.Fatal("the caller has changed at once")
			}
			go func() {
				select {
				case <-change:
					noticed.Add(1)
				case <-ctx.Done():
				}
			}()
		}
		const span = 30 * time.Second
		time.Sleep(span) //nolint:forbidigo // the bubble's clock
		if most := 2 * int64(span/RenewEvery); tries.Load() > most || noticed.Load() > 0 {
			t.Errorf("%d authentications in %v, want at most %d; %d changes", tries.Load(), span, most, noticed.Load())
		}
		refused.Store(1)
		time.Sleep(RenewEvery) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if noticed.Load() != int64(len(all)) {
			t.Errorf("%d of %d streams were told that the keys were revoked", noticed.Load(), len(all))
		}
		if w.change(all[0].one, all[0].caller) != nil {
			t.Error("a refused key counts as unchanged")
		}
		refused.Store(0)
		time.Sleep(RenewEvery) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if w.change(all[0].one, all[0].caller) == nil || w.change(all[0].one, auth.Caller{User: "c"}) != nil {
			t.Error("the key is valid again, and belongs to one caller")
		}
		for _, s := range all {
			s.leave()
		}
		if len(w.all) != 0 {
			t.Errorf("%d keys are watched without a stream", len(w.all))
		}
	})
}

// TestWatchesEndWithTheServer: streams without news notice that the server drains.
func TestWatchesEndWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draining := make(chan struct{})
		w := &watches{draining: draining, authenticate: func(context.Context, string, string, string) (auth.Caller, error) {
			return auth.Caller{}, nil
		}}
		one, leave := w.join(t.Context(), watchedKey{}, auth.Caller{})
		defer leave()
		change := w.change(one, auth.Caller{})
		close(draining)
		<-change
	})
}
