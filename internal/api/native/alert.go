package native

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) alertRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /alerts", auth.ReadAlert, rest.List(rest.Do(a.alerts)),
			"List alerts: what fires, and what was resolved in the last 30 days", "列出告警：正在触发的，以及最近 30 天内恢复的"),
		route("GET /alert-rules", auth.ReadAlert, rest.All(a.AlertRules), "List alert rules", "列出告警规则"),
		route("GET /alert-rules/{name}", auth.ReadAlert, rest.At[Named](a.AlertRule), "Get an alert rule", "查看告警规则"),
		route("PUT /alert-rules/{name}", auth.WriteAlert, rest.AtBody[NamedBody[hostler.AlertRuleInput]](a.PutAlertRule),
			"Create or replace an alert rule", "创建或替换告警规则"),
		route("DELETE /alert-rules/{name}", auth.WriteAlert, rest.AtEmpty[Named](a.DeleteAlertRule),
			"Delete an alert rule with its alerts", "删除告警规则及其告警"),
		route("POST /alert-rules/{name}/test", auth.WriteAlert, rest.At[Named](a.TestAlertRule),
			"Send a test to the channels of an alert rule", "向告警规则的通知渠道发送测试"),
		route("POST /alert-rules/{name}/silence", auth.WriteAlert, rest.AtBody[NamedBody[hostler.AlertSilenceInput]](a.SilenceAlerts),
			"Stop the notifications of an alert rule for a time", "在一段时间内停止告警规则的通知"),
		route("POST /alert-rules/{name}/unsilence", auth.WriteAlert, rest.Do(a.unsilence),
			"End a silence", "结束静默"),
		route("GET /alert-silences", auth.ReadAlert, rest.All(a.AlertSilences), "List silences", "列出静默"),
	}
}

type alertsQuery struct {
	Rule  string `query:"rule" maxLength:"128" doc:"of this rule only"`
	State string `query:"state" enum:"firing,resolved"`
	rest.PageQuery
}

func (a *api) alerts(ctx context.Context, c *rest.Call, in *alertsQuery) (hostler.List[hostler.Alert], error) {
	return a.Alerts(ctx, c.Caller, hostler.AlertFilter{Rule: in.Rule, State: hostler.AlertState(in.State)}, in.Page())
}

func (a *api) unsilence(ctx context.Context, c *rest.Call, in *NamedBody[hostler.AlertTarget]) (hostler.AlertTarget, error) {
	return in.Body, a.UnsilenceAlerts(ctx, c.Caller, in.Name, in.Body)
}
