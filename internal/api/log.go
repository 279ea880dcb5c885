package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
)

const (
	logPage    = 1000 // lines of one read
	followPage = 256
	// heartbeat keeps proxies from closing a quiet stream, and finds a client
	// that has gone.
	heartbeat = 15 * time.Second
	// renewEvery is how often a stream looks at its key again: a revoked one hears
	// nothing any more after a second, also on another server that remembers keys
	// for the other half of it.
	renewEvery = 500 * time.Millisecond
)

type logInput struct {
	JobRef
	After  int64  `query:"after" minimum:"0" doc:"lines behind this position"`
	Limit  int    `query:"limit" minimum:"1" maximum:"10000" doc:"lines of a page; default 1000"`
	Tail   int    `query:"tail" minimum:"1" maximum:"10000" doc:"only the last so many lines"`
	Format string `query:"format" enum:"json,text" doc:"text: the output as it was, whole"`
	Follow bool   `query:"follow" doc:"stream events: line (its id is the position) and at the end, end with the job"`
	LastID int64  `header:"Last-Event-ID" minimum:"0" doc:"resume a stream behind this position"`
}

// documentLog describes the three forms of a job's output.
func documentLog(api huma.API, op *huma.Operation) {
	schema := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[hostler.List[hostler.LogEntry]](), true, "")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The output",
		Content: map[string]*huma.MediaType{
			"application/json":  {Schema: schema},
			"text/plain":        {Schema: &huma.Schema{Type: huma.TypeString}},
			"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}},
		},
	}}
}

// readLog answers one of the three forms. What can fail is done before the answer
// begins.
func readLog(ctx context.Context, c call, in *logInput) (func(http.ResponseWriter), error) {
	id := in.ID.V
	if in.Follow {
		return c.followLog(ctx, id, max(in.After, in.LastID))
	}
	if in.Format == "text" {
		return c.downloadLog(ctx, id, in.After, in.Tail)
	}
	var l hostler.List[hostler.LogEntry]
	var err error
	if in.Tail > 0 {
		l, err = listOf(c.app.TailLog(ctx, c.Caller, id, in.Tail))
	} else {
		l, err = c.pageOfLog(ctx, id, in.After, in.Limit)
	}
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(l) // the client may have gone
	}, nil
}

func (c call) pageOfLog(ctx context.Context, id hostler.JobID, after int64, limit int) (hostler.List[hostler.LogEntry], error) {
	if limit == 0 {
		limit = logPage
	}
	entries, next, err := c.app.ReadLog(ctx, c.Caller, id, after, limit)
	l, err := listOf(entries, err)
	if len(entries) == limit {
		l.Next = strconv.FormatInt(next, 10)
	}
	return l, err
}

