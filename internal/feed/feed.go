// Package feed is the live stream of events: it follows what is published in the
// database and hands it to any number of readers of this server.
//
// Model: one loop, which runs while there are readers, reads new events once,
// renders each once, and keeps the newest in memory. A Reader is a position: it
// pulls what is behind it from memory, or page by page from the database when it
// resumes further back. So a slow reader holds up nobody and costs no memory.
//
// Invariant: a Reader gets each event behind its position once, in the order of
// positions, or is told how many are no longer kept.
package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// Config is what a Feed needs.
type Config struct {
	Store *store.Store
	// Keep is how many events stay in memory while anybody reads; 0 means 16,384.
	Keep int
	Log  *slog.Logger
}

const (
	defaultKeep = 16_384
	// loopRows is how many rows of events the loop reads at once, readerRows a
	// Reader that resumes: a row holds up to a thousand events.
	loopRows   = 64
	readerRows = 8
	// batchItems bounds what one call of Next returns from memory.
	batchItems = 1024
	// look is how often the loop reads without being woken.
	look = time.Second
)

// Item is one event, and what it looks like on the wire.
type Item struct {
	*store.Event
	Frame []byte // of a text/event-stream
	json  int    // where the event as JSON begins in it
}

// JSON is the event as a hostler.Event.
func (i Item) JSON() json.RawMessage { return json.RawMessage(i.Frame[i.json : len(i.Frame)-2]) }

// Batch is what came behind a Reader's position.
type Batch struct {
	Items []Item
	// Missed is how many events before Items are no longer kept.
	Missed int64
	// Behind is how many published events are known to be behind Items.
	Behind int64
}

// Feed is the stream of one server.
type Feed struct {
	cfg   Config
	first chan struct{} // there are readers

	mu      sync.Mutex // guards what follows
	readers int
	live    bool // the loop keeps items up to date
	items   []Item
	head    int64         // the newest position that was read
	changed chan struct{} // closed, and replaced, when head has moved
	names   map[hostler.ProjectID]string
}

// New makes a Feed. It reads nothing before Run.
func New(cfg Config) *Feed {
	if cfg.Keep == 0 {
		cfg.Keep = defaultKeep
	}
	return &Feed{
		cfg: cfg, first: make(chan struct{}, 1), changed: make(chan struct{}),
		names: map[hostler.ProjectID]string{},
	}
}

// Run follows the database whenever there are readers, until ctx is done.
func (f *Feed) Run(ctx context.Context) error {
	woken, stop := f.cfg.Store.Woken(store.TopicEvents)
	defer stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if !f.wanted() {
			select {
			case <-ctx.Done():
				return nil
			case <-f.first:
			}
		}
		if err := f.catchUp(ctx); err != nil && ctx.Err() == nil {
			f.cfg.Log.ErrorContext(ctx, "events could not be read; trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-woken:
		case <-tick.C:
		case <-f.first:
		}
	}
}

// wanted says whether anybody reads. When nobody does, it forgets everything.
func (f *Feed) wanted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers == 0 {
		f.live, f.items = false, nil
	}
	return f.readers > 0
}

// catchUp reads what is new.
func (f *Feed) catchUp(ctx context.Context) error {
	f.mu.Lock()
	live, pos := f.live, f.head
	f.mu.Unlock()
	if !live {
		head, err := f.last(ctx)
		if err != nil {
			return err
		}
		f.advance(nil, head)
		return nil
	}
	for {
		items, err := f.page(ctx, pos, loopRows)
		if err != nil || len(items) == 0 {
			return err
		}
		pos = items[len(items)-1].Pos
		f.advance(items, pos)
	}
}

