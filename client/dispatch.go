package client

import (
	"context"

	"hostler.dev/hostler"
)

// Dispatch returns whether dispatch is held, and what waits for its release.
func (c *Client) Dispatch(ctx context.Context) (hostler.Dispatch, error) {
	return get[hostler.Dispatch](ctx, c, nil, "dispatch")
}

// HoldDispatch holds dispatch: no job starts. Running jobs continue.
func (c *Client) HoldDispatch(ctx context.Context) (hostler.Dispatch, error) {
	return fetch[hostler.Dispatch](ctx, c, post(nil, "dispatch", "hold"))
}

// ReleaseDispatch lets jobs start again.
func (c *Client) ReleaseDispatch(ctx context.Context, r hostler.ReleaseRequest) (hostler.Dispatch, error) {
	return fetch[hostler.Dispatch](ctx, c, post(r, "dispatch", "release"))
}
