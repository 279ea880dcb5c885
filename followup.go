package hostler

import (
	"encoding/json"
	"time"
)

// FollowOn says after which end of a run something follows.
type FollowOn string

// The ends that something follows.
const (
	FollowSuccess FollowOn = "success" // the default
	FollowFailure FollowOn = "failure" // it failed or was rejected
	// FollowChange: it succeeded, with another output than the last one of its schedule,
	// task or template, or of the same action on the same hosts.
	FollowChange FollowOn = "change"
	FollowEnd    FollowOn = "end" // whatever the end is
)

// FollowUp is what follows the end of a run: a run of a task or schedule, or a message to a
// webhook with the result. It has the rights of who started the run.
type FollowUp struct {
	On       FollowOn        `json:"on,omitempty" enum:"success,failure,change,end" doc:"default success"`
	Task     string          `json:"task,omitempty" maxLength:"64" doc:"runs this task; or give schedule or webhook"`
	Schedule string          `json:"schedule,omitempty" maxLength:"128" doc:"runs this schedule now"`
	Webhook  string          `json:"webhook,omitempty" maxLength:"128" doc:"sends the result to this webhook"`
	Params   json.RawMessage `json:"params,omitempty" doc:"an object, of the task or schedule; may look up the result, such as ${{ run.id }}"`
}

// FollowUpState is what became of a follow-up.
type FollowUpState string

// The states of follow-ups.
const (
	FollowUpWaiting FollowUpState = "waiting" // for the end of the run, or for another end
	FollowUpDone    FollowUpState = "done"
	FollowUpRefused FollowUpState = "refused"
)

// RunFollowUp is a follow-up of a run.
type RunFollowUp struct {
	FollowUp
	State    FollowUpState `json:"state" enum:"waiting,done,refused"`
	Run      RunID         `json:"run,omitzero" doc:"that it started"`
	Delivery DeliveryID    `json:"delivery,omitzero"`
	Reason   *Text         `json:"reason,omitempty"`
}

// RunResult is what follows a run gets to know of it.
type RunResult struct {
	ID        RunID           `json:"id"`
	State     RunState        `json:"state"`
	Name      string          `json:"name"`
	Origin    string          `json:"origin,omitempty"`
	Requester string          `json:"requester"`
	Params    json.RawMessage `json:"params,omitempty"`
	URL       string          `json:"url"`
	StartedAt *time.Time      `json:"started_at,omitempty"`
	EndedAt   *time.Time      `json:"ended_at,omitempty"`
	Hosts     int             `json:"hosts" doc:"in all steps"`
	Succeeded int             `json:"succeeded"`
	Failed    int             `json:"failed" doc:"or cancelled"`
	Results   []RunResultHost `json:"results" doc:"of the first hosts"`
	More      bool            `json:"more,omitempty" doc:"there are more results than these"`
}

// RunResultHost is the result of a host in a step.
type RunResultHost struct {
	Step    string          `json:"step"`
	Host    string          `json:"host,omitempty"`
	Job     JobID           `json:"job,omitzero"`
	State   string          `json:"state"`
	Result  json.RawMessage `json:"result,omitempty"`
	Outputs json.RawMessage `json:"outputs,omitempty"`
}
