package native

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) calendarRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /calendars", auth.ReadSchedule, rest.All(a.Calendars),
			"List calendars: when fires and runs may not begin", "列出日历：何时不得开始触发和执行"),
		route("GET /calendars/{name}", auth.ReadSchedule, rest.At[Named](a.Calendar), "Get a calendar", "查看日历"),
		route("PUT /calendars/{name}", auth.WriteCalendar, rest.AtBody[NamedBody[hostler.CalendarInput]](a.PutCalendar),
			"Create or replace a calendar", "创建或替换日历"),
		route("POST /calendars/{name}/import", auth.WriteCalendar, rest.AtBody[NamedBody[hostler.CalendarFile]](a.ImportCalendar),
			"Add the days of an iCalendar or CSV file to a calendar", "将 iCalendar 或 CSV 文件中的日期加入日历"),
		route("DELETE /calendars/{name}", auth.WriteCalendar, rest.AtEmpty[Named](a.DeleteCalendar),
			"Delete a calendar", "删除日历"),
	}
}
