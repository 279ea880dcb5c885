package feed_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/feed"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// rig is a running feed over a fresh database.
type rig struct {
	*feed.Feed
	h *storetest.Harness
	n int // events so far
}

func eachRig(t *testing.T, keep int, fn func(t *testing.T, r *rig)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		r := &rig{Feed: feed.New(feed.Config{Store: h.Store, Keep: keep, Log: slog.New(slog.DiscardHandler)}), h: h}
		ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
		var loop sync.WaitGroup
		loop.Go(func() { _ = r.Run(ctx) })
		t.Cleanup(func() { stop(); loop.Wait() })
		fn(t, r)
	})
}

// emit publishes n events, each of a transaction of its own.
func (r *rig) emit(t *testing.T, n int) {
	t.Helper()
	for range n {
		r.commit(t, 1)
	}
	r.publish(t)
}

// emitAtOnce publishes n events of one transaction.
func (r *rig) emitAtOnce(t *testing.T, n int) {
	t.Helper()
	r.commit(t, n)
	r.publish(t)
}

func (r *rig) commit(t *testing.T, n int) {
	t.Helper()
	err := r.h.Store.InTx(t.Context(), func(tx *store.Tx) error {
		for range n {
			r.n++
			tx.Emit(0, hostler.EventQueueUpdated, hostler.ObjectEvent{Object: fmt.Sprint(r.n)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) publish(t *testing.T) {
	t.Helper()
	for full := true; full; {
		err := r.h.Store.InTx(t.Context(), func(tx *store.Tx) (err error) {
			_, full, err = tx.Publish(100)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (r *rig) open(t *testing.T, after int64) *feed.Reader {
	t.Helper()
	rd, err := r.Open(t.Context(), after, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rd.Close)
	return rd
}

// wantNext reads until the event at position to, and checks that all from first
// on come once and in order, with missed before them.
func wantNext(t *testing.T, rd *feed.Reader, first, to, missed int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for want := first; want <= to; {
		b, err := rd.Next(ctx, time.Minute)
		if err != nil {
			t.Fatalf("waiting for %d: %v", want, err)
		}
		if b.Missed != missed {
			t.Errorf("missed %d, want %d", b.Missed, missed)
		}
		missed = 0
		for _, e := range b.Items {
			var ev hostler.Event
			if err := json.Unmarshal(e.JSON(), &ev); err != nil {
				t.Fatal(err)
			}
			head := fmt.Sprintf("id: %d\nevent: queue.updated\ndata: {", want)
			if ev.Pos != want || e.Pos != want || !strings.HasPrefix(string(e.Frame), head) {
				t.Fatalf("got %q, want event %d", e.Frame, want)
			}
			want++
		}
	}
}

// Readers at different places get the same events, from memory and from the
// database.
func TestReaders(t *testing.T) {
	eachRig(t, 50, func(t *testing.T, r *rig) {
		r.emit(t, 30)
		fromNow, all, some := r.open(t, feed.Now), r.open(t, 0), r.open(t, 12)
		r.emit(t, 200) // many times what is kept in memory
		wantNext(t, all, 1, 230, 0)
		wantNext(t, fromNow, 31, 230, 0)
		wantNext(t, some, 13, 230, 0)
		r.emit(t, 5)
		for _, rd := range []*feed.Reader{fromNow, all, some} {
			wantNext(t, rd, 231, 235, 0)
		}
	})
}

// A reader gets what it wants, wherever that is read from, and in small batches
// when there is much of it: that is all it holds while its client is slow.
func TestWant(t *testing.T) {
	eachRig(t, 1000, func(t *testing.T, r *rig) {
		r.emitAtOnce(t, 700)
		want := func(e *store.Event) bool { return e.Pos%2 == 0 }
		open := func(after int64) *feed.Reader {
			rd, err := r.Open(t.Context(), after, want)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(rd.Close)
			return rd
		}
		past, now := open(0), open(feed.Now)
		r.emitAtOnce(t, 700)
		for rd, at := range map[*feed.Reader]int64{past: 2, now: 702} {
			for rd.Pos() < 1400 {
				b, err := rd.Next(t.Context(), time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				if len(b.Items) > 256 {
					t.Errorf("a batch of %d", len(b.Items))
				}
				for _, e := range b.Items {
					if e.Pos != at {
						t.Fatalf("got %d, want %d", e.Pos, at)
					}
					at += 2
				}
			}
			if at != 1402 {
				t.Errorf("ended before %d", at)
			}
		}
	})
}

// Next waits no longer than it is told to, and an empty batch is no error.
func TestPatience(t *testing.T) {
	eachRig(t, 50, func(t *testing.T, r *rig) {
		r.emit(t, 2)
		rd := r.open(t, feed.Now)
		b, err := rd.Next(t.Context(), time.Millisecond)
		if err != nil || len(b.Items) != 0 || b.Last != 2 || b.Behind != 0 {
			t.Errorf("got %+v, %v; want nothing", b, err)
		}
	})
}

// A database that fell back behind what was read is not asked without a pause.
func TestDatabaseFallsBack(t *testing.T) {
	eachRig(t, 4, func(t *testing.T, r *rig) {
		first := r.open(t, feed.Now)
		r.emit(t, 20)
		wantNext(t, first, 1, 20, 0)
		if err := r.h.Store.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`DELETE FROM event WHERE last > 3`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		rd, began := r.open(t, feed.Now), time.Now()
		b, err := rd.Next(t.Context(), 50*time.Millisecond)
		if err != nil || len(b.Items) != 0 || b.Last != 3 {
			t.Errorf("got %+v, %v; want nothing behind 3", b, err)
		}
		if waited := time.Since(began); waited < 50*time.Millisecond {
			t.Errorf("it waited for %v", waited)
		}
	})
}

// A reader that comes after all others left starts afresh.
func TestIdleBetweenReaders(t *testing.T) {
	eachRig(t, 50, func(t *testing.T, r *rig) {
		r.emit(t, 3)
		first := r.open(t, 0)
		wantNext(t, first, 1, 3, 0)
		first.Close()
		r.emit(t, 3)
		second := r.open(t, 4)
		wantNext(t, second, 5, 6, 0)
		r.emit(t, 1)
		wantNext(t, second, 7, 7, 0)
		// Close counts once for each Open: the cleanup of first must not matter.
		if _, err := r.Open(t.Context(), feed.Now, nil); err != nil {
			t.Fatal(err)
		}
	})
}

// Whoever was away too long is told how much it missed; whoever comes from
// another history is told so.
func TestGaps(t *testing.T) {
	eachRig(t, 50, func(t *testing.T, r *rig) {
		r.emit(t, 5)
		r.h.Advance(time.Hour)
		r.emit(t, 5)
		err := r.h.Store.InTx(t.Context(), func(tx *store.Tx) error { return tx.ForgetEvents(r.h.Now().Add(-time.Minute), 100) })
		if err != nil {
			t.Fatal(err)
		}
		away := r.open(t, 2)
		wantNext(t, away, 6, 10, 3)
		lost := r.open(t, 4711)
		if !lost.Lost() || away.Lost() {
			t.Errorf("lost: %v and %v", lost.Lost(), away.Lost())
		}
		r.emit(t, 1)
		wantNext(t, lost, 11, 11, 0)
	})
}

// Nothing new is waited for, no longer than the context lasts.
func TestNextHonoursItsContext(t *testing.T) {
	eachRig(t, 50, func(t *testing.T, r *rig) {
		rd := r.open(t, feed.Now)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { _, err := rd.Next(ctx, time.Minute); ended <- err }()
		cancel()
		if err := <-ended; err == nil {
			t.Error("it returned without events")
		}
	})
}
