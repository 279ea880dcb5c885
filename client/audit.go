package client

import (
	"context"

	"hostler.dev/hostler"
)

// Audit fetches one page of the audit, newest first.
func (c *Client) Audit(ctx context.Context, p hostler.Page) (hostler.List[hostler.Audit], error) {
	return list[hostler.Audit](ctx, c, p, "audit")
}
