package api

import (
	"context"
	"net/http"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// testWait is how long the answer to a test is held back for its outcome: longer
// than one request may take.
const testWait = 12 * time.Second

type (
	// WebhookRef is the webhook in the path.
	WebhookRef struct {
		Webhook string `path:"webhook" maxLength:"128" doc:"name or id"`
	}
	// DeliveryRef is the delivery in the path.
	DeliveryRef struct {
		ID param[hostler.DeliveryID, *hostler.DeliveryID] `path:"id"`
	}
)

type deliveryPage struct {
	PageQuery
	Webhook string    `query:"webhook" maxLength:"128" doc:"name or id"`
	State   string    `query:"state" enum:"pending,delivered,failed"`
	Type    string    `query:"type" maxLength:"64" doc:"of the event"`
	Job     jobParam  `query:"job"`
	Since   time.Time `query:"since" doc:"made at or after"`
	Until   time.Time `query:"until" doc:"made before"`
}

type jobParam = param[hostler.JobID, *hostler.JobID]

func (p deliveryPage) filter() hostler.DeliveryFilter {
	return hostler.DeliveryFilter{
		Webhook: p.Webhook, State: hostler.DeliveryState(p.State), Type: hostler.EventType(p.Type), Job: p.Job.V,
		Since: timePtr(p.Since), Until: timePtr(p.Until),
	}
}

// webhookRoutes are the routes of webhooks and of their deliveries.
func webhookRoutes() []Route {
	route := func(method, path string, v auth.Verb, en, zh string) Route {
		return Route{Method: method, Path: prefix + path, Access: needs(v), Summary: text(en, zh)}
	}
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	return []Route{
		handle(route(get, "/webhooks", auth.ReadWebhook, "List webhooks, without their secrets", "列出回调（不含机密内容）"),
			func(ctx context.Context, c call, in *PageQuery) (hostler.List[hostler.Webhook], error) {
				return c.app.Webhooks(ctx, c.Caller, in.page())
			}),
		handle(created(route(post, "/webhooks", auth.WriteWebhook, "Subscribe a URL to events", "为 URL 订阅事件")),
			func(ctx context.Context, c call, in *Payload[hostler.WebhookInput]) (hostler.WebhookCreated, error) {
				return c.app.CreateWebhook(ctx, c.Caller, in.Body)
			}),
		handle(route(get, "/webhooks/{webhook}", auth.ReadWebhook, "Read a webhook by name or id", "按名称或 ID 查看回调"),
			func(ctx context.Context, c call, in *WebhookRef) (hostler.Webhook, error) {
				return c.app.Webhook(ctx, c.Caller, in.Webhook)
			}),
		handle(route(put, "/webhooks/{webhook}", auth.WriteWebhook, "Replace a webhook; secret parts that are left out stay, unless the URL leads elsewhere", "替换回调；未提供的机密部分保持不变，除非 URL 指向别处"),
			func(ctx context.Context, c call, in *struct {
				WebhookRef
				Payload[hostler.WebhookInput]
			},
			) (hostler.Webhook, error) {
				return c.app.PutWebhook(ctx, c.Caller, in.Webhook, in.Body)
			}),
		handleEmpty(route(del, "/webhooks/{webhook}", auth.WriteWebhook, "Delete a webhook with its deliveries", "删除回调及其投递记录"),
			func(ctx context.Context, c call, in *WebhookRef) error {
				return c.app.DeleteWebhook(ctx, c.Caller, in.Webhook)
			}),
		handle(route(post, "/webhooks/{webhook}/enable", auth.WriteWebhook, "Send events to a webhook from now on, and what still waits for it", "启用回调，从现在起发送事件，并发送仍在等待的投递"),
			func(ctx context.Context, c call, in *WebhookRef) (hostler.Webhook, error) {
				return c.app.EnableWebhook(ctx, c.Caller, in.Webhook)
			}),
		handle(route(post, "/webhooks/{webhook}/disable", auth.WriteWebhook, "Send nothing to a webhook", "停用回调"),
			func(ctx context.Context, c call, in *WebhookRef) (hostler.Webhook, error) {
				return c.app.DisableWebhook(ctx, c.Caller, in.Webhook)
			}),
		handle(route(post, "/webhooks/{webhook}/rotate", auth.WriteWebhook, "Give a webhook a new signing secret; the old one signs too for a while", "更换签名密钥；旧密钥在一段时间内继续签名"),
			func(ctx context.Context, c call, in *struct {
				WebhookRef
				Payload[hostler.WebhookRotation]
			},
			) (hostler.WebhookCreated, error) {
				return c.app.RotateWebhook(ctx, c.Caller, in.Webhook, in.Body)
			}),
		handle(route(post, "/webhooks/{webhook}/test", auth.SendDelivery, "Send a webhook.ping and wait up to 12 s for what comes of it", "发送 webhook.ping，最多等待 12 秒并返回结果"), testWebhook),

		handle(route(get, "/deliveries", auth.ReadWebhook, "List deliveries, newest first", "列出投递，最新在前"),
			func(ctx context.Context, c call, in *deliveryPage) (hostler.List[hostler.Delivery], error) {
				return c.app.Deliveries(ctx, c.Caller, in.filter(), in.page())
			}),
		handle(route(get, "/deliveries/{id}", auth.ReadWebhook, "Read a delivery with its body and its attempts", "查看投递的请求体和各次尝试"),
			func(ctx context.Context, c call, in *DeliveryRef) (hostler.Delivery, error) {
				return c.app.Delivery(ctx, c.Caller, in.ID.V)
			}),
		handle(route(post, "/deliveries/{id}/resend", auth.SendDelivery, "Send a delivery again, under its id", "重新发送投递，ID 不变"),
			func(ctx context.Context, c call, in *DeliveryRef) (hostler.Delivery, error) {
				return c.app.ResendDelivery(ctx, c.Caller, in.ID.V)
			}),
		handle(route(post, "/deliveries/resend", auth.SendDelivery, "Send many deliveries again", "批量重新发送投递"),
			func(ctx context.Context, c call, in *Payload[hostler.DeliverySelection]) (hostler.BulkResult, error) {
				return c.app.ResendDeliveries(ctx, c.Caller, in.Body)
			}),
	}
}

// testWebhook sends a test and looks until it has been tried.
func testWebhook(ctx context.Context, c call, in *WebhookRef) (hostler.Delivery, error) {
	d, err := c.app.TestWebhook(ctx, c.Caller, in.Webhook)
	if err != nil {
		return d, err
	}
	// The test is on its way: whatever goes wrong from here on, the answer says so.
	ctx, cancel := context.WithTimeout(ctx, testWait)
	defer cancel()
	p := pace{first: 10 * time.Millisecond, most: 250 * time.Millisecond}
	for p.sleep(ctx, c.server.cfg.Draining) {
		now, err := c.app.Delivery(ctx, c.Caller, d.ID)
		if err != nil {
			return d, nil //nolint:nilerr // the delivery was made; it may be gone with its webhook
		}
		if d = now; d.Tries > 0 {
			return d, nil
		}
	}
	return d, nil
}
