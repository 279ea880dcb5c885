package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// The simple task API: one operation on one asset, then poll. Ids are decimal;
// they are the native ones in another form.

func taskRoutes() []Route {
	route := func(method, path string, v auth.Verb, en, zh string) Route {
		return Route{Method: method, Path: path, Access: needs(v), Summary: text(en, zh)}
	}
	return []Route{
		handle(route(http.MethodPost, "/tasks", auth.RunJob, "Run one operation on one asset", "对一个资产执行一项操作"), createTask),
		handle(route(http.MethodGet, "/tasks", auth.ReadJob, "List the newest 50 tasks", "列出最新的 50 个任务"), listTasks),
		handle(route(http.MethodGet, "/tasks/{id}", auth.ReadJob, "Read a task", "查看任务"), readTask),
		handle(route(http.MethodGet, "/assets", auth.ReadAsset, "List assets", "列出资产"), listSimpleAssets),
		handle(route(http.MethodPost, "/assets", auth.WriteAsset, "Make an asset", "创建资产"), createSimpleAsset),
		handle(route(http.MethodGet, "/assets/{id}", auth.ReadAsset, "Read an asset", "查看资产"), readSimpleAsset),
		handle(route(http.MethodPut, "/assets/{id}", auth.WriteAsset, "Change an asset", "修改资产"), putSimpleAsset),
		handle(route(http.MethodDelete, "/assets/{id}", auth.WriteAsset, "Delete an asset", "删除资产"), deleteSimpleAsset),
	}
}

var (
	errNoTask  = hostler.Text{EN: "the task does not exist", ZH: "任务不存在"}
	errNoAsset = hostler.Text{EN: "the asset does not exist", ZH: "资产不存在"}
)

// orMissing puts "does not exist" into this API's words.
func orMissing(err error, missing hostler.Text) error {
	if hostler.CodeOf(err) == hostler.CodeNotFound {
		return &hostler.Error{Code: hostler.CodeNotFound, Text: missing, Cause: err}
	}
	return err
}

// maxID is the largest id; see hostler.IDBits.
const maxID = 1<<hostler.IDBits - 1

// SimpleRef is the object in the path.
type SimpleRef struct {
	ID int64 `path:"id" doc:"decimal id"`
}

// known reports whether the number can be an id at all.
func (r SimpleRef) known() bool { return r.ID > 0 && r.ID <= maxID }

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

func createTask(ctx context.Context, c call, in *Payload[TaskInput]) (Task, error) {
	if !(SimpleRef{in.Body.AssetID}).known() {
		return Task{}, &hostler.Error{Code: hostler.CodeNotFound, Text: errNoAsset}
	}
	job, err := c.app.RunTask(ctx, c.Caller, hostler.AssetID(in.Body.AssetID), in.Body.Action, in.Body.Args)
	if err != nil {
		return Task{}, orMissing(err, errNoAsset)
	}
	return taskOf(job, c.UserID, c.Lang), nil
}

func readTask(ctx context.Context, c call, in *SimpleRef) (Task, error) {
	if !in.known() {
		return Task{}, &hostler.Error{Code: hostler.CodeNotFound, Text: errNoTask}
	}
	job, err := c.app.Job(ctx, c.Caller, hostler.JobID(in.ID))
	if err != nil {
		return Task{}, orMissing(err, errNoTask)
	}
	tasks, err := c.tasksOf(ctx, []hostler.Job{job})
	if err != nil {
		return Task{}, err
	}
	return tasks[0], nil
}

type taskQuery struct {
	Status string `query:"status" enum:"pending,running,done,failed"`
}

// tasksListed is how many tasks a listing shows; taskPages bounds the search for
// them.
const (
	tasksListed = 50
	taskPages   = 20
)

func listTasks(ctx context.Context, c call, in *taskQuery) ([]Task, error) {
	f := hostler.JobFilter{}
	for _, s := range hostler.States() {
		if in.Status != "" && hostler.TaskStatus(s) == in.Status {
			f.States = append(f.States, s)
		}
	}
	p := hostler.Page{Limit: tasksListed}
	var jobs []hostler.Job
	for range taskPages {
		l, err := c.app.Jobs(ctx, c.Caller, f, p)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, l.Items...)
		if p.Cursor = l.Next; l.Next == "" || len(jobs) >= tasksListed {
			break
		}
	}
	return c.tasksOf(ctx, jobs[:min(len(jobs), tasksListed)])
}

func (c call) tasksOf(ctx context.Context, jobs []hostler.Job) ([]Task, error) {
	var names []string
	for _, j := range jobs {
		if !slices.Contains(names, j.CreatedBy) {
			names = append(names, j.CreatedBy)
		}
	}
	ids, err := c.app.UserIDs(ctx, c.Caller, names)
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
	if said := hostler.ResultText(j.Result); said != "" {
		t.Result = &said
	}
	return t
}

