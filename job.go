package hostler

import (
	"cmp"
	"encoding/json"
	"time"
)

// Limits of a job, enforced when it is created.
const (
	PriorityFirst   = 1 // the most urgent
	PriorityDefault = 5
	PriorityLast    = 9

	MaxAttemptsLimit = 100
	MaxArgsBytes     = 1 << 20
	// MaxLosses is how often a job may lose its worker and be queued again before it
	// fails, because the job may be what kills its workers.
	MaxLosses = 5
)

// OnLost is the policy for a running job whose worker, or whose connection, is lost.
// The empty value takes the action's default: retry when the action is idempotent, ask
// when it is not.
type OnLost string

// The policies for a lost worker.
const (
	OnLostRetry OnLost = "retry" // queue it again
	OnLostFail  OnLost = "fail"
	OnLostAsk   OnLost = "ask" // unknown, until a person sets the outcome
)

// OnUnknown is the policy for the lane of an unknown job until it is resolved.
type OnUnknown string

// The policies for an unknown outcome.
const (
	OnUnknownHold    OnUnknown = "hold" // default: no other job changes the device
	OnUnknownRelease OnUnknown = "release"
)

// OnRetry is the policy for the lane of a job that waits for its next attempt.
type OnRetry string

// The policies for a retry in a lane.
const (
	OnRetryHold    OnRetry = "hold" // default: strict order
	OnRetryRelease OnRetry = "release"
)

// Backoff is the delay between a failed attempt and the next one.
type Backoff struct {
	Kind string   `json:"kind,omitempty" enum:"fixed,exponential" doc:"fixed, or exponential (default)"`
	Base Duration `json:"base,omitempty" doc:"first delay, such as 5s (default 5s)"`
	Max  Duration `json:"max,omitempty" doc:"longest delay (default 10m)"`
}

// DefaultBackoffMax is the longest delay of a Backoff without Max.
const DefaultBackoffMax = Duration(10 * time.Minute)

// Delay is the wait after the n-th failed attempt: Base·2ⁿ⁻¹ up to Max, or Base when
// the kind is fixed. Up to a quarter of it is taken away at random, so that the jobs of
// a failed fan-out are not retried all at once; r is a random number in [0, 1).
func (b Backoff) Delay(n int, r float64) time.Duration {
	base, most := cmp.Or(b.Base.D(), 5*time.Second), cmp.Or(b.Max, DefaultBackoffMax).D()
	d := base
	if b.Kind != "fixed" {
		for i := 1; i < n && d < most; i++ {
			d *= 2
		}
	}
	d = min(d, most)
	return d - time.Duration(r*float64(d)/4)
}

// Values of JobRequest.Lane: "" is the action's default, "none" no lane, "asset" the
// asset's lane. Anything else is a key in the project.
const (
	LaneDefault = ""
	LaneNone    = "none"
	LaneAsset   = "asset"
)

// Job is one execution of an action, on at most one asset.
type Job struct {
	ID          JobID           `json:"id"`
	Project     string          `json:"project"`
	Run         RunID           `json:"run,omitzero"`
	Action      string          `json:"action"`
	Args        json.RawMessage `json:"args"`
	Queue       string          `json:"queue"`
	Asset       AssetID         `json:"asset,omitzero"`
	AssetName   string          `json:"asset_name,omitempty"`
	Lane        string          `json:"lane,omitempty"`
	LaneLimit   int             `json:"lane_limit,omitempty"`
	OnDevice    bool            `json:"-"` // Lane is a device's; set in the server only
	Priority    int             `json:"priority"`
	State       State           `json:"state"`
	Attempt     int             `json:"attempt"`
	MaxAttempts int             `json:"max_attempts"`
	Backoff     Backoff         `json:"backoff,omitzero"`
	TimeoutS    float64         `json:"timeout_s,omitempty"`
	OnLost      OnLost          `json:"on_lost"`
	OnUnknown   OnUnknown       `json:"on_unknown"`
	OnRetry     OnRetry         `json:"on_retry"`
	RetryOf     JobID           `json:"retry_of,omitzero"`
	CreatedBy   string          `json:"created_by,omitempty"`
	CreatedByID UserID          `json:"created_by_id,omitzero" doc:"none in jobs of earlier versions"`
	CreatedAt   time.Time       `json:"created_at"`
	RunAt       *time.Time      `json:"run_at,omitempty"`
	QueuedAt    *time.Time      `json:"queued_at,omitempty"`
	StartedAt   *time.Time      `json:"started_at,omitempty"`
	EndedAt     *time.Time      `json:"ended_at,omitempty"`
	ExpiresAt   *time.Time      `json:"expires_at,omitempty"`
	CancelAt    *time.Time      `json:"cancel_asked_at,omitempty"`
	Worker      WorkerID        `json:"worker,omitzero"`
	Progress    *Progress       `json:"progress,omitempty"`
	Result      json.RawMessage `json:"result,omitempty"`
	Error       *JobError       `json:"error,omitempty"`
}

