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

// steady is how long a connection must have lasted to count as a success, although it
// transferred nothing: proxies close quiet streams from time to time.
const steady = 10 * time.Second

// tail follows a stream of events across connections: when one breaks, it resumes after
// the last position.
type tail struct {
	c      *Client
	path   []string
	query  url.Values
	handle func(ev event) error // advances pos and sets done
	pos    int64
	done   bool
	// endless makes the tail retry without a limit after its first connection: a reader
	// of a stream without an end should survive the restart of a server.
	endless   bool
	connected bool // a connection was made before
	outage    bool // none could be made since the last one broke
}

// run follows the stream until handle sets done, ctx is done, or a retry is useless.
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
		if !transient(err) || fails >= t.c.retries && !t.unlimited() {
			return err
		}
		if err := t.c.pause(ctx, retryIn(&retry, err)); err != nil {
			return err
		}
	}
}

// unlimited reports whether the number of failures in a row does not matter.
func (t *tail) unlimited() bool { return t.endless && t.connected && t.c.retries > 0 }

// noteConnection records whether a connection could be made, and reports the begin and
// the end of an outage. A connection that breaks and is replaced immediately is not an
// outage: proxies close quiet streams.
func (t *tail) noteConnection(err error) {
	switch {
	case err == nil && t.outage:
		t.c.outage(nil)
	case err != nil && t.connected && !t.outage && transient(err):
		t.c.outage(err)
	}
	t.connected = t.connected || err == nil
	t.outage = t.connected && err != nil
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
	t.noteConnection(err)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	events := newEventReader(res.Body)
	for {
		ev, err := events.next()
		if id, perr := strconv.ParseInt(events.lastID, 10, 64); perr == nil && err != nil {
			t.pos = max(t.pos, id) // a heartbeat has a position and no event
		}
		if err != nil {
			return t.c.unreachable(err)
		}
		if ev.name == "error" {
			return problemOf([]byte(ev.data), http.StatusOK)
		}
		if err := t.handle(ev); err != nil || t.done {
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

// transient reports whether the same request is likely to succeed later.
func transient(err error) bool {
	switch hostler.CodeOf(err) {
	case hostler.CodeUnavailable, hostler.CodeTimeout, hostler.CodeRateLimited:
		return true
	default:
		return false
	}
}
