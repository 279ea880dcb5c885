package hostler

import "time"

// HoldMode is what a hold does with new jobs that it is about.
type HoldMode string

// The modes of holds. Jobs that were created before wait in either.
const (
	HoldWait   HoldMode = "wait"   // they wait for its end
	HoldRefuse HoldMode = "refuse" // they are refused
)

// Hold holds jobs of a project: those on an asset or on the assets with all of some labels,
// which are in maintenance, or all of them. No such job starts until it ends; running jobs
// continue.
type Hold struct {
	ID      HoldID            `json:"id"`
	Asset   string            `json:"asset,omitempty"`
	Labels  map[string]string `json:"labels,omitempty" doc:"neither asset nor labels: all jobs of the project"`
	Select  string            `json:"selector,omitempty" doc:"instead of labels"`
	Mode    HoldMode          `json:"mode" doc:"what happens with new jobs: wait or refuse"`
	Reason  string            `json:"reason"`
	By      string            `json:"by"`
	Since   time.Time         `json:"since"`
	Until   *time.Time        `json:"until,omitempty" doc:"when it ends by itself"`
	Ended   bool              `json:"ended,omitempty" doc:"the last of its jobs are being queued"`
	Waiting int               `json:"waiting" doc:"jobs that wait for its end, counted to 1,000"`
}

// HoldInput creates a hold. One for the same asset, labels or project is replaced: so it
// is made longer or shorter.
type HoldInput struct {
	Asset  string            `json:"asset,omitempty" maxLength:"128" doc:"name or id; or give labels, or neither for the whole project"`
	Labels map[string]string `json:"labels,omitempty"`
	Select string            `json:"selector,omitempty" maxLength:"4096" doc:"instead of labels: conditions on them, such as rack in (7,8)"`
	Mode   HoldMode          `json:"mode,omitempty" enum:"wait,refuse" doc:"what happens with new jobs; default: wait"`
	HoldTerms
}

// HoldTerms are why a hold is made, and until when.
type HoldTerms struct {
	Reason string     `json:"reason,omitempty" maxLength:"500" doc:"why; required for a project, an asset or labels"`
	Until  *time.Time `json:"until,omitempty" doc:"when it ends by itself; default: never"`
	For    Duration   `json:"for,omitempty" doc:"instead of until, such as 2h"`
}

// ByLabels reports whether the hold is about assets that their labels select.
func (in HoldInput) ByLabels() bool { return len(in.Labels) > 0 || in.Select != "" }
