package client

import (
	"context"
	"net/url"
	"time"

	"hostler.dev/hostler"
)

// WebhookInput is a webhook to make or to replace. In a replacement, a URL, Token,
// Secret or Headers that is nil or "" stays as it is; an empty one behind its
// pointer is taken away.
type WebhookInput struct {
	Name           string                 `json:"name"`
	URL            string                 `json:"url,omitempty"`
	Format         hostler.WebhookFormat  `json:"format,omitempty"`
	Events         []string               `json:"events,omitempty"`
	Filter         *hostler.WebhookFilter `json:"filter,omitempty"`
	Method         string                 `json:"method,omitempty"`
	Headers        map[string]string      `json:"headers,omitzero"`
	Token          *string                `json:"token,omitempty"`
	Secret         *string                `json:"secret,omitempty"`
	GenerateSecret bool                   `json:"generate_secret,omitempty"`
	Lang           hostler.Lang           `json:"lang,omitempty"`
	Timeout        hostler.Duration       `json:"timeout,omitempty"`
	Rate           int                    `json:"rate,omitempty"`
	Limit          int                    `json:"limit,omitempty"`
	Enabled        *bool                  `json:"enabled,omitempty"`
}

// String hides the secret parts.
func (in WebhookInput) String() string { return in.Name + " (secret)" }

// GoString hides the secret parts from %#v.
func (in WebhookInput) GoString() string { return in.String() }

// WebhookInputOf is the input that leaves a webhook as it is: the base of a change.
func WebhookInputOf(w hostler.Webhook) WebhookInput {
	return WebhookInput{
		Name: w.Name, Format: w.Format, Events: w.Events, Filter: &w.Filter, Method: w.Method,
		Lang: w.Lang, Timeout: w.Timeout, Rate: w.Rate, Limit: w.Limit,
	}
}

// WebhookCreated is a webhook with the signing secret that the server made, which
// is shown this once.
type WebhookCreated struct {
	Webhook hostler.Webhook `json:"webhook"`
	Secret  string          `json:"secret,omitempty"`
}

// String hides the secret.
func (w WebhookCreated) String() string { return w.Webhook.Name + " (secret)" }

// GoString hides the secret from %#v.
func (w WebhookCreated) GoString() string { return w.String() }

// WebhookRotation asks for a new signing secret; "" has the server make one. Nil
// as Overlap lets the old one sign too for a day.
type WebhookRotation struct {
	Secret  string            `json:"secret,omitempty"`
	Overlap *hostler.Duration `json:"overlap,omitempty"`
}

// DeliverySelection selects deliveries by filter or by ids.
type DeliverySelection struct {
	Filter *hostler.DeliveryFilter `json:"filter,omitempty"`
	IDs    []hostler.DeliveryID    `json:"ids,omitempty"`
}

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
func (c *Client) CreateWebhook(ctx context.Context, in WebhookInput) (WebhookCreated, error) {
	return fetch[WebhookCreated](ctx, c, post(in, "webhooks"))
}

// PutWebhook replaces a webhook.
func (c *Client) PutWebhook(ctx context.Context, ref string, in WebhookInput) (hostler.Webhook, error) {
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
func (c *Client) RotateWebhook(ctx context.Context, ref string, in WebhookRotation) (WebhookCreated, error) {
	return fetch[WebhookCreated](ctx, c, post(in, "webhooks", ref, "rotate"))
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
func (c *Client) ResendDeliveries(ctx context.Context, s DeliverySelection) (hostler.BulkResult, error) {
	return fetch[hostler.BulkResult](ctx, c, post(s, "deliveries", "resend"))
}
