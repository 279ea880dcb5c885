package client

import (
	"context"

	"hostler.dev/hostler"
)

// Run fetches a run: its state and steps, or only the number of its jobs by state when it
// is one that jobs of a call share.
func (c *Client) Run(ctx context.Context, id hostler.RunID) (hostler.Run, error) {
	return get[hostler.Run](ctx, c, nil, "runs", id.String())
}
