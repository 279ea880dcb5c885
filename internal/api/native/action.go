package native

import (
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) actionRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /actions", auth.ReadAction, rest.All(a.Actions), "List the actions", "列出动作"),
		route("GET /actions/{name}", auth.ReadAction, rest.At[Named](a.Action),
			"Get an action with the JSON Schema of its args", "查看动作及其参数的 JSON Schema"),
	}
}
