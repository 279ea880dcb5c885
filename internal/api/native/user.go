package native

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) userRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /users", auth.ManageUsers, rest.Paged(a.Users), "List users", "列出用户"),
		route("POST /users", auth.ManageUsers, rest.Created(rest.Body(a.CreateUser)),
			"Create a user with roles", "创建用户并授予角色"),
		route("GET /users/{name}", auth.ManageUsers, rest.At[Named](a.User), "Get a user", "查看用户"),
		route("PATCH /users/{name}", auth.ManageUsers, rest.AtBody[NamedBody[hostler.UserChange]](a.ChangeUser),
			"Disable or enable a user, or change its roles", "停用、启用用户或修改其角色"),
		route("POST /users/{name}/cancel-jobs", auth.ManageAllUsers, rest.At[Named](a.CancelJobsOfUser),
			"Cancel the jobs of a user in all projects", "取消用户在所有项目中的作业"),
	}
}
