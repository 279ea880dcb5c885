package client

import (
	"context"
	"net/url"
	"strconv"

	"hostler.dev/hostler"
)

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
		"webhook": f.Webhook, "channel": f.Channel, "state": string(f.State), "type": string(f.Type), "job": f.Job.String(),
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

// ResendDelivery resends a delivery, under the same id.
func (c *Client) ResendDelivery(ctx context.Context, id hostler.DeliveryID) (hostler.Delivery, error) {
	return fetch[hostler.Delivery](ctx, c, post(nil, "deliveries", id.String(), "resend"))
}

// ResendDeliveries resends many deliveries. While More is set in the result, further
// deliveries match: call again.
func (c *Client) ResendDeliveries(ctx context.Context, s hostler.DeliverySelection) (hostler.BulkResult, error) {
	return fetch[hostler.BulkResult](ctx, c, post(s, "deliveries", "resend"))
}

// SetAside lists the events that could not be made into deliveries.
func (c *Client) SetAside(ctx context.Context) ([]hostler.SetAside, error) {
	l, err := get[hostler.List[hostler.SetAside]](ctx, c, nil, "set-aside")
	return l.Items, err
}

// RetrySetAside asks for another attempt to deliver the events that were set aside up to
// a position.
func (c *Client) RetrySetAside(ctx context.Context, last int64) error {
	return c.do(ctx, post(nil, "set-aside", strconv.FormatInt(last, 10), "retry"), nil)
}

// DeleteSetAside deletes the events that were set aside up to a position.
func (c *Client) DeleteSetAside(ctx context.Context, last int64) error {
	return c.do(ctx, del("set-aside", strconv.FormatInt(last, 10)), nil)
}
