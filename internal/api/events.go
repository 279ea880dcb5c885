package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
)

// mostBehind is how many events a stream may be behind once it has caught up. A
// reader that falls further back is told so, and resumes.
const mostBehind = 100_000

type eventQuery struct {
	Type   []string                             `query:"type" maxItems:"50" doc:"types or patterns such as job.*, with commas between; default: all"`
	Action string                               `query:"action" maxLength:"64" doc:"only events of jobs with this action"`
	Queue  string                               `query:"queue" maxLength:"64" doc:"only events of jobs in this queue"`
	Asset  string                               `query:"asset" maxLength:"253" doc:"only events of jobs on the asset with this name"`
	Run    runParam                             `query:"run" doc:"only events of jobs of this run"`
	Job    param[hostler.JobID, *hostler.JobID] `query:"job" doc:"only events of this job"`
	After  place                                `query:"after" doc:"resume behind this position; 0 is the oldest that is kept; default: only what is still to come"`
	Format string                               `query:"format" enum:"stream,json" doc:"json: a page of what is kept instead of the stream"`
	Limit  int                                  `query:"limit" minimum:"1" maximum:"1000" doc:"events of a page; default 100"`
	LastID place                                `header:"Last-Event-ID" doc:"resume behind this position; goes before after"`
}

// place is a position in the stream, if one is given.
type place struct {
	pos   int64
	given bool
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *place) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 10, 63)
	if err != nil {
		return errors.New("must be a position: a whole number from 0" + paramSep + "必须是位置：不小于 0 的整数")
	}
	*p = place{int64(n), true}
	return nil
}

// Schema implements huma.SchemaProvider.
func (*place) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Pattern: "^[0-9]{1,19}$", PatternDescription: "a position: a whole number"}
}

// place is where the stream begins.
func (q eventQuery) place() int64 {
	switch {
	case q.LastID.given:
		return q.LastID.pos
	case q.After.given:
		return q.After.pos
	default:
		return app.EventsFromNow
	}
}

func (q eventQuery) filter() hostler.EventFilter {
	return hostler.EventFilter{Types: q.Type, Action: q.Action, Queue: q.Queue, Asset: q.Asset, Run: q.Run.V, Job: q.Job.V}
}

// documentEvents describes the stream.
func documentEvents(api huma.API, op *huma.Operation) {
	page := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[hostler.List[hostler.Event]](), true, "")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A stream of events: the name is the type, the id is the position, the data is the event as JSON. " +
			"gap tells that events were missed that are no longer kept; error ends the stream with a problem.",
		Content: map[string]*huma.MediaType{
			"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}},
			"application/json":  {Schema: page},
		},
	}}
}

// followEvents streams events until the client, its key or the server goes.
func followEvents(ctx context.Context, c call, in *eventQuery) (func(http.ResponseWriter), error) {
	after := in.place()
	if in.Format == "json" {
		return c.pageOfEvents(ctx, in, after)
	}
	leave, err := c.server.listeners.take(c.Caller)
	if err != nil {
		return nil, err
	}
	stream, err := c.app.OpenEvents(ctx, c.Caller, in.filter(), after)
	if err != nil {
		leave()
		return nil, err
	}
	return func(w http.ResponseWriter) {
		defer leave()
		defer stream.Close()
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("X-Accel-Buffering", "no") // nginx would hold events back
		l := listener{follow: follow{call: c, out: c.server.newStream(w), beat: time.Now()}, stream: stream}
		// The position at once: who loses the connection before the first event
		// must not begin anew behind what it missed.
		l.out.write("retry: 1000\nid: " + strconv.FormatInt(stream.Pos(), 10) + "\n\n")
		if stream.Lost() {
			l.event("gap", "", hostler.EventGap{Reset: true})
		}
		if l.out.flush() {
			l.run(ctx)
		}
	}, nil
}

// pageOfEvents answers with the events that are kept behind a position.
func (c call) pageOfEvents(ctx context.Context, in *eventQuery, after int64) (func(http.ResponseWriter), error) {
	if in.Limit == 0 {
		in.Limit = 100
	}
	events, next, err := c.app.Events(ctx, c.Caller, in.filter(), max(0, after), in.Limit)
	l, err := listOf(events, err)
	if err != nil {
		return nil, err
	}
	if next > 0 {
		l.Next = strconv.FormatInt(next, 10)
	}
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(l) // the client may have gone
	}, nil
}

// listener is one stream of events.
type listener struct {
	follow
	stream *app.EventStream
	near   bool // it has been close to the newest event
}

func (l *listener) run(ctx context.Context) {
	l.renewed = time.Now()
	for {
		b, err := l.stream.Next(ctx, time.Until(l.renewed.Add(renewEvery)))
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.fail(err)
			return
		case !l.send(b) || !l.keepUp(b) || !l.mayGoOn(ctx):
			return
		}
	}
}

// send writes a batch with one write, and a sign of life when there was nothing
// to send for a while. The sign tells the position, so that a client whose filter
// matches little does not resume from far back.
func (l *listener) send(b app.EventBatch) bool {
	if b.Missed > 0 {
		l.event("gap", "", hostler.EventGap{Missed: b.Missed})
	}
	if len(b.Frames) == 0 && b.Missed == 0 {
		if time.Since(l.beat) < heartbeat {
			return true
		}
		l.event("", strconv.FormatInt(l.stream.Pos(), 10), nil)
	}
	l.beat = time.Now()
	l.out.writeBytes(bytes.Join(b.Frames, nil))
	return l.out.flush()
}

// keepUp ends a stream whose client reads too slowly, in good order.
func (l *listener) keepUp(b app.EventBatch) bool {
	switch {
	case b.Behind == 0:
		l.near = true
	case l.near && b.Behind > mostBehind:
		l.fail(hostler.Errorf(hostler.CodeRateLimited,
			"the client reads too slowly: %d events wait for it; narrow the filter, or connect again to go on where it was",
			"客户端读取过慢：有 %d 个事件等待发送；请缩小过滤范围，或重新连接以继续", b.Behind))
		return false
	}
	return true
}

// mayGoOn is follow's, and hands what is known of the caller by now to the stream.
func (l *listener) mayGoOn(ctx context.Context) bool {
	if !l.follow.mayGoOn(ctx) {
		return false
	}
	if err := l.stream.Renew(l.Caller); err != nil {
		l.fail(err)
		return false
	}
	return true
}
