package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"hostler.dev/hostler"
)

// steady is how long a connection must have lived to count as a good one: a
// proxy may cut off a quiet stream now and then.
const steady = 10 * time.Second

// tail follows a stream of events across connections: when one breaks it resumes
// behind the last position.
type tail struct {
	c     *Client
	path  []string
	query url.Values
	take  func(ev event) error // moves pos, sets done
	pos   int64
	done  bool
	// patient goes on for as long as it takes, once a connection has stood: who
	// follows what has no end outlives the restart of a server.
	patient bool
	stood   bool // a connection has
	out     bool // none could be made since the last one broke
}

// run follows until take is done, ctx is, or nothing helps any more.
func (t *tail) run(ctx context.Context) error {
	retry := newBackoff()
	for fails := 0; ; fails++ {
		before, began := t.pos, time.Now()
		err := t.stream(ctx)
		if t.done {
			return nil
		}
		if t.pos != before || time.Since(began) > steady {
			fails = 0
			retry.Reset()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !transient(err) || fails >= t.c.retries && !t.waits() {
			return err
		}
		if err := t.c.pause(ctx, retryIn(&retry, err)); err != nil {
			return err
		}
	}
}

// waits reports whether failures in a row do not matter.
func (t *tail) waits() bool { return t.patient && t.stood && t.c.retries > 0 }

// connected notes whether a connection could be made, and tells of an outage. One
// that broke and is replaced at once is none: proxies cut off quiet streams.
func (t *tail) connected(err error) {
	switch {
	case err == nil && t.out:
		t.c.outage(nil)
	case err != nil && t.stood && !t.out && transient(err):
		t.c.outage(err)
	}
	t.stood = t.stood || err == nil
	t.out = t.stood && err != nil
}

// stream follows one connection until it ends or breaks.
func (t *tail) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	header := http.Header{"Accept": {"text/event-stream"}}
	if t.pos >= 0 {
		pos := strconv.FormatInt(t.pos, 10)
		t.query.Set("after", pos)
		header.Set("Last-Event-Id", pos)
	} else {
		t.query.Del("after")
	}
	res, err := t.c.send(ctx, call{
		method: http.MethodGet, path: t.path, query: t.query, header: header,
	}, nil)
	t.connected(err)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	events := newEventReader(res.Body)
	for {
		ev, err := events.next()
		if id, perr := strconv.ParseInt(events.lastID, 10, 64); perr == nil && err != nil {
			t.pos = max(t.pos, id) // a position may come without an event
		}
		if err != nil {
			return t.c.unreachable(err)
		}
		if ev.name == "error" {
			return problemOf([]byte(ev.data), http.StatusOK)
		}
		if err := t.take(ev); err != nil || t.done {
			return err
		}
	}
}

func decodeEvent(ev event, out any) error {
	if err := json.Unmarshal([]byte(ev.data), out); err != nil {
		return notHostler(http.StatusOK, err)
	}
	return nil
}

// transient reports whether the same request may well succeed later.
func transient(err error) bool {
	switch hostler.CodeOf(err) {
	case hostler.CodeUnavailable, hostler.CodeTimeout, hostler.CodeRateLimited:
		return true
	default:
		return false
	}
}
