package client

import (
	"context"

	"hostler.dev/hostler"
)

// Dispatch returns whether dispatch is held, and what waits for its release.
func (c *Client) Dispatch(ctx context.Context) (hostler.Dispatch, error) {
	return get[hostler.Dispatch](ctx, c, nil, "dispatch")
}

// HoldDispatch holds dispatch of the installation: no job starts. Running jobs continue.
func (c *Client) HoldDispatch(ctx context.Context, t hostler.HoldTerms) (hostler.Dispatch, error) {
	return fetch[hostler.Dispatch](ctx, c, post(t, "dispatch", "hold"))
}

// Holds lists what holds jobs of the project.
func (c *Client) Holds(ctx context.Context) ([]hostler.Hold, error) {
	l, err := get[hostler.List[hostler.Hold]](ctx, c, nil, "holds")
	return l.Items, err
}

// CreateHold puts an asset or labels into maintenance, or holds dispatch of the project.
func (c *Client) CreateHold(ctx context.Context, in hostler.HoldInput) (hostler.Hold, error) {
	return fetch[hostler.Hold](ctx, c, post(in, "holds"))
}

// EndHold ends a hold.
func (c *Client) EndHold(ctx context.Context, id hostler.HoldID) error {
	return c.do(ctx, del("holds", id.String()), nil)
}

// ReleaseDispatch lets jobs start again.
func (c *Client) ReleaseDispatch(ctx context.Context, r hostler.ReleaseRequest) (hostler.Dispatch, error) {
	return fetch[hostler.Dispatch](ctx, c, post(r, "dispatch", "release"))
}
