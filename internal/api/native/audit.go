package native

import (
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) auditRoutes() []rest.Route {
	return []rest.Route{
		Dialect.Route("GET /audit", auth.ReadAudit, rest.Paged(a.Audit),
			"List the changes by people and keys, newest first", "列出审计记录，最新在前"),
	}
}
