package client

import (
	"context"

	"hostler.dev/hostler"
)

// Inbounds fetches one page of the inbound triggers, by name.
func (c *Client) Inbounds(ctx context.Context, p hostler.Page) (hostler.List[hostler.Inbound], error) {
	return list[hostler.Inbound](ctx, c, p, "triggers")
}

// Inbound fetches one inbound trigger.
func (c *Client) Inbound(ctx context.Context, name string) (hostler.Inbound, error) {
	return get[hostler.Inbound](ctx, c, nil, "triggers", name)
}

// CreateInbound creates an inbound trigger. Its URL and secret can not be read again.
func (c *Client) CreateInbound(ctx context.Context, in hostler.InboundInput) (hostler.InboundSecret, error) {
	return fetch[hostler.InboundSecret](ctx, c, post(in, "triggers"))
}

// PauseInbound lets an inbound trigger refuse all requests.
func (c *Client) PauseInbound(ctx context.Context, name string) (hostler.Inbound, error) {
	return fetch[hostler.Inbound](ctx, c, post(nil, "triggers", name, "pause"))
}

// ResumeInbound lets a paused inbound trigger accept requests again.
func (c *Client) ResumeInbound(ctx context.Context, name string) (hostler.Inbound, error) {
	return fetch[hostler.Inbound](ctx, c, post(nil, "triggers", name, "resume"))
}

// RotateInbound sets a new secret of an inbound trigger.
func (c *Client) RotateInbound(
	ctx context.Context, name string, in hostler.InboundRotation,
) (hostler.InboundSecret, error) {
	return fetch[hostler.InboundSecret](ctx, c, post(in, "triggers", name, "rotate"))
}

// DeleteInbound deletes an inbound trigger with its log.
func (c *Client) DeleteInbound(ctx context.Context, name string) error {
	return c.do(ctx, del("triggers", name), nil)
}

// InboundCalls fetches one page of the requests to an inbound trigger, newest first.
func (c *Client) InboundCalls(
	ctx context.Context, name string, p hostler.Page,
) (hostler.List[hostler.InboundCall], error) {
	return list[hostler.InboundCall](ctx, c, p, "triggers", name, "log")
}
