package native

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) hostKeyRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /assets/{asset}/hostkeys", auth.ReadHostKey, rest.AtAll[AssetRef](a.HostKeys),
			"List the SSH host keys seen at an asset's address", "列出资产地址上出现过的 SSH 主机密钥"),
		route("POST /assets/{asset}/hostkeys/{id}/accept", auth.DecideHostKey, rest.Do(a.acceptHostKey),
			"Pin an offered host key", "接受主机密钥"),
		route("POST /assets/{asset}/hostkeys/{id}/revoke", auth.DecideHostKey, rest.Do(a.revokeHostKey),
			"Revoke a host key", "吊销主机密钥"),
	}
}

func (a *api) acceptHostKey(ctx context.Context, c *rest.Call, in *HostKeyRef) (hostler.HostKey, error) {
	return a.AcceptHostKey(ctx, c.Caller, in.Asset, in.ID.V)
}

func (a *api) revokeHostKey(ctx context.Context, c *rest.Call, in *HostKeyRef) (hostler.HostKey, error) {
	return a.RevokeHostKey(ctx, c.Caller, in.Asset, in.ID.V)
}
