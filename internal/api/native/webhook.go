package native

import (
	"context"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/wait"
)

func (a *api) webhookRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /webhooks", auth.ReadWebhook, rest.Paged(a.Webhooks),
			"List webhooks, without their secrets", "列出回调（不含机密内容）"),
		route("POST /webhooks", auth.WriteWebhook, rest.Created(rest.Body(a.CreateWebhook)),
			"Create a webhook: subscribe a URL to events", "创建回调：为 URL 订阅事件"),
		route("GET /webhooks/{webhook}", auth.ReadWebhook, rest.At[WebhookRef](a.Webhook),
			"Get a webhook by name or id", "按名称或 ID 查看回调"),
		route("PUT /webhooks/{webhook}", auth.WriteWebhook, rest.AtBody[WebhookBody[hostler.WebhookInput]](a.PutWebhook),
			"Replace a webhook; omitted secret parts are retained unless the URL leads to another host",
			"替换回调；未提供的机密部分保持不变，除非 URL 指向别处"),
		route("DELETE /webhooks/{webhook}", auth.WriteWebhook, rest.AtEmpty[WebhookRef](a.DeleteWebhook),
			"Delete a webhook with its deliveries", "删除回调及其投递记录"),
		route("POST /webhooks/{webhook}/enable", auth.WriteWebhook, rest.At[WebhookRef](a.EnableWebhook),
			"Enable a webhook: send new events and pending deliveries",
			"启用回调，从现在起发送事件，并发送仍在等待的投递"),
		route("POST /webhooks/{webhook}/disable", auth.WriteWebhook, rest.At[WebhookRef](a.DisableWebhook),
			"Disable a webhook: send nothing to it", "停用回调，不再发送"),
		route("POST /webhooks/{webhook}/rotate", auth.WriteWebhook,
			rest.AtBody[WebhookBody[hostler.WebhookRotation]](a.RotateWebhook),
			"Set a new signing secret; the old one also signs for a while",
			"更换签名密钥；旧密钥在一段时间内继续签名"),
		route("POST /webhooks/{webhook}/test", auth.SendDelivery, rest.Do(a.testWebhook),
			"Send a webhook.ping and return its delivery, after at most 12 s",
			"发送 webhook.ping，最多等待 12 秒并返回结果"),
	}
}

// testWait is how long the answer to a test waits for its outcome: longer than one
// request to the receiver may take.
const testWait = 12 * time.Second

// testWebhook sends a test; see awaitTest.
func (a *api) testWebhook(ctx context.Context, c *rest.Call, in *WebhookRef) (hostler.Delivery, error) {
	d, err := a.TestWebhook(ctx, c.Caller, in.Webhook)
	if err != nil {
		return d, err
	}
	return a.awaitTest(ctx, c, d)
}

// awaitTest polls until a test has been tried. Once the delivery exists, the answer is
// the delivery and not an error.
func (a *api) awaitTest(ctx context.Context, c *rest.Call, d hostler.Delivery) (hostler.Delivery, error) {
	ctx, cancel := c.Hold(ctx, testWait)
	defer cancel()
	poll := wait.Backoff{First: 10 * time.Millisecond, Max: 250 * time.Millisecond, Factor: 1.5}
	for c.Poll(ctx, &poll) {
		now, err := a.Delivery(ctx, c.Caller, d.ID)
		if err != nil {
			return d, nil //nolint:nilerr // deleted with its webhook meanwhile
		}
		if d = now; d.Tries > 0 {
			return d, nil
		}
	}
	return d, nil
}
