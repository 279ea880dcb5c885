package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"

	"hostler.dev/hostler"
)

// LogQuery selects a part of a job's output.
type LogQuery struct {
	After int64 // entries after this position
	Limit int   // at most this many; 0 means the server's default
	Tail  int   // only the last entries, as many as this
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

// Followed is one step of following a job: a piece of its output, or finally the ended
// job.
type Followed struct {
	Entry hostler.LogEntry
	Job   *hostler.Job // set on the last step only
}

// Follow streams a job's output after a position, 0 for all of it, until the job has
// ended or is unknown. A broken connection is resumed where it was. Follow returns an
// error after several attempts without progress, and immediately after an answer that no
// retry can solve.
func (c *Client) Follow(ctx context.Context, id hostler.JobID, after int64) iter.Seq2[Followed, error] {
	return func(yield func(Followed, error) bool) {
		t := tail{c: c, pos: after, path: []string{"jobs", id.String(), "log"}, query: url.Values{"follow": {"1"}}}
		t.handle = func(ev event) error {
			switch ev.name {
			case "line":
				var e hostler.LogEntry
				if err := decodeEvent(ev, &e); err != nil || e.Pos <= t.pos { // repeated after a resume
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
