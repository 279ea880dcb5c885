package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// StreamConfig is what a [Stream] needs.
type StreamConfig struct {
	Store *store.Store
	// Buffer is how many events stay in memory while there are readers; 0 means
	// 16,384.
	Buffer int
	Log    *slog.Logger
}

const (
	defaultBuffer = 16_384
	// loopRows and loopEvents bound what the loop reads at once, readerRows what a
	// Reader that resumes scans at once: a row holds up to a thousand events.
	loopRows   = 64
	loopEvents = 4096
	readerRows = 8
	// batchEvents bounds the batch of a Reader, which it holds while its client is
	// slow; batchScan bounds the buffered events that it filters for one batch.
	batchEvents = 256
	batchScan   = 4096
	// pollInterval is how often the loop reads without a notification.
	pollInterval = time.Second
)

// Filter reports whether a Reader wants an event; nil wants every event.
type Filter func(e *store.Event) bool

// Event is a published event as clients get it.
type Event struct {
	Pos   int64
	Frame []byte // of a text/event-stream
	json  int    // offset of the JSON in Frame
}

// JSON returns the event as the JSON of a [hostler.Event].
func (e Event) JSON() json.RawMessage { return json.RawMessage(e.Frame[e.json : len(e.Frame)-2]) }

// Page is a part of the events after a position.
type Page struct {
	Events []Event
	// Last is the position of the last event that was read, whether it passed the
	// filter or not: the position to continue from.
	Last int64
	// Missed counts the events right after the position that were deleted by
	// retention, or are damaged.
	Missed int64
}

// buffered is an event in memory: rendered for clients, and as filters need it.
type buffered struct {
	Event
	stored *store.Event
}

// Stream follows the published events of a database for the readers of one server.
type Stream struct {
	cfg    StreamConfig
	opened chan struct{} // receives after a Reader was opened

	mu      sync.Mutex // guards what follows
	readers int
	live    bool // buffer holds every event up to head that it has room for
	buffer  []buffered
	head    int64         // position of the newest event that was read
	headAt  time.Time     // of that event; zero when it is not known
	moved   chan struct{} // closed, and replaced, when head has moved
	names   map[hostler.ProjectID]string
	// forks are the positions up to which the events of before remained, each time that
	// the database lost some.
	forks []int64
}

// NewStream returns a Stream. It reads nothing before [Stream.Run].
func NewStream(cfg StreamConfig) *Stream {
	if cfg.Buffer == 0 {
		cfg.Buffer = defaultBuffer
	}
	return &Stream{
		cfg: cfg, opened: make(chan struct{}, 1), moved: make(chan struct{}),
		names: map[hostler.ProjectID]string{},
	}
}

// Run follows the database while there are readers, until ctx is done.
func (s *Stream) Run(ctx context.Context) error {
	notified, stop := s.cfg.Store.Subscribe(store.TopicEvents)
	defer stop()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		if !s.active() {
			select {
			case <-ctx.Done():
				return nil
			case <-s.opened:
			}
		}
		if err := s.runOnce(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.ErrorContext(ctx, "read events; will retry", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-notified:
		case <-poll.C:
		case <-s.opened:
		}
	}
}

// active reports whether there are readers. Without any it empties the buffer,
// which is not updated from then on.
func (s *Stream) active() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers == 0 {
		s.live, s.buffer = false, nil
	}
	return s.readers > 0
}

// runOnce reads the events that are new since the last call. The first call for a
// first reader only finds the newest position.
func (s *Stream) runOnce(ctx context.Context) error {
	s.mu.Lock()
	live, pos, at := s.live, s.head, s.headAt
	s.mu.Unlock()
	if !live {
		head, at, err := s.last(ctx)
		if err != nil {
			return err
		}
		s.advance(nil, head, at)
		return nil
	}
	for {
		page, events, err := s.read(ctx, pos, loopRows, loopEvents, nil, func(tx *store.Tx) error {
			if same, err := sameEvent(tx, pos, at); err != nil || same {
				return err
			}
			return errForked
		})
		if errors.Is(err, errForked) {
			if pos, at, err = s.goBack(ctx, pos, at); err != nil {
				return err
			}
			continue
		}
		if err != nil || page.Last == pos {
			return err
		}
		pos, at = page.Last, time.Time{}
		added := make([]buffered, len(events))
		for i := range events {
			added[i] = buffered{events[i], &page.Events[i]}
			at = page.Events[i].At
		}
		s.advance(added, pos, at)
	}
}

// advance appends events to the buffer, moves head, and notifies the readers.
func (s *Stream) advance(events []buffered, head int64, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live, s.head, s.headAt = true, head, at
	s.buffer = append(s.buffer, events...)
	if excess := len(s.buffer) - s.cfg.Buffer; excess > 0 {
		// Readers may hold slices of the old array, so the rest is copied to a new
		// one; a quarter more than necessary is dropped, so that this is rare.
		kept := s.buffer[excess+s.cfg.Buffer/4:]
		s.buffer = append(make([]buffered, 0, s.cfg.Buffer+loopEvents), kept...)
	}
	s.notify()
}

// notify notifies the readers that wait. s.mu is held.
func (s *Stream) notify() {
	close(s.moved)
	s.moved = make(chan struct{})
}

// errForked reports that the database no longer has the event that was read last. Only
// the snapshot from which the next events are read can tell: their positions may be
// those of lost ones.
var errForked = errors.New("the event that was read last is lost")

