package native

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) credentialRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /credentials", auth.ReadCredential, rest.Paged(a.Credentials),
			"List credentials, without their secrets", "列出凭据（不含机密内容）"),
		route("POST /credentials", auth.WriteCredential, rest.Created(rest.Body(a.CreateCredential)),
			"Create a credential; its secret is encrypted", "创建凭据，机密内容加密保存"),
		route("GET /credentials/{name}", auth.ReadCredential, rest.At[Named](a.Credential),
			"Get a credential, without its secret", "查看凭据（不含机密内容）"),
		route("PUT /credentials/{name}", auth.WriteCredential,
			rest.AtBody[NamedBody[hostler.CredentialInput]](a.PutCredential),
			"Replace a credential's content", "替换凭据内容"),
		route("DELETE /credentials/{name}", auth.WriteCredential, rest.AtEmpty[Named](a.DeleteCredential),
			"Delete a credential that no asset uses", "删除未被资产使用的凭据"),
	}
}
