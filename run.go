package hostler

import (
	"encoding/json"
	"time"
)

// RunSummary counts the jobs of a run by state.
type RunSummary struct {
	Run    RunID         `json:"run"`
	Total  int           `json:"total"`
	States map[State]int `json:"states"`
	Done   bool          `json:"done" doc:"every job is terminal or unknown"`
}

// RunSource is what a run was started from.
type RunSource string

// The sources of runs.
const (
	RunAdHoc        RunSource = "adhoc" // a request for several jobs: a run of one step
	RunFromTemplate RunSource = "template"
	RunFromTask     RunSource = "task"
)

// RunRequest starts a run of a task, or of a template.
type RunRequest struct {
	Task     string          `json:"task,omitempty" maxLength:"64" doc:"name of a task; or give template"`
	Template string          `json:"template,omitempty" maxLength:"64"`
	Version  int             `json:"version,omitempty" minimum:"0" doc:"of the template; default: the task's, or the latest"`
	Params   json.RawMessage `json:"params,omitempty" doc:"an object; over the task's and the defaults of the schema"`

	OverrideCalendar *CalendarOverride `json:"override_calendar,omitempty" doc:"admins only: run it although a calendar is closed"`

	Then []FollowUp `json:"then,omitempty" maxItems:"10" doc:"what follows its end, beside what follows the task"`

	Targets *StepTarget `json:"targets,omitempty" doc:"labels are added to those of each step; assets narrow them, or replace its assets"`
}

// RerunInput asks for an earlier run again, with edits.
type RerunInput struct {
	Args     json.RawMessage `json:"args,omitempty" doc:"an object: its members replace those of the run's args"`
	Params   json.RawMessage `json:"params,omitempty" doc:"likewise, of a run of a task or template"`
	Version  int             `json:"version,omitempty" minimum:"0" doc:"of the template; default: the one that the run had"`
	Latest   bool            `json:"latest,omitempty" doc:"with the latest version of the template"`
	Target   *StepTarget     `json:"target,omitempty" doc:"instead of the hosts of the run"`
	Queue    string          `json:"queue,omitempty" maxLength:"64"`
	Priority int             `json:"priority,omitempty" minimum:"0" maximum:"9"`

	OverrideCalendar *CalendarOverride `json:"override_calendar,omitempty" doc:"admins only: run it although a calendar is closed"`

	OverrideRule *RuleOverride `json:"override_rule,omitempty" doc:"admins only: run it although command rules demand an approval"`
}

