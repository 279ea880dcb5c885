package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"hostler.dev/hostler"
)

// Stats fetches one page of the figures of ended jobs.
func (c *Client) Stats(ctx context.Context, q hostler.StatsQuery) (hostler.Stats, error) {
	return get[hostler.Stats](ctx, c, statsValues(q), "stats")
}

// ExportStats writes statistics as CSV. An error of w is returned as it is.
func (c *Client) ExportStats(ctx context.Context, q hostler.StatsQuery, w io.Writer) error {
	return c.download(ctx, call{method: http.MethodGet, path: []string{"stats.csv"}, query: statsValues(q)}, w)
}

func statsValues(q hostler.StatsQuery) url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("by", string(q.By))
	set("name", q.Name)
	set("step", string(q.Step))
	set("cursor", q.Cursor)
	if q.Limit > 0 {
		set("limit", strconv.Itoa(q.Limit))
	}
	for name, t := range map[string]*time.Time{"from": q.From, "to": q.To} {
		if t != nil {
			set(name, t.Format(time.RFC3339Nano))
		}
	}
	return v
}
