package client

import (
	"context"
	"net/url"

	"hostler.dev/hostler"
)

// CustomRoles fetches one page of the roles of the project.
func (c *Client) CustomRoles(ctx context.Context, p hostler.Page) (hostler.List[hostler.CustomRole], error) {
	return list[hostler.CustomRole](ctx, c, p, "roles")
}

// CustomRole fetches one role of the project.
func (c *Client) CustomRole(ctx context.Context, name string) (hostler.CustomRole, error) {
	return get[hostler.CustomRole](ctx, c, nil, "roles", name)
}

// CreateCustomRole creates a role that is limited to actions or assets.
func (c *Client) CreateCustomRole(ctx context.Context, in hostler.CustomRoleInput) (hostler.CustomRole, error) {
	return fetch[hostler.CustomRole](ctx, c, post(in, "roles"))
}

// PutCustomRole replaces what a role permits.
func (c *Client) PutCustomRole(
	ctx context.Context, name string, in hostler.CustomRoleInput,
) (hostler.CustomRole, error) {
	return fetch[hostler.CustomRole](ctx, c, put(in, "roles", name))
}

// DeleteCustomRole deletes a role that no user and no valid key has.
func (c *Client) DeleteCustomRole(ctx context.Context, name string) error {
	return c.do(ctx, del("roles", name), nil)
}

// Can asks whether the caller may run an action, on an asset if it is not "".
func (c *Client) Can(ctx context.Context, action, asset string) (hostler.Can, error) {
	q := url.Values{"action": {action}}
	if asset != "" {
		q.Set("asset", asset)
	}
	return get[hostler.Can](ctx, c, q, "can")
}
