package hostler

import (
	"context"
	"encoding/json"
	"time"
)

// LeaseTTL is how long after its last heartbeat a worker counts as lost and its jobs are
// rescued. A worker that cannot renew its lease kills its jobs LeaseMargin before that,
// so that none runs twice.
const (
	LeaseTTL    = 30 * time.Second
	LeaseMargin = 5 * time.Second
)

// Dispatcher is everything that a worker needs from Hostler. The worker in the server
// calls the engine through it, a remote worker calls an HTTP client. Each call is safe
// to repeat when its answer was lost.
//
// CodeStale means that the worker, or one of its leases, was declared lost: the jobs
// concerned belong to another worker, and must be killed.
type Dispatcher interface {
	// Register creates a worker. A process registers at each start, and again after
	// CodeStale.
	Register(ctx context.Context, w WorkerInfo) (WorkerID, error)
	// Lease leases up to req.Slots ready jobs to the worker, waiting up to req.Wait for
	// the first one.
	Lease(ctx context.Context, req LeaseRequest) ([]Lease, error)
	// Heartbeat extends the leases and reconciles which jobs the worker holds.
	Heartbeat(ctx context.Context, hb Heartbeat) (HeartbeatReply, error)
	// Report ends leases. It returns when the outcomes are durable, with one error per
	// report, in order: nil, or CodeStale for a lease that was lost.
	Report(ctx context.Context, w WorkerID, reports []Report) ([]error, error)
	// AppendLog stores output durably.
	AppendLog(ctx context.Context, w WorkerID, chunk LogChunk) error
	// SetProgress records a job's progress; the newest replaces the others.
	SetProgress(ctx context.Context, w WorkerID, l LeaseRef, p Progress) error
	// PinHostKey records a host key that the host of a leased job offered. It returns nil
	// only when the key is pinned, so that the job may connect.
	PinHostKey(ctx context.Context, w WorkerID, l LeaseRef, k HostKeyOffer) error
	ArtefactDispatcher
}

// WorkerInfo describes a worker that registers.
type WorkerInfo struct {
	Name     string   `json:"name"`
	Hostname string   `json:"hostname"`
	PID      int      `json:"pid"`
	Version  string   `json:"version"`
	Queues   []string `json:"queues"` // "*" is all
	Slots    int      `json:"slots"`
}

// LeaseRequest asks for ready jobs.
type LeaseRequest struct {
	Worker WorkerID      `json:"worker"`
	Slots  int           `json:"slots"` // free slots
	Wait   time.Duration `json:"wait"`
}

// LeaseRef names one lease. The fence grows with each lease of the job: a report, log
// chunk or progress of an older lease is refused.
type LeaseRef struct {
	Job   JobID `json:"job"`
	Fence int64 `json:"fence"`
}

// Lease is a job that is leased to a worker, with everything needed to run it.
type Lease struct {
	LeaseRef
	Project     ProjectID       `json:"project"`
	Run         RunID           `json:"run,omitzero"`
	Queue       string          `json:"queue"`
	Action      string          `json:"action"`
	Args        json.RawMessage `json:"args"`
	Attempt     int             `json:"attempt"`
	MaxAttempts int             `json:"max_attempts"`
	Timeout     time.Duration   `json:"timeout"`
	OnLost      OnLost          `json:"on_lost"`
	StartedAt   time.Time       `json:"started_at"`
	// Asset is nil for a job without an asset. AssetMissing reports that the job's asset
	// was deleted after the job was created.
	Asset        *LeaseAsset `json:"asset,omitempty"`
	AssetMissing bool        `json:"asset_missing,omitempty"`
	// Credentials are those that the args refer to, by name.
	Credentials map[string]LeaseCredential `json:"credentials,omitempty"`
	// Refused is why a credential that the job needs is withheld: the job fails with it
	// and does not run.
	Refused *JobError `json:"refused,omitempty"`
	// Trace is the traceparent of the request that made the job, while traces are recorded.
	Trace string `json:"trace,omitempty"`
}

