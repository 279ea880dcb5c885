package native

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/wait"
)

const (
	logPage    = 1000 // lines of one read
	followPage = 256
)

func (a *api) logRoutes() []rest.Route {
	return []rest.Route{
		Dialect.Route("GET /jobs/{id}/log", auth.ReadJob, rest.Stream(describeLog, a.readLog),
			"Get a job's output: a page, plain text, or a stream of events",
			"读取作业输出：分页、纯文本或事件流"),
	}
}

type logInput struct {
	JobRef
	After  int64  `query:"after" minimum:"0" doc:"lines after this position"`
	Limit  int    `query:"limit" minimum:"1" maximum:"10000" doc:"lines of a page; default 1000"`
	Tail   int    `query:"tail" minimum:"1" maximum:"10000" doc:"only the last lines, as many as this"`
	Format string `query:"format" enum:"json,text" doc:"text: all of the output, as it was written"`
	Follow bool   `query:"follow" doc:"stream events: line (its id is the position), and finally end with the job"`
	LastID int64  `header:"Last-Event-ID" minimum:"0" doc:"resume a stream after this position"`
}

// describeLog describes the three forms of a job's output.
func describeLog(api huma.API, op *huma.Operation) {
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

// readLog answers in one of the three forms. Everything that can fail is done before
// the answer begins.
func (a *api) readLog(ctx context.Context, c *rest.Call, in *logInput) (rest.Send, error) {
	switch {
	case in.Follow:
		return a.followLog(ctx, c, in.ID.V, max(in.After, in.LastID))
	case in.Format == "text":
		return a.downloadLog(ctx, c, in)
	}
	if err := c.ShareLists(ctx); err != nil {
		return nil, err
	}
	l, err := a.pageOfLog(ctx, c, in)
	if err != nil {
		return nil, err
	}
	return sendJSON(l), nil
}

// sendJSON sends a value as an answer of a stream route.
func sendJSON(v any) rest.Send {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the client may have disconnected
	}
}

func (a *api) pageOfLog(ctx context.Context, c *rest.Call, in *logInput) (hostler.List[hostler.LogEntry], error) {
	limit := cmp.Or(in.Tail, in.Limit, logPage)
	entries, next, err := a.firstLines(ctx, c, in, limit)
	l, err := rest.ListOf(entries, err)
	if app.IsFullLog(entries, limit) && (in.Tail == 0 || len(entries) < limit) {
		l.Next = strconv.FormatInt(next, 10)
	}
	return l, err
}

// firstLines reads the lines with which an answer begins, and the position to go on
// from.
func (a *api) firstLines(ctx context.Context, c *rest.Call, in *logInput, limit int) (
	entries []hostler.LogEntry, next int64, err error,
) {
	if in.Tail == 0 {
		return a.ReadLog(ctx, c.Caller, in.ID.V, in.After, limit)
	}
	entries, err = a.TailLog(ctx, c.Caller, in.ID.V, in.Tail)
	if len(entries) > 0 {
		next = entries[len(entries)-1].Pos
	}
	return entries, next, err
}

