package netpulse

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
)

// The states of a job.
const (
	Queued    = "queued"
	Started   = "started"
	Finished  = "finished"
	Failed    = "failed"
	Cancelled = "cancelled"
	Canceled  = "canceled" // the SDK waits for this spelling
)

// StatusOf names a state as the version does.
func (v Version) StatusOf(s hostler.State) string {
	switch s {
	case hostler.StateScheduled, hostler.StateQueued:
		return Queued
	case hostler.StateRunning:
		return Started
	case hostler.StateSucceeded:
		return Finished
	case hostler.StateCancelled:
		if v == SDK {
			return Canceled
		}
		return Cancelled
	default:
		return Failed
	}
}

// StatesOf returns the states that a status of either version means; none for "".
func StatesOf(status string) []hostler.State {
	return slices.DeleteFunc(slices.Clone(hostler.States()), func(s hostler.State) bool {
		return Page.StatusOf(s) != status && SDK.StatusOf(s) != status
	})
}

// Job is a job as both versions show it.
type Job struct {
	ID         string   `json:"id"`
	Status     string   `json:"status"`
	Queue      string   `json:"queue"`
	CreatedAt  *string  `json:"created_at"`
	EnqueuedAt *string  `json:"enqueued_at"`
	StartedAt  *string  `json:"started_at"`
	EndedAt    *string  `json:"ended_at"`
	Worker     *string  `json:"worker"`
	Result     *Result  `json:"result"`
	Duration   *float64 `json:"duration" doc:"seconds"`
	QueueTime  *float64 `json:"queue_time" doc:"seconds"`
}

// Result is how a job ended. Type and Error differ between the versions.
type Result struct {
	Type   any `json:"type" doc:"success, failed, cancelled, expired or unknown; below /netpulse/0.3: 1, 2 or 3"`
	RetVal any `json:"retval" doc:"output by command, or what the action returned"`
	Error  any `json:"error" doc:"null or a text; below /netpulse/0.3: null or {type, message}"`
}

// SDKError is the error of a job, as the SDK reads it.
type SDKError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// JobOf converts a job; worker is the name of the worker that ran it, "" if it is not
// known.
func JobOf(j hostler.Job, worker string, v Version, lang hostler.Lang) Job {
	out := Job{
		ID: j.ID.String(), Status: v.StatusOf(j.State), Queue: fifo,
		CreatedAt: stamp(&j.CreatedAt), EnqueuedAt: stamp(cmp.Or(j.QueuedAt, &j.CreatedAt)),
		StartedAt: stamp(j.StartedAt), EndedAt: stamp(j.EndedAt),
		Duration:  span(j.StartedAt, j.EndedAt),
		QueueTime: span(cmp.Or(j.QueuedAt, &j.CreatedAt), j.StartedAt),
		Result:    resultOf(j, v, lang),
	}
	if j.OnDevice {
		out.Queue = v.deviceQueue(j.Lane)
	}
	if j.Worker != 0 {
		name := cmp.Or(worker, j.Worker.String())
		out.Worker = &name
	}
	return out
}

func resultOf(j hostler.Job, v Version, lang hostler.Lang) *Result {
	if !j.State.Settled() {
		return nil
	}
	r := &Result{Type: typeOf(j.State), RetVal: retVal(j.Result, lang)}
	if v == SDK {
		r.Type = sdkType(j.State)
	}
	if j.Error == nil {
		return r
	}
	why := j.Error.Text.In(lang)
	r.Error = why
	if v == SDK {
		r.Error = SDKError{Type: j.Error.Kind, Message: why}
	}
	return r
}

func typeOf(s hostler.State) string {
	if s == hostler.StateSucceeded {
		return "success"
	}
	return string(s)
}

func sdkType(s hostler.State) int {
	switch s {
	case hostler.StateSucceeded:
		return 1
	case hostler.StateCancelled:
		return 3
	default:
		return 2
	}
}

// cut is appended to an output that the result has only in part: a script that saves a
// configuration must not mistake the beginning for the whole.
var cut = hostler.Text{
	EN: "\n[truncated here by Hostler; the job's log has all of it]",
	ZH: "\n[已被 Hostler 截断：完整内容见作业日志]",
}

