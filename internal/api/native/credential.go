package native

import (
	"context"

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
		route("POST /credentials/{name}/rules", auth.WriteCredential,
			rest.Created(rest.AtBody[NamedBody[hostler.CredentialRuleInput]](a.AddCredentialRule)),
			"Allow uses of a credential by a rule", "通过规则放行凭据的用途"),
		route("DELETE /credentials/{name}/rules/{rule}", auth.WriteCredential, rest.DoEmpty(a.forbidCredential),
			"Remove a rule of a credential", "移除凭据的规则"),
		route("GET /credentials/{name}/uses", auth.ReadCredential, rest.Do(a.listCredentialUses),
			"List the single uses of a credential that are allowed", "列出已放行的凭据用途"),
		route("DELETE /credentials/{name}/uses/{rule}", auth.WriteCredential, rest.DoEmpty(a.forbidCredential),
			"Remove an allowed use of a credential", "移除已放行的凭据用途"),
	}
}

// CredentialRuleRef is a rule, or a use, in the path, below its credential.
type CredentialRuleRef struct {
	Named
	Rule string `path:"rule" maxLength:"32" doc:"number of the rule, or id of the use"`
}

// CredentialUseQuery asks for a page of the uses of a credential.
type CredentialUseQuery struct {
	Named
	rest.PageQuery
}

func (a *api) forbidCredential(ctx context.Context, c *rest.Call, in *CredentialRuleRef) error {
	return a.ForbidCredential(ctx, c.Caller, in.Name, in.Rule)
}

func (a *api) listCredentialUses(
	ctx context.Context, c *rest.Call, in *CredentialUseQuery,
) (hostler.List[hostler.CredentialUse], error) {
	return a.CredentialUses(ctx, c.Caller, in.Name, in.Page())
}
