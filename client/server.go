package client

import (
	"context"

	"hostler.dev/hostler"
)

// Version fetches the server's version, without a key.
func (c *Client) Version(ctx context.Context) (hostler.Version, error) {
	return get[hostler.Version](ctx, c, nil, "version")
}

// OpenAPI fetches the description of the API, without a key.
func (c *Client) OpenAPI(ctx context.Context) ([]byte, error) {
	return get[[]byte](ctx, c, nil, "openapi.json")
}
