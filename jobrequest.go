package hostler

import (
	"encoding/json"
	"time"
)

// JobRequest asks for one job, or for one per asset: the body of POST /api/v1/jobs.
// Assets select the union of themselves and of what Labels and Selector select; without any,
// the request creates one job without an asset.
type JobRequest struct {
	Action      string            `json:"action" minLength:"1" maxLength:"64" doc:"name of the action, such as check_port"`
	Args        json.RawMessage   `json:"args,omitempty" doc:"arguments; GET /api/v1/actions/{name} has their JSON Schema"`
	Assets      []string          `json:"assets,omitempty" maxItems:"100000" doc:"names or ids of assets, or patterns of names such as web*; one job each"`
	Labels      map[string]string `json:"labels,omitempty" doc:"every asset with all these labels; one job each"`
	Selector    string            `json:"selector,omitempty" maxLength:"4096" doc:"every asset whose labels match, such as app=web,env!=test; together with labels, both must match"`
	Exclude     []string          `json:"exclude,omitempty" maxItems:"1000" doc:"names, patterns or ids of assets that are left out"`
	FromRun     *FromRun          `json:"from_run,omitempty" doc:"only hosts of an earlier run; alone, these"`
	Queue       string            `json:"queue,omitempty" maxLength:"64" doc:"default: default"`
	Lane        string            `json:"lane,omitempty" maxLength:"200" doc:"asset, none, or any other key; default: the action's"`
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
	Target      *InlineTarget     `json:"target,omitempty" doc:"an ad-hoc host, which is not an asset; excludes assets and labels"`
	Webhook     *JobWebhook       `json:"webhook,omitempty" doc:"a request to be sent when each of the jobs ends"`

	Rollout *Rollout `json:"rollout,omitempty" doc:"start on the hosts in waves, by the server; excludes delay, run_at and ttl"`

	Then []FollowUp `json:"then,omitempty" maxItems:"10" doc:"what follows the end of the run"`

	OverrideCalendar *CalendarOverride `json:"override_calendar,omitempty" doc:"admins only: run it although a calendar is closed"`

	OverrideRule *RuleOverride `json:"override_rule,omitempty" doc:"admins only: run it although command rules demand an approval"`
}

// InlineTarget is an ad-hoc host with its login. It is not saved as an asset. The
// secrets are encrypted with the job, are never shown again, and are deleted when the
// job ends. The job runs in the lane of the device at the address: that of an asset there, if
// there is one, otherwise that of the address.
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

// Concurrency limits the jobs that run at once: at most Limit of those with the key.
type Concurrency struct {
	Key   string `json:"key" minLength:"1" maxLength:"200"`
	Limit int    `json:"limit" minimum:"1" maximum:"100000"`
}

// JobsCreated answers POST /api/v1/jobs.
type JobsCreated struct {
	Run   RunID   `json:"run"`
	Count int     `json:"count"`
	Job   *Job    `json:"job,omitempty" doc:"the job, when there is only one"`
	Jobs  []JobID `json:"jobs" doc:"ids of the jobs, at most the first 1,000; none with a rollout, whose jobs are created wave by wave"`
}

// ResolveInput sets the outcome of an unknown job.
type ResolveInput struct {
	State State  `json:"state" enum:"succeeded,failed"`
	Note  string `json:"note,omitempty" maxLength:"2000"`
}
