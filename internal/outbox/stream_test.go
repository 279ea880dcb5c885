package outbox_test

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
	"hostler.dev/hostler/internal/outbox"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// streamEnv is a running stream over a fresh database.
type streamEnv struct {
	*outbox.Stream
	h *storetest.Harness
	n int // events so far
}

func eachStream(t *testing.T, buffer int, fn func(t *testing.T, e *streamEnv)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		cfg := outbox.StreamConfig{Store: h.Store, Buffer: buffer, Log: slog.New(slog.DiscardHandler)}
		e := &streamEnv{Stream: outbox.NewStream(cfg), h: h}
		ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
		var loop sync.WaitGroup
		loop.Go(func() { _ = e.Run(ctx) })
		t.Cleanup(func() { stop(); loop.Wait() })
		fn(t, e)
	})
}

// emit commits n events, one in each transaction, and publishes them.
func (e *streamEnv) emit(t *testing.T, n int) {
	t.Helper()
	for range n {
		e.commit(t, 1)
	}
	e.publish(t)
}

// emitTogether commits n events in one transaction and publishes them.
func (e *streamEnv) emitTogether(t *testing.T, n int) {
	t.Helper()
	e.commit(t, n)
	e.publish(t)
}

func (e *streamEnv) commit(t *testing.T, n int) {
	t.Helper()
	err := e.h.Store.InTx(t.Context(), func(tx *store.Tx) error {
		for range n {
			e.n++
			tx.Emit(0, hostler.EventQueueUpdated, hostler.ObjectEvent{Object: fmt.Sprint(e.n)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (e *streamEnv) publish(t *testing.T) {
	t.Helper()
	for full := true; full; {
		err := e.h.Store.InTx(t.Context(), func(tx *store.Tx) (err error) {
			_, full, err = tx.Publish(100)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (e *streamEnv) open(t *testing.T, after int64) *outbox.Reader {
	t.Helper()
	rd, err := e.Open(t.Context(), after, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rd.Close)
	return rd
}

// wantNext reads until the event at position to, and checks that all from first
// on come once and in order, with missed before them.
func wantNext(t *testing.T, rd *outbox.Reader, first, to, missed int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for want := first; want <= to; {
		b, err := rd.Next(ctx, time.Minute, nil)
		if err != nil {
			t.Fatalf("waiting for %d: %v", want, err)
		}
		if b.Missed != missed {
			t.Errorf("missed %d, want %d", b.Missed, missed)
		}
		missed = 0
		for _, got := range b.Events {
			var wire hostler.Event
			if err := json.Unmarshal(got.JSON(), &wire); err != nil {
				t.Fatal(err)
			}
			head := fmt.Sprintf("id: %d\nevent: queue.updated\ndata: {", want)
			if wire.Pos != want || got.Pos != want || !strings.HasPrefix(string(got.Frame), head) {
				t.Fatalf("got %q, want event %d", got.Frame, want)
			}
			want++
		}
	}
}

// TestReadersAtDifferentPositions reads the same events from the buffer and from
// the database.
func TestReadersAtDifferentPositions(t *testing.T) {
	eachStream(t, 50, func(t *testing.T, e *streamEnv) {
		e.emit(t, 30)
		fromNow, all, some := e.open(t, outbox.FromNow), e.open(t, 0), e.open(t, 12)
		e.emit(t, 200) // several times the buffer
		wantNext(t, all, 1, 230, 0)
		wantNext(t, fromNow, 31, 230, 0)
		wantNext(t, some, 13, 230, 0)
		e.emit(t, 5)
		for _, rd := range []*outbox.Reader{fromNow, all, some} {
			wantNext(t, rd, 231, 235, 0)
		}
	})
}

// TestFilter reads every second event from the buffer and from the database. The
// batches are small: a Reader holds one while its client is slow.
func TestFilter(t *testing.T) {
	eachStream(t, 1000, func(t *testing.T, e *streamEnv) {
		e.emitTogether(t, 700)
		even := func(e *store.Event) bool { return e.Pos%2 == 0 }
		open := func(after int64) *outbox.Reader {
			rd, err := e.Open(t.Context(), after, even)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(rd.Close)
			return rd
		}
		past, now := open(0), open(outbox.FromNow)
		e.emitTogether(t, 700)
		for rd, at := range map[*outbox.Reader]int64{past: 2, now: 702} {
			for rd.Pos() < 1400 {
				b, err := rd.Next(t.Context(), time.Minute, nil)
				if err != nil {
					t.Fatal(err)
				}
				if len(b.Events) > 256 {
					t.Errorf("a batch of %d", len(b.Events))
				}
				for _, ev := range b.Events {
					if ev.Pos != at {
						t.Fatalf("got %d, want %d", ev.Pos, at)
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

// TestNextTimesOut gets an empty batch when nothing is published in time.
func TestNextTimesOut(t *testing.T) {
	eachStream(t, 50, func(t *testing.T, e *streamEnv) {
		e.emit(t, 2)
		rd := e.open(t, outbox.FromNow)
		b, err := rd.Next(t.Context(), time.Millisecond, nil)
		if err != nil || len(b.Events) != 0 || b.Last != 2 || b.Behind != 0 {
			t.Errorf("got %+v, %v; want nothing", b, err)
		}
	})
}

// TestDatabaseLosesEvents deletes events that were read, as a fail-over to a
// standby that lags does. Next must not poll the database in a busy loop.
func TestDatabaseLosesEvents(t *testing.T) {
	eachStream(t, 4, func(t *testing.T, e *streamEnv) {
		first := e.open(t, outbox.FromNow)
		e.emit(t, 20)
		wantNext(t, first, 1, 20, 0)
		if err := e.h.Store.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`DELETE FROM event WHERE last > 3`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		rd, began := e.open(t, outbox.FromNow), time.Now()
		b, err := rd.Next(t.Context(), 50*time.Millisecond, nil)
		if err != nil || len(b.Events) != 0 || b.Last != 3 {
			t.Errorf("got %+v, %v; want nothing behind 3", b, err)
		}
		if waited := time.Since(began); waited < 50*time.Millisecond {
			t.Errorf("Next returned after %v, want 50ms", waited)
		}
	})
}

// TestIdleBetweenReaders closes the only Reader, which stops the loop, and opens
// another.
func TestIdleBetweenReaders(t *testing.T) {
	eachStream(t, 50, func(t *testing.T, e *streamEnv) {
		e.emit(t, 3)
		first := e.open(t, 0)
		wantNext(t, first, 1, 3, 0)
		first.Close()
		e.emit(t, 3)
		second := e.open(t, 4)
		wantNext(t, second, 5, 6, 0)
		e.emit(t, 1)
		wantNext(t, second, 7, 7, 0)
		// The cleanup closes first again, which must not count as a second Close.
		if _, err := e.Open(t.Context(), outbox.FromNow, nil); err != nil {
			t.Fatal(err)
		}
	})
}

// TestGaps resumes from a position whose next events were deleted, and from one
// that the database never reached.
func TestGaps(t *testing.T) {
	eachStream(t, 50, func(t *testing.T, e *streamEnv) {
		e.emit(t, 5)
		e.h.Advance(time.Hour)
		e.emit(t, 5)
		err := e.h.Store.InTx(t.Context(), func(tx *store.Tx) error {
			if done, err := tx.SkipEvents(); err != nil || !done { // the second call makes the row
				done, err = tx.SkipEvents()
				if err != nil || !done {
					return fmt.Errorf("skip events: %v, %w", done, err)
				}
			}
			if _, err := tx.Exec(`UPDATE stats_cursor SET pos = 10`); err != nil {
				return err
			}
			_, err := tx.DeleteEvents(e.h.Now().Add(-time.Minute), 100)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		away := e.open(t, 2)
		wantNext(t, away, 6, 10, 3)
		diverged := e.open(t, 4711)
		if !diverged.Diverged() || away.Diverged() {
			t.Errorf("Diverged: %v and %v, want true and false", diverged.Diverged(), away.Diverged())
		}
		e.emit(t, 1)
		wantNext(t, diverged, 11, 11, 0)
	})
}

// TestLostEvents lets the database lose events that were read, as a fail-over may, and
// give their positions to others. A reader that has read lost events is told, and gets all
// that are new; one that has not is not disturbed.
func TestLostEvents(t *testing.T) {
	eachStream(t, 50, func(t *testing.T, e *streamEnv) {
		ahead, behind := e.open(t, outbox.FromNow), e.open(t, outbox.FromNow)
		for range 6 {
			e.h.Advance(time.Second)
			e.emit(t, 2)
		}
		wantNext(t, ahead, 1, 12, 0)
		lose := func(after int64, emit int) {
			t.Helper()
			e.h.Advance(time.Second)
			err := e.h.Store.InTx(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(`DELETE FROM event WHERE last > ?`, after)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			e.n = int(after)
			e.emit(t, emit)
		}
		reset := func(rd *outbox.Reader, left int64) {
			t.Helper()
			for deadline := time.Now().Add(20 * time.Second); ; {
				b, err := rd.Next(t.Context(), 50*time.Millisecond, nil)
				switch {
				case err != nil || len(b.Events) > 0:
					t.Fatalf("got %d events, %v; want a reset first", len(b.Events), err)
				case b.Reset && rd.Pos() == left:
					return
				case b.Reset || time.Now().After(deadline):
					t.Fatalf("reset %v to %d, want a reset to %d", b.Reset, rd.Pos(), left)
				}
			}
		}
		lose(8, 9) // the positions come further than before
		reset(ahead, 8)
		wantNext(t, ahead, 9, 17, 0)
		wantNext(t, behind, 1, 17, 0)
		lose(17, 1)
		wantNext(t, ahead, 18, 18, 0)
		lose(16, 1) // and less far
		reset(ahead, 16)
		wantNext(t, ahead, 17, 17, 0)
	})
}

// hooked calls before in front of the nth View.
type hooked struct {
	sqldb.Driver
	views, n int
	before   func()
}

func (d *hooked) View(ctx context.Context, fn func(c sqldb.Conn) error) error {
	if d.views++; d.views == d.n {
		d.before()
	}
	return d.Driver.View(ctx, fn)
}

// eachSteppedStream is eachStream without the loop: the test calls RunOnce.
func eachSteppedStream(t *testing.T, fn func(t *testing.T, e *streamEnv, d *hooked, lose func(after int64, emit int))) {
	t.Helper()
	storetest.EachDriver(t, func(t *testing.T, drivers *storetest.Drivers) {
		d := &hooked{Driver: drivers.Open(t)}
		h := &storetest.Harness{Store: store.New(d, d)}
		cfg := outbox.StreamConfig{Store: h.Store, Buffer: 50, Log: slog.New(slog.DiscardHandler)}
		e := &streamEnv{Stream: outbox.NewStream(cfg), h: h}
		fn(t, e, d, func(after int64, emit int) {
			t.Helper()
			drivers.Clock.Advance(time.Second)
			err := h.Store.InTx(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(`DELETE FROM event WHERE last > ?`, after)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			e.n = int(after)
			e.emit(t, emit)
		})
	})
}

func (e *streamEnv) step(t *testing.T) {
	t.Helper()
	if err := e.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestEventsLostBetweenTwoReads is a regression test: the loop looked for lost events in
// one snapshot and read new ones, at the same positions, from the next.
func TestEventsLostBetweenTwoReads(t *testing.T) {
	eachSteppedStream(t, func(t *testing.T, e *streamEnv, d *hooked, lose func(after int64, emit int)) {
		rd := e.open(t, 0)
		e.step(t)
		e.emit(t, 12)
		e.step(t)
		wantNext(t, rd, 1, 12, 0)
		d.n, d.before = d.views+2, func() { lose(8, 9) }
		e.step(t)
		e.step(t)
		wantReset(t, rd, 8)
		wantNext(t, rd, 9, 17, 0)
	})
}

// TestEventsLostBeforeTheBuffer is a regression test: of events that the loop had not read
// itself, it took all but the newest for those of before.
func TestEventsLostBeforeTheBuffer(t *testing.T) {
	eachSteppedStream(t, func(t *testing.T, e *streamEnv, _ *hooked, lose func(after int64, emit int)) {
		e.emit(t, 12)
		rd := e.open(t, 0)
		e.step(t)
		wantNext(t, rd, 1, 12, 0)
		lose(8, 9)
		e.step(t)
		wantReset(t, rd, 8)
		wantNext(t, rd, 9, 17, 0)
		e.step(t)
		lose(12, 2)
		e.step(t)
		wantReset(t, rd, 12)
		wantNext(t, rd, 13, 14, 0)
	})
}

func wantReset(t *testing.T, rd *outbox.Reader, left int64) {
	t.Helper()
	b, err := rd.Next(t.Context(), time.Minute, nil)
	if err != nil || !b.Reset || rd.Pos() != left {
		t.Fatalf("got %d events, reset %v to %d, %v; want a reset to %d", len(b.Events), b.Reset, rd.Pos(), err, left)
	}
}

// TestReadersDoNotPassTheLoop is a regression test: a reader that read events before the
// loop did was not told when they were lost, and skipped the new ones.
func TestReadersDoNotPassTheLoop(t *testing.T) {
	eachSteppedStream(t, func(t *testing.T, e *streamEnv, _ *hooked, lose func(after int64, emit int)) {
		rd := e.open(t, 0)
		e.emit(t, 4)
		e.step(t)
		e.emit(t, 2)
		wantNext(t, rd, 1, 4, 0)
		lose(4, 2)
		e.step(t)
		wantNext(t, rd, 5, 6, 0)
	})
}

// TestDamagedEvents damages a row of events. Readers are told how many they miss, whether
// they follow or resume, and get the others.
func TestDamagedEvents(t *testing.T) {
	eachStream(t, 50, func(t *testing.T, e *streamEnv) {
		following, idle := e.open(t, outbox.FromNow), e.open(t, outbox.FromNow)
		e.emit(t, 3)
		wantNext(t, following, 1, 3, 0)
		e.commit(t, 4)
		damage := `UPDATE outbox SET body = ?`
		err := e.h.Store.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(damage, []byte{9, 9, 9})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		e.publish(t)
		e.emit(t, 2)
		wantNext(t, following, 8, 9, 4)
		wantNext(t, idle, 1, 3, 0)
		wantNext(t, idle, 8, 9, 4)
		wantNext(t, e.open(t, 2), 3, 3, 0)
	})
}

// TestNextIsCancelled ends a Next that waits.
func TestNextIsCancelled(t *testing.T) {
	eachStream(t, 50, func(t *testing.T, e *streamEnv) {
		rd := e.open(t, outbox.FromNow)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { _, err := rd.Next(ctx, time.Minute, nil); ended <- err }()
		cancel()
		if err := <-ended; err == nil {
			t.Error("Next returned no error after its context was cancelled")
		}
	})
}
