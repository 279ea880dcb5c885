package simple

import (
	"context"
	"encoding/json"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

// namedDialect answers 400 to every fault of the request.
var namedDialect = func() *rest.Dialect {
	d := *Dialect
	d.BadRequest = true
	return &d
}()

func (s *api) namedRoutes() []rest.Route {
	return []rest.Route{
		namedDialect.Route("POST /run-task", auth.RunJob, rest.OrForm(rest.Do(s.runNamed), "args", "kwargs"),
			"Run the schedule, the task or the action of a name; as JSON or as a form, whose args and kwargs are JSON",
			"按名称执行计划、任务或动作；请求体为 JSON 或表单（其中 args、kwargs 为 JSON）"),
	}
}

// NamedInput asks for a run of what has a name.
type NamedInput struct {
	Name   string          `json:"task_name" minLength:"1" maxLength:"128" doc:"of a schedule, or else of a task, or else of an action"`
	Args   json.RawMessage `json:"args,omitempty" doc:"an empty list: arguments have names here"`
	Kwargs json.RawMessage `json:"kwargs,omitempty" doc:"an object: the arguments"`
}

// NamedRun is a run that was started.
type NamedRun struct {
	Message string `json:"message"`
	ID      string `json:"task_id" doc:"of the run: GET /api/v1/runs/{id}"`
	Status  string `json:"task_status"`
}

// namedCall is a call of /run-task.
type namedCall struct {
	rest.Idempotent
	rest.Payload[NamedInput]
}

func (s *api) runNamed(ctx context.Context, c *rest.Call, in *namedCall) (NamedRun, error) {
	var list []json.RawMessage
	var kwargs map[string]json.RawMessage
	b := &in.Body
	switch {
	case len(b.Args) > 0 && json.Unmarshal(b.Args, &list) != nil:
		return NamedRun{}, hostler.Invalid("args", "must be a list", "必须是列表")
	case len(b.Kwargs) > 0 && json.Unmarshal(b.Kwargs, &kwargs) != nil:
		return NamedRun{}, hostler.Invalid("kwargs", "must be an object", "必须是对象")
	case len(list) > 0:
		return NamedRun{}, hostler.Invalid("args", "must be empty: give the arguments by name, in kwargs",
			"须为空：请在 kwargs 中按名称给出参数")
	}
	run, err := s.RunNamed(ctx, c.Caller, b.Name, b.Kwargs, in.Key)
	if err != nil {
		return NamedRun{}, err
	}
	message := hostler.Textf("the task %s was started", "任务 %s 已开始执行", b.Name)
	return NamedRun{Message: message.In(c.Lang), ID: run.String(), Status: "pending"}, nil
}