// downloadLog streams the output as it was.
func (c call) downloadLog(ctx context.Context, id hostler.JobID, after int64, tail int) (func(http.ResponseWriter), error) {
	read := func(after int64) ([]hostler.LogEntry, int64, error) {
		caller, err := c.server.authenticate(ctx, c.request) // it may have been revoked since
		if err != nil {
			return nil, after, err
		}
		return c.app.ReadLog(ctx, caller, id, after, logPage)
	}
	if tail > 0 {
		read = func(after int64) ([]hostler.LogEntry, int64, error) {
			if after != 0 {
				return nil, after, nil
			}
			entries, err := c.app.TailLog(ctx, c.Caller, id, tail)
			return entries, 1, err
		}
		after = 0
	}
	entries, next, err := read(after)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="`+id.String()+`.log"`)
		out := c.server.newStream(w)
		for err == nil && len(entries) > 0 {
			for _, e := range entries {
				out.write(e.Text)
			}
			if !out.flush() {
				return
			}
			entries, next, err = read(next)
		}
		if err != nil {
			panic(http.ErrAbortHandler) // a cut answer must not look whole
		}
	}, nil
}

// followLog streams a job's output until the job has ended.
func (c call) followLog(ctx context.Context, id hostler.JobID, after int64) (func(http.ResponseWriter), error) {
	if _, err := c.app.Job(ctx, c.Caller, id); err != nil {
		return nil, err
	}
	leave, err := c.server.followers.take(c.Caller)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		defer leave()
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("X-Accel-Buffering", "no") // nginx would hold events back
		f := follow{call: c, id: id, pos: after, out: c.server.newStream(w)}
		f.out.write("retry: 1000\n\n")
		if f.out.flush() {
			f.run(ctx)
		}
	}, nil
}

// follow is one stream of events.
type follow struct {
	call
	id      hostler.JobID
	pos     int64
	out     *stream
	beat    time.Time // of the last thing that was sent
	renewed time.Time // when the key was last looked at
}

// run sends lines as they come. The job's state is read before its last lines
// are, so that a job seen as ended has no more of them.
func (f *follow) run(ctx context.Context) {
	f.beat, f.renewed = time.Now(), time.Now()
	p := pace{first: 100 * time.Millisecond, most: renewEvery}
	for f.mayGoOn(ctx) {
		sent, ok := f.lines(ctx)
		if !ok {
			return
		}
		if sent {
			p.reset()
			continue
		}
		job, err := f.app.Job(ctx, f.Caller, f.id)
		if err != nil {
			f.fail(err)
			return
		}
		if job.State.Settled() {
			f.finish(ctx, job)
			return
		}
		if !f.keepAlive() {
			return
		}
		p.sleep(ctx, f.server.cfg.Draining)
		f.renewed = time.Time{} // what came meanwhile is only for a key that is good by now
	}
}

// mayGoOn looks at the key again now and then, for one that was revoked sees no
// more, and at the server's end.
func (f *follow) mayGoOn(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-f.server.cfg.Draining:
		f.out.write(": the server stops; connect again to go on\n\n")
		f.out.flush()
		return false
	default:
	}
	if time.Since(f.renewed) < renewEvery {
		return true
	}
	f.renewed = time.Now()
	caller, err := f.server.authenticate(ctx, f.request)
	if err != nil {
		f.fail(err)
		return false
	}
	f.Caller = caller
	return true
}

// finish sends what came between the last lines and the end, and then the job.
func (f *follow) finish(ctx context.Context, job hostler.Job) {
	for {
		sent, ok := f.lines(ctx)
		if !ok {
			return
		}
		if !sent {
			break
		}
	}
	f.event("end", "", job)
	f.out.flush()
}

// lines sends one page of new lines; ok is false when the stream is over.
func (f *follow) lines(ctx context.Context) (sent, ok bool) {
	entries, next, err := f.app.ReadLog(ctx, f.Caller, f.id, f.pos, followPage)
	if err != nil {
		f.fail(err)
		return false, false
	}
	for _, e := range entries {
		f.event("line", strconv.FormatInt(e.Pos, 10), e)
	}
	if len(entries) == 0 {
		return false, true
	}
	f.pos, f.beat = next, time.Now()
	return true, f.out.flush()
}

// fail tells the client why its stream ends; it may resume.
func (f *follow) fail(err error) {
	f.event("error", "", f.server.problem(f.request, err))
	f.out.flush()
}

func (f *follow) event(name, id string, data any) {
	if data == nil { // moves the client's position, and no more
		f.out.write("id: " + id + "\n\n")
		return
	}
	b, err := json.Marshal(data)
	if err != nil {
		f.server.log.Error("an event cannot be encoded", "event", name, "error", err)
		return
	}
	f.out.write("event: " + name + "\n")
	if id != "" {
		f.out.write("id: " + id + "\n")
	}
	f.out.write("data: " + string(b) + "\n\n")
}

func (f *follow) keepAlive() bool {
	if time.Since(f.beat) < heartbeat {
		return true
	}
	f.beat = time.Now()
	f.out.write(": still here\n\n")
	return f.out.flush()
}

// stream writes an answer piece by piece, each with a deadline of its own.
type stream struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	wait time.Duration // for each piece
	fail bool
}

func (s *server) newStream(w http.ResponseWriter) *stream {
	return &stream{w: w, rc: http.NewResponseController(w), wait: s.cfg.StreamWait}
}

func (s *stream) write(text string) { s.writeBytes([]byte(text)) }

func (s *stream) writeBytes(b []byte) {
	if s.fail {
		return
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(s.wait)) // a recorder of tests has none
	if _, err := s.w.Write(b); err != nil {
		s.fail = true
	}
}

// flush sends what was written; false means that nobody reads any more.
func (s *stream) flush() bool {
	if !s.fail && s.rc.Flush() != nil {
		s.fail = true
	}
	return !s.fail
}
