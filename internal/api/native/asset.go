package native

import (
	"strconv"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
)

func (a *api) assetRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /assets", auth.ReadAsset, rest.Search[AssetQuery](a.Assets), "List assets", "列出资产"),
		route("POST /assets", auth.WriteAsset, rest.Created(rest.Body(a.CreateAsset)), "Create an asset",
			"创建资产"),
		route("GET /assets/{asset}", auth.ReadAsset, rest.At[AssetRef](a.Asset),
			"Get an asset by name or id", "按名称或 ID 查看资产"),
		route("PUT /assets/{asset}", auth.WriteAsset, rest.AtBody[AssetBody[hostler.AssetInput]](a.PutAsset),
			"Replace an asset", "替换资产"),
		route("DELETE /assets/{asset}", auth.WriteAsset, rest.At[AssetRef](a.DeleteAsset),
			"Delete an asset; its history is retained", "删除资产，保留其历史"),
		route("POST /assets/{asset}/confirm", auth.WriteCredential, rest.At[AssetRef](a.ConfirmAsset),
			"Confirm where an asset is, and the use of its credential there", "确认资产的现状及其凭据在此处的使用"),
	}
}

// LabelQuery selects assets by labels.
type LabelQuery struct {
	Label    []string `query:"label,explode" maxItems:"20" doc:"key=value; assets with all of them, where several values of one key are alternatives"`
	Selector string   `query:"selector" maxLength:"4096" doc:"conditions on labels, such as app=web,env!=test,rack in (1,2)"`
}

// Filter is the selector of the assets.
func (q LabelQuery) Filter() (string, error) {
	var terms []string
	for i, l := range q.Label {
		key, value, ok := strings.Cut(l, "=")
		if !ok {
			return "", hostler.Invalid(check.Item("label", i), "must be key=value", "必须是 key=value 形式")
		}
		terms = append(terms, key+"="+strconv.Quote(value))
	}
	if q.Selector != "" {
		terms = append(terms, q.Selector)
	}
	return strings.Join(terms, ","), nil
}

// AssetQuery asks for a page of the assets with labels.
type AssetQuery struct {
	rest.PageQuery
	LabelQuery
}
