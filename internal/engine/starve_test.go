package engine_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// Blocked reads, more of them than there are connections, keep no worker from
// registering, leasing, renewing and reporting.
func TestBlockedReadsStarveNoWorker(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env, _ *storetest.Harness) {
		e.enqueue(e.spec(), e.spec())
		reads, end := context.WithCancel(t.Context())
		holding := make(chan struct{}, 60)
		var wg sync.WaitGroup
		for range 60 {
			wg.Go(func() {
				_ = e.store.View(reads, func(*store.Tx) error {
					holding <- struct{}{}
					<-reads.Done()
					return nil
				})
			})
		}
		defer wg.Wait()
		defer end()
		for range 3 { // they fill what reads may have
			<-holding
		}
		start := time.Now()
		w := e.register()
		leases := e.lease(w, 2)
		if len(leases) != 2 {
			t.Fatalf("%d leases, want 2", len(leases))
		}
		if _, err := e.engine.Heartbeat(t.Context(), hostler.Heartbeat{Worker: w}); err != nil {
			t.Errorf("heartbeat: %v", err)
		}
		for _, l := range leases {
			if acks, err := e.succeed(w, l); err != nil || acks[0] != nil {
				t.Errorf("report: %v, %v", acks, err)
			}
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}
