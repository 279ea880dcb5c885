package native

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) inboundRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /triggers", auth.ReadSchedule, rest.Paged(a.Inbounds),
			"List inbound triggers, without their secrets", "列出入站触发器（不含密钥）"),
		route("POST /triggers", auth.WriteSchedule, rest.Created(rest.Body(a.CreateInbound)),
			"Create an inbound trigger: a URL whose signed requests run a task; URL and secret are shown once",
			"创建入站触发器：向该 URL 发送的签名请求会执行任务；URL 和密钥仅显示一次"),
		route("GET /triggers/{name}", auth.ReadSchedule, rest.At[Named](a.Inbound), "Get an inbound trigger", "查看入站触发器"),
		route("DELETE /triggers/{name}", auth.WriteSchedule, rest.AtEmpty[Named](a.DeleteInbound),
			"Delete an inbound trigger with its log", "删除入站触发器及其日志"),
		route("POST /triggers/{name}/pause", auth.WriteSchedule, rest.At[Named](a.PauseInbound),
			"Refuse all requests to an inbound trigger", "暂停入站触发器，拒绝所有请求"),
		route("POST /triggers/{name}/resume", auth.WriteSchedule, rest.At[Named](a.ResumeInbound),
			"Accept requests to a paused inbound trigger again", "恢复入站触发器"),
		route("POST /triggers/{name}/rotate", auth.WriteSchedule,
			rest.AtBody[NamedBody[hostler.InboundRotation]](a.RotateInbound),
			"Set a new secret; the caller becomes the owner of the trigger", "更换密钥；调用者成为该触发器的所有者"),
		route("GET /triggers/{name}/log", auth.ReadSchedule, rest.List(rest.Do(a.inboundCalls)),
			"List the requests to an inbound trigger, newest first", "列出触发器收到的请求，最新在前"),
	}
}

type inboundCallsInput struct {
	Named
	rest.PageQuery
}

func (a *api) inboundCalls(
	ctx context.Context, c *rest.Call, in *inboundCallsInput,
) (hostler.List[hostler.InboundCall], error) {
	return a.InboundCalls(ctx, c.Caller, in.Name, in.Page())
}
