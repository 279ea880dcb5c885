package client

import (
	"context"

	"hostler.dev/hostler"
)

// Channels fetches one page of the notification channels, by name.
func (c *Client) Channels(ctx context.Context, p hostler.Page) (hostler.List[hostler.Channel], error) {
	return list[hostler.Channel](ctx, c, p, "channels")
}

// Channel fetches one channel by name or id.
func (c *Client) Channel(ctx context.Context, ref string) (hostler.Channel, error) {
	return get[hostler.Channel](ctx, c, nil, "channels", ref)
}

// CreateChannel creates a channel.
func (c *Client) CreateChannel(ctx context.Context, in hostler.ChannelInput) (hostler.Channel, error) {
	return fetch[hostler.Channel](ctx, c, post(in, "channels"))
}

// PutChannel replaces a channel; see [hostler.Channel.Input].
func (c *Client) PutChannel(ctx context.Context, ref string, in hostler.ChannelInput) (hostler.Channel, error) {
	return fetch[hostler.Channel](ctx, c, put(in, "channels", ref))
}

// DeleteChannel deletes a channel with its deliveries.
func (c *Client) DeleteChannel(ctx context.Context, ref string) error {
	return c.do(ctx, del("channels", ref), nil)
}

// TestChannel sends a channel.ping and returns its delivery, after at most 12 s.
func (c *Client) TestChannel(ctx context.Context, ref string) (hostler.Delivery, error) {
	r := post(nil, "channels", ref, "test")
	r.extra = testWait
	return fetch[hostler.Delivery](ctx, c, r)
}

// PreviewChannel returns the message that a channel would send for a sample event.
func (c *Client) PreviewChannel(
	ctx context.Context, ref string, in hostler.ChannelPreview,
) (hostler.ChannelMessage, error) {
	return fetch[hostler.ChannelMessage](ctx, c, post(in, "channels", ref, "preview"))
}
