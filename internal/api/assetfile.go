package api

import (
	"context"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
)

type importQuery struct {
	DryRun     bool     `query:"dry_run" doc:"say what would become of each row, and change nothing"`
	OnConflict string   `query:"on_conflict" enum:"update,skip,fail" doc:"of a row whose asset exists; default: update"`
	Map        []string `query:"map,explode" maxItems:"256" doc:"column:field; field - ignores the column"`
}

func importAssets(ctx context.Context, c call, in *importQuery) (hostler.AssetImport, error) {
	o := hostler.ImportOptions{DryRun: in.DryRun, OnConflict: in.OnConflict, Mapping: map[string]string{}}
	for i, m := range in.Map {
		// From the right: a column's name may hold a colon, a field's does not.
		at := strings.LastIndexByte(m, ':')
		if at < 1 || at == len(m)-1 {
			return hostler.AssetImport{}, hostler.Invalid("map["+strconv.Itoa(i)+"]", "write it as column:field", "请写成 列名:字段")
		}
		o.Mapping[m[:at]] = m[at+1:]
	}
	if _, params, err := mime.ParseMediaType(c.request.Header.Get("Content-Type")); err == nil {
		o.Encoding = params["charset"]
	}
	return c.app.ImportAssets(ctx, c.Caller, c.csv, o)
}

// AssetExport chooses what to export.
type AssetExport struct {
	Label []string `query:"label,explode" maxItems:"20" doc:"key=value; assets with all of them"`
}

func documentExport(_ huma.API, op *huma.Operation) {
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A file of CSV that a spreadsheet opens safely and that import reads back without a change",
		Content:     map[string]*huma.MediaType{mediaCSV: {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
}

func exportAssets(ctx context.Context, c call, in *AssetExport) (func(http.ResponseWriter), error) {
	labels, err := AssetPage{Label: in.Label}.labels()
	if err != nil {
		return nil, err
	}
	write, err := c.app.ExportAssets(ctx, c.Caller, labels)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", mediaCSV+"; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="assets.csv"`)
		if write(w) != nil {
			panic(http.ErrAbortHandler) // a cut answer must not look whole
		}
	}, nil
}
