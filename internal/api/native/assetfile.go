package native

import (
	"context"
	"mime"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
)

func (a *api) assetFileRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("POST /assets/import", auth.WriteAsset, rest.DoCSV(a.importAssets),
			"Create and change assets from a CSV file, all or none",
			"从 CSV 文件导入资产，全部成功或全部不变"),
		route("GET /assets.csv", auth.ReadAsset, rest.Stream(describeExport, a.exportAssets),
			"Export assets as a CSV file", "将资产导出为 CSV 文件"),
	}
}

type importQuery struct {
	DryRun     bool     `query:"dry_run" doc:"report what would happen to each row, and change nothing"`
	OnConflict string   `query:"on_conflict" enum:"update,skip,fail" doc:"for a row whose asset exists; default: update"`
	Map        []string `query:"map,explode" maxItems:"256" doc:"column:field; field - ignores the column"`
}

func (a *api) importAssets(ctx context.Context, c *rest.Call, in *importQuery) (hostler.AssetImport, error) {
	o := hostler.ImportOptions{DryRun: in.DryRun, OnConflict: in.OnConflict, Mapping: map[string]string{}}
	for i, m := range in.Map {
		// The last colon separates: a column's name may contain one, a field's does not.
		at := strings.LastIndexByte(m, ':')
		if at < 1 || at == len(m)-1 {
			return hostler.AssetImport{}, hostler.Invalid(check.Item("map", i), "must be column:field",
				"必须是 列名:字段 形式")
		}
		o.Mapping[m[:at]] = m[at+1:]
	}
	if _, params, err := mime.ParseMediaType(c.Request.Header.Get("Content-Type")); err == nil {
		o.Encoding = params["charset"]
	}
	return a.ImportAssets(ctx, c.Caller, c.CSV, o)
}

func describeExport(_ huma.API, op *huma.Operation) {
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A CSV file that a spreadsheet opens safely and that import reads back without a change",
		Content:     map[string]*huma.MediaType{rest.MediaCSV: {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
}

func (a *api) exportAssets(ctx context.Context, c *rest.Call, in *LabelQuery) (rest.Send, error) {
	labels, err := in.Filter()
	if err != nil {
		return nil, err
	}
	if err := c.ShareLists(ctx); err != nil {
		return nil, err
	}
	write, err := a.ExportAssets(ctx, c.Caller, labels)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", rest.MediaCSV+"; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="assets.csv"`)
		if write(c.NewExport(w), c.Renewed(ctx)) != nil {
			panic(http.ErrAbortHandler) // an incomplete answer must not look complete
		}
	}, nil
}
