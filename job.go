package hostler

import (
	"encoding/json"
	"time"
)

// Limits of a job, enforced where it enters.
const (
	PriorityFirst   = 1 // the most urgent
	PriorityDefault = 5
	PriorityLast    = 9

	MaxAttemptsLimit = 100
	MaxArgsBytes     = 1 << 20
	// MaxLosses is how often a job may lose its worker and be queued again
	// before it fails: a job that kills its workers must not do so for ever.
	MaxLosses = 5
)

// OnLost says what becomes of a running job whose worker, or whose connection,
// was lost. The empty value takes the action's default: retry when the action
// is idempotent, ask when it is not.
type OnLost string

// The answers to a lost worker.
const (
	OnLostRetry OnLost = "retry" // queue it again
	OnLostFail  OnLost = "fail"
	OnLostAsk   OnLost = "ask" // unknown, until a person decides
)

// OnUnknown says whether an unknown job keeps its lane until it is resolved.
type OnUnknown string

// The answers to an unknown outcome.
const (
	OnUnknownHold    OnUnknown = "hold" // default: nothing else touches the device
	OnUnknownRelease OnUnknown = "release"
)

// OnRetry says whether a job that waits for its next attempt keeps its lane.
type OnRetry string

// The answers to a retry in a lane.
const (
	OnRetryHold    OnRetry = "hold" // default: strict order
	OnRetryRelease OnRetry = "release"
)

// Backoff says how long a failed attempt waits for the next one.
type Backoff struct {
	Kind string   `json:"kind,omitempty" enum:"fixed,exponential" doc:"fixed, or exponential (default)"`
	Base Duration `json:"base,omitempty" doc:"first delay, such as 5s (default 5s)"`
	Max  Duration `json:"max,omitempty" doc:"longest delay (default 10m)"`
}

// LaneRequest values: "" is the action's default, "none" no lane, "asset" the
// asset's own lane; anything else is a key of the project's own.
const (
	LaneDefault = ""
	LaneNone    = "none"
	LaneAsset   = "asset"
)

// Job is a job as people and programs see it.
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
	OnDevice    bool            `json:"-"` // Lane is a device's; only the server knows
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

// JobError is why a job did not succeed. The Kind is stable and for programs;
// the text is for people.
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
	ErrKindResolved     = "resolved"
)

// Attempt is one try of a job.
type Attempt struct {
	N         int       `json:"n"`
	Worker    WorkerID  `json:"worker"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	Outcome   string    `json:"outcome"` // a State, or "retry", "handback", "lost"
	Error     *JobError `json:"error,omitempty"`
}

// Progress is how far a running job has come.
type Progress struct {
	Percent float64 `json:"percent"` // 0 to 100
	Text    string  `json:"text,omitempty"`
}

// Waiting is one reason why a job is not running yet. A job may have several.
type Waiting struct {
	Reason string     `json:"reason"` // see the Wait constants
	Text   Text       `json:"text"`
	Until  *time.Time `json:"until,omitempty"`
	// Holders are the jobs that hold the lane; those of a foreign project are
	// only counted in Foreign.
	Holders []JobID `json:"holders,omitempty"`
	Foreign int     `json:"foreign,omitempty"`
	Ahead   int     `json:"ahead,omitempty"` // jobs before it in the same lane or queue, counted to 1,000
	Limit   int     `json:"limit,omitempty"`
	Queue   string  `json:"queue,omitempty"`
	Lane    string  `json:"lane,omitempty"`
}

// Reasons to wait.
const (
	WaitScheduled   = "scheduled"    // its time has not come
	WaitBackoff     = "backoff"      // between two attempts
	WaitPaused      = "queue_paused" // its queue is paused
	WaitLane        = "lane"         // another job holds the lane
	WaitLaneUnknown = "lane_unknown" // an unknown job holds the lane until somebody resolves it
	WaitLimit       = "queue_limit"  // its queue runs as many jobs as it may
	WaitNoWorker    = "no_worker"    // no live worker serves its queue
	WaitBusy        = "workers_busy" // every slot that serves its queue is taken
	WaitSoon        = "soon"         // nothing holds it: it is about to start
)

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
