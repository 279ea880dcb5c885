package outbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/outbox"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/sqlite"
)

// A transaction emits an event; after the commit the Publisher gives it a
// position, and the Reader of a Stream returns it.
func Example() {
	dir, err := os.MkdirTemp("", "outbox-example-")
	check(err)
	defer func() { _ = os.RemoveAll(dir) }()
	db, err := sqlite.Open(filepath.Join(dir, "hostler.db"), sqlite.Options{})
	check(err)
	defer func() { _ = db.Close() }()
	st := store.New(db, db)
	log := slog.New(slog.DiscardHandler)

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	var loops errgroup.Group
	defer func() {
		cancel()
		check(loops.Wait())
	}()
	publisher := &outbox.Publisher{Store: st, Log: log}
	stream := outbox.NewStream(outbox.StreamConfig{Store: st, Log: log})
	loops.Go(func() error { return publisher.Run(ctx) })
	loops.Go(func() error { return stream.Run(ctx) })

	onlyPauses := func(e *store.Event) bool { return e.Type == hostler.EventQueuePaused }
	reader, err := stream.Open(ctx, outbox.FromNow, onlyPauses)
	check(err)
	defer reader.Close()

	check(st.InTx(ctx, func(tx *store.Tx) error {
		tx.Emit(0, hostler.EventQueueUpdated, hostler.ObjectEvent{Object: "night"})
		tx.Emit(0, hostler.EventQueuePaused, hostler.ObjectEvent{Object: "night", By: "li"})
		return nil
	}))

	for reader.Pos() < 2 {
		batch, err := reader.Next(ctx, time.Second, nil)
		check(err)
		for _, e := range batch.Events {
			fmt.Println("position", e.Pos)
			fmt.Println(string(e.Frame[:len("id: 2\nevent: queue.paused")]))
		}
	}
	// Output:
	// position 2
	// id: 2
	// event: queue.paused
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
