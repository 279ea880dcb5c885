package hostler

import (
	"encoding/json"
	"time"
)

// Trigger is when a schedule fires: by exactly one of Cron, Interval and Date.
type Trigger struct {
	Cron     string     `json:"cron,omitempty" maxLength:"200" doc:"5 fields, or 6 with seconds first; names, L, #, @daily; if both day fields are restricted, either matches"`
	Interval Duration   `json:"interval,omitempty" doc:"such as 5m, counted from start; at least 1s"`
	Date     *time.Time `json:"date,omitempty" doc:"once"`
	Zone     string     `json:"zone,omitempty" maxLength:"64" doc:"time zone of cron, such as Europe/Berlin; default UTC"`
	Jitter   Duration   `json:"jitter,omitempty" doc:"delay each fire by a part of this, the same on every server; at most 1h"`
	Start    *time.Time `json:"start,omitempty" doc:"no fire is before this; intervals are counted from it"`
	End      *time.Time `json:"end,omitempty" doc:"no fire is at or after this"`
}

// Overlap is what happens to a fire while as many runs of its schedule are active as may
// be at once.
type Overlap string

// The policies for a fire that finds its schedule running.
const (
	OverlapSkip    Overlap = "skip"    // default: the fire is recorded as skipped
	OverlapQueue   Overlap = "queue"   // the fire runs when an earlier run has ended
	OverlapReplace Overlap = "replace" // the earlier runs are cancelled
)

// ScheduleTask is what a schedule runs: an action, on no host or on each of those that
// Target selects; or a task or a template, with parameters.
type ScheduleTask struct {
	Action string          `json:"action,omitempty" maxLength:"64" doc:"or give task or template"`
	Args   json.RawMessage `json:"args,omitempty" doc:"of the action"`
	Target *StepTarget     `json:"target,omitempty" doc:"of a task or template: as targets of a run"`

	Task     string          `json:"task,omitempty" maxLength:"64" doc:"name of a task"`
	Template string          `json:"template,omitempty" maxLength:"64"`
	Version  int             `json:"version,omitempty" minimum:"0" doc:"of the template; default: the task's, or the latest"`
	Params   json.RawMessage `json:"params,omitempty" doc:"of the task or template, an object"`

	// These are of an action.
	Timeout     Duration `json:"timeout,omitempty" doc:"of one attempt; default 5m"`
	MaxAttempts int      `json:"max_attempts,omitempty" minimum:"0" maximum:"100"`
	Backoff     Backoff  `json:"backoff,omitzero"`
	Lane        string   `json:"lane,omitempty" maxLength:"200"`
	TTL         Duration `json:"ttl,omitempty" doc:"expire a job that is not started within this span"`
	OnLost      OnLost   `json:"on_lost,omitempty" enum:"retry,fail,ask"`
}

// ScheduleInput describes a schedule.
type ScheduleInput struct {
	Name         string       `json:"name,omitempty" maxLength:"128" doc:"as in the path"`
	Title        string       `json:"title,omitempty" maxLength:"200"`
	Trigger      Trigger      `json:"trigger"`
	Task         ScheduleTask `json:"task"`
	MisfireGrace *Duration    `json:"misfire_grace,omitempty" doc:"how late a fire may still run; default 60s"`
	Coalesce     *bool        `json:"coalesce,omitempty" doc:"of several missed fires only the last runs; default true"`
	MaxInstances int          `json:"max_instances,omitempty" minimum:"0" maximum:"100" doc:"runs of the schedule at once; default 1"`
	Overlap      Overlap      `json:"overlap,omitempty" enum:"skip,queue,replace" doc:"what a fire does when max_instances are active; default skip"`
	Enabled      *bool        `json:"enabled,omitempty" doc:"default true; false is paused"`
	Queue        string       `json:"queue,omitempty" maxLength:"64" doc:"default: default"`
	SlowDown     *SlowDown    `json:"slow_down,omitempty" doc:"it fires less often while the workers are loaded"`
	After        *After       `json:"after,omitempty" doc:"its fires wait for the success of other schedules"`
	Then         []FollowUp   `json:"then,omitempty" maxItems:"10" doc:"what follows the end of each run"`
	Calendar     string       `json:"calendar,omitempty" maxLength:"64" doc:"fires are skipped or wait while it is closed"`
	Priority     int          `json:"priority,omitempty" minimum:"0" maximum:"9" doc:"1 (first) to 9 (last); default 5"`
}

