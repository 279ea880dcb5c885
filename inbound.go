package hostler

import (
	"encoding/json"
	"time"
)

// InboundKind is who sends to an inbound trigger, and how its requests are signed.
type InboundKind string

// The kinds of senders.
const (
	InboundGitHub       InboundKind = "github"       // X-Hub-Signature-256
	InboundGitLab       InboundKind = "gitlab"       // X-Gitlab-Token
	InboundGitea        InboundKind = "gitea"        // X-Gitea-Signature
	InboundAlertmanager InboundKind = "alertmanager" // Authorization: Bearer
	InboundStandard     InboundKind = "standard"     // Standard Webhooks
)

// InboundKinds lists the kinds of senders.
func InboundKinds() []InboundKind {
	return []InboundKind{InboundGitHub, InboundGitLab, InboundGitea, InboundAlertmanager, InboundStandard}
}

// InboundInput describes an inbound trigger: a URL to which others send signed requests, and
// the task that these run.
type InboundInput struct {
	Name    string          `json:"name" minLength:"1" maxLength:"64"`
	Title   string          `json:"title,omitempty" maxLength:"200"`
	Kind    InboundKind     `json:"kind" enum:"github,gitlab,gitea,alertmanager,standard"`
	Task    string          `json:"task" minLength:"1" maxLength:"64" doc:"it runs with the rights of the user who creates the trigger"`
	When    string          `json:"when,omitempty" maxLength:"1000" doc:"an expression over event, push, alert and payload; without it every request runs the task"`
	Params  json.RawMessage `json:"params,omitempty" doc:"an object over the task's params; ${{ payload.name }} looks a value up"`
	Targets *StepTarget     `json:"targets,omitempty" doc:"as targets of a run; look-ups are allowed"`
	Rate    int             `json:"rate,omitempty" minimum:"0" maximum:"600" doc:"requests per minute; default 60"`
}

// Inbound is an inbound trigger. Its URL and its secret are shown once, when it is created.
type Inbound struct {
	InboundInput
	Project   string     `json:"project"`
	Enabled   bool       `json:"enabled"`
	Owner     string     `json:"owner" doc:"the user with whose rights the task runs"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	OldSecret *time.Time `json:"old_secret_until,omitempty" doc:"until when the secret before the current one is accepted too"`
}

// InboundSecret is an inbound trigger with what is shown once.
type InboundSecret struct {
	Trigger Inbound `json:"trigger"`
	Path    string  `json:"path,omitempty" doc:"of its URL, on this server"`
	URL     string  `json:"url,omitempty" doc:"if the server's configuration has a public_url"`
	Secret  string  `json:"secret"`
}

// InboundRotation asks for a new secret.
type InboundRotation struct {
	Overlap *Duration `json:"overlap,omitempty" doc:"how long the old secret is accepted too; default 0, at most 720h"`
}

// InboundState is what became of a request to an inbound trigger.
type InboundState string

// The states of requests.
const (
	InboundAccepted InboundState = "accepted" // it started a run
	InboundFiltered InboundState = "filtered" // its event, or the condition, did not match
	InboundRepeated InboundState = "repeated" // it was received before: nothing was started
	InboundRefused  InboundState = "refused"
)

// InboundCall is a request in the log of an inbound trigger.
type InboundCall struct {
	At       time.Time    `json:"at"`
	State    InboundState `json:"state"`
	Event    string       `json:"event,omitempty"`
	Delivery string       `json:"delivery,omitempty" doc:"the sender's id of it"`
	Remote   string       `json:"remote,omitempty"`
	Run      RunID        `json:"run,omitzero"`
	Reason   *Text        `json:"reason,omitempty"`
}

// InboundAnswer answers a request to an inbound trigger.
type InboundAnswer struct {
	State InboundState `json:"state"`
	Run   RunID        `json:"run,omitzero"`
}
