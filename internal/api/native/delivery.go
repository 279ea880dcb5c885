package native

import (
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) deliveryRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /deliveries", auth.ReadWebhook, rest.Search[deliveryQuery](a.Deliveries),
			"List deliveries, newest first", "列出投递，最新在前"),
		route("GET /deliveries/{id}", auth.ReadWebhook, rest.At[DeliveryRef](a.Delivery),
			"Get a delivery with its body and its attempts", "查看投递的请求体和各次尝试"),
		route("POST /deliveries/{id}/resend", auth.SendDelivery, rest.At[DeliveryRef](a.ResendDelivery),
			"Resend a delivery, under the same id", "重新发送投递，ID 不变"),
		route("GET /set-aside", auth.ManageSetAside, rest.All(a.SetAside),
			"List the events that could not be made into deliveries", "列出无法生成投递的事件"),
		route("POST /set-aside/{last}/retry", auth.ManageSetAside, rest.AtEmpty[SetAsideRef](a.RetrySetAside),
			"Deliver events that were set aside", "重新投递被搁置的事件"),
		route("DELETE /set-aside/{last}", auth.ManageSetAside, rest.AtEmpty[SetAsideRef](a.DeleteSetAside),
			"Delete events that were set aside", "删除被搁置的事件"),
		route("POST /deliveries/resend", auth.SendDelivery, rest.Body(a.ResendDeliveries),
			"Resend many deliveries", "批量重新发送投递"),
	}
}

type deliveryQuery struct {
	rest.PageQuery
	Webhook string     `query:"webhook" maxLength:"128" doc:"name or id"`
	Channel string     `query:"channel" maxLength:"128" doc:"name or id"`
	State   string     `query:"state" enum:"pending,delivered,failed"`
	Type    string     `query:"type" maxLength:"64" doc:"of the event"`
	Job     rest.JobID `query:"job"`
	Since   time.Time  `query:"since" doc:"created at or after"`
	Until   time.Time  `query:"until" doc:"created before"`
}

// Filter is the filter that the query describes.
func (q deliveryQuery) Filter() (hostler.DeliveryFilter, error) {
	return hostler.DeliveryFilter{
		Webhook: q.Webhook, Channel: q.Channel, State: hostler.DeliveryState(q.State), Type: hostler.EventType(q.Type), Job: q.Job.V,
		Since: given(q.Since), Until: given(q.Until),
	}, nil
}
