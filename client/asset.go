package client

import (
	"context"

	"hostler.dev/hostler"
)

// Assets fetches one page of the assets.
func (c *Client) Assets(ctx context.Context, p hostler.Page) (hostler.List[hostler.Asset], error) {
	return list[hostler.Asset](ctx, c, p, "assets")
}

// AssetsWith lists the assets that have every one of the labels, for All.
func (c *Client) AssetsWith(labels map[string]string) Lister[hostler.Asset] {
	return func(ctx context.Context, p hostler.Page) (hostler.List[hostler.Asset], error) {
		q := pageQuery(p)
		for k, v := range labels {
			q.Add("label", k+"="+v)
		}
		return get[hostler.List[hostler.Asset]](ctx, c, q, "assets")
	}
}

// AssetsMatching lists the assets whose labels a selector matches, such as app=web,env!=test,
// for All. It is "" for all assets.
func (c *Client) AssetsMatching(selector string) Lister[hostler.Asset] {
	return func(ctx context.Context, p hostler.Page) (hostler.List[hostler.Asset], error) {
		q := pageQuery(p)
		if selector != "" {
			q.Set("selector", selector)
		}
		return get[hostler.List[hostler.Asset]](ctx, c, q, "assets")
	}
}

// Asset fetches one asset by name or id.
func (c *Client) Asset(ctx context.Context, asset string) (hostler.Asset, error) {
	return get[hostler.Asset](ctx, c, nil, "assets", asset)
}

// CreateAsset creates an asset.
func (c *Client) CreateAsset(ctx context.Context, in hostler.AssetInput) (hostler.Asset, error) {
	return fetch[hostler.Asset](ctx, c, post(in, "assets"))
}

// PutAsset replaces an asset as a whole; see [hostler.Asset.Input].
func (c *Client) PutAsset(ctx context.Context, asset string, in hostler.AssetInput) (hostler.Asset, error) {
	return fetch[hostler.Asset](ctx, c, put(in, "assets", asset))
}

// DeleteAsset deletes an asset; the history of its jobs is retained.
func (c *Client) DeleteAsset(ctx context.Context, asset string) error {
	return c.do(ctx, del("assets", asset), nil)
}

// ConfirmAsset confirms where an asset is, with its labels, and the use of its credential
// there.
func (c *Client) ConfirmAsset(ctx context.Context, asset string) (hostler.Asset, error) {
	return fetch[hostler.Asset](ctx, c, post(nil, "assets", asset, "confirm"))
}
