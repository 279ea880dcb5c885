package hostler

import (
	"encoding/json"
	"strconv"
	"strings"
)

// APIVersion is that of the documents that hostler apply reads.
const APIVersion = "hostler/v1"

// Limits of a template.
const (
	MaxSteps         = 200
	MaxDocumentBytes = 1 << 20
	MaxFlowDepth     = 5 // templates within each other
	MaxOutputs       = 20
	MaxOutputBytes   = 8 << 10 // of all outputs of one job
)

// Template is the flow that a document of kind Template describes: static, it cannot run.
type Template struct {
	Name  string          `json:"name"`
	Title string          `json:"title,omitempty"`
	Help  string          `json:"help,omitempty"`
	Param json.RawMessage `json:"params,omitempty" doc:"JSON Schema of the parameters"`
	Steps []Step          `json:"steps"`
}

// TaskSpec is what a document of kind Task describes: a template with parameters and
// targets, which can run.
type TaskSpec struct {
	Name     string          `json:"name"`
	Title    string          `json:"title,omitempty"`
	Template string          `json:"template"`
	Version  int             `json:"version,omitempty" doc:"of the template; 0: the latest"`
	Params   json.RawMessage `json:"params,omitempty" doc:"an object; over the defaults of the schema"`
	Targets  *StepTarget     `json:"targets,omitempty"`
	Then     []FollowUp      `json:"then,omitempty" maxItems:"10" doc:"what follows the end of each run"`
}

// Step is a node of a template. It is of the kind whose field it has: Action, Approval,
// Wait, Notify or Flow.
type Step struct {
	ID    string    `json:"id"`
	Title string    `json:"title,omitempty"`
	Needs *[]string `json:"needs,omitempty" doc:"default: the step above"`

	Action string          `json:"action,omitempty"`
	Args   json.RawMessage `json:"args,omitempty"`
	Target *StepTarget     `json:"target,omitempty" doc:"default: that of the step above"`

	Rollout  *Rollout `json:"rollout,omitempty"`
	Retry    *Retry   `json:"retry,omitempty"`
	Timeout  Duration `json:"timeout,omitempty"`
	Queue    string   `json:"queue,omitempty"`
	Lane     string   `json:"lane,omitempty"`
	Priority int      `json:"priority,omitempty"`
	OnLost   OnLost   `json:"on_lost,omitempty"`

	// Outputs are the values that each job leaves for later steps, by name.
	Outputs map[string]Output `json:"outputs,omitempty"`
	Verify  *Probe            `json:"verify,omitempty" doc:"decides jobs whose outcome is unknown"`

	Approval *ApprovalStep `json:"approval,omitempty"`
	Wait     Duration      `json:"wait,omitempty"`
	Notify   *NotifyStep   `json:"notify,omitempty"`
	Flow     *FlowStep     `json:"flow,omitempty"`

	When      string    `json:"when,omitempty" doc:"an expression; the step is skipped when it is false"`
	Always    bool      `json:"always,omitempty" doc:"runs also after a failure or a rejection"`
	OnFailure OnFailure `json:"on_failure,omitempty"`
	Undoes    string    `json:"undoes,omitempty" doc:"id of a step: runs only in a rollback, on the hosts on which that step ran"`
}

// Output is a value that a job of a step leaves for later steps.
type Output struct {
	From   string          `json:"from" doc:"stdout, or a path into the result of the job, such as exit_code or outputs.0.stdout"`
	Schema json.RawMessage `json:"schema,omitempty" doc:"JSON Schema of the value; default: a text"`
}

// Probe is an action that looks at a host: between two waves, or to find out whether
// something happened.
type Probe struct {
	Action  string          `json:"action"`
	Args    json.RawMessage `json:"args,omitempty"`
	Target  *StepTarget     `json:"target,omitempty" doc:"of a gate; default: the hosts on which the step has succeeded"`
	Timeout Duration        `json:"timeout,omitempty"`
	Retry   *Retry          `json:"retry,omitempty"`
}

