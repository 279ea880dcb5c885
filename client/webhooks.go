package client

import (
	"context"
	"net/url"
	"time"

	"hostler.dev/hostler"
)

// testWait is how long the server may hold back the answer to a test.
const testWait = 12 * time.Second

// Webhooks fetches one page of the webhooks, by name.
func (c *Client) Webhooks(ctx context.Context, p hostler.Page) (hostler.List[hostler.Webhook], error) {
	return list[hostler.Webhook](ctx, c, p, "webhooks")
}

// Webhook fetches one webhook by name or id.
func (c *Client) Webhook(ctx context.Context, ref string) (hostler.Webhook, error) {
	return get[hostler.Webhook](ctx, c, nil, "webhooks", ref)
}

// CreateWebhook makes a webhook.
func (c *Client) CreateWebhook(ctx context.Context, in hostler.WebhookInput) (hostler.WebhookCreated, error) {
	return fetch[hostler.WebhookCreated](ctx, c, post(in, "webhooks"))
}

// PutWebhook replaces a webhook.
func (c *Client) PutWebhook(ctx context.Context, ref string, in hostler.WebhookInput) (hostler.Webhook, error) {
	return fetch[hostler.Webhook](ctx, c, put(in, "webhooks", ref))
}

// DeleteWebhook deletes a webhook with its deliveries.
func (c *Client) DeleteWebhook(ctx context.Context, ref string) error {
	return c.do(ctx, del("webhooks", ref), nil)
}

// EnableWebhook has events sent to it from now on.
func (c *Client) EnableWebhook(ctx context.Context, ref string) (hostler.Webhook, error) {
	return fetch[hostler.Webhook](ctx, c, post(nil, "webhooks", ref, "enable"))
}

// DisableWebhook has nothing sent to it.
func (c *Client) DisableWebhook(ctx context.Context, ref string) (hostler.Webhook, error) {
	return fetch[hostler.Webhook](ctx, c, post(nil, "webhooks", ref, "disable"))
}

// TestWebhook sends a webhook.ping and waits up to 12 s for what comes of it.
func (c *Client) TestWebhook(ctx context.Context, ref string) (hostler.Delivery, error) {
	r := post(nil, "webhooks", ref, "test")
	r.extra = testWait
	return fetch[hostler.Delivery](ctx, c, r)
}

// RotateWebhook gives a webhook a new signing secret.
func (c *Client) RotateWebhook(ctx context.Context, ref string, in hostler.WebhookRotation) (hostler.WebhookCreated, error) {
	return fetch[hostler.WebhookCreated](ctx, c, post(in, "webhooks", ref, "rotate"))
}

// Deliveries fetches one page of the deliveries that the filter selects, newest
// first.
func (c *Client) Deliveries(ctx context.Context, f hostler.DeliveryFilter, p hostler.Page) (hostler.List[hostler.Delivery], error) {
	return get[hostler.List[hostler.Delivery]](ctx, c, deliveryQuery(f, p), "deliveries")
}

// DeliveriesLister is Deliveries for All.
func (c *Client) DeliveriesLister(f hostler.DeliveryFilter) Lister[hostler.Delivery] {
	return func(ctx context.Context, p hostler.Page) (hostler.List[hostler.Delivery], error) {
		return c.Deliveries(ctx, f, p)
	}
}

func deliveryQuery(f hostler.DeliveryFilter, p hostler.Page) url.Values {
	q := pageQuery(p)
	for name, value := range map[string]string{
		"webhook": f.Webhook, "state": string(f.State), "type": string(f.Type), "job": f.Job.String(),
		"since": timeText(f.Since), "until": timeText(f.Until),
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// Delivery fetches one delivery with its body and attempts.
func (c *Client) Delivery(ctx context.Context, id hostler.DeliveryID) (hostler.Delivery, error) {
	return get[hostler.Delivery](ctx, c, nil, "deliveries", id.String())
}

// ResendDelivery has a delivery sent again, under the same id.
func (c *Client) ResendDelivery(ctx context.Context, id hostler.DeliveryID) (hostler.Delivery, error) {
	return fetch[hostler.Delivery](ctx, c, post(nil, "deliveries", id.String(), "resend"))
}

// ResendDeliveries has many deliveries sent again. More in the result says that
// more match: call again.
func (c *Client) ResendDeliveries(ctx context.Context, s hostler.DeliverySelection) (hostler.BulkResult, error) {
	return fetch[hostler.BulkResult](ctx, c, post(s, "deliveries", "resend"))
}
