package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"
	"strings"

	"hostler.dev/hostler"
)

func eventQuery(q hostler.EventFilter) url.Values {
	v := url.Values{}
	for key, value := range map[string]string{
		"type": strings.Join(q.Types, ","), "action": q.Action, "queue": q.Queue, "asset": q.Asset,
		"run": q.Run.String(), "job": q.Job.String(),
	} {
		if value != "" {
			v.Set(key, value)
		}
	}
	return v
}

// EventsFromNow is the position of a reader that wants only new events.
const EventsFromNow = -1

// EventStep is an event, or the number of events that were missed.
type EventStep struct {
	Event hostler.Event
	// Missed is the number of events that are no longer stored, -1 when it is unknown
	// because the position is not one of this database. Event is then empty.
	Missed int64
}

// Events streams the events after a position: 0 for all stored ones, or EventsFromNow.
// The caller only receives events of objects that it may read. A broken connection is
// resumed where it was, without a limit of time. The stream ends with ctx, with an error
// that no retry can solve, or when the first connection fails.
func (c *Client) Events(ctx context.Context, q hostler.EventFilter, after int64) iter.Seq2[EventStep, error] {
	return func(yield func(EventStep, error) bool) {
		t := tail{c: c, pos: after, path: []string{"events"}, query: eventQuery(q), endless: true}
		t.handle = func(ev event) error {
			if ev.name == "gap" {
				var gap hostler.EventGap
				if err := decodeEvent(ev, &gap); err != nil {
					return err
				}
				if gap.Reset {
					gap.Missed, t.pos = -1, EventsFromNow
				}
				t.done = !yield(EventStep{Missed: gap.Missed}, nil)
				return nil
			}
			var e hostler.Event
			if err := decodeEvent(ev, &e); err != nil || e.Pos <= t.pos {
				return err
			}
			t.pos = e.Pos
			t.done = !yield(EventStep{Event: e}, nil)
			return nil
		}
		if err := t.run(ctx); err != nil {
			yield(EventStep{}, err)
		}
	}
}

// StoredEvents lists the stored events after a position, oldest first.
func (c *Client) StoredEvents(ctx context.Context, q hostler.EventFilter, after int64) iter.Seq2[EventStep, error] {
	return func(yield func(EventStep, error) bool) {
		v := eventQuery(q)
		v.Set("format", "json")
		v.Set("limit", "1000")
		for next := strconv.FormatInt(max(0, after), 10); next != ""; {
			v.Set("after", next)
			l, err := get[hostler.List[hostler.Event]](ctx, c, v, "events")
			if err != nil {
				yield(EventStep{}, err)
				return
			}
			for _, e := range l.Items {
				if !yield(EventStep{Event: e}, nil) {
					return
				}
			}
			next = l.Next
		}
	}
}

// EventTypes lists the types of event.
func (c *Client) EventTypes(ctx context.Context) ([]hostler.EventInfo, error) {
	l, err := get[hostler.List[hostler.EventInfo]](ctx, c, nil, "event-types")
	return l.Items, err
}
