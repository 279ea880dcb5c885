package client

import (
	"context"

	"hostler.dev/hostler"
)

// Run counts the jobs of a run by state.
func (c *Client) Run(ctx context.Context, id hostler.RunID) (hostler.RunSummary, error) {
	return get[hostler.RunSummary](ctx, c, nil, "runs", id.String())
}
