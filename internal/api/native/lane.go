package native

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

// Inputs that name a lane in the path, alone and with a body.
type (
	// LaneRef is the lane in the path.
	LaneRef struct {
		Lane string `path:"lane" maxLength:"300" doc:"as jobs show it: the key of a device, or a key of the project"`
	}
	// LaneBody is LaneRef with a body.
	LaneBody[T any] struct {
		LaneRef
		rest.Payload[T]
	}
)

// Ref is the lane.
func (r LaneRef) Ref() string { return r.Lane }

func (a *api) laneRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /lanes/{lane}", auth.ReadJob, rest.At[LaneRef](a.Lane), "Get a lane and the jobs that hold it",
			"查看通道及占用它的作业"),
		route("POST /lanes/{lane}/release", auth.ReleaseLane, rest.AtBody[LaneBody[hostler.LaneRelease]](a.ReleaseLane),
			"Take a lane from the jobs that hold it, of whatever project", "从占用通道的作业（不限项目）收回通道"),
	}
}