// LeaseAsset is the asset at the time of the lease, not of the request.
type LeaseAsset struct {
	ID         AssetID           `json:"id"`
	Name       string            `json:"name"`
	Address    string            `json:"address"`
	Port       int               `json:"port"`
	Platform   string            `json:"platform"`
	Vars       map[string]string `json:"vars,omitempty"`
	Credential *LeaseCredential  `json:"credential,omitempty"`
	HostKeys   []HostKey         `json:"host_keys,omitempty"` // for Address:Port
	HostKey    string            `json:"host_key_policy"`
	Jump       *LeaseAsset       `json:"jump,omitempty"`
}

// LeaseCredential is a credential with its decrypted secret.
type LeaseCredential struct {
	ID       CredentialID `json:"id"`
	Version  int          `json:"version"`
	Kind     string       `json:"kind"`
	Username string       `json:"username"`
	Secret   Secret       `json:"-"`
}

// HostKeyOffer is a host key that a host offered.
type HostKeyOffer struct {
	Address   string `json:"address"` // host:port as dialled
	Type      string `json:"type"`
	PublicKey string `json:"public_key"` // authorized_keys form
}

// Heartbeat reports every job that the worker holds.
type Heartbeat struct {
	Worker   WorkerID   `json:"worker"`
	Held     []LeaseRef `json:"held"`
	Draining bool       `json:"draining"`
	// Wait is how long the answer may be held back until there is something to cancel or
	// to drop. The leases are extended at once.
	Wait time.Duration `json:"wait"`
	// Succeeded and Failed count the jobs that ended since the worker registered.
	Succeeded int64 `json:"succeeded"`
	Failed    int64 `json:"failed"`
	// Sessions are the worker's open connections.
	Sessions    []HostSession `json:"sessions,omitempty"`
	CPUPercent  float64       `json:"cpu_percent,omitempty"`
	MemoryBytes int64         `json:"memory_bytes,omitempty"`
	LoadPercent float64       `json:"load_percent,omitempty"` // of all cores of the machine, by whatever runs there
}

// HeartbeatReply lists what the worker must stop.
type HeartbeatReply struct {
	// LeaseFor is how long the leases last from the time at which the heartbeat was sent,
	// so that the clocks of worker and server need not agree.
	LeaseFor time.Duration `json:"lease_for"`
	Cancel   []LeaseRef    `json:"cancel,omitempty"` // a person asked to cancel these
	Drop     []LeaseRef    `json:"drop,omitempty"`   // these belong to another worker: kill them, and do not report
	// CloseHosts are addresses to which the worker must close its connections. The jobs
	// on them lose their connection.
	CloseHosts []string `json:"close_hosts,omitempty"`
}

// Outcome is the outcome of an attempt, as observed by the worker.
type Outcome string

// The outcomes.
const (
	OutcomeSucceeded Outcome = "succeeded"
	OutcomeFailed    Outcome = "failed"
	OutcomeCancelled Outcome = "cancelled" // stopped, and verified to be gone
	OutcomeUnknown   Outcome = "unknown"   // the connection was lost; it may have had its effect
	OutcomeHandBack  Outcome = "handback"  // never started
)

// Report ends one lease.
type Report struct {
	LeaseRef
	Attempt int             `json:"attempt"`
	Outcome Outcome         `json:"outcome"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *JobError       `json:"error,omitempty"`
	// NoRetry reports that another attempt would fail in the same way.
	NoRetry bool `json:"no_retry,omitempty"`
	// Output is all of the job's output, when it is so small that AppendLog was never
	// called.
	Output []LogLine `json:"output,omitempty"`
}

// LogChunk is a part of a job's output. Seq counts the chunks of one attempt from 1, so
// that a chunk which is sent twice is stored once.
type LogChunk struct {
	LeaseRef
	Attempt int       `json:"attempt"`
	Seq     int       `json:"seq"`
	Lines   []LogLine `json:"lines"`
}
