// Package netpulse has the shapes of NetPulse's job API and the ways between them
// and Hostler's own. It decides nothing and reads nothing: the handlers in package
// api decode into its inputs, call app, and encode its outputs.
//
// Model: the same calls have two dialects. Page is what NetPulse's documentation
// prints; SDK is what NetPulse 0.3 and its Python client exchange, below Prefix.
//
// Invariants: no input's secret is in any output; a field that asks for what Hostler
// does not do is refused by name, never by value. Only what tunes the inside of
// NetPulse's drivers is taken and left alone.
package netpulse

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
)

// Prefix is where the calls of NetPulse 0.3's SDK are.
const Prefix = "/netpulse/0.3"

// Dialect is one of the two forms of the answers.
type Dialect int

// The dialects.
const (
	Page Dialect = iota
	SDK
)

// Envelope is around every answer that is no error.
type Envelope[T any] struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    T      `json:"data"`
}

// Success wraps the data of an answer with its HTTP status.
func Success[T any](status int, data T) Envelope[T] {
	return Envelope[T]{Code: status, Message: "success", Data: data}
}

const (
	fifo         = "FifoQ"
	pinnedPrefix = "pinned_"
	hostPrefix   = "HostQ_"
)

// Queue is what a queue's name stands for.
type Queue struct {
	Fifo bool   // what is bound to no device
	Host string // the device that it is bound to
	Own  string // one of Hostler's own queues
}

// ParseQueue takes the names of both dialects.
func ParseQueue(name string) Queue {
	for _, prefix := range []string{pinnedPrefix, hostPrefix} {
		if host, ok := strings.CutPrefix(name, prefix); ok && host != "" {
			return Queue{Host: host}
		}
	}
	if name == fifo {
		return Queue{Fifo: true}
	}
	return Queue{Own: name}
}

func (d Dialect) pinned(host string) string {
	if d == SDK {
		return hostPrefix + host
	}
	return pinnedPrefix + host
}

// The states of a job.
const (
	Queued    = "queued"
	Started   = "started"
	Finished  = "finished"
	Failed    = "failed"
	Cancelled = "cancelled"
	Canceled  = "canceled" // the SDK waits for this spelling
)

// StatusOf is a job's state in the dialect's words.
func (d Dialect) StatusOf(s hostler.State) string {
	switch s {
	case hostler.StateScheduled, hostler.StateQueued:
		return Queued
	case hostler.StateRunning:
		return Started
	case hostler.StateSucceeded:
		return Finished
	case hostler.StateCancelled:
		if d == SDK {
			return Canceled
		}
		return Cancelled
	default:
		return Failed
	}
}

// StatesOf are the states that a status stands for, in either dialect's words; none
// for the empty one.
func StatesOf(status string) []hostler.State {
	return slices.DeleteFunc(slices.Clone(hostler.States()), func(s hostler.State) bool {
		return Page.StatusOf(s) != status && SDK.StatusOf(s) != status
	})
}

// Job is a job as both dialects show it.
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

// Result is how a job ended. Type and Error differ between the dialects.
type Result struct {
	Type   any `json:"type" doc:"success, failed, cancelled, expired or unknown; below /netpulse/0.3: 1, 2 or 3"`
	RetVal any `json:"retval" doc:"output by command, or what the action returned"`
	Error  any `json:"error" doc:"null or a text; below /netpulse/0.3: null or {type, message}"`
}

// SDKError is why a job failed, as the SDK reads it.
type SDKError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// timeForm is ISO 8601 with the offset as digits: older Pythons do not read Z.
const timeForm = "2006-01-02T15:04:05.000000-07:00"

func stamp(t *time.Time) *string {
	if t == nil || t.IsZero() {
		return nil
	}
	s := t.Format(timeForm)
	return &s
}

func span(from, to *time.Time) *float64 {
	if from == nil || to == nil {
		return nil
	}
	s := max(0, to.Sub(*from).Seconds())
	return &s
}

// JobOf shows a job; worker is the name of the one that ran it, if it is known.
func JobOf(j hostler.Job, worker string, d Dialect, lang hostler.Lang) Job {
	out := Job{
		ID: j.ID.String(), Status: d.StatusOf(j.State), Queue: fifo,
		CreatedAt: stamp(&j.CreatedAt), EnqueuedAt: stamp(cmp.Or(j.QueuedAt, &j.CreatedAt)),
		StartedAt: stamp(j.StartedAt), EndedAt: stamp(j.EndedAt),
		Duration:  span(j.StartedAt, j.EndedAt),
		QueueTime: span(cmp.Or(j.QueuedAt, &j.CreatedAt), j.StartedAt),
		Result:    resultOf(j, d, lang),
	}
	if j.OnDevice {
		out.Queue = d.pinned(j.Lane)
	}
	if j.Worker != 0 {
		name := cmp.Or(worker, j.Worker.String())
		out.Worker = &name
	}
	return out
}

func resultOf(j hostler.Job, d Dialect, lang hostler.Lang) *Result {
	if !j.State.Settled() {
		return nil
	}
	r := &Result{Type: typeOf(j.State), RetVal: retVal(j.Result, lang)}
	if d == SDK {
		r.Type = sdkType(j.State)
	}
	if j.Error == nil {
		return r
	}
	why := j.Error.Text.In(lang)
	r.Error = why
	if d == SDK {
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

// cut ends an output of which the result has only the beginning. A script that keeps
// a configuration must not take a part for the whole.
var cut = hostler.Text{EN: "\n[cut here by Hostler: the job's log has all of it]", ZH: "\n[已被 Hostler 截断：完整内容见作业日志]"}

// retVal is the output of each command, or what the action says, or its result.
func retVal(result json.RawMessage, lang hostler.Lang) any {
	if len(result) == 0 {
		return nil
	}
	var said struct {
		Outputs []struct {
			Command string  `json:"command"`
			Output  *string `json:"output"`
			Stdout  string  `json:"stdout"`
			Stderr  string  `json:"stderr"`
			Cut     bool    `json:"truncated"`
		} `json:"outputs"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(result, &said); err == nil && said.Outputs != nil {
		var by outputs
		for _, o := range said.Outputs {
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
	if said.Text != "" {
		return said.Text
	}
	return result
}

// outputs is a JSON object of texts by command. It keeps the order of the commands:
// Python's clients take the first output for the first command's.
type outputs struct {
	commands []string
	texts    map[string]string
}

// add notes an output; a command that was given twice has both.
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

// StoppedWorkers answers DELETE /worker.
type StoppedWorkers struct {
	Worker      *string  `json:"worker" doc:"the first of workers"`
	Workers     []string `json:"workers"`
	Status      string   `json:"status"`
	Interrupted int      `json:"interrupted_jobs"`
}

// Stats is what became of the jobs of one action.
type Stats struct {
	Count    int     `json:"count"`
	Success  int     `json:"success"`
	Failure  int     `json:"failure"`
	Total    float64 `json:"total_time" doc:"seconds"`
	LastTime *string `json:"last_executed"`
}

// Stamp is a time as the answers have it.
func Stamp(t time.Time) *string { return stamp(&t) }
