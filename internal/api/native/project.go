package native

import (
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) projectRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /projects", auth.OwnKeys, rest.Paged(a.Projects), "List projects", "列出项目"),
		route("POST /projects", auth.CreateProject, rest.Created(rest.Body(a.CreateProject)), "Create a project",
			"创建项目"),
	}
}
