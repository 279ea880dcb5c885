package hostler

import (
	"context"
	"encoding/json"
	"time"
)

// LeaseTTL is how long a worker may stay silent before its jobs are rescued.
// A worker fences itself LeaseMargin before that.
const (
	LeaseTTL    = 30 * time.Second
	LeaseMargin = 5 * time.Second
)

// Dispatcher is the whole of what a worker needs from Hostler: the in-process
// worker calls the engine through it, a remote one an HTTP client. Every call
// may be repeated after a lost answer without harm.
type Dispatcher interface {
	// Register makes a fresh worker; a process registers anew at each start and
	// after each fencing.
	Register(ctx context.Context, w WorkerInfo) (WorkerID, error)
	// Lease takes up to req.Slots jobs, waiting up to req.Wait for the first.
	// It never returns more jobs than free slots. CodeStale: fenced.
	Lease(ctx context.Context, req LeaseRequest) ([]Lease, error)
	// Heartbeat extends the lease and reconciles which jobs the worker holds.
	// CodeStale: fenced; kill what runs and register anew.
	Heartbeat(ctx context.Context, hb Heartbeat) (HeartbeatReply, error)
	// Report ends leases. It returns only when the outcomes are durable, with
	// one error per report, in order: nil, or CodeStale for a lost fence.
	Report(ctx context.Context, w WorkerID, reports []Report) ([]error, error)
	// AppendLog stores output durably. CodeStale: the fence is lost, stop.
	AppendLog(ctx context.Context, w WorkerID, chunk LogChunk) error
	// SetProgress notes how far a job has come; the newest wins.
	SetProgress(ctx context.Context, w WorkerID, l LeaseRef, p Progress) error
	// PinHostKey records a host key that a leased job was offered and says
	// whether to go on: nil only when the key is pinned by now.
	PinHostKey(ctx context.Context, w WorkerID, l LeaseRef, k HostKeyOffer) error
}

// WorkerInfo is what a worker tells of itself.
type WorkerInfo struct {
	Name     string   `json:"name"`
	Hostname string   `json:"hostname"`
	PID      int      `json:"pid"`
	Version  string   `json:"version"`
	Queues   []string `json:"queues"` // "*" is all
	Slots    int      `json:"slots"`
}

// LeaseRequest asks for work.
type LeaseRequest struct {
	Worker WorkerID      `json:"worker"`
	Slots  int           `json:"slots"` // free slots
	Wait   time.Duration `json:"wait"`
}

// LeaseRef names one lease: a report, a log chunk or a progress note counts
// only while the three match.
type LeaseRef struct {
	Job   JobID `json:"job"`
	Fence int64 `json:"fence"`
}

// Lease is a job handed to a worker, with all that it needs to run it.
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
	// Asset is nil for a job without asset; AssetMissing says that the job names
	// one that was deleted meanwhile.
	Asset        *LeaseAsset `json:"asset,omitempty"`
	AssetMissing bool        `json:"asset_missing,omitempty"`
	// Credentials are those that the args name, by name.
	Credentials map[string]LeaseCredential `json:"credentials,omitempty"`
}

// LeaseAsset is an asset as it is at the moment of the lease.
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

// LeaseCredential is a credential with its open secret.
type LeaseCredential struct {
	ID       CredentialID `json:"id"`
	Version  int          `json:"version"`
	Kind     string       `json:"kind"`
	Username string       `json:"username"`
	Secret   Secret       `json:"-"`
}

// HostKeyOffer is a host key that a server showed.
type HostKeyOffer struct {
	Address   string `json:"address"` // host:port as dialled
	Type      string `json:"type"`
	PublicKey string `json:"public_key"` // authorized_keys form
}

// Heartbeat lists every job that the worker holds.
type Heartbeat struct {
	Worker   WorkerID   `json:"worker"`
	Held     []LeaseRef `json:"held"`
	Draining bool       `json:"draining"`
	// Wait is how long the answer may be held back until there is something to
	// cancel or to drop; the lease is extended at once.
	Wait time.Duration `json:"wait"`
	// Succeeded and Failed count what the worker ended since it registered.
	Succeeded int64 `json:"succeeded"`
	Failed    int64 `json:"failed"`
	// What the worker keeps and uses.
	Sessions    []HostSession `json:"sessions,omitempty"`
	CPUPercent  float64       `json:"cpu_percent,omitempty"`
	MemoryBytes int64         `json:"memory_bytes,omitempty"`
}

// HeartbeatReply says what the worker must stop.
type HeartbeatReply struct {
	// LeaseFor is how long the lease lasts, counted from the moment the request
	// was sent, so that clocks need not agree.
	LeaseFor time.Duration `json:"lease_for"`
	Cancel   []LeaseRef    `json:"cancel,omitempty"` // a person asked to cancel these
	Drop     []LeaseRef    `json:"drop,omitempty"`   // these are no longer the worker's: kill, do not report
	// CloseHosts are addresses whose kept connections the worker must close; jobs
	// on them lose sight of their work.
	CloseHosts []string `json:"close_hosts,omitempty"`
}

// Outcome is how an attempt ended, as the worker saw it.
type Outcome string

// The outcomes.
const (
	OutcomeSucceeded Outcome = "succeeded"
	OutcomeFailed    Outcome = "failed"
	OutcomeCancelled Outcome = "cancelled" // stopped, and seen to be stopped
	OutcomeUnknown   Outcome = "unknown"   // lost sight of it: it may have had its effect
	OutcomeHandBack  Outcome = "handback"  // never started
)

// Report ends one lease.
type Report struct {
	LeaseRef
	Attempt int             `json:"attempt"`
	Outcome Outcome         `json:"outcome"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *JobError       `json:"error,omitempty"`
	// NoRetry says that another attempt would fail the same way.
	NoRetry bool `json:"no_retry,omitempty"`
	// Output is the job's whole output when it was small enough never to have
	// been flushed by AppendLog.
	Output []LogLine `json:"output,omitempty"`
}

// LogChunk is a part of a job's output. Seq counts a job's chunks of one
// attempt from 1; a chunk that is already stored is ignored.
type LogChunk struct {
	LeaseRef
	Attempt int       `json:"attempt"`
	Seq     int       `json:"seq"`
	Lines   []LogLine `json:"lines"`
}
