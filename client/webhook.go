package client

import (
	"context"
	"time"

	"hostler.dev/hostler"
)

// testWait is how long the server may hold the answer to a test back.
const testWait = 12 * time.Second

// Webhooks fetches one page of the webhooks, by name.
func (c *Client) Webhooks(ctx context.Context, p hostler.Page) (hostler.List[hostler.Webhook], error) {
	return list[hostler.Webhook](ctx, c, p, "webhooks")
}

// Webhook fetches one webhook by name or id.
func (c *Client) Webhook(ctx context.Context, ref string) (hostler.Webhook, error) {
	return get[hostler.Webhook](ctx, c, nil, "webhooks", ref)
}

// CreateWebhook creates a webhook.
func (c *Client) CreateWebhook(ctx context.Context, in hostler.WebhookInput) (hostler.WebhookCreated, error) {
	return fetch[hostler.WebhookCreated](ctx, c, post(in, "webhooks"))
}

// PutWebhook replaces a webhook; see [hostler.Webhook.Input].
func (c *Client) PutWebhook(ctx context.Context, ref string, in hostler.WebhookInput) (hostler.Webhook, error) {
	return fetch[hostler.Webhook](ctx, c, put(in, "webhooks", ref))
}

// DeleteWebhook deletes a webhook with its deliveries.
func (c *Client) DeleteWebhook(ctx context.Context, ref string) error {
	return c.do(ctx, del("webhooks", ref), nil)
}

// EnableWebhook enables a webhook: new events and pending deliveries are sent.
func (c *Client) EnableWebhook(ctx context.Context, ref string) (hostler.Webhook, error) {
	return fetch[hostler.Webhook](ctx, c, post(nil, "webhooks", ref, "enable"))
}

// DisableWebhook disables a webhook: nothing is sent to it.
func (c *Client) DisableWebhook(ctx context.Context, ref string) (hostler.Webhook, error) {
	return fetch[hostler.Webhook](ctx, c, post(nil, "webhooks", ref, "disable"))
}

// TestWebhook sends a webhook.ping and returns its delivery, after at most 12 s.
func (c *Client) TestWebhook(ctx context.Context, ref string) (hostler.Delivery, error) {
	r := post(nil, "webhooks", ref, "test")
	r.extra = testWait
	return fetch[hostler.Delivery](ctx, c, r)
}

// RotateWebhook sets a new signing secret.
func (c *Client) RotateWebhook(ctx context.Context, ref string, in hostler.WebhookRotation) (hostler.WebhookCreated, error) {
	return fetch[hostler.WebhookCreated](ctx, c, post(in, "webhooks", ref, "rotate"))
}
