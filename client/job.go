package client

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hostler.dev/hostler"
)

// CreateOptions are the options of CreateJobs.
type CreateOptions struct {
	// Wait is how long the server may hold the answer back until the jobs have ended, at
	// most 60 s; 0 does not wait.
	Wait time.Duration
	// IdempotencyKey makes the call safe to repeat, also by another process. "" takes a
	// random one, which covers the retries of this call.
	IdempotencyKey string
}

// CreateJobs creates one job, or one per selected asset. It returns when they are
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

// PlanJobs describes what a request for jobs would do, and creates none.
func (c *Client) PlanJobs(ctx context.Context, req hostler.JobRequest) (hostler.JobPlan, error) {
	return fetch[hostler.JobPlan](ctx, c, post(req, "jobs", "plan"))
}

// RunOutput lists how the jobs of a run ended, with the start of their output; all jobs, or
// those in some states.
func (c *Client) RunOutput(id hostler.RunID, states ...hostler.State) Lister[hostler.JobOutput] {
	return func(ctx context.Context, p hostler.Page) (hostler.List[hostler.JobOutput], error) {
		p.Limit = 0 // the server's, which is bounded by the size of the outputs
		q := filterQuery(hostler.JobFilter{States: states}, p)
		return get[hostler.List[hostler.JobOutput]](ctx, c, q, "runs", id.String(), "output")
	}
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
		"asset": f.Asset, "lane": f.Lane, "run": f.Run.String(), "user": f.User, "selector": f.Selector,
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

// Attempts lists the attempts of a job, oldest first.
func (c *Client) Attempts(ctx context.Context, id hostler.JobID) ([]hostler.Attempt, error) {
	l, err := get[hostler.List[hostler.Attempt]](ctx, c, nil, "jobs", id.String(), "attempts")
	return l.Items, err
}

// Waiting lists the reasons why a job is not running yet; none when it is not waiting.
func (c *Client) Waiting(ctx context.Context, id hostler.JobID) ([]hostler.Waiting, error) {
	l, err := get[hostler.List[hostler.Waiting]](ctx, c, nil, "jobs", id.String(), "waiting")
	return l.Items, err
}

// Cancel cancels a job: immediately when it waits. A running job is stopped, which takes
// until its remote process is verified to be gone.
func (c *Client) Cancel(ctx context.Context, id hostler.JobID) (hostler.Job, error) {
	return fetch[hostler.Job](ctx, c, call{method: http.MethodPost, path: []string{"jobs", id.String(), "cancel"}})
}

// Retry creates a new job like an ended one, with RetryOf set.
func (c *Client) Retry(ctx context.Context, id hostler.JobID) (hostler.Job, error) {
	return fetch[hostler.Job](ctx, c, call{
		method: http.MethodPost, path: []string{"jobs", id.String(), "retry"}, idem: rand.Text(),
	})
}

// Resolve sets the outcome of an unknown job to StateSucceeded or StateFailed, with a
// note for the record.
func (c *Client) Resolve(ctx context.Context, id hostler.JobID, s hostler.State, note string) (hostler.Job, error) {
	return fetch[hostler.Job](ctx, c, call{
		method: http.MethodPost, path: []string{"jobs", id.String(), "resolve"},
		body: hostler.ResolveInput{State: s, Note: note},
	})
}

// CancelJobs cancels the jobs that the request selects. While More is set in the result
// of this or another bulk change, further jobs match: call again.
func (c *Client) CancelJobs(ctx context.Context, b hostler.BulkRequest) (hostler.BulkResult, error) {
	return c.bulk(ctx, "cancel", "", b)
}

// RetryJobs creates a new job for each selected ended one.
func (c *Client) RetryJobs(ctx context.Context, b hostler.BulkRequest) (hostler.BulkResult, error) {
	return c.bulk(ctx, "retry", rand.Text(), b)
}

// ResolveJobs sets the outcome of the selected unknown jobs to b.State.
func (c *Client) ResolveJobs(ctx context.Context, b hostler.BulkRequest) (hostler.BulkResult, error) {
	return c.bulk(ctx, "resolve", "", b)
}

func (c *Client) bulk(ctx context.Context, verb, idem string, b hostler.BulkRequest) (hostler.BulkResult, error) {
	return fetch[hostler.BulkResult](ctx, c, call{
		method: http.MethodPost, path: []string{"jobs", verb}, body: b, idem: idem,
	})
}
