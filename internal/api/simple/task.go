package simple

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (s *api) taskRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("POST /tasks", auth.RunJob, rest.Do(s.createTask), "Run one operation on one asset",
			"对一个资产执行一项操作"),
		route("GET /tasks", auth.ReadJob, rest.List(rest.Do(s.listTasks)), "List the newest 50 tasks",
			"列出最新的 50 个任务"),
		route("GET /tasks/{id}", auth.ReadJob, rest.Do(s.readTask), "Get a task", "查看任务"),
	}
}

// TaskInput asks for a task.
type TaskInput struct {
	AssetID int64           `json:"asset_id"`
	Action  string          `json:"action" minLength:"1" maxLength:"64"`
	Args    json.RawMessage `json:"args,omitempty"`
}

// Task is a job as the simple task API shows it.
type Task struct {
	ID          int64      `json:"id"`
	Name        string     `json:"name"`
	AssetID     int64      `json:"asset_id"`
	UserID      int64      `json:"user_id"`
	Action      string     `json:"action"`
	Status      string     `json:"status" doc:"pending, running, done or failed"`
	Result      *string    `json:"result"`
	Error       *string    `json:"error"`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
	CompletedAt *time.Time `json:"completed_at"`
}

func (s *api) createTask(ctx context.Context, c *rest.Call, in *rest.Payload[TaskInput]) (Task, error) {
	if !(Ref{in.Body.AssetID}).valid() {
		return Task{}, notFound(errNoAsset)
	}
	job, err := s.RunTask(ctx, c.Caller, hostler.AssetID(in.Body.AssetID), in.Body.Action, in.Body.Args)
	if err != nil {
		return Task{}, orNotFound(err, errNoAsset)
	}
	return taskOf(job, c.UserID, c.Lang), nil
}

func (s *api) readTask(ctx context.Context, c *rest.Call, in *Ref) (Task, error) {
	if !in.valid() {
		return Task{}, notFound(errNoTask)
	}
	job, err := s.Job(ctx, c.Caller, hostler.JobID(in.ID))
	if err != nil {
		return Task{}, orNotFound(err, errNoTask)
	}
	tasks, err := s.tasksOf(ctx, c, []hostler.Job{job})
	if err != nil {
		return Task{}, err
	}
	return tasks[0], nil
}

type taskQuery struct {
	Status string `query:"status" enum:"pending,running,done,failed"`
}

const (
	// listed is how many tasks a listing shows.
	listed = 50
	// maxPages bounds the search for them: a page may hold fewer jobs than asked for.
	maxPages = 20
)

func (s *api) listTasks(ctx context.Context, c *rest.Call, in *taskQuery) ([]Task, error) {
	f := hostler.JobFilter{}
	for _, state := range hostler.States() {
		if in.Status != "" && hostler.TaskStatus(state) == in.Status {
			f.States = append(f.States, state)
		}
	}
	p := hostler.Page{Limit: listed}
	var jobs []hostler.Job
	for range maxPages {
		l, err := s.Jobs(ctx, c.Caller, f, p)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, l.Items...)
		if p.Cursor = l.Next; l.Next == "" || len(jobs) >= listed {
			break
		}
	}
	return s.tasksOf(ctx, c, jobs[:min(len(jobs), listed)])
}

// tasksOf shows jobs as tasks. A job records its user by name, a task by id.
func (s *api) tasksOf(ctx context.Context, c *rest.Call, jobs []hostler.Job) ([]Task, error) {
	var names []string
	for _, j := range jobs {
		if !slices.Contains(names, j.CreatedBy) {
			names = append(names, j.CreatedBy)
		}
	}
	ids, err := s.UserIDs(ctx, c.Caller, names)
	if err != nil {
		return nil, err
	}
	tasks := make([]Task, 0, len(jobs))
	for _, j := range jobs {
		tasks = append(tasks, taskOf(j, ids[j.CreatedBy], c.Lang))
	}
	return tasks, nil
}

func taskOf(j hostler.Job, user hostler.UserID, lang hostler.Lang) Task {
	t := Task{
		ID: int64(j.ID), Name: j.Action, AssetID: int64(j.Asset), UserID: int64(user),
		Action: j.Action, Status: hostler.TaskStatus(j.State), CreatedAt: j.CreatedAt,
		UpdatedAt: *cmp.Or(j.EndedAt, j.StartedAt, j.QueuedAt, &j.CreatedAt), CompletedAt: j.EndedAt,
	}
	if j.AssetName != "" {
		t.Name += " " + j.AssetName
	}
	if !j.State.Settled() {
		return t
	}
	if t.CompletedAt == nil {
		t.CompletedAt = &t.UpdatedAt
	}
	if j.Error != nil {
		why := j.Error.Text.In(lang)
		t.Error = &why
	}
	t.Result = t.Error
	if text := hostler.ResultText(j.Result); text != "" {
		t.Result = &text
	}
	return t
}
