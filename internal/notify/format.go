package notify

import (
	"encoding/json"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// maxResult bounds the result of a job in a message; the job has all of it.
const maxResult = 64 << 10

// standard is a message of Standard Webhooks: type, timestamp and data.
//
//	{"type":"job.failed","timestamp":"2026-01-31T10:00:00Z","pos":9,"data":{"job":"job_…", …}}
//
// Pos is the position of the event in the stream, by which a receiver can order its
// deliveries: they may arrive in another order, and more than once.
type standard struct {
	Type      hostler.EventType `json:"type"`
	Timestamp time.Time         `json:"timestamp"`
	Pos       int64             `json:"pos"`
	Data      any               `json:"data"`
}

// jobData is the data of an event of a job: the event, and the result once the job
// has one. A result that is too large is left out, and marked as truncated.
type jobData struct {
	*hostler.JobEvent
	Result    json.RawMessage `json:"result,omitempty"`
	Truncated bool            `json:"result_truncated,omitempty"`
}

func standardMessage(e *store.Event, job *hostler.Job) standard {
	s := standard{Type: e.Type, Timestamp: e.At.UTC(), Pos: e.Pos, Data: &e.Object}
	if e.OfJob() {
		data := jobData{JobEvent: &e.Job}
		if job != nil && e.Type.SettlesJob() {
			data.Result, data.Truncated = job.Result, len(job.Result) > maxResult
		}
		if data.Truncated {
			data.Result = nil
		}
		s.Data = data
	}
	return s
}

// simpleTask is the message of the simple task API, with the numeric ids of that API.
//
//	{"event":"task_completed","task_id":2001,"asset_id":1001,"action":"check_port",
//	 "status":"success","result":"port 22 open","error":null,"completed_at":"…"}
type simpleTask struct {
	Event       string    `json:"event"`
	ID          int64     `json:"task_id"`
	AssetID     int64     `json:"asset_id"`
	Action      string    `json:"action"`
	Status      string    `json:"status"`
	Result      *string   `json:"result"`
	Error       *string   `json:"error"`
	CompletedAt time.Time `json:"completed_at"`
}

func simpleTaskMessage(e *store.Event, job *hostler.Job, lang hostler.Lang) any {
	if !e.OfJob() { // a test of the webhook
		return map[string]any{"event": e.Type, "at": e.At.UTC(), "object": e.Object.Object}
	}
	t := simpleTask{
		Event: "task_completed", ID: int64(e.Job.Job), AssetID: int64(e.Job.Asset), Action: e.Job.Action,
		Status: hostler.TaskStatus(e.Job.State), CompletedAt: e.At.UTC(),
	}
	if e.Job.Error != nil {
		why := e.Job.Error.Text.In(lang)
		t.Error = &why
	}
	if text := resultText(e, job, lang); text != "" {
		t.Result = &text
	}
	return t
}

// netPulse is the message that NetPulse sends when a job ends.
//
//	{"id":"job_…","status":"success","result":"…"}
type netPulse struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Result string `json:"result"`
}

func netPulseMessage(e *store.Event, job *hostler.Job, lang hostler.Lang) any {
	if !e.OfJob() { // a test of the webhook
		return map[string]any{"event": e.Type, "at": e.At.UTC()}
	}
	p := netPulse{ID: e.Job.Job.String(), Status: "success", Result: resultText(e, job, lang)}
	if e.Job.State != hostler.StateSucceeded {
		p.Status = "failed"
	}
	if e.Job.Error != nil {
		p.Result = e.Job.Error.Text.In(lang)
	}
	return p
}

// resultText returns the result of a job as text, or else its error.
func resultText(e *store.Event, job *hostler.Job, lang hostler.Lang) string {
	if job != nil {
		if text := hostler.ResultText(job.Result); text != "" {
			return truncate(text, maxResult)
		}
	}
	if e.Job.Error != nil {
		return e.Job.Error.Text.In(lang)
	}
	return ""
}

// truncate returns at most n bytes of a text, with " …" behind them when there was
// more.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " …"
}
