package client

import (
	"context"

	"hostler.dev/hostler"
)

// Lane fetches a lane, by the name that jobs show, with the jobs that hold it.
func (c *Client) Lane(ctx context.Context, name string) (hostler.Lane, error) {
	return get[hostler.Lane](ctx, c, nil, "lanes", name)
}

// ReleaseLane takes a lane from the jobs that hold it.
func (c *Client) ReleaseLane(
	ctx context.Context, name string, r hostler.LaneRelease,
) (hostler.LaneReleased, error) {
	return fetch[hostler.LaneReleased](ctx, c, post(r, "lanes", name, "release"))
}
