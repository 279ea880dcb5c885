// Package feed is the live stream of events: it follows what is published in the
// database and hands it to any number of readers of this server.
//
// Model: one loop, which runs while there are readers, reads new events once,
// renders each once, and keeps the newest in memory. A Reader is a position and a
// wish: it pulls what it wants behind the position from memory, or page by page
// from the database when it resumes further back. So a slow reader holds up nobody,
// and costs no more memory than one small batch.
//
// Invariant: a Reader gets each event that it wants behind its position once, in
// the order of positions, or is told how many are no longer kept.
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
	// loopRows and loopItems are how much the loop reads at once, readerRows what a
	// Reader that resumes looks through: a row holds up to a thousand events.
	loopRows   = 64
	loopItems  = 4096
	readerRows = 8
	// batchItems bounds what a Reader gets at once, and holds while its client is
	// slow; batchLook how many events in memory it looks through for that.
	batchItems = 256
	batchLook  = 4096
	// look is how often the loop reads without being woken.
	look = time.Second
)

// Want says which events a Reader wants.
type Want func(e *store.Event) bool

// Item is one event, and what it looks like on the wire.
type Item struct {
	Pos   int64
	Frame []byte // of a text/event-stream
	json  int    // where the event as JSON begins in it
}

// JSON is the event as a hostler.Event.
func (i Item) JSON() json.RawMessage { return json.RawMessage(i.Frame[i.json : len(i.Frame)-2]) }

// Page is what is wanted behind a position.
type Page struct {
	Items []Item
	// Last is the position up to which was looked: where to go on.
	Last int64
	// Missed is how many events right behind the position are no longer kept.
	Missed int64
}

// Batch is what came behind a Reader's position. It may be empty.
type Batch struct {
	Page
	// Behind is how many published events are known to be behind Last.
	Behind int64
}

// kept is an event in memory.
type kept struct {
	Item
	event *store.Event
}

// Feed is the stream of one server.
type Feed struct {
	cfg   Config
	first chan struct{} // there are readers

	mu      sync.Mutex // guards what follows
	readers int
	live    bool // the loop keeps items up to date
	items   []kept
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
	woken, stop := f.cfg.Store.Subscribe(store.TopicEvents)
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
		page, items, err := f.read(ctx, pos, loopRows, loopItems, nil)
		if err != nil || page.Last == pos {
			return err
		}
		pos = page.Last
		add := make([]kept, len(items))
		for i := range items {
			add[i] = kept{items[i], &page.Events[i]}
		}
		f.advance(add, pos)
	}
}

// advance adds new items and wakes the readers.
func (f *Feed) advance(items []kept, head int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live, f.head = true, head
	f.items = append(f.items, items...)
	if over := len(f.items) - f.cfg.Keep; over > 0 {
		// Readers may hold parts of the old array: it is left as it is.
		f.items = append(make([]kept, 0, f.cfg.Keep+loopItems), f.items[over+f.cfg.Keep/4:]...)
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

// read reads and renders events; see store.Tx.EventsAfter.
func (f *Feed) read(ctx context.Context, pos int64, rows, limit int, want Want) (page store.EventPage, items []Item, err error) {
	err = f.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if page, err = tx.EventsAfter(pos, rows, limit, want); err != nil {
			return err
		}
		return f.learn(tx, page.Events)
	})
	if err != nil {
		return page, nil, err
	}
	items = make([]Item, len(page.Events))
	for i := range page.Events {
		if items[i], err = f.render(&page.Events[i]); err != nil {
			return page, nil, err
		}
	}
	return page, items, nil
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
	return Item{Pos: e.Pos, Frame: slices.Concat([]byte(head), text, []byte("\n\n")), json: len(head)}, nil
}

// Page looks for up to limit events behind a position without waiting. Last does
// not move at the end.
func (f *Feed) Page(ctx context.Context, pos int64, limit int, want Want) (Page, error) {
	page, items, err := f.read(ctx, pos, readerRows, limit, want)
	return Page{Items: items, Last: page.Last, Missed: page.Missed}, err
}

// Reader reads the stream from a position on. It is used by one goroutine.
type Reader struct {
	feed *Feed
	want Want
	pos  int64
	lost bool // the position is of another history
	end  sync.Once
}

// Now is the position of a Reader that wants only what is still to come.
const Now = -1

// Open starts to read what is wanted behind a position, or at Now. Close ends it.
func (f *Feed) Open(ctx context.Context, after int64, want Want) (*Reader, error) {
	head, err := f.last(ctx)
	if err != nil {
		return nil, err
	}
	r := &Reader{feed: f, want: want, pos: after}
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

// Pos is the position that Next has come to.
func (r *Reader) Pos() int64 { return r.pos }

// Lost reports whether the position that the Reader was opened at was never
// reached by this database: it is another one, or an older state of it.
func (r *Reader) Lost() bool { return r.lost }

// Next looks for events behind the position, and waits up to patience for the
// first one.
func (r *Reader) Next(ctx context.Context, patience time.Duration) (Batch, error) {
	t := time.NewTimer(patience)
	defer t.Stop()
	for {
		items, head, changed := r.inMemory()
		switch {
		case len(items) > 0:
			return r.took(r.choose(items), head), nil
		case changed == nil:
			p, err := r.feed.Page(ctx, r.pos, batchItems, r.want)
			if err != nil || p.Last > r.pos {
				return r.took(p, head), err
			}
			// The database has lost what was read, as a standby may that took
			// over: there is nothing to wait for but its next events.
		}
		select {
		case <-changed:
		case <-t.C:
			return Batch{Page: Page{Last: r.pos}}, nil
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

// inMemory returns what is in memory behind the position. When nothing is new, it
// returns what to wait for; when neither, the database has it.
func (r *Reader) inMemory() (items []kept, head int64, changed <-chan struct{}) {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.live || r.pos >= f.head {
		return nil, f.head, f.changed
	}
	if len(f.items) == 0 || f.items[0].Pos > r.pos+1 {
		return nil, f.head, nil
	}
	at := int(r.pos + 1 - f.items[0].Pos)
	return f.items[at:min(at+batchLook, len(f.items))], f.head, nil
}

// choose takes what is wanted of what is in memory.
func (r *Reader) choose(items []kept) Page {
	var p Page
	for i := range items {
		p.Last = items[i].Pos
		if r.want == nil || r.want(items[i].event) {
			p.Items = append(p.Items, items[i].Item)
		}
		if len(p.Items) == batchItems {
			break
		}
	}
	return p
}

// took moves the position behind a page.
func (r *Reader) took(p Page, head int64) Batch {
	r.pos = max(r.pos, p.Last)
	return Batch{Page: p, Behind: max(0, head-r.pos)}
}
