package native

import (
	"context"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/wait"
)

func (a *api) jobRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("POST /jobs", auth.RunJob, rest.Created(rest.Do(a.createJobs)),
			"Create one job, or one per asset", "创建作业，或为每个资产创建一个"),
		route("POST /jobs/plan", auth.RunJob, rest.Body(a.PlanJobs),
			"Describe on how many assets a request would create jobs, and create none", "描述请求将在多少资产上创建作业，但不创建"),
		route("GET /jobs", auth.ReadJob, rest.Search[jobQuery](a.Jobs), "List jobs, newest first",
			"列出作业，最新在前"),
		route("GET /jobs/{id}", auth.ReadJob, rest.At[JobRef](a.Job), "Get a job", "查看作业"),
		route("GET /jobs/{id}/attempts", auth.ReadJob, rest.AtAll[JobRef](a.Attempts),
			"List the attempts of a job", "列出作业的各次尝试"),
		route("GET /jobs/{id}/waiting", auth.ReadJob, rest.AtAll[JobRef](a.Waiting),
			"List the reasons why a job is not running yet", "作业为何尚未运行"),
		route("POST /jobs/{id}/cancel", auth.ChangeJob, rest.At[JobRef](a.CancelJob), "Cancel a job", "取消作业"),
		route("POST /jobs/{id}/retry", auth.ChangeJob, rest.Created(rest.AtOnce[JobOnce](a.RetryJob)),
			"Create a new job like an ended one", "以已结束的作业为模板重试"),
		route("POST /jobs/{id}/resolve", auth.ChangeJob, rest.AtBody[JobBody[hostler.ResolveInput]](a.ResolveJob),
			"Set the outcome of an unknown job", "确认未知作业的结果"),
		route("POST /jobs/cancel", auth.ChangeJob, rest.Body(a.CancelJobs), "Cancel many jobs", "批量取消作业"),
		route("POST /jobs/retry", auth.ChangeJob, rest.BodyOnce(a.RetryJobs), "Retry many jobs", "批量重试作业"),
		route("POST /jobs/resolve", auth.ChangeJob, rest.Body(a.ResolveJobs),
			"Set the outcome of many unknown jobs", "批量确认未知作业的结果"),
	}
}

// MaxWait is how long the answer to POST /jobs may be held back.
const MaxWait = 60 * time.Second

type createJobsInput struct {
	rest.Idempotent
	Wait rest.Duration `query:"wait" doc:"hold the answer back until the jobs have ended, for at most 60s; it then has their current state"`
	Body hostler.JobRequest
}

func (a *api) createJobs(ctx context.Context, c *rest.Call, in *createJobsInput) (hostler.JobsCreated, error) {
	d := in.Wait.V.D()
	if d > MaxWait {
		return hostler.JobsCreated{}, hostler.Invalid("wait", "must be at most %v", "不能超过 %v", MaxWait)
	}
	made, err := a.RunJobs(ctx, c.Caller, in.Body, in.Key)
	if err != nil || d == 0 {
		return made, err
	}
	ctx, cancel := c.Hold(ctx, d)
	defer cancel()
	return a.awaitJobs(ctx, c, made), nil
}

// awaitJobs returns the jobs as they are when they have ended, the context is done or the
// caller may no longer read them. It returns no error: the jobs exist, and the answer
// must name them.
func (a *api) awaitJobs(ctx context.Context, c *rest.Call, made hostler.JobsCreated) hostler.JobsCreated {
	poll := wait.Backoff{First: 10 * time.Millisecond, Max: 500 * time.Millisecond, Factor: 1.5}
	for c.Poll(ctx, &poll) {
		if made.Job == nil {
			sum, err := a.Run(ctx, c.Caller, made.Run)
			if err != nil || sum.Done {
				return made
			}
			continue
		}
		job, err := a.Job(ctx, c.Caller, made.Job.ID)
		if err != nil {
			return made
		}
		made.Job = &job
		if job.State.Settled() {
			return made
		}
	}
	return made
}

type jobQuery struct {
	rest.PageQuery
	States []string   `query:"states" enum:"scheduled,queued,running,succeeded,failed,cancelled,expired,unknown" doc:"with commas between"`
	Queue  string     `query:"queue" maxLength:"64"`
	Action string     `query:"action" maxLength:"64"`
	Asset  string     `query:"asset" maxLength:"253" doc:"name or id; for an ad-hoc host, its address"`
	Lane   string     `query:"lane" maxLength:"300"`
	Run    rest.RunID `query:"run"`
	User   string     `query:"user" maxLength:"128" doc:"who created them"`
	Select string     `query:"selector" maxLength:"4096" doc:"labels of the assets, such as app=web,env!=test"`
	Since  time.Time  `query:"since" doc:"created at or after"`
	Until  time.Time  `query:"until" doc:"created before"`
}

// Filter is the filter that the query describes.
func (q jobQuery) Filter() (hostler.JobFilter, error) {
	f := hostler.JobFilter{
		Queue: q.Queue, Action: q.Action, Asset: q.Asset, Lane: q.Lane, Run: q.Run.V, User: q.User, Selector: q.Select, States: statesOf(q.States),
		Since: given(q.Since), Until: given(q.Until),
	}
	return f, nil
}

func statesOf(names []string) (states []hostler.State) {
	for _, s := range names {
		states = append(states, hostler.State(s))
	}
	return states
}

// given is the time of a parameter; nil when the query has none.
func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
