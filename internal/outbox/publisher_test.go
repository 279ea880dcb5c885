package outbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/outbox"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

func newPublisher(h *storetest.Harness) *outbox.Publisher {
	return &outbox.Publisher{Store: h.Store, Log: slog.New(slog.DiscardHandler)}
}

func commitEvent(t *testing.T, h *storetest.Harness, object string) {
	t.Helper()
	err := h.Store.InTx(t.Context(), func(tx *store.Tx) error {
		tx.Emit(0, hostler.EventQueueUpdated, hostler.ObjectEvent{Object: object})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// published returns the objects of the published events, in order, and checks that
// their positions have no gaps.
func published(t *testing.T, h *storetest.Harness) (objects []string) {
	t.Helper()
	err := h.Store.View(t.Context(), func(tx *store.Tx) error {
		objects = nil
		for pos := int64(0); ; {
			page, err := tx.EventsAfter(pos, 100, 1000, nil)
			if err != nil || page.Last == pos {
				return err
			}
			for i, e := range page.Events {
				if e.Pos != pos+int64(i)+1 {
					t.Errorf("position %d follows %d", e.Pos, pos+int64(i))
				}
				objects = append(objects, e.Object.Object)
			}
			pos = page.Last
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// TestPublishersOfTwoServers runs two publishers while events are committed: each
// event gets one position.
func TestPublishersOfTwoServers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		const events = 200
		ctx, stop := context.WithCancel(t.Context())
		var loops sync.WaitGroup
		for range 2 {
			p := newPublisher(h)
			loops.Go(func() {
				if err := p.Run(ctx); err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		}
		for i := range events {
			commitEvent(t, h, fmt.Sprint(i))
		}
		stop()
		loops.Wait()
		if err := newPublisher(h).RunOnce(t.Context()); err != nil { // what the two had not come to
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, object := range published(t, h) {
			if seen[object] {
				t.Errorf("event %s was published twice", object)
			}
			seen[object] = true
		}
		if len(seen) != events {
			t.Errorf("%d events were published, want %d", len(seen), events)
		}
	})
}