// goBack goes back to the newest event that remained, and the readers with it. A database
// that fails over to a standby may lose the newest events, and their positions are then
// given again.
func (s *Stream) goBack(ctx context.Context, head int64, at time.Time) (int64, time.Time, error) {
	var fork int64
	var same bool
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if same, err = sameEvent(tx, head, at); err == nil && !same {
			fork, err = s.findFork(tx, head, at)
		}
		return err
	})
	if err != nil || same {
		return head, at, err
	}
	s.cfg.Log.WarnContext(ctx, "the database lost events that were read; readers are told", "head", head, "left", fork)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buffer = slices.Clip(s.buffer[:s.buffered(fork)]) // readers may hold slices of the array
	s.head, s.headAt = fork, time.Time{}
	if n := len(s.buffer); n > 0 {
		s.headAt = s.buffer[n-1].stored.At
	}
	s.forks = append(s.forks, fork)
	s.notify()
	return s.head, s.headAt, nil
}

// sameEvent reports whether an event that was read may still be there.
func sameEvent(tx *store.Tx, pos int64, at time.Time) (bool, error) {
	now, lost, err := tx.EventTime(pos)
	return !lost && (at.IsZero() || now.IsZero() || now.Equal(at)), err
}

// findFork returns the position of the newest event that was read and is still there, as
// far as the buffer tells. Before the buffer it is found by the times of the events.
func (s *Stream) findFork(tx *store.Tx, head int64, at time.Time) (int64, error) {
	s.mu.Lock()
	buffer := s.buffer // of which only this loop changes elements
	s.mu.Unlock()
	last, err := tx.LastEvent()
	if err != nil {
		return 0, err
	}
	n := sort.Search(len(buffer), func(i int) bool {
		if err != nil {
			return true
		}
		var same bool
		same, err = sameEvent(tx, buffer[i].Pos, buffer[i].stored.At)
		return !same
	})
	switch {
	case err != nil:
		return 0, err
	case n > 0:
		return buffer[n-1].Pos, nil
	case len(buffer) > 0:
		return olderThan(tx, min(last, buffer[0].Pos-1), buffer[0].stored.At)
	default:
		return olderThan(tx, min(last, head-1), at)
	}
}

// olderThan returns the newest position up to most whose event is not newer than one that
// was lost: those that were given the positions of lost events are newer.
func olderThan(tx *store.Tx, most int64, lost time.Time) (pos int64, err error) {
	if lost.IsZero() {
		return most, nil
	}
	n := sort.Search(int(most), func(i int) bool {
		if err != nil {
			return true
		}
		var at time.Time
		at, _, err = tx.EventTime(int64(i) + 1)
		return at.After(lost)
	})
	return int64(n), err
}

// buffered returns how many buffered events are at or before a position. s.mu is held.
func (s *Stream) buffered(pos int64) int {
	return sort.Search(len(s.buffer), func(i int) bool { return s.buffer[i].Pos > pos })
}

// last returns the position of the newest event in the database, and its time.
func (s *Stream) last(ctx context.Context) (pos int64, at time.Time, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		if pos, err = tx.LastEvent(); err == nil {
			at, _, err = tx.EventTime(pos)
		}
		return err
	})
	return pos, at, err
}

// read reads and renders events; see [store.Tx.EventsAfter] for the bounds. An error of
// check, which sees the same snapshot, is returned instead.
func (s *Stream) read(
	ctx context.Context, pos int64, rows, limit int, filter Filter, check func(*store.Tx) error,
) (page store.EventPage, events []Event, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if check != nil {
			if err := check(tx); err != nil {
				return err
			}
		}
		if page, err = tx.EventsAfter(pos, rows, limit, filter); err != nil {
			return err
		}
		return s.loadNames(tx, page.Events)
	})
	if err != nil {
		return page, nil, err
	}
	events = make([]Event, len(page.Events))
	for i := range page.Events {
		if events[i], err = s.render(&page.Events[i]); err != nil {
			return page, nil, err
		}
	}
	return page, events, nil
}

// loadNames reads the names of the events' projects that are not in memory yet.
// Projects are not renamed, so that a name is read once.
func (s *Stream) loadNames(tx *store.Tx, events []store.Event) error {
	s.mu.Lock()
	var missing []hostler.ProjectID
	for i := range events {
		if p := events[i].Project; p != 0 && s.names[p] == "" && !slices.Contains(missing, p) {
			missing = append(missing, p)
		}
	}
	s.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	projects, err := tx.Projects(missing, false, "", len(missing))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range projects {
		s.names[p.ID] = p.Name
	}
	return err
}

// render makes the frame of an event:
//
//	id: 4711
//	event: job.succeeded
//	data: {"pos":4711,"type":"job.succeeded", …}
func (s *Stream) render(e *store.Event) (Event, error) {
	data, err := e.Data()
	if err != nil {
		return Event{}, fmt.Errorf("render event %d: %w", e.Pos, err)
	}
	s.mu.Lock()
	project := s.names[e.Project]
	s.mu.Unlock()
	text, err := json.Marshal(hostler.Event{Pos: e.Pos, Type: e.Type, At: e.At, Project: project, Data: data})
	if err != nil {
		return Event{}, fmt.Errorf("render event %d: %w", e.Pos, err)
	}
	head := fmt.Sprintf("id: %d\nevent: %s\ndata: ", e.Pos, e.Type)
	frame := slices.Concat([]byte(head), text, []byte("\n\n"))
	return Event{Pos: e.Pos, Frame: frame, json: len(head)}, nil
}

// Page returns up to limit events after a position, without waiting for any. Its
// scan is bounded, so that it may return none and still have moved Last; at the
// newest event Last equals pos.
func (s *Stream) Page(ctx context.Context, pos int64, limit int, filter Filter) (Page, error) {
	page, events, err := s.read(ctx, pos, readerRows, limit, filter, nil)
	return Page{Events: events, Last: page.Last, Missed: page.Missed}, err
}
