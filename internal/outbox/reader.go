package outbox

import (
	"context"
	"slices"
	"sort"
	"sync"
	"time"
)

// FromNow is the position of a Reader that skips everything published so far.
const FromNow = -1

// Batch is what a Reader got after its position. It may hold no events.
type Batch struct {
	Page
	// Behind counts the events that are known to be published after Last.
	Behind int64
	// Reset reports that the database lost events that were read, and that the Reader
	// continues after those that remained.
	Reset bool
}

// Reader reads a [Stream] from a position on. It is used by one goroutine.
type Reader struct {
	stream   *Stream
	filter   Filter
	pos      int64
	forks    int // of the stream that the Reader knows of
	diverged bool
	closing  sync.Once
}

// Open returns a Reader of the events after a position, or of those published
// from now on with [FromNow]. The caller closes it.
func (s *Stream) Open(ctx context.Context, after int64, filter Filter) (*Reader, error) {
	head, _, err := s.last(ctx)
	if err != nil {
		return nil, err
	}
	r := &Reader{stream: s, filter: filter, pos: after}
	if after == FromNow {
		r.pos = head
	}
	if r.pos > head { // the database was restored to a state before that event
		r.pos, r.diverged = head, true
	}
	s.mu.Lock()
	s.readers++
	r.forks = len(s.forks)
	s.mu.Unlock()
	select {
	case s.opened <- struct{}{}:
	default: // the loop has not handled the last one yet, and will see both
	}
	return r, nil
}

// Close ends the reading. A second call has no effect.
func (r *Reader) Close() {
	r.closing.Do(func() {
		r.stream.mu.Lock()
		defer r.stream.mu.Unlock()
		r.stream.readers--
	})
}

// Pos returns the position that Next has come to.
func (r *Reader) Pos() int64 { return r.pos }

// Diverged reports whether this database never reached the position that the
// Reader was opened at: it is another database, or was restored from a backup.
func (r *Reader) Diverged() bool { return r.diverged }

// Next returns the events after the position. When there are none, it waits for
// them up to d or until stop is closed, and then returns an empty batch.
func (r *Reader) Next(ctx context.Context, d time.Duration, stop <-chan struct{}) (Batch, error) {
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	for {
		var again <-chan time.Time
		if r.reset() {
			return Batch{Page: Page{Last: r.pos}, Reset: true}, nil
		}
		events, head, moved := r.fromBuffer()
		switch {
		case len(events) > 0:
			return r.moveTo(r.choose(events), head), nil
		case moved == nil:
			p, err := r.stream.Page(ctx, r.pos, batchEvents, r.filter)
			if err != nil || p.Last > r.pos {
				return r.moveTo(p.through(r.pos, head), head), err
			}
			// The position is before head, but the database has nothing after it: it
			// lost events that were read, which the loop has yet to find out.
			again = time.After(pollInterval)
		}
		select {
		case <-moved:
		case <-again:
		case <-timeout.C:
			return Batch{Page: Page{Last: r.pos}}, nil
		case <-stop:
			return Batch{Page: Page{Last: r.pos}}, nil
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

// reset goes back to the newest event that remained, if the database has lost events
// since the last call and the Reader has read some of them.
func (r *Reader) reset() bool {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := s.forks[r.forks:]
	r.forks = len(s.forks)
	if len(lost) == 0 || r.pos <= slices.Min(lost) {
		return false
	}
	r.pos = slices.Min(lost)
	return true
}

// fromBuffer returns the buffered events after the position. It returns a channel
// to wait for when there is nothing new, and neither events nor a channel when the
// events are in the database only.
func (r *Reader) fromBuffer() (events []buffered, head int64, moved <-chan struct{}) {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live || r.pos >= s.head {
		return nil, s.head, s.moved
	}
	if len(s.buffer) == 0 || s.buffer[0].Pos > r.pos+1 {
		return nil, s.head, nil
	}
	first := s.buffered(r.pos)
	return s.buffer[first:min(first+batchScan, len(s.buffer))], s.head, nil
}

// choose returns the page of buffered events that pass the filter.
func (r *Reader) choose(events []buffered) Page {
	p := Page{Last: r.pos}
	for i := range events {
		if missed := events[i].Pos - p.Last - 1; missed > 0 { // damaged events
			if i > 0 {
				break
			}
			p.Missed = missed
		}
		p.Last = events[i].Pos
		if r.filter == nil || r.filter(events[i].stored) {
			p.Events = append(p.Events, events[i].Event)
		}
		if len(p.Events) == batchEvents {
			break
		}
	}
	return p
}

// through returns the part of a page after pos up to head. A Reader does not pass the
// loop, which would not find out that the Reader has read events that were lost.
func (p Page) through(pos, head int64) Page {
	if p.Last <= head {
		return p
	}
	n := sort.Search(len(p.Events), func(i int) bool { return p.Events[i].Pos > head })
	return Page{Events: p.Events[:n], Last: head, Missed: min(p.Missed, head-pos)}
}

// moveTo moves the position to the end of a page.
func (r *Reader) moveTo(p Page, head int64) Batch {
	r.pos = max(r.pos, p.Last)
	return Batch{Page: p, Behind: max(0, head-r.pos)}
}