// retVal returns the output of each command, or else the text of the result, or else
// the result itself.
func retVal(result json.RawMessage, lang hostler.Lang) any {
	if len(result) == 0 {
		return nil
	}
	var r struct {
		Outputs []struct {
			Command string  `json:"command"`
			Output  *string `json:"output"`
			Stdout  string  `json:"stdout"`
			Stderr  string  `json:"stderr"`
			Cut     bool    `json:"truncated"`
		} `json:"outputs"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(result, &r); err == nil && r.Outputs != nil {
		var by outputs
		for _, o := range r.Outputs {
			text := o.Stdout + o.Stderr
			if o.Output != nil {
				text = *o.Output
			}
			if o.Cut {
				text += cut.In(lang)
			}
			by.add(o.Command, text)
		}
		return by
	}
	if r.Text != "" {
		return r.Text
	}
	return result
}

// outputs is a JSON object of texts by command, in the order of the commands: Python's
// clients take the first output for the first command's.
type outputs struct {
	commands []string
	texts    map[string]string
}

// add appends an output. A command that was given twice has both of its outputs.
func (o *outputs) add(command, text string) {
	if _, again := o.texts[command]; !again {
		o.commands = append(o.commands, command)
	}
	if o.texts == nil {
		o.texts = map[string]string{}
	}
	o.texts[command] += text
}

// MarshalJSON implements json.Marshaler.
func (o outputs) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, command := range o.commands {
		if i > 0 {
			b = append(b, ',')
		}
		key, err := json.Marshal(command)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(o.texts[command])
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, key...), ':'), text...)
	}
	return append(b, '}'), nil
}

// CancelledJobs answers DELETE /job.
type CancelledJobs struct {
	Count int      `json:"cancelled_count"`
	Jobs  []string `json:"cancelled_jobs"`
}

// Stats counts the ended jobs of one action.
type Stats struct {
	Count    int     `json:"count"`
	Success  int     `json:"success"`
	Failure  int     `json:"failure"`
	Total    float64 `json:"total_time" doc:"seconds"`
	LastTime *string `json:"last_executed"`
}

// JobSelection selects jobs as NetPulse does.
type JobSelection struct {
	ID    string `query:"id" maxLength:"64" doc:"of one job; takes precedence over the others"`
	Queue string `query:"queue" maxLength:"300" doc:"FifoQ, pinned_<host>, HostQ_<host>, or a queue of Hostler"`
	Host  string `query:"host" maxLength:"253" doc:"address or name of an asset"`
}

// id is the native id; 0 when the text cannot be an id.
func (q JobSelection) id() hostler.JobID {
	var id hostler.JobID
	if n, err := strconv.ParseInt(q.ID, 10, 64); err == nil && n > 0 && n < 1<<hostler.IDBits {
		return hostler.JobID(n)
	}
	if id.UnmarshalText([]byte(q.ID)) != nil {
		return 0
	}
	return id
}

func (q JobSelection) search() app.JobSearch {
	f := app.JobSearch{Host: q.Host}
	name := ParseQueue(q.Queue)
	f.NoLane, f.Lane, f.Queue = name.Fifo, name.Host, name.Own
	return f
}

type jobQuery struct {
	JobSelection
	rest.PageQuery
	Status string `query:"status" enum:"queued,started,finished,failed,cancelled,canceled"`
	Node   string `query:"node" maxLength:"253" doc:"hostname of the worker"`
}

func (a *api) listJobs(ctx context.Context, c *rest.Call, in *jobQuery) (Envelope[[]Job], []string, error) {
	var found app.JobsFound
	var err error
	if in.ID != "" {
		if id := in.id(); id != 0 {
			found, err = a.FindJob(ctx, c.Caller, id)
		}
	} else {
		f := in.search()
		f.Node = in.Node
		if in.Status != "" {
			f.States = StatesOf(in.Status)
		}
		if err := c.ShareLists(ctx); err != nil {
			return Envelope[[]Job]{}, nil, err
		}
		found, err = a.FindJobs(ctx, c.Caller, f, in.Page())
	}
	if err != nil {
		return Envelope[[]Job]{}, nil, err
	}
	jobs := make([]Job, 0, len(found.Items))
	for _, j := range found.Items {
		jobs = append(jobs, JobOf(j, found.Names[j.Worker], a.version, c.Lang))
	}
	return Success(http.StatusOK, jobs), rest.NextLink(*c.Request.URL, found.Next), nil
}

// errNothingSelected refuses a change that names no object. NetPulse answers it with
// 400 and not with 422.
func errNothingSelected(en, zh string) error {
	return &hostler.Error{Code: hostler.CodeMalformed, Text: hostler.Text{EN: en, ZH: zh}}
}

func (a *api) cancelJobs(ctx context.Context, c *rest.Call, in *JobSelection) (Envelope[any], error) {
	var cancelled []hostler.JobID
	var err error
	switch id := in.id(); {
	case in.ID == "" && in.Queue == "" && in.Host == "":
		return Envelope[any]{}, errNothingSelected("give at least one of id, queue and host",
			"请至少提供 id、queue、host 之一")
	case id != 0:
		cancelled, err = a.CancelWaiting(ctx, c.Caller, []hostler.JobID{id}, app.JobSearch{})
	case in.ID == "":
		cancelled, err = a.CancelWaiting(ctx, c.Caller, nil, in.search())
	}
	if err != nil {
		return Envelope[any]{}, err
	}
	ids := make([]string, 0, len(cancelled))
	for _, id := range cancelled {
		ids = append(ids, id.String())
	}
	if a.version == SDK {
		return Success[any](http.StatusOK, ids), nil
	}
	return Success[any](http.StatusOK, CancelledJobs{Count: len(ids), Jobs: ids}), nil
}

func (a *api) taskStats(ctx context.Context, c *rest.Call, _ *rest.None) (map[string]Stats, error) {
	all, err := a.ActionStats(ctx, c.Caller)
	out := make(map[string]Stats, len(all))
	for name, s := range all {
		out[name] = Stats{Count: s.Count, Success: s.Success, Failure: s.Failure, Total: s.Total.Seconds(), LastTime: stamp(&s.Last)}
	}
	return out, err
}