// advance adds new items and wakes the readers.
func (f *Feed) advance(items []Item, head int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live, f.head = true, head
	f.items = append(f.items, items...)
	if over := len(f.items) - f.cfg.Keep; over > 0 {
		// Readers may hold parts of the old array: it is left as it is.
		f.items = append(make([]Item, 0, f.cfg.Keep+batchItems), f.items[over+f.cfg.Keep/4:]...)
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *Feed) last(ctx context.Context) (pos int64, err error) {
	err = f.cfg.Store.View(ctx, func(tx *store.Tx) error {
		pos, err = tx.LastEvent()
		return err
	})
	return pos, err
}

// page reads and renders the events behind a position.
func (f *Feed) page(ctx context.Context, pos int64, rows int) ([]Item, error) {
	var events []store.Event
	err := f.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if events, err = tx.EventsAfter(pos, rows); err != nil {
			return err
		}
		return f.learn(tx, events)
	})
	if err != nil {
		return nil, err
	}
	items := make([]Item, len(events))
	for i := range events {
		if items[i], err = f.render(&events[i]); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// learn reads the names of projects that it does not know.
func (f *Feed) learn(tx *store.Tx, events []store.Event) error {
	f.mu.Lock()
	var unknown []hostler.ProjectID
	for i := range events {
		if p := events[i].Project; p != 0 && f.names[p] == "" && !slices.Contains(unknown, p) {
			unknown = append(unknown, p)
		}
	}
	f.mu.Unlock()
	if len(unknown) == 0 {
		return nil
	}
	projects, err := tx.Projects(unknown, false, "", len(unknown))
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range projects {
		f.names[p.ID] = p.Name
	}
	return err
}

func (f *Feed) render(e *store.Event) (Item, error) {
	data, err := e.Data()
	if err != nil {
		return Item{}, fmt.Errorf("render event %d: %w", e.Pos, err)
	}
	f.mu.Lock()
	project := f.names[e.Project]
	f.mu.Unlock()
	text, err := json.Marshal(hostler.Event{Pos: e.Pos, Type: e.Type, At: e.At, Project: project, Data: data})
	if err != nil {
		return Item{}, fmt.Errorf("render event %d: %w", e.Pos, err)
	}
	head := fmt.Sprintf("id: %d\nevent: %s\ndata: ", e.Pos, e.Type)
	return Item{Event: e, Frame: slices.Concat([]byte(head), text, []byte("\n\n")), json: len(head)}, nil
}

// Page reads events behind a position without waiting; none at the end.
func (f *Feed) Page(ctx context.Context, pos int64) ([]Item, error) {
	return f.page(ctx, pos, readerRows)
}

// Reader reads the stream from a position on. It is used by one goroutine.
type Reader struct {
	feed *Feed
	pos  int64
	lost bool // the position is of another history
	end  sync.Once
}

// Now is the position of a Reader that wants only what is still to come.
const Now = -1

// Open starts to read behind a position, or at Now. Close ends it.
func (f *Feed) Open(ctx context.Context, after int64) (*Reader, error) {
	head, err := f.last(ctx)
	if err != nil {
		return nil, err
	}
	r := &Reader{feed: f, pos: after}
	if after == Now {
		r.pos = head
	}
	if r.pos > head {
		// The database was restored from before that event.
		r.pos, r.lost = head, true
	}
	f.mu.Lock()
	f.readers++
	f.mu.Unlock()
	select {
	case f.first <- struct{}{}:
	default:
	}
	return r, nil
}

// Close ends the reading. It may be called again.
func (r *Reader) Close() {
	r.end.Do(func() {
		r.feed.mu.Lock()
		defer r.feed.mu.Unlock()
		r.feed.readers--
	})
}

// Pos is the position of the last event that Next has returned.
func (r *Reader) Pos() int64 { return r.pos }

// Lost reports whether the position that the Reader was opened at was never
// reached by this database: it is another one, or an older state of it.
func (r *Reader) Lost() bool { return r.lost }

// Next waits for events behind the position and returns some of them.
func (r *Reader) Next(ctx context.Context) (Batch, error) {
	for {
		b, wait := r.fromMemory()
		switch {
		case wait != nil:
			select {
			case <-wait:
			case <-ctx.Done():
				return Batch{}, ctx.Err()
			}
		case len(b.Items) > 0:
			return r.took(b), nil
		default:
			items, err := r.feed.page(ctx, r.pos, readerRows)
			if err != nil {
				return Batch{}, err
			}
			if len(items) > 0 {
				b.Items = items
				return r.took(b), nil
			}
		}
	}
}

// fromMemory returns what is in memory behind the position, or what to wait for
// when nothing is new; neither when the database has it.
func (r *Reader) fromMemory() (b Batch, wait <-chan struct{}) {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.live || r.pos >= f.head {
		return b, f.changed
	}
	b.Behind = f.head - r.pos
	if len(f.items) == 0 || f.items[0].Pos > r.pos+1 {
		return b, nil
	}
	at := int(r.pos + 1 - f.items[0].Pos)
	b.Items = f.items[at:min(at+batchItems, len(f.items))]
	return b, nil
}

// took moves the position behind a batch.
func (r *Reader) took(b Batch) Batch {
	b.Missed = b.Items[0].Pos - r.pos - 1
	last := b.Items[len(b.Items)-1].Pos
	b.Behind = max(0, b.Behind-(last-r.pos))
	r.pos = last
	return b
}
