package simple

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (s *api) assetRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /assets", auth.ReadAsset, rest.Stream(describeAssets, s.listAssets),
			"List assets: all of them, or a page", "列出资产：全部或一页"),
		route("POST /assets", auth.WriteAsset, rest.Do(s.createAsset), "Create an asset", "创建资产"),
		route("GET /assets/{id}", auth.ReadAsset, rest.Do(s.readAsset), "Get an asset", "查看资产"),
		route("PUT /assets/{id}", auth.WriteAsset, rest.Do(s.putAsset), "Change an asset", "修改资产"),
		route("DELETE /assets/{id}", auth.WriteAsset, rest.Do(s.deleteAsset), "Delete an asset", "删除资产"),
	}
}

// Asset is an asset as the simple task API shows it.
type Asset struct {
	ID         int64             `json:"id"`
	Name       string            `json:"name"`
	IP         string            `json:"ip"`
	Port       int               `json:"port"`
	Kind       string            `json:"kind"`
	Platform   string            `json:"platform"`
	Labels     map[string]string `json:"labels"`
	Credential string            `json:"credential"`
	CreatedAt  time.Time         `json:"created_at"`
	UpdatedAt  time.Time         `json:"updated_at"`
}

// AssetInput is an asset as a client of the simple task API writes it. A replacement
// does not change the fields that are absent.
type AssetInput struct {
	Name       string            `json:"name" minLength:"1" maxLength:"128"`
	IP         string            `json:"ip" minLength:"1" maxLength:"253" doc:"IP address or host name"`
	Port       *int              `json:"port,omitempty" minimum:"0" maximum:"65535"`
	Kind       string            `json:"kind,omitempty" enum:"host,device,endpoint"`
	Platform   *string           `json:"platform,omitempty" maxLength:"64"`
	Labels     map[string]string `json:"labels,omitempty"`
	Credential *string           `json:"credential,omitempty" maxLength:"128"`
}

// AssetBody is the asset in the path and its input.
type AssetBody struct {
	Ref
	rest.Payload[AssetInput]
}

// apply writes the input over an asset.
func (in AssetInput) apply(a *hostler.AssetInput) {
	a.Name, a.Address = in.Name, in.IP
	if in.Port != nil {
		a.Port = *in.Port
	}
	if in.Kind != "" {
		a.Kind = in.Kind
	}
	if in.Platform != nil {
		a.Platform = *in.Platform
	}
	if in.Labels != nil {
		a.Labels = in.Labels
	}
	if in.Credential != nil {
		a.Credential = *in.Credential
	}
}

// shown is the answer of a use case as this API writes it.
func shown(a hostler.Asset, err error) (Asset, error) {
	if err != nil {
		return Asset{}, renamed(orNotFound(err, errNoAsset))
	}
	return assetOf(a), nil
}

func assetOf(a hostler.Asset) Asset {
	out := Asset{
		ID: int64(a.ID), Name: a.Name, IP: a.Address, Port: a.Port, Kind: a.Kind, Platform: a.Platform,
		Labels: a.Labels, Credential: a.Credential, CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt,
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	return out
}

func describeAssets(api huma.API, op *huma.Operation) {
	list := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[[]Asset](), true, "")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Assets; the header Link leads to the next page, if a page was asked for",
		Content:     map[string]*huma.MediaType{"application/json": {Schema: list}},
	}}
}

// listedAtOnce is how many assets the whole list reads at a time.
const listedAtOnce = 200

// listAssets sends a page, or the whole list when the request asks for none, as clients
// that know of no pages do. It never has more than a page in memory.
func (s *api) listAssets(ctx context.Context, c *rest.Call, in *rest.PageQuery) (rest.Send, error) {
	if err := c.ShareLists(ctx); err != nil {
		return nil, err
	}
	whole := *in == (rest.PageQuery{})
	p := in.Page()
	if whole {
		p.Limit = listedAtOnce
	}
	l, err := s.Assets(ctx, c.Caller, "", p)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		if !whole && l.Next != "" {
			w.Header()["Link"] = rest.NextLink(*c.Request.URL, l.Next)
		}
		out := c.NewExport(w)
		out.WriteText("[")
		sep := ""
		for err == nil {
			for _, a := range l.Items {
				b, _ := json.Marshal(assetOf(a)) // texts, numbers and times have a JSON form
				out.WriteText(sep + string(b))
				sep = ","
			}
			if !whole || l.Next == "" || !out.Flush() {
				break
			}
			p.Cursor = l.Next
			if err = c.Renew(ctx); err != nil {
				break
			}
			l, err = s.Assets(ctx, c.Caller, "", p)
		}
		if err != nil {
			panic(http.ErrAbortHandler) // an incomplete answer must not look complete
		}
		out.WriteText("]\n")
	}, nil
}

func (s *api) createAsset(ctx context.Context, c *rest.Call, in *rest.Payload[AssetInput]) (Asset, error) {
	var a hostler.AssetInput
	in.Body.apply(&a)
	return shown(s.CreateAsset(ctx, c.Caller, a))
}

func (s *api) readAsset(ctx context.Context, c *rest.Call, in *Ref) (Asset, error) {
	return shown(s.find(ctx, c, *in))
}

func (s *api) find(ctx context.Context, c *rest.Call, ref Ref) (hostler.Asset, error) {
	if !ref.valid() {
		return hostler.Asset{}, notFound(errNoAsset)
	}
	return s.Asset(ctx, c.Caller, hostler.AssetID(ref.ID).String())
}

func (s *api) putAsset(ctx context.Context, c *rest.Call, in *AssetBody) (Asset, error) {
	old, err := s.find(ctx, c, in.Ref)
	if err != nil {
		return shown(old, err)
	}
	a := old.Input()
	if a.DeviceKey == old.Address {
		a.DeviceKey = "" // the default, which follows the address
	}
	in.Body.apply(&a)
	a.CredentialKept = in.Body.Credential == nil
	return shown(s.PutAsset(ctx, c.Caller, old.ID.String(), a))
}

func (s *api) deleteAsset(ctx context.Context, c *rest.Call, in *Ref) (Asset, error) {
	old, err := s.find(ctx, c, *in)
	if err != nil {
		return shown(old, err)
	}
	return shown(s.DeleteAsset(ctx, c.Caller, old.ID.String()))
}
