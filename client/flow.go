package client

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"

	"hostler.dev/hostler"
)

// Apply publishes templates and tasks: all of the documents, or none.
func (c *Client) Apply(ctx context.Context, in hostler.ApplyInput) ([]hostler.Applied, error) {
	l, err := fetch[hostler.List[hostler.Applied]](ctx, c, post(in, "apply"))
	return l.Items, err
}

// Templates fetches one page of the latest versions of the templates, by name.
func (c *Client) Templates(ctx context.Context, p hostler.Page) (hostler.List[hostler.TemplateVersion], error) {
	return list[hostler.TemplateVersion](ctx, c, p, "templates")
}

// Template fetches a version of a template; 0 is the latest.
func (c *Client) Template(ctx context.Context, name string, version int) (hostler.TemplateVersion, error) {
	return get[hostler.TemplateVersion](ctx, c, url.Values{"version": {strconv.Itoa(version)}}, "templates", name)
}

// TemplateVersions fetches one page of the versions of a template, the newest first.
func (c *Client) TemplateVersions(
	ctx context.Context, name string, p hostler.Page,
) (hostler.List[hostler.TemplateVersion], error) {
	return list[hostler.TemplateVersion](ctx, c, p, "templates", name, "versions")
}

// RestoreTemplate publishes an earlier version of a template again, as a new one.
func (c *Client) RestoreTemplate(ctx context.Context, name string, version int) (hostler.TemplateVersion, error) {
	return fetch[hostler.TemplateVersion](ctx, c, post(map[string]int{"version": version}, "templates", name, "restore"))
}

// RetireTemplate retires a version of a template: it starts no runs any more.
func (c *Client) RetireTemplate(ctx context.Context, name string, version int) (hostler.TemplateVersion, error) {
	return fetch[hostler.TemplateVersion](ctx, c, post(map[string]int{"version": version}, "templates", name, "retire"))
}

// Tasks fetches one page of the tasks, by name.
func (c *Client) Tasks(ctx context.Context, p hostler.Page) (hostler.List[hostler.TaskInfo], error) {
	return list[hostler.TaskInfo](ctx, c, p, "tasks")
}

// Task fetches a task.
func (c *Client) Task(ctx context.Context, name string) (hostler.TaskInfo, error) {
	return get[hostler.TaskInfo](ctx, c, nil, "tasks", name)
}

// DeleteTask deletes a task; its runs stay.
func (c *Client) DeleteTask(ctx context.Context, name string) error {
	return c.do(ctx, del("tasks", name), nil)
}

// StartRun starts a run of a task or of a template. A key makes the call safe to repeat; ""
// takes a random one, which covers the retries of this call.
func (c *Client) StartRun(ctx context.Context, in hostler.RunRequest, key string) (hostler.Run, error) {
	if key == "" {
		key = rand.Text()
	}
	return fetch[hostler.Run](ctx, c, call{method: http.MethodPost, path: []string{"runs"}, body: in, idem: key})
}

// Rerun starts a run like an earlier one, with edits. The key is like that of StartRun.
func (c *Client) Rerun(ctx context.Context, id hostler.RunID, in hostler.RerunInput, key string) (hostler.Run, error) {
	if key == "" {
		key = rand.Text()
	}
	r := post(in, "runs", id.String(), "rerun")
	r.idem = key
	return fetch[hostler.Run](ctx, c, r)
}

// PlanRun describes what a run would do, and starts nothing.
func (c *Client) PlanRun(ctx context.Context, in hostler.RunRequest) (hostler.RunPlan, error) {
	return fetch[hostler.RunPlan](ctx, c, post(in, "runs", "plan"))
}

// Runs fetches one page of the runs, the newest first; an empty state or name selects all.
func (c *Client) Runs(
	ctx context.Context, state hostler.RunState, name string, p hostler.Page,
) (hostler.List[hostler.Run], error) {
	q := pageQuery(p)
	if state != "" {
		q.Set("state", string(state))
	}
	if name != "" {
		q.Set("name", name)
	}
	return get[hostler.List[hostler.Run]](ctx, c, q, "runs")
}

// RunHosts fetches one page of the hosts of a step of a run.
func (c *Client) RunHosts(
	ctx context.Context, id hostler.RunID, step string, p hostler.Page,
) (hostler.List[hostler.RunHost], error) {
	q := pageQuery(p)
	q.Set("step", step)
	return get[hostler.List[hostler.RunHost]](ctx, c, q, "runs", id.String(), "hosts")
}

// PauseRun pauses a run: no further step or job starts.
func (c *Client) PauseRun(ctx context.Context, id hostler.RunID) (hostler.Run, error) {
	return fetch[hostler.Run](ctx, c, post(nil, "runs", id.String(), "pause"))
}

// ResumeRun resumes a paused run, or a failed one from its failed steps.
func (c *Client) ResumeRun(ctx context.Context, id hostler.RunID) (hostler.Run, error) {
	return fetch[hostler.Run](ctx, c, post(nil, "runs", id.String(), "resume"))
}

// TerminateRun terminates a run and its jobs.
func (c *Client) TerminateRun(ctx context.Context, id hostler.RunID) (hostler.Run, error) {
	return fetch[hostler.Run](ctx, c, post(nil, "runs", id.String(), "terminate"))
}

// RetryFailed runs an ended run again on the hosts that did not succeed.
func (c *Client) RetryFailed(ctx context.Context, id hostler.RunID) (hostler.Run, error) {
	return fetch[hostler.Run](ctx, c, post(nil, "runs", id.String(), "retry-failed"))
}

// SkipStep skips a step of a run.
func (c *Client) SkipStep(ctx context.Context, id hostler.RunID, step, reason string) (hostler.Run, error) {
	return fetch[hostler.Run](ctx, c, post(hostler.SkipInput{Reason: reason}, "runs", id.String(), "steps", step, "skip"))
}

// Approvals fetches one page of the approvals, the newest first; empty values select all.
func (c *Client) Approvals(
	ctx context.Context, state hostler.ApprovalState, run hostler.RunID, p hostler.Page,
) (hostler.List[hostler.Approval], error) {
	q := pageQuery(p)
	if state != "" {
		q.Set("state", string(state))
	}
	if run != 0 {
		q.Set("run", run.String())
	}
	return get[hostler.List[hostler.Approval]](ctx, c, q, "approvals")
}

// Approval fetches an approval, with what remains to run.
func (c *Client) Approval(ctx context.Context, id hostler.ApprovalID) (hostler.Approval, error) {
	return get[hostler.Approval](ctx, c, nil, "approvals", id.String())
}

// Approve approves what an approval describes; the input names the digest of what was
// shown.
func (c *Client) Approve(ctx context.Context, id hostler.ApprovalID, in hostler.DecisionInput) (hostler.Approval, error) {
	return fetch[hostler.Approval](ctx, c, post(in, "approvals", id.String(), "approve"))
}

// Reject rejects what an approval describes, and ends its run.
func (c *Client) Reject(ctx context.Context, id hostler.ApprovalID, in hostler.DecisionInput) (hostler.Approval, error) {
	return fetch[hostler.Approval](ctx, c, post(in, "approvals", id.String(), "reject"))
}
