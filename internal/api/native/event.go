package native

import (
	"bytes"
	"context"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) eventRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /events", auth.ReadEvent, rest.Stream(describeEvents, a.followEvents),
			"Follow changes as a stream of events", "以事件流跟踪发生的变化"),
		route("GET /event-types", auth.ReadEvent, rest.Do(listEventTypes), "List the types of event",
			"列出事件类型"),
	}
}

func listEventTypes(context.Context, *rest.Call, *rest.None) (hostler.List[hostler.EventInfo], error) {
	return rest.ListOf(hostler.EventCatalogue(), nil)
}

// maxLag is how many events a stream may be behind after it has caught up once. The
// stream of a client that falls further behind ends, and the client resumes.
const maxLag = 100_000

// eventPage is the default length of a page of events.
const eventPage = 100

type eventQuery struct {
	Type   []string      `query:"type" maxItems:"50" doc:"types or patterns such as job.*, with commas between; default: all"`
	Action string        `query:"action" maxLength:"64" doc:"only events of jobs with this action"`
	Queue  string        `query:"queue" maxLength:"64" doc:"only events of jobs in this queue"`
	Asset  string        `query:"asset" maxLength:"253" doc:"only events of jobs on the asset with this name"`
	Run    rest.RunID    `query:"run" doc:"only events of jobs of this run"`
	Job    rest.JobID    `query:"job" doc:"only events of this job"`
	After  rest.Position `query:"after" doc:"resume after this position; 0 is the oldest that is stored; default: only new events"`
	Format string        `query:"format" enum:"stream,json" doc:"json: a page of the stored events instead of the stream"`
	Limit  int           `query:"limit" minimum:"1" maximum:"1000" doc:"events of a page; default 100"`
	LastID rest.Position `header:"Last-Event-ID" doc:"resume after this position; takes precedence over after"`
}

// start is the position after which the stream begins.
func (q eventQuery) start() int64 {
	switch {
	case q.LastID.Given:
		return q.LastID.Pos
	case q.After.Given:
		return q.After.Pos
	default:
		return app.EventsFromNow
	}
}

func (q eventQuery) filter() hostler.EventFilter {
	return hostler.EventFilter{
		Types: q.Type, Action: q.Action, Queue: q.Queue, Asset: q.Asset, Run: q.Run.V, Job: q.Job.V,
	}
}

// describeEvents describes the stream.
func describeEvents(api huma.API, op *huma.Operation) {
	page := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[hostler.List[hostler.Event]](), true, "")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A stream of events: the name is the type, the id is the position, the data is the event as JSON. " +
			"You only receive events for objects you may read. " +
			"gap reports that events were missed that are no longer stored; error ends the stream with a problem.",
		Content: map[string]*huma.MediaType{
			"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}},
			"application/json":  {Schema: page},
		},
	}}
}

// followEvents streams events until the client disconnects, its key is revoked or the
// server stops.
func (a *api) followEvents(ctx context.Context, c *rest.Call, in *eventQuery) (rest.Send, error) {
	if in.Format == "json" {
		return a.pageOfEvents(ctx, c, in)
	}
	release, err := a.listeners.Acquire(c.Caller)
	if err != nil {
		return nil, err
	}
	events, err := a.OpenEvents(ctx, c.Caller, in.filter(), in.start())
	if err != nil {
		release()
		return nil, err
	}
	return func(w http.ResponseWriter) {
		defer release()
		defer events.Close()
		// The position is sent at once: a client that disconnects before the first event
		// must not resume after the events that it missed.
		l := listener{call: c, events: events, out: c.NewEventStream(w, strconv.FormatInt(events.Pos(), 10))}
		if events.Lost() {
			l.out.Event("gap", "", hostler.EventGap{Reset: true})
		}
		if l.out.Flush() {
			l.run(ctx)
		}
	}, nil
}

// pageOfEvents answers with the stored events after a position.
func (a *api) pageOfEvents(ctx context.Context, c *rest.Call, in *eventQuery) (rest.Send, error) {
	if in.Limit == 0 {
		in.Limit = eventPage
	}
	if err := c.ShareLists(ctx); err != nil {
		return nil, err
	}
	events, next, err := a.Events(ctx, c.Caller, in.filter(), max(0, in.start()), in.Limit)
	l, err := rest.ListOf(events, err)
	if err != nil {
		return nil, err
	}
	if next > 0 {
		l.Next = strconv.FormatInt(next, 10)
	}
	return sendJSON(l), nil
}

// listener is one stream of events.
type listener struct {
	call     *rest.Call
	events   *app.EventStream
	out      *rest.EventStream
	caughtUp bool // it has reached the newest event
}

func (l *listener) run(ctx context.Context) {
	for {
		change, atMost := l.out.Idle()
		b, err := l.events.Next(ctx, atMost, change)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.out.Fail(err)
			return
		case !l.send(b) || !l.checkLag(b) || !l.renew(ctx):
			return
		}
	}
}

// send writes a batch with one write, and the position when a heartbeat is due: a
// client whose filter matches little then does not resume from far back.
func (l *listener) send(b app.EventBatch) bool {
	switch {
	case b.Reset: // with the position, from which a client resumes that disconnects now
		l.out.Event("gap", strconv.FormatInt(l.events.Pos(), 10), hostler.EventGap{Reset: true})
	case b.Missed > 0:
		l.out.Event("gap", "", hostler.EventGap{Missed: b.Missed})
	}
	if len(b.Frames) == 0 && b.Missed == 0 && !b.Reset {
		if !l.out.Quiet() {
			return true
		}
		l.out.WriteText("id: " + strconv.FormatInt(l.events.Pos(), 10) + "\n\n")
	}
	l.out.Sent()
	l.out.WriteText(string(bytes.Join(b.Frames, nil)))
	return l.out.Flush()
}

// checkLag ends the stream of a client that reads too slowly.
func (l *listener) checkLag(b app.EventBatch) bool {
	switch {
	case b.Behind == 0:
		l.caughtUp = true
	case l.caughtUp && b.Behind > maxLag:
		l.out.Fail(hostler.Errorf(hostler.CodeRateLimited,
			"the client reads too slowly: %d events are waiting; narrow the filter, or reconnect to resume",
			"客户端读取过慢：有 %d 个事件等待发送；请缩小过滤范围，或重新连接以继续", b.Behind))
		return false
	}
	return true
}

// renew authenticates the key again when that is due, and gives the stream of events
// the caller's current rights.
func (l *listener) renew(ctx context.Context) bool {
	if !l.out.Continue(ctx) {
		return false
	}
	if err := l.events.Renew(l.call.Caller); err != nil {
		l.out.Fail(err)
		return false
	}
	return true
}
