package native

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) channelRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /channels", auth.ReadWebhook, rest.Paged(a.Channels),
			"List notification channels, without their secrets", "列出通知渠道（不含机密内容）"),
		route("POST /channels", auth.WriteWebhook, rest.Created(rest.Body(a.CreateChannel)),
			"Create a notification channel: a chat bot, mail or a webhook", "创建通知渠道：聊天机器人、邮件或回调"),
		route("GET /channels/{channel}", auth.ReadWebhook, rest.At[ChannelRef](a.Channel),
			"Get a notification channel by name or id", "按名称或 ID 查看通知渠道"),
		route("PUT /channels/{channel}", auth.WriteWebhook, rest.AtBody[ChannelBody[hostler.ChannelInput]](a.PutChannel),
			"Replace a notification channel; an omitted secret is retained unless the URL leads to another host",
			"替换通知渠道；未提供的机密部分保持不变，除非 URL 指向别处"),
		route("DELETE /channels/{channel}", auth.WriteWebhook, rest.AtEmpty[ChannelRef](a.DeleteChannel),
			"Delete a notification channel with its deliveries", "删除通知渠道及其投递记录"),
		route("POST /channels/{channel}/preview", auth.ReadWebhook,
			rest.AtBody[ChannelBody[hostler.ChannelPreview]](a.PreviewChannel),
			"Show the message for an event with sample values; nothing is sent", "以示例内容预览消息；不会发送"),
		route("POST /channels/{channel}/test", auth.SendDelivery, rest.Do(a.testChannel),
			"Send a channel.ping and return its delivery, after at most 12 s",
			"发送 channel.ping，最多等待 12 秒并返回结果"),
	}
}

// testChannel sends a test; see awaitTest.
func (a *api) testChannel(ctx context.Context, c *rest.Call, in *ChannelRef) (hostler.Delivery, error) {
	d, err := a.TestChannel(ctx, c.Caller, in.Channel)
	if err != nil {
		return d, err
	}
	return a.awaitTest(ctx, c, d)
}
