package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"hostler.dev/hostler/internal/wait"
)

const (
	// heartbeat keeps proxies from closing a quiet stream, and detects a client that
	// has disconnected.
	heartbeat = 15 * time.Second
	// RenewEvery is how often the key of a stream is authenticated again. A stream ends within
	// a second of the revocation of its key, also on another server: servers cache keys
	// for the other half of that second.
	RenewEvery = 500 * time.Millisecond
)

// Writer writes an answer piece by piece, each with a deadline of its own, so that
// the answer may take for ever but a client that does not read is disconnected.
type Writer struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	wait   time.Duration // for each piece
	paced  bool          // see NewExport
	sent   int64         // bytes
	waited time.Duration // for the client
	failed bool
}

// NewWriter returns a writer for the answer to the call.
func (c *Call) NewWriter(w http.ResponseWriter) *Writer {
	c.answer.hold()
	return &Writer{w: w, rc: http.NewResponseController(w), wait: c.core.cfg.StreamWait}
}

// NewExport is NewWriter for an answer that holds a share of what all users have, such as
// memory for lists, until it has been read: the client must also read at least at the
// rate at which a body must arrive.
func (c *Call) NewExport(w http.ResponseWriter) *Writer {
	s := c.NewWriter(w)
	s.paced = true
	return s
}

// Write writes one piece. After an error it writes nothing.
func (s *Writer) Write(b []byte) (int, error) {
	if s.failed {
		return 0, http.ErrAbortHandler
	}
	began := time.Now()
	wait := s.wait
	if s.paced {
		wait = min(wait, bodyGrace+time.Duration(s.sent)*time.Second/leastRate-s.waited)
	}
	_ = s.rc.SetWriteDeadline(began.Add(wait)) // the recorder of a test has none
	n, err := s.w.Write(b)
	s.sent += int64(n)
	s.waited += time.Since(began)
	s.failed = err != nil
	return n, err
}

// WriteText writes one piece of text; see Flush for a failure.
func (s *Writer) WriteText(text string) { _, _ = s.Write([]byte(text)) }

// Flush sends what was written. It reports false when the client no longer reads.
func (s *Writer) Flush() bool {
	if s.failed {
		return false
	}
	began := time.Now()
	s.failed = s.rc.Flush() != nil
	s.waited += time.Since(began)
	return !s.failed
}

// EventStream is an answer of server-sent events (the HTML standard, section 9.2). It
// belongs to one goroutine.
type EventStream struct {
	*Writer
	call    *Call
	sent    time.Time // when something was last sent
	renewed time.Time // when the key was last authenticated
	watch   *watch
}

// NewEventStream begins an answer of server-sent events; id is the position from
// which a client resumes that disconnects before the first event, "" for none.
func (c *Call) NewEventStream(w http.ResponseWriter, id string) *EventStream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would buffer events
	s := &EventStream{Writer: c.NewWriter(w), call: c, sent: time.Now(), renewed: time.Now()}
	key, project := keyAndProject(c.Request, c.dialect)
	var leave func()
	s.watch, leave = c.core.watches.join(c.Request.Context(), watchedKey{key, project}, c.Caller)
	c.answer.onFinish(leave)
	s.WriteText("retry: 1000\n")
	if id != "" {
		s.WriteText("id: " + id + "\n")
	}
	s.WriteText("\n")
	return s
}

// Event writes an event; id is its position, "" for none.
func (s *EventStream) Event(name, id string, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		s.call.core.cfg.Log.Error("an event cannot be encoded", "event", name, "error", err)
		return
	}
	s.WriteText("event: " + name + "\n")
	if id != "" {
		s.WriteText("id: " + id + "\n")
	}
	s.WriteText("data: " + string(b) + "\n\n")
}

// Fail writes the event "error" with the problem for which the stream ends.
func (s *EventStream) Fail(err error) {
	s.Event("error", "", s.call.problem(err))
	s.Flush()
}

// Sent notes that something was written, which postpones the next heartbeat.
func (s *EventStream) Sent() { s.sent = time.Now() }

// Quiet reports whether a heartbeat is due, since nothing was sent for a while.
func (s *EventStream) Quiet() bool { return time.Since(s.sent) >= heartbeat }

// KeepAlive writes a comment when a heartbeat is due. It reports false when the
// client no longer reads.
func (s *EventStream) KeepAlive() bool {
	if !s.Quiet() {
		return true
	}
	s.Sent()
	s.WriteText(": heartbeat\n\n")
	return s.Flush()
}

// Continue reports whether the stream goes on: the client is connected, the server
// does not drain, and the key is still valid, which it authenticates again every
// RenewEvery. Otherwise it has written why the stream ends.
func (s *EventStream) Continue(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-s.call.core.cfg.Draining:
		s.WriteText(": the server is stopping; reconnect to continue\n\n")
		s.Flush()
		return false
	default:
	}
	if time.Since(s.renewed) < RenewEvery {
		return true
	}
	s.renewed = time.Now()
	if err := s.call.Renew(ctx); err != nil {
		s.Fail(err)
		return false
	}
	return true
}

// Recheck makes the next Continue authenticate the key, because the stream has waited:
// what arrived meanwhile is only for a key that is still valid.
func (s *EventStream) Recheck() { s.renewed = time.Time{} }

// Idle returns what a stream without news waits for: a change of its caller, and for how
// long at most. Without a change it may go on waiting after Recheck and Continue. The channel
// is nil when the caller has just changed: what it may read must then be looked at again.
func (s *EventStream) Idle() (change <-chan struct{}, atMost time.Duration) {
	change = s.call.core.watches.change(s.watch, s.call.Caller)
	if change == nil {
		return nil, RenewEvery
	}
	return change, max(time.Until(s.sent.Add(heartbeat)), time.Millisecond)
}

// Pause waits for d, or until the request ends, the server drains or the caller changes.
func (s *EventStream) Pause(ctx context.Context, d time.Duration) {
	change, _ := s.Idle()
	_, _ = wait.Signal(ctx, d, change)
}
