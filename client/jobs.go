package client

import (
	"context"
	"crypto/rand"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
)

// CreateOptions are the extras of CreateJobs.
type CreateOptions struct {
	// Wait is how long the answer may be held back for the end of a single job;
	// 0 answers at once.
	Wait time.Duration
	// IdempotencyKey makes the call harmless to repeat, also by another process;
	// "" takes a fresh random one, which covers this call's own retries.
	IdempotencyKey string
}

// CreateJobs makes one job, or one per chosen asset. It returns once they are
// durable.
func (c *Client) CreateJobs(ctx context.Context, req hostler.JobRequest, o CreateOptions) (hostler.JobsCreated, error) {
	r := call{method: http.MethodPost, path: []string{"jobs"}, body: req, idem: o.IdempotencyKey, extra: o.Wait}
	if r.idem == "" {
		r.idem = rand.Text()
	}
	if o.Wait > 0 {
		r.query = url.Values{"wait": {o.Wait.String()}}
	}
	return fetch[hostler.JobsCreated](ctx, c, r)
}

// Jobs fetches one page of the jobs that the filter selects, newest first.
func (c *Client) Jobs(ctx context.Context, f hostler.JobFilter, p hostler.Page) (hostler.List[hostler.Job], error) {
	return get[hostler.List[hostler.Job]](ctx, c, filterQuery(f, p), "jobs")
}

// JobsLister is Jobs for All.
func (c *Client) JobsLister(f hostler.JobFilter) Lister[hostler.Job] {
	return func(ctx context.Context, p hostler.Page) (hostler.List[hostler.Job], error) { return c.Jobs(ctx, f, p) }
}

func filterQuery(f hostler.JobFilter, p hostler.Page) url.Values {
	q := pageQuery(p)
	states := make([]string, len(f.States))
	for i, s := range f.States {
		states[i] = string(s)
	}
	for name, value := range map[string]string{
		"states": strings.Join(states, ","), "queue": f.Queue, "action": f.Action,
		"asset": f.Asset, "lane": f.Lane, "run": f.Run.String(),
		"since": timeText(f.Since), "until": timeText(f.Until),
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

func timeText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// Job fetches one job.
func (c *Client) Job(ctx context.Context, id hostler.JobID) (hostler.Job, error) {
	return get[hostler.Job](ctx, c, nil, "jobs", id.String())
}

// Attempts lists the tries of a job, oldest first.
func (c *Client) Attempts(ctx context.Context, id hostler.JobID) ([]hostler.Attempt, error) {
	l, err := get[hostler.List[hostler.Attempt]](ctx, c, nil, "jobs", id.String(), "attempts")
	return l.Items, err
}

// Waiting says why a job is not running yet; empty when it is not waiting.
func (c *Client) Waiting(ctx context.Context, id hostler.JobID) ([]hostler.Waiting, error) {
	l, err := get[hostler.List[hostler.Waiting]](ctx, c, nil, "jobs", id.String(), "waiting")
	return l.Items, err
}

// Cancel asks for the end of a job: at once when it waits, soon when it runs.
func (c *Client) Cancel(ctx context.Context, id hostler.JobID) (hostler.Job, error) {
	return fetch[hostler.Job](ctx, c, call{method: http.MethodPost, path: []string{"jobs", id.String(), "cancel"}})
}

// Retry makes a new job like an ended one, with RetryOf set.
func (c *Client) Retry(ctx context.Context, id hostler.JobID) (hostler.Job, error) {
	return fetch[hostler.Job](ctx, c, call{
		method: http.MethodPost, path: []string{"jobs", id.String(), "retry"}, idem: rand.Text(),
	})
}

// Resolve decides an unknown job: StateSucceeded or StateFailed, with a note of
// why.
func (c *Client) Resolve(ctx context.Context, id hostler.JobID, s hostler.State, note string) (hostler.Job, error) {
	return fetch[hostler.Job](ctx, c, call{
		method: http.MethodPost, path: []string{"jobs", id.String(), "resolve"},
		body: hostler.ResolveInput{State: s, Note: note},
	})
}

// CancelJobs asks for the end of the jobs that the request selects. While More
// is set in the result of this or another bulk change, some were left over.
func (c *Client) CancelJobs(ctx context.Context, b hostler.BulkRequest) (hostler.BulkResult, error) {
	return c.bulk(ctx, "cancel", "", b)
}

// RetryJobs makes a new job for each selected ended one.
func (c *Client) RetryJobs(ctx context.Context, b hostler.BulkRequest) (hostler.BulkResult, error) {
	return c.bulk(ctx, "retry", rand.Text(), b)
}

// ResolveJobs decides the selected unknown jobs as b.State says.
func (c *Client) ResolveJobs(ctx context.Context, b hostler.BulkRequest) (hostler.BulkResult, error) {
	return c.bulk(ctx, "resolve", "", b)
}

func (c *Client) bulk(ctx context.Context, verb, idem string, b hostler.BulkRequest) (hostler.BulkResult, error) {
	return fetch[hostler.BulkResult](ctx, c, call{
		method: http.MethodPost, path: []string{"jobs", verb}, body: b, idem: idem,
	})
}

// Run counts the jobs of a run by state.
func (c *Client) Run(ctx context.Context, id hostler.RunID) (hostler.RunSummary, error) {
	return get[hostler.RunSummary](ctx, c, nil, "runs", id.String())
}

// LogQuery selects a part of a job's output.
type LogQuery struct {
	After int64 // entries behind this position
	Limit int   // at most this many; 0 means the server's default
	Tail  int   // only the last so many
}

// Log fetches a part of a job's output.
func (c *Client) Log(ctx context.Context, id hostler.JobID, l LogQuery) (hostler.List[hostler.LogEntry], error) {
	q := url.Values{}
	for name, n := range map[string]int64{"after": l.After, "limit": int64(l.Limit), "tail": int64(l.Tail)} {
		if n > 0 {
			q.Set(name, strconv.FormatInt(n, 10))
		}
	}
	return get[hostler.List[hostler.LogEntry]](ctx, c, q, "jobs", id.String(), "log")
}

// Followed is one step of following a job: a piece of its output, or at last
// the ended job itself.
type Followed struct {
	Entry hostler.LogEntry
	Job   *hostler.Job // set on the last step only
}

// Follow streams a job's output behind a position, from 0 for all, until the
// job ends. When the connection breaks it resumes where it was; it gives up
// after several tries that brought nothing, and at once on an answer that no
// retry can mend.
func (c *Client) Follow(ctx context.Context, id hostler.JobID, after int64) iter.Seq2[Followed, error] {
	return func(yield func(Followed, error) bool) {
		t := tail{c: c, pos: after, path: []string{"jobs", id.String(), "log"}, query: url.Values{"follow": {"1"}}}
		t.take = func(ev event) error {
			switch ev.name {
			case "line":
				var e hostler.LogEntry
				if err := decodeEvent(ev, &e); err != nil || e.Pos <= t.pos { // sent again after a resume
					return err
				}
				t.pos = e.Pos
				t.done = !yield(Followed{Entry: e}, nil)
			case "end":
				var j hostler.Job
				if err := decodeEvent(ev, &j); err != nil {
					return err
				}
				yield(Followed{Job: &j}, nil)
				t.done = true
			}
			return nil
		}
		if err := t.run(ctx); err != nil {
			yield(Followed{}, err)
		}
	}
}
