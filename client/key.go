package client

import (
	"context"

	"hostler.dev/hostler"
)

// Keys fetches one page of the keys that the caller may see.
func (c *Client) Keys(ctx context.Context, p hostler.Page) (hostler.List[hostler.Key], error) {
	return list[hostler.Key](ctx, c, p, "keys")
}

// CreateKey creates an API key.
func (c *Client) CreateKey(ctx context.Context, in hostler.KeyInput) (hostler.KeyCreated, error) {
	return fetch[hostler.KeyCreated](ctx, c, post(in, "keys"))
}

// RotateKey creates a successor of a key; the old key stays valid for a while.
func (c *Client) RotateKey(ctx context.Context, id hostler.KeyID) (hostler.KeyCreated, error) {
	return fetch[hostler.KeyCreated](ctx, c, post(nil, "keys", id.String(), "rotate"))
}

// RevokeKey revokes a key, immediately.
func (c *Client) RevokeKey(ctx context.Context, id hostler.KeyID) error {
	return c.do(ctx, del("keys", id.String()), nil)
}