// SimpleAsset is an asset as the simple task API shows it.
type SimpleAsset struct {
	ID         int64             `json:"id"`
	Name       string            `json:"name"`
	IP         string            `json:"ip"`
	Port       int               `json:"port"`
	Kind       string            `json:"kind"`
	Platform   string            `json:"platform"`
	Labels     map[string]string `json:"labels"`
	Credential string            `json:"credential"`
	CreatedAt  time.Time         `json:"created_at"`
	UpdatedAt  time.Time         `json:"updated_at"`
}

// SimpleAssetInput is an asset as a client of the simple task API writes it. What
// is absent stays as it is.
type SimpleAssetInput struct {
	Name       string            `json:"name" minLength:"1" maxLength:"128"`
	IP         string            `json:"ip" minLength:"1" maxLength:"253" doc:"IP address or host name"`
	Port       *int              `json:"port,omitempty" minimum:"0" maximum:"65535"`
	Kind       string            `json:"kind,omitempty" enum:"host,device,endpoint"`
	Platform   *string           `json:"platform,omitempty" maxLength:"64"`
	Labels     map[string]string `json:"labels,omitempty"`
	Credential *string           `json:"credential,omitempty" maxLength:"128"`
}

// apply writes the input over an asset.
func (in SimpleAssetInput) apply(a *hostler.AssetInput) {
	a.Name, a.Address = in.Name, in.IP
	if in.Port != nil {
		a.Port = *in.Port
	}
	if in.Kind != "" {
		a.Kind = in.Kind
	}
	if in.Platform != nil {
		a.Platform = *in.Platform
	}
	if in.Labels != nil {
		a.Labels = in.Labels
	}
	if in.Credential != nil {
		a.Credential = *in.Credential
	}
}

func simpleAsset(a hostler.Asset, err error) (SimpleAsset, error) {
	if err != nil {
		return SimpleAsset{}, renamed(orMissing(err, errNoAsset))
	}
	s := SimpleAsset{
		ID: int64(a.ID), Name: a.Name, IP: a.Address, Port: a.Port, Kind: a.Kind, Platform: a.Platform,
		Labels: a.Labels, Credential: a.Credential, CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt,
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	return s, nil
}

// renamed calls the field by the name that this API has for it.
func renamed(err error) error {
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok {
		return err
	}
	cp := *e
	cp.Fields = slices.Clone(e.Fields)
	for i, f := range cp.Fields {
		if f.Path == "address" {
			cp.Fields[i].Path = "ip"
		}
	}
	return &cp
}

func listSimpleAssets(ctx context.Context, c call, _ *none) ([]SimpleAsset, error) {
	all := []SimpleAsset{}
	p := hostler.Page{Limit: 1000}
	for {
		l, err := c.app.Assets(ctx, c.Caller, nil, p)
		if err != nil {
			return nil, err
		}
		for _, a := range l.Items {
			s, _ := simpleAsset(a, nil)
			all = append(all, s)
		}
		if p.Cursor = l.Next; l.Next == "" {
			return all, nil
		}
	}
}

func createSimpleAsset(ctx context.Context, c call, in *Payload[SimpleAssetInput]) (SimpleAsset, error) {
	var a hostler.AssetInput
	in.Body.apply(&a)
	return simpleAsset(c.app.CreateAsset(ctx, c.Caller, a))
}

func readSimpleAsset(ctx context.Context, c call, in *SimpleRef) (SimpleAsset, error) {
	return simpleAsset(c.simpleAsset(ctx, *in))
}

func (c call) simpleAsset(ctx context.Context, ref SimpleRef) (hostler.Asset, error) {
	if !ref.known() {
		return hostler.Asset{}, &hostler.Error{Code: hostler.CodeNotFound, Text: errNoAsset}
	}
	return c.app.Asset(ctx, c.Caller, hostler.AssetID(ref.ID).String())
}

func putSimpleAsset(ctx context.Context, c call, in *struct {
	SimpleRef
	Payload[SimpleAssetInput]
},
) (SimpleAsset, error) {
	was, err := c.simpleAsset(ctx, in.SimpleRef)
	if err != nil {
		return simpleAsset(was, err)
	}
	a := hostler.AssetInput{
		Port: was.Port, Kind: was.Kind, Platform: was.Platform, Labels: was.Labels, Vars: was.Vars,
		Credential: was.Credential, HostKey: was.HostKey, Jump: was.Jump,
	}
	if was.DeviceKey != was.Address {
		a.DeviceKey = was.DeviceKey // chosen, not made from the address
	}
	in.Body.apply(&a)
	return simpleAsset(c.app.PutAsset(ctx, c.Caller, was.ID.String(), a))
}

func deleteSimpleAsset(ctx context.Context, c call, in *SimpleRef) (SimpleAsset, error) {
	was, err := c.simpleAsset(ctx, *in)
	if err != nil {
		return simpleAsset(was, err)
	}
	return simpleAsset(c.app.DeleteAsset(ctx, c.Caller, was.ID.String()))
}
