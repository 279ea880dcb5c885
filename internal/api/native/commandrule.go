package native

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) commandRuleRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /command-rules", auth.ReadCommandRule, rest.All(a.CommandRules),
			"List the rules of dangerous commands", "列出高危命令规则"),
		route("POST /command-rules/test", auth.ReadCommandRule, rest.Body(a.TestCommand),
			"Which rules a command matches; nothing runs", "检查命令匹配哪些规则；不执行"),
		route("GET /command-rules/{name}", auth.ReadCommandRule, rest.At[Named](a.CommandRule),
			"Get a command rule", "查看命令规则"),
		route("PUT /command-rules/{name}", auth.WriteCommandRule,
			rest.AtBody[NamedBody[hostler.CommandRuleInput]](a.PutCommandRule),
			"Change a built-in rule, or create or replace one of the project", "修改内置规则，或创建、替换自定义规则"),
		route("DELETE /command-rules/{name}", auth.WriteCommandRule, rest.At[Named](a.ResetCommandRule),
			"Reset a built-in rule, or delete one of the project", "重置内置规则，或删除自定义规则"),
	}
}
