package native

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) projectRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /projects", auth.OwnKeys, rest.Paged(a.Projects), "List projects", "列出项目"),
		route("POST /projects", auth.CreateProject, rest.Created(rest.Body(a.CreateProject)), "Create a project",
			"创建项目"),
		route("GET /projects/{name}", auth.ReadProject, rest.At[Named](a.Project), "Get a project", "查看项目"),
		route("PATCH /projects/{name}", auth.WriteProject, rest.AtBody[NamedBody[hostler.ProjectChange]](a.ChangeProject),
			"Change the weight and the limits of a project", "修改项目的权重和上限"),
	}
}
