package hostler

import (
	"encoding/json"
	"time"
)

// JobRequest asks for one job, or for one per asset: the input of
// POST /api/v1/jobs. Assets and Labels together choose the union; none of them
// makes one job without asset.
type JobRequest struct {
	Action      string            `json:"action" minLength:"1" maxLength:"64" doc:"name of the action, such as check_port"`
	Args        json.RawMessage   `json:"args,omitempty" doc:"arguments; GET /api/v1/actions/{name} has their JSON Schema"`
	Assets      []string          `json:"assets,omitempty" maxItems:"100000" doc:"names or ids of assets; one job each"`
	Labels      map[string]string `json:"labels,omitempty" doc:"every asset with all these labels; one job each"`
	Queue       string            `json:"queue,omitempty" maxLength:"64" doc:"default: default"`
	Lane        string            `json:"lane,omitempty" maxLength:"200" doc:"asset, none, or a key of your own; default: the action's"`
	Concurrency *Concurrency      `json:"concurrency,omitempty" doc:"at most limit jobs of the key at once; excludes lane"`
	Priority    int               `json:"priority,omitempty" minimum:"0" maximum:"9" doc:"1 (first) to 9 (last); default 5"`
	MaxAttempts int               `json:"max_attempts,omitempty" minimum:"0" maximum:"100" doc:"default 1"`
	Backoff     Backoff           `json:"backoff,omitzero"`
	Timeout     Duration          `json:"timeout,omitempty" doc:"of one attempt, such as 10m; default 5m"`
	Delay       Duration          `json:"delay,omitempty" doc:"start no sooner than this from now"`
	RunAt       *time.Time        `json:"run_at,omitempty" doc:"start no sooner than this; excludes delay"`
	TTL         Duration          `json:"ttl,omitempty" doc:"expire when not started within this span after it is due"`
	OnLost      OnLost            `json:"on_lost,omitempty" enum:"retry,fail,ask" doc:"default: retry for idempotent actions, ask for the others"`
	OnUnknown   OnUnknown         `json:"on_unknown,omitempty" enum:"hold,release"`
	OnRetry     OnRetry           `json:"on_retry,omitempty" enum:"hold,release"`
	Target      *InlineTarget     `json:"target,omitempty" doc:"a host that is no asset; excludes assets and labels"`
	Webhook     *JobWebhook       `json:"webhook,omitempty" doc:"a request at the end of each of the jobs"`
}

// InlineTarget is a host with its login that a request brings along: it becomes
// no asset. The secrets are sealed at once, are never shown again, and are
// deleted when the job ends. The job runs in the lane of the address.
type InlineTarget struct {
	Address    string `json:"address" minLength:"1" maxLength:"253"`
	Port       int    `json:"port,omitempty" minimum:"0" maximum:"65535"`
	Platform   string `json:"platform,omitempty" maxLength:"64"`
	Username   string `json:"username,omitempty" maxLength:"256"`
	Password   string `json:"password,omitempty" maxLength:"4096" writeOnly:"true"`
	PrivateKey string `json:"private_key,omitempty" maxLength:"65536" writeOnly:"true"`
	Passphrase string `json:"passphrase,omitempty" maxLength:"4096" writeOnly:"true"`
	Enable     string `json:"enable,omitempty" maxLength:"4096" writeOnly:"true" doc:"enable password of a network device"`
}

// String hides the secret parts.
func (t InlineTarget) String() string { return t.Username + "@" + t.Address + " (secret)" }

// GoString hides the secret parts from %#v.
func (t InlineTarget) GoString() string { return t.String() }

// Concurrency is a key of which at most Limit jobs run at once.
type Concurrency struct {
	Key   string `json:"key" minLength:"1" maxLength:"200"`
	Limit int    `json:"limit" minimum:"1" maximum:"100000"`
}

// JobFilter selects jobs; empty fields select all. It is the query of
// GET /api/v1/jobs and the body of bulk changes.
type JobFilter struct {
	States []State    `json:"states,omitempty"`
	Queue  string     `json:"queue,omitempty"`
	Action string     `json:"action,omitempty"`
	Asset  string     `json:"asset,omitempty" doc:"name or id"`
	Lane   string     `json:"lane,omitempty"`
	Run    RunID      `json:"run,omitzero"`
	Since  *time.Time `json:"since,omitempty" doc:"made at or after"`
	Until  *time.Time `json:"until,omitempty" doc:"made before"`
}

// Empty reports whether the filter selects everything.
func (f JobFilter) Empty() bool {
	return len(f.States) == 0 && f.Queue == "" && f.Action == "" && f.Asset == "" &&
		f.Lane == "" && f.Run == 0 && f.Since == nil && f.Until == nil
}

// Page asks for one page of a listing in keyset order.
type Page struct {
	Cursor string // from the page before; "" for the first
	Limit  int    // 1 to 1,000; 0 means 100
}

// List is one page of a listing.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"cursor of the next page; absent on the last"`
}

// RunSummary counts the jobs of one run by state.
type RunSummary struct {
	Run    RunID         `json:"run"`
	Total  int           `json:"total"`
	States map[State]int `json:"states"`
	Done   bool          `json:"done" doc:"every job is terminal or unknown"`
}

// ItemOutcome is what became of one object in a bulk change.
type ItemOutcome struct {
	ID    string `json:"id"`
	OK    bool   `json:"ok"`
	Error *Text  `json:"error,omitempty"`
}

// ActionInfo describes an action to people and programs.
type ActionInfo struct {
	Name       string          `json:"name"`
	Aliases    []string        `json:"aliases,omitempty"`
	Title      Text            `json:"title"`
	Help       Text            `json:"help"`
	NeedsAsset bool            `json:"needs_asset"`
	Idempotent bool            `json:"idempotent" doc:"with its default args; some args change it"`
	Lane       string          `json:"lane" doc:"asset or none: the default lane"`
	Enabled    bool            `json:"enabled"`
	Schema     json.RawMessage `json:"schema" doc:"JSON Schema 2020-12 of args"`
}

// LogEntry is one piece of a job's output with its position, from which a
// reader resumes.
type LogEntry struct {
	Pos     int64 `json:"pos"`
	Attempt int   `json:"attempt"`
	LogLine
}

// JobsCreated answers POST /api/v1/jobs.
type JobsCreated struct {
	Run   RunID   `json:"run"`
	Count int     `json:"count"`
	Job   *Job    `json:"job,omitempty" doc:"the job, when there is only one"`
	Jobs  []JobID `json:"jobs" doc:"ids of the jobs, at most the first 1,000"`
}

// BulkRequest selects jobs by filter or by ids for a bulk change.
type BulkRequest struct {
	Filter *JobFilter `json:"filter,omitempty"`
	IDs    []JobID    `json:"ids,omitempty" maxItems:"1000"`
	State  State      `json:"state,omitempty" doc:"resolve only: succeeded or failed"`
	Note   string     `json:"note,omitempty" maxLength:"2000"`
}

// BulkResult is what became of the jobs of a bulk change. More
// says that more jobs match: send the same request again.
type BulkResult struct {
	Matched int           `json:"matched"`
	Items   []ItemOutcome `json:"items"`
	More    bool          `json:"more"`
}
