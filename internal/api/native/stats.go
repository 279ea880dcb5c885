package native

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) statsRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /stats", auth.ReadStats, rest.List(rest.Do(a.stats)),
			"Count ended jobs, with their run and queue times and the trend; also of jobs that were deleted since",
			"统计已结束的作业：数量、执行与排队时间、趋势；包括之后已删除的作业"),
		route("GET /stats.csv", auth.ReadStats, rest.Stream(describeStatsFile, a.exportStats),
			"Export statistics as a CSV file", "将统计导出为 CSV 文件"),
	}
}

type statsQuery struct {
	By   string    `query:"by" enum:"action,queue,user,asset,schedule,task" doc:"default: action"`
	Name string    `query:"name" maxLength:"300" doc:"only this one"`
	From time.Time `query:"from" doc:"default: 7 days before to"`
	To   time.Time `query:"to" doc:"default: now"`
	Step string    `query:"step" enum:"hour,day" doc:"with a series of such steps"`
	rest.PageQuery
}

func (q *statsQuery) query() hostler.StatsQuery {
	return hostler.StatsQuery{
		By: hostler.StatsBy(q.By), Name: q.Name, From: given(q.From), To: given(q.To),
		Step: hostler.StatsStep(q.Step), Page: q.Page(),
	}
}

func (a *api) stats(ctx context.Context, c *rest.Call, in *statsQuery) (hostler.Stats, error) {
	return a.Stats(ctx, c.Caller, in.query())
}

func describeStatsFile(_ huma.API, op *huma.Operation) {
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A CSV file that a spreadsheet opens safely",
		Content:     map[string]*huma.MediaType{rest.MediaCSV: {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
}

func (a *api) exportStats(ctx context.Context, c *rest.Call, in *statsQuery) (rest.Send, error) {
	if err := c.ShareLists(ctx); err != nil {
		return nil, err
	}
	write, err := a.ExportStats(ctx, c.Caller, in.query())
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", rest.MediaCSV+"; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="stats.csv"`)
		if write(c.NewExport(w), c.Renewed(ctx)) != nil {
			panic(http.ErrAbortHandler) // an incomplete answer must not look complete
		}
	}, nil
}
