package client

import (
	"context"

	"hostler.dev/hostler"
)

// Calendars fetches the calendars of the project.
func (c *Client) Calendars(ctx context.Context) ([]hostler.Calendar, error) {
	l, err := get[hostler.List[hostler.Calendar]](ctx, c, nil, "calendars")
	return l.Items, err
}

// Calendar fetches one calendar.
func (c *Client) Calendar(ctx context.Context, name string) (hostler.Calendar, error) {
	return get[hostler.Calendar](ctx, c, nil, "calendars", name)
}

// PutCalendar creates or replaces a calendar.
func (c *Client) PutCalendar(ctx context.Context, name string, in hostler.CalendarInput) (hostler.Calendar, error) {
	return fetch[hostler.Calendar](ctx, c, put(in, "calendars", name))
}

// ImportCalendar adds the days of a file to a calendar.
func (c *Client) ImportCalendar(ctx context.Context, name string, in hostler.CalendarFile) (hostler.Calendar, error) {
	return fetch[hostler.Calendar](ctx, c, post(in, "calendars", name, "import"))
}

// DeleteCalendar deletes a calendar.
func (c *Client) DeleteCalendar(ctx context.Context, name string) error {
	return c.do(ctx, del("calendars", name), nil)
}
