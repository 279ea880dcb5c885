package native

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) dispatchRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /dispatch", auth.ReadQueue, rest.Read(a.Dispatch),
			"Whether dispatch is held, and what waits", "查看作业分派是否暂停及等待的作业"),
		route("POST /dispatch/hold", auth.WriteQueue, rest.OptionalBody(rest.Do(a.holdDispatch)),
			"Hold dispatch of the installation: no job starts", "暂停整个系统的作业分派：作业不再开始"),
		route("POST /dispatch/release", auth.WriteQueue, rest.Body(a.ReleaseDispatch),
			"Release dispatch", "恢复作业分派"),
		route("GET /holds", auth.ReadHold, rest.All(a.Holds),
			"List what holds jobs of the project: its dispatch, and assets and labels in maintenance",
			"列出本项目的暂停：项目的作业分派，以及维护中的资产和标签"),
		route("POST /holds", auth.WriteHold, rest.Created(rest.Body(a.CreateHold)),
			"Put an asset or a label into maintenance, or hold dispatch of the project (admin)",
			"将资产或标签置于维护，或暂停本项目的作业分派（管理员）"),
		route("DELETE /holds/{id}", auth.WriteHold, rest.AtEmpty[HoldRef](a.EndHold),
			"End a hold: what waited for it is queued", "结束暂停：等待的作业重新排队"),
	}
}

type holdDispatchInput struct{ Body *hostler.HoldTerms }

func (a *api) holdDispatch(ctx context.Context, c *rest.Call, in *holdDispatchInput) (hostler.Dispatch, error) {
	var terms hostler.HoldTerms
	if in.Body != nil {
		terms = *in.Body
	}
	return a.HoldDispatch(ctx, c.Caller, terms)
}