// JobError is the reason why a job did not succeed. Kind is stable and for programs,
// Text is for people.
type JobError struct {
	Kind string `json:"kind"`
	Text Text   `json:"text"`
}

// Kinds of job error. Actions add their own, documented with them.
const (
	ErrKindTimeout      = "timeout"
	ErrKindCancelled    = "cancelled"
	ErrKindExpired      = "expired"
	ErrKindWorkerLost   = "worker_lost"
	ErrKindUnreachable  = "unreachable"
	ErrKindRefused      = "refused"
	ErrKindConnTimeout  = "connect_timeout"
	ErrKindAuth         = "authentication_failed"
	ErrKindHostKey      = "host_key_mismatch"
	ErrKindCommand      = "command_failed"
	ErrKindConnLost     = "connection_lost"
	ErrKindUnverified   = "kill_not_verified"
	ErrKindAssetMissing = "asset_missing"
	ErrKindNoAction     = "unknown_action"
	ErrKindBadArgs      = "bad_args"
	ErrKindCredential   = "credential"
	ErrKindInternal     = "internal"
	ErrKindShortage     = "worker_shortage" // of the worker's machine, such as of file descriptors
	ErrKindArtefact     = "artefact"        // a file of the job could not be stored, or one that it needs not be read
	ErrKindResolved     = "resolved"
	ErrKindChanged      = "changed_since_approval"
)

// Attempt is one attempt to run a job.
type Attempt struct {
	N         int       `json:"n"`
	Worker    WorkerID  `json:"worker"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	Outcome   string    `json:"outcome"` // a State, or "retry", "handback", "lost"
	Error     *JobError `json:"error,omitempty"`
}

// Progress is the progress of a running job.
type Progress struct {
	Percent float64 `json:"percent"` // 0 to 100
	Text    string  `json:"text,omitempty"`
}

// Waiting is one reason why a job is not running yet. A job may have several.
type Waiting struct {
	Reason string     `json:"reason"` // see the Wait constants
	Text   Text       `json:"text"`
	Until  *time.Time `json:"until,omitempty"`
	// Holders are the jobs that hold the lane. Jobs of another project are only counted,
	// in Foreign.
	Holders []JobID `json:"holders,omitempty"`
	Foreign int     `json:"foreign,omitempty"`
	Ahead   int     `json:"ahead,omitempty"` // jobs before it in the same lane or queue, counted to 1,000
	Limit   int     `json:"limit,omitempty"`
	Queue   string  `json:"queue,omitempty"`
	Lane    string  `json:"lane,omitempty"`
}

// Reasons of Waiting.
const (
	WaitForbidden   = "forbidden"     // its user is disabled, or may no longer run it
	WaitScheduled   = "scheduled"     // its start time is in the future
	WaitBackoff     = "backoff"       // between two attempts
	WaitHeld        = "dispatch_held" // no job starts; see [Dispatch]
	WaitHold        = "hold"          // its project is held, or its asset in maintenance; see [Hold]
	WaitPaused      = "queue_paused"  // its queue is paused
	WaitLane        = "lane"          // another job holds the lane
	WaitLaneUnknown = "lane_unknown"  // an unknown job holds the lane until a person resolves it
	WaitLimit       = "queue_limit"   // its queue runs as many jobs as its limit
	WaitProject     = "project_limit" // its project runs as many jobs as its limit
	WaitNoWorker    = "no_worker"     // no live worker serves its queue
	WaitBusy        = "workers_busy"  // every slot that serves its queue is taken
	WaitSoon        = "soon"          // nothing prevents it from starting
)

// JobFilter selects jobs; an empty field selects all. It is the query of GET
// /api/v1/jobs and a part of [BulkRequest].
type JobFilter struct {
	States []State `json:"states,omitempty"`
	Queue  string  `json:"queue,omitempty"`
	Action string  `json:"action,omitempty"`
	Asset  string  `json:"asset,omitempty" doc:"name or id"`
	Lane   string  `json:"lane,omitempty"`
	Run    RunID   `json:"run,omitzero"`
	User   string  `json:"user,omitempty" doc:"who created them"`
	// Selector matches the labels that the assets have now.
	Selector string     `json:"selector,omitempty" maxLength:"4096" doc:"labels of the assets, such as app=web,env!=test"`
	Since    *time.Time `json:"since,omitempty" doc:"created at or after"`
	Until    *time.Time `json:"until,omitempty" doc:"created before"`
}

// Empty reports whether the filter selects everything.
func (f JobFilter) Empty() bool {
	return len(f.States) == 0 && f.Queue == "" && f.Action == "" && f.Asset == "" &&
		f.Lane == "" && f.Run == 0 && f.User == "" && f.Selector == "" && f.Since == nil && f.Until == nil
}
