package native

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) queueRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /queues", auth.ReadQueue, rest.All(a.Queues), "List queues", "列出队列"),
		route("GET /queues/{name}", auth.ReadQueue, rest.At[Named](a.Queue), "Get a queue", "查看队列"),
		route("PUT /queues/{name}", auth.WriteQueue, rest.AtBody[NamedBody[hostler.QueueLimits]](a.PutQueue),
			"Create a queue, or change its limits and the projects that may use it", "创建队列，或修改其上限和可使用它的项目"),
		route("POST /queues/{name}/pause", auth.WriteQueue, rest.At[Named](a.PauseQueue),
			"Pause a queue: none of its jobs starts", "暂停队列：其作业不再开始"),
		route("POST /queues/{name}/resume", auth.WriteQueue, rest.At[Named](a.ResumeQueue),
			"Resume a paused queue", "恢复队列"),
	}
}
