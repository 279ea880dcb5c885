package native

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) flowRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("POST /apply", auth.WriteTemplate, rest.Do(a.apply),
			"Publish templates and tasks: all of the documents, or none", "发布模板和任务：全部成功或全部不变"),
		route("GET /templates", auth.ReadTemplate, rest.Paged(a.Templates), "List templates", "列出模板"),
		route("GET /templates/{name}", auth.ReadTemplate, rest.Do(a.template),
			"Get a version of a template", "查看模板的某个版本"),
		route("GET /templates/{name}/versions", auth.ReadTemplate, rest.List(rest.Do(a.templateVersions)),
			"List the versions of a template, newest first", "列出模板的版本，最新在前"),
		route("POST /templates/{name}/restore", auth.WriteTemplate, rest.Do(a.restoreTemplate),
			"Publish an earlier version again, as a new one", "将旧版本重新发布为新版本"),
		route("POST /templates/{name}/retire", auth.WriteTemplate, rest.Do(a.retireTemplate),
			"Retire a version: it starts no runs any more", "停用某个版本：不再启动新的执行"),
		route("GET /tasks", auth.ReadTemplate, rest.Paged(a.Tasks), "List tasks", "列出任务"),
		route("GET /tasks/{name}", auth.ReadTemplate, rest.At[Named](a.Task), "Get a task", "查看任务"),
		route("DELETE /tasks/{name}", auth.WriteTemplate, rest.AtEmpty[Named](a.DeleteTask), "Delete a task", "删除任务"),
		route("GET /runs", auth.ReadRun, rest.Search[runQuery](a.Runs), "List runs, newest first",
			"列出执行，最新在前"),
		route("POST /runs", auth.RunJob, rest.Created(rest.BodyOnce(a.StartRun)),
			"Start a run of a task or a template", "启动任务或模板的执行"),
		route("POST /runs/plan", auth.RunJob, rest.Body(a.PlanRun),
			"Describe what a run would do, and start nothing", "描述执行计划，但不启动"),
		route("GET /runs/{id}", auth.ReadJob, rest.At[RunRef](a.Run),
			"Get a run with its steps, and its jobs by state", "查看执行及其步骤，按状态统计作业"),
		route("GET /runs/{id}/hosts", auth.ReadRun, rest.List(rest.Do(a.runHosts)),
			"List the hosts of a step of a run", "列出执行中某步骤的主机"),
		route("GET /runs/{id}/output", auth.ReadJob, rest.Search[runOutputQuery](a.RunOutput),
			"List how the jobs of a run ended, with their output", "列出执行中各作业的结果及输出"),
		route("POST /runs/{id}/pause", auth.ChangeRun, rest.At[RunRef](a.PauseRun),
			"Pause a run: no further step or job starts", "暂停执行：不再启动新的步骤和作业"),
		route("POST /runs/{id}/resume", auth.ChangeRun, rest.At[RunRef](a.ResumeRun),
			"Resume a paused run, or a failed one from its failed steps", "恢复暂停的执行，或从失败的步骤继续"),
		route("POST /runs/{id}/terminate", auth.ChangeRun, rest.At[RunRef](a.TerminateRun),
			"Terminate a run and its jobs", "终止执行及其作业"),
		route("POST /runs/{id}/retry-failed", auth.ChangeRun, rest.At[RunRef](a.RetryFailed),
			"Run an ended run again on the hosts that did not succeed", "在未成功的主机上重新执行"),
		route("POST /runs/{id}/rerun", auth.RunJob, rest.OptionalBody(rest.Created(rest.Do(a.rerun))),
			"Run an earlier run again, with its own or other arguments", "以相同或修改后的参数重新执行"),
		route("POST /runs/{id}/steps/{step}/skip", auth.ChangeRun, rest.Do(a.skipStep),
			"Skip a step with a reason", "说明原因并跳过步骤"),
		route("GET /approvals", auth.ReadRun, rest.Search[approvalQuery](a.Approvals),
			"List approvals, newest first", "列出审批，最新在前"),
		route("GET /approvals/{id}", auth.ReadRun, rest.At[ApprovalRef](a.Approval),
			"Get an approval, with what remains to run", "查看审批及其后将执行的内容"),
		route("POST /approvals/{id}/approve", auth.DecideApproval, rest.AtBody[ApprovalBody](a.Approve),
			"Approve what an approval describes", "通过审批"),
		route("POST /approvals/{id}/reject", auth.DecideApproval, rest.AtBody[ApprovalBody](a.Reject),
			"Reject it, and end the run", "拒绝审批并结束执行"),
	}
}

