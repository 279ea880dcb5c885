package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/url"
	"strconv"
	"time"

	"hostler.dev/hostler"
)

// Schedules fetches one page of the schedules, by name.
func (c *Client) Schedules(ctx context.Context, p hostler.Page) (hostler.List[hostler.Schedule], error) {
	return list[hostler.Schedule](ctx, c, p, "schedules")
}

// Schedule fetches one schedule by name or id.
func (c *Client) Schedule(ctx context.Context, ref string) (hostler.Schedule, error) {
	return get[hostler.Schedule](ctx, c, nil, "schedules", ref)
}

// PutSchedule creates a schedule, or replaces the one of that name.
func (c *Client) PutSchedule(ctx context.Context, name string, in hostler.ScheduleInput) (hostler.Schedule, error) {
	return fetch[hostler.Schedule](ctx, c, put(in, "schedules", name))
}

// DeleteSchedule deletes a schedule; its runs continue.
func (c *Client) DeleteSchedule(ctx context.Context, ref string) error {
	return c.do(ctx, del("schedules", ref), nil)
}

// PauseSchedule stops the timer of a schedule.
func (c *Client) PauseSchedule(ctx context.Context, ref string) (hostler.Schedule, error) {
	return fetch[hostler.Schedule](ctx, c, post(nil, "schedules", ref, "pause"))
}

// ResumeSchedule starts the timer of a schedule again.
func (c *Client) ResumeSchedule(ctx context.Context, ref string) (hostler.Schedule, error) {
	return fetch[hostler.Schedule](ctx, c, post(nil, "schedules", ref, "resume"))
}

// NextFires lists coming instants of a trigger that is not saved.
func (c *Client) NextFires(ctx context.Context, req hostler.NextRequest) (hostler.NextFires, error) {
	return fetch[hostler.NextFires](ctx, c, post(req, "schedules", "next"))
}

// NextFiresOf lists up to n coming instants of a schedule after a time; the zero time is
// now.
func (c *Client) NextFiresOf(ctx context.Context, ref string, after time.Time, n int) (hostler.NextFires, error) {
	q := url.Values{}
	if !after.IsZero() {
		q.Set("after", after.Format(time.RFC3339Nano))
	}
	if n > 0 {
		q.Set("count", strconv.Itoa(n))
	}
	return get[hostler.NextFires](ctx, c, q, "schedules", ref, "next")
}

// RunSchedule runs a schedule now, with edits. The key may be empty; a repeated call with
// the same one runs it once.
func (c *Client) RunSchedule(
	ctx context.Context, ref string, in hostler.ScheduleRunInput, idempotencyKey string,
) (hostler.ScheduleRun, error) {
	r := post(in, "schedules", ref, "run")
	r.idem = cmp.Or(idempotencyKey, rand.Text())
	return fetch[hostler.ScheduleRun](ctx, c, r)
}

// Fires fetches one page of the fires of a schedule, newest first.
func (c *Client) Fires(ctx context.Context, ref string, p hostler.Page) (hostler.List[hostler.Fire], error) {
	return list[hostler.Fire](ctx, c, p, "schedules", ref, "fires")
}

// Forecast simulates what schedules will do.
func (c *Client) Forecast(ctx context.Context, in hostler.ForecastQuery) (hostler.Forecast, error) {
	q := url.Values{}
	for name, n := range map[string]int{"days": in.Days, "limit": in.Limit} {
		if n != 0 {
			q.Set(name, strconv.Itoa(n))
		}
	}
	if in.Schedule != "" {
		q.Set("schedule", in.Schedule)
	}
	return get[hostler.Forecast](ctx, c, q, "schedules", "forecast")
}