// FlowStep is a step that runs another template of the project.
type FlowStep struct {
	Template string          `json:"template"`
	Version  int             `json:"version,omitempty" doc:"0: the latest when the run starts"`
	Params   json.RawMessage `json:"params,omitempty" doc:"an object; over the defaults of that template"`
}

// StepTarget selects the hosts of a step.
type StepTarget struct {
	Assets   []string          `json:"assets,omitempty" maxItems:"100000" doc:"names or ids, or patterns of names such as web*"`
	Labels   map[string]string `json:"labels,omitempty" doc:"every asset with all these labels"`
	Selector string            `json:"selector,omitempty" maxLength:"4096" doc:"every asset whose labels match, such as app=web,env!=test; together with labels, both must match"`
	Exclude  []string          `json:"exclude,omitempty" maxItems:"1000" doc:"names, patterns or ids of assets that are left out"`
	// FromRun narrows the selection; alone, it is the selection.
	FromRun *FromRun `json:"from_run,omitempty" doc:"only hosts of an earlier run"`
}

// FromRun selects hosts of an earlier run.
type FromRun struct {
	Run   RunID  `json:"run,omitzero" doc:"default: the last ended run of name"`
	Name  string `json:"name,omitempty" doc:"of a task or template"`
	Step  string `json:"step,omitempty" doc:"default: every step"`
	Hosts string `json:"hosts" enum:"succeeded,failed,changed" doc:"failed: every host that a step did not succeed on; changed: its result says so"`
}

// OnFailure is what happens to the run when a step fails.
type OnFailure string

// The policies for a failed step.
const (
	OnFailureStop     OnFailure = "stop"     // default: no further step starts, but those marked always
	OnFailureContinue OnFailure = "continue" // the run goes on as if the step had succeeded
	OnFailureRollback OnFailure = "rollback" // as stop; then the steps run that undo others
)

// Rollout divides the hosts of a step into waves. A wave starts when all jobs of the one
// before it have ended.
type Rollout struct {
	Batch        []Amount `json:"batch,omitempty" doc:"hosts of each wave, as a number or a part of all hosts such as 25%; the last is repeated; default 100%"`
	MaxFailures  Amount   `json:"max_failures,omitzero" doc:"hosts that may fail, as a number or a part of all hosts; default 0"`
	PauseBetween Duration `json:"pause_between,omitempty" doc:"between two waves"`
	Parallel     int      `json:"parallel,omitempty" doc:"hosts of a wave at once; default: all"`
	Gate         *Probe   `json:"gate,omitempty" doc:"must succeed between two waves"`
}

// Retry is how often each job of a step is tried.
type Retry struct {
	Attempts int      `json:"attempts"`
	Backoff  string   `json:"backoff,omitempty" doc:"exponential (default) or fixed"`
	Base     Duration `json:"base,omitempty"`
	Max      Duration `json:"max,omitempty"`
}

// ApprovalStep is a step that waits for people.
type ApprovalStep struct {
	Title     string   `json:"title"`
	Approvers []string `json:"approvers,omitempty" doc:"role:NAME or user:NAME; default role:approver"`
	Quorum    int      `json:"quorum,omitempty" doc:"people who must approve; default 1"`
	Expires   Duration `json:"expires,omitempty" doc:"default: never"`
	OnExpiry  OnExpiry `json:"on_expiry,omitempty" doc:"reject (default) or continue"`
	Self      bool     `json:"self,omitempty" doc:"whether the requester of the run may approve"`
	Bind      string   `json:"bind,omitempty" doc:"strict: the steps behind it use no output that is still to come"`
}

// OnExpiry is what happens to an approval for which time is over.
type OnExpiry string

// The policies for an expired approval.
const (
	OnExpiryReject   OnExpiry = "reject"
	OnExpiryContinue OnExpiry = "continue"
)

// NotifyStep is a step that sends a message: an event of type run.message, which webhooks
// deliver.
type NotifyStep struct {
	// Channel is the name of a channel of the project; without one, the channels and
	// webhooks that subscribe to run.message get the text.
	Channel string `json:"channel,omitempty"`
	Text    string `json:"text"`
}