// downloadLog sends the output as it was written. It has a few lines in memory at a
// time, and counts as a follower: a client may read it as slowly as it likes.
func (a *api) downloadLog(ctx context.Context, c *rest.Call, in *logInput) (_ rest.Send, err error) {
	release, err := a.followers.Acquire(c.Caller)
	if err != nil {
		return nil, err
	}
	left := cmp.Or(in.Tail, math.MaxInt)
	entries, next, err := a.firstLines(ctx, c, in, followPage)
	if err != nil {
		release()
		return nil, err
	}
	read := func() error {
		if err := c.Renew(ctx); err != nil { // the key may have been revoked since
			return err
		}
		entries, next, err = a.ReadLog(ctx, c.Caller, in.ID.V, next, min(left, followPage))
		return err
	}
	return func(w http.ResponseWriter) {
		defer release()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="`+in.ID.V.String()+`.log"`)
		out := c.NewWriter(w)
		for err == nil && len(entries) > 0 {
			for _, e := range entries {
				out.WriteText(e.Text)
			}
			if left -= len(entries); !out.Flush() || left <= 0 {
				return
			}
			err = read()
		}
		if err != nil {
			panic(http.ErrAbortHandler) // an incomplete answer must not look complete
		}
	}, nil
}

// followLog streams a job's output until the job has ended.
func (a *api) followLog(ctx context.Context, c *rest.Call, id hostler.JobID, after int64) (rest.Send, error) {
	if _, err := a.Job(ctx, c.Caller, id); err != nil {
		return nil, err
	}
	release, err := a.followers.Acquire(c.Caller)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		defer release()
		glance, leave := a.glances.join(id)
		defer leave()
		f := follower{
			api: a, call: c, job: id, pos: after, out: c.NewEventStream(w, ""), glance: glance,
			poll: wait.Backoff{First: firstLook, Max: rest.RenewEvery, Factor: 1.5},
		}
		if f.out.Flush() {
			f.run(ctx)
		}
	}, nil
}

// follower streams the output of one job.
type follower struct {
	api  *api
	call *rest.Call
	job  hostler.JobID
	pos  int64 // of the last line that was sent
	out  *rest.EventStream

	glance *glance
	poll   wait.Backoff // of a follower that looks itself
}

// run sends lines as they arrive. It reads the job's state before the last lines, so
// that a job which it sees as ended has no further ones.
func (f *follower) run(ctx context.Context) {
	silent := false
	for f.out.Continue(ctx) {
		if !silent && !f.read(ctx) {
			return
		}
		if !f.out.KeepAlive() {
			return
		}
		silent = f.await(ctx, silent)
		f.out.Recheck() // what arrived meanwhile is only for a key that is still valid
	}
}

// read sends the new lines; it reports false when the stream has ended.
func (f *follower) read(ctx context.Context) bool {
	for {
		sent, ok := f.sendLines(ctx)
		switch {
		case !ok || sent && !f.out.Continue(ctx):
			return false
		case sent:
			f.poll.Reset()
			continue
		}
		job, err := f.api.Job(ctx, f.call.Caller, f.job)
		if err != nil {
			f.out.Fail(err)
			return false
		}
		if job.State.Settled() {
			f.finish(ctx, job)
			return false
		}
		return true
	}
}

// await waits until the job may have something new, or a heartbeat is due. It reports whether
// the job has nothing new, as some follower of it has seen. A caller who sees some assets only
// may have lost the job, and looks itself.
func (f *follower) await(ctx context.Context, silent bool) bool {
	c := f.call.Caller
	if c.LimitIn(c.Project).LimitsAssets() {
		f.out.Pause(ctx, f.poll.Next())
		return false
	}
	change, atMost := f.out.Idle()
	if change == nil {
		if !silent { // it has just read with these rights
			f.out.Pause(ctx, atMost)
		}
		return false
	}
	return !f.glance.await(ctx, f.pos, change, atMost, func() (int64, bool, error) { return f.look(ctx) })
}

// look returns the position of the job's newest line, and whether the job has ended.
func (f *follower) look(ctx context.Context) (last int64, ended bool, err error) {
	job, err := f.api.Job(ctx, f.call.Caller, f.job)
	if err != nil {
		return 0, false, err
	}
	newest, err := f.api.TailLog(ctx, f.call.Caller, f.job, 1)
	if err != nil || len(newest) == 0 {
		return 0, job.State.Settled(), err
	}
	return newest[len(newest)-1].Pos, job.State.Settled(), nil
}

// finish sends the lines that arrived since the last read, and then the job.
func (f *follower) finish(ctx context.Context, job hostler.Job) {
	for {
		sent, ok := f.sendLines(ctx)
		if !ok {
			return
		}
		if !sent {
			break
		}
	}
	f.out.Event("end", "", job)
	f.out.Flush()
}

// sendLines sends one page of new lines; ok is false when the stream has ended.
func (f *follower) sendLines(ctx context.Context) (sent, ok bool) {
	entries, next, err := f.api.ReadLog(ctx, f.call.Caller, f.job, f.pos, followPage)
	if err != nil {
		f.out.Fail(err)
		return false, false
	}
	if len(entries) == 0 {
		return false, true
	}
	for _, e := range entries {
		f.out.Event("line", strconv.FormatInt(e.Pos, 10), e)
	}
	f.pos = next
	f.out.Sent()
	return true, f.out.Flush()
}
