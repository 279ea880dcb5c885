package client

import (
	"context"

	"hostler.dev/hostler"
)

// Actions lists the actions.
func (c *Client) Actions(ctx context.Context) ([]hostler.ActionInfo, error) {
	l, err := get[hostler.List[hostler.ActionInfo]](ctx, c, nil, "actions")
	return l.Items, err
}

// Action fetches one action with the JSON Schema of its args.
func (c *Client) Action(ctx context.Context, name string) (hostler.ActionInfo, error) {
	return get[hostler.ActionInfo](ctx, c, nil, "actions", name)
}