// Amount is a number, or a part of a whole in percent. Its text form is 3 or 25%.
type Amount struct {
	N       int
	Percent bool
}

// Of returns the amount for a whole: a part of it is rounded down, and is at least 1
// unless it is 0%.
func (a Amount) Of(whole int) int {
	if !a.Percent {
		return a.N
	}
	n := whole * a.N / 100
	if n == 0 && a.N > 0 && whole > 0 {
		return 1
	}
	return n
}

// IsZero reports whether no amount is given.
func (a Amount) IsZero() bool { return a == Amount{} }

// String returns the text form.
func (a Amount) String() string {
	if a.Percent {
		return strconv.Itoa(a.N) + "%"
	}
	return strconv.Itoa(a.N)
}

// MarshalJSON returns a number, or a string with a percent sign.
func (a Amount) MarshalJSON() ([]byte, error) {
	if a.Percent {
		return json.Marshal(a.String())
	}
	return []byte(a.String()), nil
}

// UnmarshalJSON reads a number, or a string.
func (a *Amount) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		s = string(b)
	}
	return a.UnmarshalText([]byte(s))
}

// UnmarshalText reads the text form.
func (a *Amount) UnmarshalText(b []byte) error {
	s, percent := strings.CutSuffix(string(b), "%")
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 100_000 || percent && n > 100 {
		return Errorf(CodeInvalid, "must be a number up to 100000, or a percentage",
			"须为不超过 100000 的数字，或百分比")
	}
	*a = Amount{N: n, Percent: percent}
	return nil
}

// StepKind is the kind of a step.
type StepKind string

// The kinds of step.
const (
	StepAction   StepKind = "action"
	StepApproval StepKind = "approval"
	StepWait     StepKind = "wait"
	StepNotify   StepKind = "notify"
	StepFlow     StepKind = "flow"
)

// Kind returns the kind of a valid step.
func (s *Step) Kind() StepKind {
	switch {
	case s.Approval != nil:
		return StepApproval
	case s.Wait != 0:
		return StepWait
	case s.Notify != nil:
		return StepNotify
	case s.Flow != nil:
		return StepFlow
	}
	return StepAction
}

// StepState is the state of a step of a run.
type StepState string

// The states of a step.
const (
	StepPending   StepState = "pending"
	StepRunning   StepState = "running"
	StepWaiting   StepState = "waiting" // for people, or for a time
	StepSucceeded StepState = "succeeded"
	StepFailed    StepState = "failed"
	StepRejected  StepState = "rejected"
	StepSkipped   StepState = "skipped"   // its condition does not hold, or a person skipped it
	StepCancelled StepState = "cancelled" // the run ended before it could start, or was terminated
	StepUnknown   StepState = "unknown"   // jobs have an unknown outcome, which a person must resolve
)

// Ended reports whether a step in this state does not go on by itself.
func (s StepState) Ended() bool {
	switch s {
	case StepSucceeded, StepFailed, StepRejected, StepSkipped, StepCancelled:
		return true
	case StepPending, StepRunning, StepWaiting, StepUnknown:
		return false
	}
	return false
}

// RunState is the state of a run.
type RunState string

// The states of a run.
const (
	RunPending   RunState = "pending"
	RunRunning   RunState = "running"
	RunWaiting   RunState = "waiting" // for an approval, or for an unknown outcome to be resolved
	RunPaused    RunState = "paused"  // by a person; running jobs go on
	RunSucceeded RunState = "succeeded"
	RunFailed    RunState = "failed"
	RunRejected  RunState = "rejected"
	RunCancelled RunState = "cancelled"
)

// RunStates lists every state of a run.
func RunStates() []RunState {
	return []RunState{
		RunPending, RunRunning, RunWaiting, RunPaused, RunSucceeded, RunFailed, RunRejected, RunCancelled,
	}
}

// Ended reports whether a run in this state does not go on by itself.
func (s RunState) Ended() bool {
	switch s {
	case RunSucceeded, RunFailed, RunRejected, RunCancelled:
		return true
	case RunPending, RunRunning, RunWaiting, RunPaused:
		return false
	}
	return false
}
