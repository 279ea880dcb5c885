package native

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) roleRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /roles", auth.ReadRole, rest.Paged(a.CustomRoles), "List the roles of the project",
			"列出项目自定义的角色"),
		route("POST /roles", auth.WriteRole, rest.Created(rest.Body(a.CreateCustomRole)),
			"Create a role that is limited to actions or assets", "创建限定动作或资产的角色"),
		route("GET /roles/{name}", auth.ReadRole, rest.At[Named](a.CustomRole), "Get a role", "查看角色"),
		route("PUT /roles/{name}", auth.WriteRole, rest.AtBody[NamedBody[hostler.CustomRoleInput]](a.PutCustomRole),
			"Replace what a role permits", "修改角色的权限"),
		route("DELETE /roles/{name}", auth.WriteRole, rest.At[Named](a.DeleteCustomRole), "Delete a role", "删除角色"),
		route("GET /can", auth.OwnKeys, rest.Do(a.can),
			"Whether the caller may run an action, and if not, why", "当前调用者能否执行某动作及原因"),
	}
}

type canQuery struct {
	Action string `query:"action" required:"true" minLength:"1" maxLength:"64"`
	Asset  string `query:"asset" maxLength:"253" doc:"name or id"`
}

func (a *api) can(ctx context.Context, c *rest.Call, in *canQuery) (hostler.Can, error) {
	return a.Can(ctx, c.Caller, hostler.CanQuery{Action: in.Action, Asset: in.Asset})
}
