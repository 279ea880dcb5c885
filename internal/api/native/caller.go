package native

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) callerRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		Dialect.PublicRoute("GET /version", rest.Do(a.getVersion), "Get the server's version", "服务器版本"),
		route("GET /me", auth.OwnKeys, rest.Read(a.Me), "Get the caller and its permissions",
			"当前调用者及其权限"),
	}
}

func (a *api) getVersion(context.Context, *rest.Call, *rest.None) (hostler.Version, error) {
	return hostler.Version{Version: a.version, Store: a.StoreKind()}, nil
}
