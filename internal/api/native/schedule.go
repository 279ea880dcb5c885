package native

import (
	"context"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
)

// runDialect is that of a run now, which answers 400 to every fault of the request.
var runDialect = func() *rest.Dialect {
	d := *Dialect
	d.BadRequest = true
	return &d
}()

func (a *api) scheduleRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /schedules", auth.ReadSchedule, rest.Paged(a.Schedules), "List schedules", "列出计划"),
		route("POST /schedules/next", auth.ReadSchedule, rest.Body(a.NextFires),
			"List coming fires of a trigger that is not saved", "列出未保存的触发器的后续触发时间"),
		runDialect.Route("POST /schedules/run", auth.RunJob, rest.Created(rest.Do(a.runScheduleByName)),
			"Run a schedule by name now", "按名称立即执行计划"),
		route("GET /schedules/forecast", auth.ReadSchedule, rest.Do(a.forecast),
			"Forecast the fires of the coming days, with collisions and overload", "预测未来数天的触发，以及冲突和过载"),
		route("GET /schedules/{schedule}", auth.ReadSchedule, rest.At[ScheduleRef](a.Schedule),
			"Get a schedule by name or id", "按名称或 ID 查看计划"),
		route("PUT /schedules/{schedule}", auth.WriteSchedule,
			rest.AtBody[ScheduleBody[hostler.ScheduleInput]](a.PutSchedule),
			"Create a schedule, or replace the one of this name; it runs with the rights of the caller",
			"创建计划或替换同名计划；以调用者的权限执行"),
		route("DELETE /schedules/{schedule}", auth.WriteSchedule, rest.AtEmpty[ScheduleRef](a.DeleteSchedule),
			"Delete a schedule; its runs continue", "删除计划；已开始的执行继续"),
		route("POST /schedules/{schedule}/pause", auth.WriteSchedule, rest.At[ScheduleRef](a.PauseSchedule),
			"Pause a schedule: its timer stops", "暂停计划：定时器停止"),
		route("POST /schedules/{schedule}/resume", auth.WriteSchedule, rest.At[ScheduleRef](a.ResumeSchedule),
			"Resume a paused schedule", "恢复计划"),
		route("GET /schedules/{schedule}/next", auth.ReadSchedule, rest.Do(a.nextFires),
			"List coming fires of a schedule", "列出计划的后续触发时间"),
		runDialect.Route("POST /schedules/{schedule}/run", auth.RunJob,
			rest.OptionalBody(rest.Created(rest.Do(a.runSchedule))),
			"Run a schedule now, also a paused one; its next fire stays", "立即执行计划（暂停中也可）；不影响下次触发"),
		route("GET /schedules/{schedule}/fires", auth.ReadSchedule, rest.List(rest.Do(a.fires)),
			"List the fires of a schedule, newest first", "列出计划的触发记录，最新在前"),
	}
}

type forecastQuery struct {
	Days     int    `query:"days" minimum:"0" maximum:"60" doc:"default 7"`
	Schedule string `query:"schedule" maxLength:"128" doc:"only this one; default: all"`
	Limit    int    `query:"limit" minimum:"0" maximum:"10000" doc:"of the fires that are listed; default 1000"`
}

func (a *api) forecast(ctx context.Context, c *rest.Call, in *forecastQuery) (hostler.Forecast, error) {
	return a.Forecast(ctx, c.Caller, hostler.ForecastQuery{Days: in.Days, Schedule: in.Schedule, Limit: in.Limit})
}

type nextFiresQuery struct {
	ScheduleRef
	After time.Time `query:"after" doc:"default: now"`
	Count int       `query:"count" minimum:"0" maximum:"1000" doc:"default 10"`
}

func (a *api) nextFires(ctx context.Context, c *rest.Call, in *nextFiresQuery) (hostler.NextFires, error) {
	return a.NextFiresOf(ctx, c.Caller, app.NextFiresQuery{
		Schedule: in.Schedule, After: given(in.After), Count: in.Count,
	})
}

type runScheduleInput struct {
	ScheduleRef
	rest.Idempotent
	Body *hostler.ScheduleRunInput
}

func (a *api) runSchedule(ctx context.Context, c *rest.Call, in *runScheduleInput) (hostler.ScheduleRun, error) {
	req := app.RunScheduleRequest{Schedule: in.Schedule, Key: in.Key}
	if in.Body != nil {
		req.Edit = *in.Body
	}
	return a.RunSchedule(ctx, c.Caller, req)
}

type runByNameInput struct {
	rest.Idempotent
	rest.Payload[hostler.NamedScheduleRun]
}

func (a *api) runScheduleByName(ctx context.Context, c *rest.Call, in *runByNameInput) (hostler.ScheduleRun, error) {
	return a.RunSchedule(ctx, c.Caller, app.RunScheduleRequest{
		Schedule: in.Body.Name, Edit: in.Body.ScheduleRunInput, Key: in.Key,
	})
}

type firesQuery struct {
	ScheduleRef
	rest.PageQuery
}

func (a *api) fires(ctx context.Context, c *rest.Call, in *firesQuery) (hostler.List[hostler.Fire], error) {
	return a.Fires(ctx, c.Caller, in.Schedule, in.Page())
}
