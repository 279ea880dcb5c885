package api

import (
	"context"

	"hostler.dev/hostler"
)

func stopWorker(ctx context.Context, c call, in *WorkerRef) (hostler.WorkerStopped, error) {
	stopped, interrupted, err := c.app.StopWorkers(ctx, c.Caller, []hostler.WorkerID{in.ID.V})
	if err == nil && len(stopped) == 0 { // somebody else was faster
		err = hostler.NotFound(hostler.Text{EN: "worker", ZH: "工作节点"}, in.ID.V.String())
	}
	if err != nil {
		return hostler.WorkerStopped{}, err
	}
	return hostler.WorkerStopped{Worker: stopped[0], Interrupted: interrupted}, nil
}

func closeSession(ctx context.Context, c call, in *struct {
	WorkerRef
	Payload[hostler.SessionClose]
},
) (hostler.SessionClosed, error) {
	n, err := c.app.CloseSessions(ctx, c.Caller, in.ID.V, []string{in.Body.Address})
	return hostler.SessionClosed{Interrupted: n}, err
}