type (
	// RunStepRef is a step of a run in the path.
	RunStepRef struct {
		RunRef
		Step string `path:"step" maxLength:"64"`
	}
	// ApprovalRef is the approval in the path.
	ApprovalRef struct {
		ID rest.ApprovalID `path:"id"`
	}
	// ApprovalBody is ApprovalRef with a decision.
	ApprovalBody struct {
		ApprovalRef
		rest.Payload[hostler.DecisionInput]
	}
)

// Ref is the id of the approval.
func (r ApprovalRef) Ref() hostler.ApprovalID { return r.ID.V }

type applyInput struct {
	rest.Payload[hostler.ApplyInput]
}

func (a *api) apply(ctx context.Context, c *rest.Call, in *applyInput) (hostler.List[hostler.Applied], error) {
	return rest.ListOf(a.Apply(ctx, c.Caller, in.Body))
}

type templateInput struct {
	Named
	Version int `query:"version" minimum:"0" doc:"default: the latest"`
}

func (a *api) template(ctx context.Context, c *rest.Call, in *templateInput) (hostler.TemplateVersion, error) {
	return a.Template(ctx, c.Caller, in.Name, in.Version)
}

type versionsInput struct {
	Named
	rest.PageQuery
}

func (a *api) templateVersions(
	ctx context.Context, c *rest.Call, in *versionsInput,
) (hostler.List[hostler.TemplateVersion], error) {
	return a.TemplateVersions(ctx, c.Caller, in.Name, in.Page())
}

// VersionInput names a version in a body.
type VersionInput struct {
	Version int `json:"version" minimum:"1"`
}

func (a *api) restoreTemplate(
	ctx context.Context, c *rest.Call, in *NamedBody[VersionInput],
) (hostler.TemplateVersion, error) {
	return a.RestoreTemplate(ctx, c.Caller, in.Name, in.Body.Version)
}

func (a *api) retireTemplate(
	ctx context.Context, c *rest.Call, in *NamedBody[VersionInput],
) (hostler.TemplateVersion, error) {
	return a.RetireTemplate(ctx, c.Caller, in.Name, in.Body.Version)
}

type runQuery struct {
	rest.PageQuery
	State string `query:"state" enum:"pending,running,waiting,paused,succeeded,failed,rejected,cancelled"`
	Name  string `query:"name" maxLength:"64" doc:"of the task or template"`
}

// Filter is the filter that the query describes.
func (q runQuery) Filter() (app.RunFilter, error) {
	return app.RunFilter{State: hostler.RunState(q.State), Name: q.Name}, nil
}

type runOutputQuery struct {
	RunRef
	rest.PageQuery
	States []string `query:"states" enum:"scheduled,queued,running,succeeded,failed,cancelled,expired,unknown" doc:"with commas between"`
}

// Filter is the filter that the query describes.
func (q runOutputQuery) Filter() (app.OutputFilter, error) {
	return app.OutputFilter{Run: q.ID.V, States: statesOf(q.States)}, nil
}

type runHostsInput struct {
	RunRef
	rest.PageQuery
	Step string `query:"step" required:"true" maxLength:"64"`
}

func (a *api) runHosts(ctx context.Context, c *rest.Call, in *runHostsInput) (hostler.List[hostler.RunHost], error) {
	return a.RunHosts(ctx, c.Caller, in.ID.V, in.Step, in.Page())
}

type rerunInput struct {
	RunRef
	rest.Idempotent
	Body *hostler.RerunInput
}

func (a *api) rerun(ctx context.Context, c *rest.Call, in *rerunInput) (hostler.Run, error) {
	req := app.RerunRequest{Run: in.ID.V, Key: in.Key}
	if in.Body != nil {
		req.Edit = *in.Body
	}
	return a.Rerun(ctx, c.Caller, req)
}

type skipInput struct {
	RunStepRef
	rest.Payload[hostler.SkipInput]
}

func (a *api) skipStep(ctx context.Context, c *rest.Call, in *skipInput) (hostler.Run, error) {
	return a.SkipStep(ctx, c.Caller, in.ID.V, in.Step, in.Body)
}

type approvalQuery struct {
	rest.PageQuery
	State string     `query:"state" enum:"waiting,approved,rejected,expired,void,closed"`
	Run   rest.RunID `query:"run"`
}

// Filter is the filter that the query describes.
func (q approvalQuery) Filter() (app.ApprovalFilter, error) {
	return app.ApprovalFilter{State: hostler.ApprovalState(q.State), Run: q.Run.V}, nil
}
