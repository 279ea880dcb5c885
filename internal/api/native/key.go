package native

import (
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) keyRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /keys", auth.OwnKeys, rest.Paged(a.Keys), "List API keys", "列出 API 密钥"),
		route("POST /keys", auth.OwnKeys, rest.Created(rest.Body(a.CreateKey)),
			"Create an API key; its secret is shown only in this answer",
			"创建 API 密钥，其内容仅在此响应中显示"),
		route("POST /keys/{id}/rotate", auth.OwnKeys, rest.Created(rest.At[KeyRef](a.RotateKey)),
			"Create a successor of a key; the old key stays valid for a while",
			"轮换密钥，旧密钥在一段时间内仍有效"),
		route("DELETE /keys/{id}", auth.OwnKeys, rest.At[KeyRef](a.RevokeKey), "Revoke a key", "吊销密钥"),
	}
}
