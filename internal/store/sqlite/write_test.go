package sqlite

import (
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler/internal/sqldb"
)

// TestUrgentWaitsForOneRequest queues large requests and then a heartbeat: it is committed
// after the request that is running, before the others.
func TestUrgentWaitsForOneRequest(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "hostler.db"), Options{groupTime: time.Nanosecond})
	const requests = 3
	var ran []string // by the writer only
	var wg sync.WaitGroup
	queue := func(name string, class sqldb.Class, fn func()) {
		wg.Go(func() {
			err := db.InTx(sqldb.WithClass(t.Context(), class), func(sqldb.Conn) error {
				fn()
				ran = append(ran, name)
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	until := func(cond func() bool) {
		for !cond() {
			runtime.Gosched()
		}
	}
	started := make(chan struct{})
	queue("first", sqldb.Requests, func() {
		close(started)
		until(func() bool { return len(db.queue) == requests })
	})
	<-started
	var once sync.Once
	for range requests {
		queue("request", sqldb.Requests, func() {
			once.Do(func() { // this group was formed before the heartbeat is queued
				queue("heartbeat", sqldb.Leases, func() {})
				until(func() bool { return len(db.urgent) == 1 })
			})
		})
	}
	wg.Wait()
	want := []string{"first", "request", "heartbeat", "request", "request"}
	if !slices.Equal(ran, want) {
		t.Errorf("committed %v, want %v", ran, want)
	}
}