// Run is one execution of a flow. Its counts are those of hosts in all of its steps.
type Run struct {
	RunSummary
	State     RunState        `json:"state,omitempty" doc:"none for the run of a single job, which is only a number"`
	Source    RunSource       `json:"source,omitempty"`
	Name      string          `json:"name,omitempty" doc:"of the task or template"`
	Template  string          `json:"template,omitempty"`
	Version   int             `json:"version,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Requester string          `json:"requester,omitempty"`
	Origin    string          `json:"origin,omitempty" doc:"what started it for the requester, such as schedule:night"`
	RetryOf   RunID           `json:"retry_of,omitzero" doc:"the run that it repeats"`
	CreatedAt *time.Time      `json:"created_at,omitempty"`
	StartAt   *time.Time      `json:"start_at,omitempty" doc:"when it may begin, because a calendar was closed"`
	StartedAt *time.Time      `json:"started_at,omitempty"`
	EndedAt   *time.Time      `json:"ended_at,omitempty"`
	Steps     []RunStep       `json:"steps,omitempty" doc:"not in lists"`
	FollowUps []RunFollowUp   `json:"follow_ups,omitempty" doc:"likewise"`
}

// RunStep is a step of a run. Its counters are those of its last round; hosts that
// succeeded before it are in Succeeded.
type RunStep struct {
	ID        string          `json:"id"`
	Title     string          `json:"title,omitempty"`
	Kind      StepKind        `json:"kind"`
	Needs     []string        `json:"needs"`
	Within    string          `json:"within,omitempty" doc:"the flow step that brought it"`
	PartOf    string          `json:"part_of,omitempty" doc:"the step that it is the gate or the probe of"`
	Undoes    string          `json:"undoes,omitempty"`
	Flow      *FlowStep       `json:"flow,omitempty"`
	State     StepState       `json:"state"`
	Reason    *Text           `json:"reason,omitempty"`
	Action    string          `json:"action,omitempty"`
	Args      json.RawMessage `json:"args,omitempty" doc:"as they were rendered; with look-ups of outputs that are filled in later"`
	Hosts     int             `json:"hosts,omitempty"`
	Waves     []int           `json:"waves,omitempty" doc:"hosts of the first waves"`
	Started   int             `json:"started,omitempty"`
	Succeeded int             `json:"succeeded,omitempty"`
	Failed    int             `json:"failed,omitempty"`
	Cancelled int             `json:"cancelled,omitempty"`
	Unknown   int             `json:"unknown,omitempty"`
	Until     *time.Time      `json:"until,omitempty" doc:"when a wait, a pause or an approval ends"`
	StartedAt *time.Time      `json:"started_at,omitempty"`
	EndedAt   *time.Time      `json:"ended_at,omitempty"`
}

// RunPlan is what a run would do, as canonical JSON can be made of it.
type RunPlan struct {
	Template string          `json:"template"`
	Version  int             `json:"version"`
	Params   json.RawMessage `json:"params"`
	Steps    []PlannedStep   `json:"steps"`
	Digest   string          `json:"digest" doc:"SHA-256 of the canonical JSON of all the other fields"`
}

// PlannedStep is a step of a plan.
type PlannedStep struct {
	RunStep
	On []string `json:"on,omitempty" doc:"names of the hosts, in the order of the waves"`
}

// RunHost is a host of a step of a run.
type RunHost struct {
	Step  string  `json:"step"`
	Asset AssetID `json:"asset,omitzero"`
	Name  string  `json:"name,omitempty"`
	Job   JobID   `json:"job,omitzero" doc:"its last job in this step"`
	State string  `json:"state" doc:"pending, queued (not ended), unknown, succeeded, failed, cancelled, missing"`
	// Reason is why the host failed beside its job, or what a probe found.
	Reason  *Text           `json:"reason,omitempty"`
	Outputs json.RawMessage `json:"outputs,omitempty" doc:"what its job left for later steps"`
}

// SkipInput skips a step of a run.
type SkipInput struct {
	Reason string `json:"reason" minLength:"1" maxLength:"1000"`
}

// ApplyInput publishes documents.
type ApplyInput struct {
	Documents string `json:"documents" maxLength:"1048576" doc:"templates and tasks, as YAML or JSON"`
	DryRun    bool   `json:"dry_run,omitempty" doc:"check and compare only"`
}

// Applied is the result for one document.
type Applied struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Version int    `json:"version,omitempty" doc:"of a template"`
	Result  string `json:"result" enum:"created,changed,unchanged"`
}

// TemplateVersion is a version of a template.
type TemplateVersion struct {
	Name      string     `json:"name"`
	Version   int        `json:"version"`
	Latest    bool       `json:"latest"`
	Title     string     `json:"title,omitempty"`
	CreatedBy string     `json:"created_by"`
	CreatedAt time.Time  `json:"created_at"`
	RetiredAt *time.Time `json:"retired_at,omitempty" doc:"it starts no runs any more"`
	Source    string     `json:"source,omitempty" doc:"the document; not in lists"`
	Spec      *Template  `json:"spec,omitempty" doc:"not in lists"`
}

// TaskInfo is a task as people read it.
type TaskInfo struct {
	TaskSpec
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Source    string    `json:"source,omitempty" doc:"the document; not in lists"`
}