// Schedule is a trigger on a task.
type Schedule struct {
	ID           ScheduleID   `json:"id"`
	Name         string       `json:"name"`
	Project      string       `json:"project"`
	Title        string       `json:"title,omitempty"`
	Trigger      Trigger      `json:"trigger"`
	Task         ScheduleTask `json:"task"`
	MisfireGrace Duration     `json:"misfire_grace"`
	Coalesce     bool         `json:"coalesce"`
	MaxInstances int          `json:"max_instances"`
	Overlap      Overlap      `json:"overlap"`
	Enabled      bool         `json:"enabled"`
	Queue        string       `json:"queue"`
	Calendar     string       `json:"calendar,omitempty"`
	SlowDown     *SlowDown    `json:"slow_down,omitempty"`
	Slowed       *time.Time   `json:"slowed,omitempty" doc:"since when it fires less often"`
	After        *After       `json:"after,omitempty"`
	Then         []FollowUp   `json:"then,omitempty"`
	Priority     int          `json:"priority"`
	Owner        string       `json:"owner" doc:"the user who last changed it, with whose rights it runs"`
	// Next is the next instant of an enabled schedule; nil when there is none.
	Next      *time.Time `json:"next,omitempty"`
	Problem   *Text      `json:"problem,omitempty" doc:"why the last fire did not run"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
}

// After lets the fires of a schedule wait for the success of others.
type After struct {
	Schedules []string  `json:"schedules" minItems:"1" maxItems:"10"`
	Within    Duration  `json:"within,omitempty" doc:"how old a success may be, at the time of the fire; default 24h"`
	Wait      *Duration `json:"wait,omitempty" doc:"how long a fire waits for it, before it is skipped; default 1h"`
}

// SlowDown lets a schedule fire less often while the workers are loaded: not more often than
// every so long.
type SlowDown struct {
	When  string   `json:"when" minLength:"1" maxLength:"200" doc:"on cpu (of the workers' machines) and slots (in use), in percent, such as cpu > 80"`
	Every Duration `json:"every"`
}

// FireState is the outcome of a fire.
type FireState string

// The states of a fire.
const (
	FireStarted  FireState = "started"  // it made a run
	FireQueued   FireState = "queued"   // it waits for an earlier run of its schedule, or for a calendar
	FireSkipped  FireState = "skipped"  // too many runs of its schedule were active, or a calendar was closed
	FireMissed   FireState = "missed"   // its time was over before a server saw it
	FireMerged   FireState = "merged"   // a later one, which was due too, stands for it
	FireRefused  FireState = "refused"  // the run was not permitted, or not possible
	FireReplaced FireState = "replaced" // its run was cancelled for a later one
)

// FireTrigger is what caused a fire.
type FireTrigger string

// The causes of a fire.
const (
	FireTimer  FireTrigger = "timer"
	FireManual FireTrigger = "manual"
)

// Fire records a fire of a schedule. One that did not run may stand for several
// consecutive instants, which are as many as Count, from At to Until.
type Fire struct {
	ID       FireID      `json:"id"`
	Schedule ScheduleID  `json:"schedule"`
	Name     string      `json:"name" doc:"of the schedule"`
	At       time.Time   `json:"at" doc:"the instant of the trigger; of a manual one, when it was requested"`
	Until    *time.Time  `json:"until,omitempty"`
	Count    int         `json:"count" doc:"instants; if more, there are at least so many"`
	More     bool        `json:"more,omitempty"`
	Trigger  FireTrigger `json:"trigger"`
	State    FireState   `json:"state"`
	Run      RunID       `json:"run,omitzero"`
	Jobs     int         `json:"jobs,omitempty"`
	By       string      `json:"by,omitempty" doc:"the user of a manual fire"`
	Reason   *Text       `json:"reason,omitempty" doc:"why it did not run"`
	// Decided is when a server decided, by the clock of the database.
	Decided time.Time `json:"decided_at"`
}

// NextRequest asks for coming fires of a trigger that is not saved.
type NextRequest struct {
	Trigger Trigger    `json:"trigger"`
	After   *time.Time `json:"after,omitempty" doc:"default: now"`
	Count   int        `json:"count,omitempty" minimum:"0" maximum:"1000" doc:"default 10"`
}

// NextFires are coming instants of a trigger.
type NextFires struct {
	Zone  string      `json:"zone"`
	Fires []time.Time `json:"fires" doc:"in the zone; jitter may delay each"`
}

// IsFlow reports whether it is a task or a template.
func (t ScheduleTask) IsFlow() bool { return t.Task != "" || t.Template != "" }

// ScheduleRunInput edits what one run of a schedule does.
type ScheduleRunInput struct {
	Args     json.RawMessage `json:"args,omitempty" doc:"an object: its members replace those of the schedule's args"`
	Params   json.RawMessage `json:"params,omitempty" doc:"likewise, of a task or template"`
	Version  int             `json:"version,omitempty" minimum:"0" doc:"of the template, instead of the schedule's"`
	Target   *StepTarget     `json:"target,omitempty" doc:"instead of the schedule's"`
	Queue    string          `json:"queue,omitempty" maxLength:"64"`
	Priority int             `json:"priority,omitempty" minimum:"0" maximum:"9"`

	OverrideCalendar *CalendarOverride `json:"override_calendar,omitempty" doc:"admins only: run it although a calendar is closed"`
}

// NamedScheduleRun names a schedule that is to run now, and edits what this run does.
type NamedScheduleRun struct {
	Name string `json:"name" minLength:"1" maxLength:"128" doc:"or id of the schedule"`
	ScheduleRunInput
}

// ScheduleRun answers a request to run a schedule now.
type ScheduleRun struct {
	Message string `json:"message"`
	Run     RunID  `json:"run_id"`
	State   string `json:"state"`
	URL     string `json:"url" doc:"path of the run"`
	Jobs    int    `json:"jobs"`
	Fire    FireID `json:"fire"`
}
