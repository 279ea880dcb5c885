package client

import (
	"context"

	"hostler.dev/hostler"
)

// HostKeys lists the SSH host keys that were seen at an asset's address.
func (c *Client) HostKeys(ctx context.Context, asset string) ([]hostler.HostKey, error) {
	l, err := get[hostler.List[hostler.HostKey]](ctx, c, nil, "assets", asset, "hostkeys")
	return l.Items, err
}

// AcceptHostKey pins an offered host key.
func (c *Client) AcceptHostKey(ctx context.Context, asset string, id hostler.HostKeyID) (hostler.HostKey, error) {
	return fetch[hostler.HostKey](ctx, c, post(nil, "assets", asset, "hostkeys", id.String(), "accept"))
}

// RevokeHostKey revokes a host key: connections that offer it are refused.
func (c *Client) RevokeHostKey(ctx context.Context, asset string, id hostler.HostKeyID) (hostler.HostKey, error) {
	return fetch[hostler.HostKey](ctx, c, post(nil, "assets", asset, "hostkeys", id.String(), "revoke"))
}
