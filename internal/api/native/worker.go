package native

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) workerRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /workers", auth.ReadWorker, rest.All(a.Workers), "List workers", "列出工作节点"),
		route("POST /workers/{id}/stop", auth.StopWorker, rest.Do(a.stopWorker),
			"Stop a worker by force; its running jobs are interrupted",
			"强制停止工作节点，中断其正在运行的作业"),
		route("POST /workers/{id}/close-session", auth.StopWorker, rest.Do(a.closeSession),
			"Close a worker's open connections to a host", "关闭工作节点与某主机保持的连接"),
	}
}

func (a *api) stopWorker(ctx context.Context, c *rest.Call, in *WorkerRef) (hostler.WorkerStopped, error) {
	stopped, interrupted, err := a.StopWorkers(ctx, c.Caller, []hostler.WorkerID{in.ID.V})
	if err == nil && len(stopped) == 0 { // another call was faster
		err = hostler.NotFound(hostler.Text{EN: "worker", ZH: "工作节点"}, in.ID.V.String())
	}
	if err != nil {
		return hostler.WorkerStopped{}, err
	}
	return hostler.WorkerStopped{Worker: stopped[0], Interrupted: interrupted}, nil
}

func (a *api) closeSession(ctx context.Context, c *rest.Call, in *WorkerBody[hostler.SessionClose]) (hostler.SessionClosed, error) {
	n, err := a.CloseSessions(ctx, c.Caller, in.ID.V, []string{in.Body.Address})
	return hostler.SessionClosed{Interrupted: n}, err
}
