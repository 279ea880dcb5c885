package native

import (
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) dispatchRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /dispatch", auth.ReadQueue, rest.Read(a.Dispatch),
			"Whether dispatch is held, and what waits", "查看作业分派是否暂停及等待的作业"),
		route("POST /dispatch/hold", auth.WriteQueue, rest.Read(a.HoldDispatch),
			"Hold dispatch: no job starts", "暂停作业分派：作业不再开始"),
		route("POST /dispatch/release", auth.WriteQueue, rest.Body(a.ReleaseDispatch),
			"Release dispatch", "恢复作业分派"),
	}
}
