package hostler

import (
	"encoding/json"
	"time"
)

// JobSpec is a job as the engine takes it: validated, with every default
// filled in. The app layer makes it from a JobRequest.
type JobSpec struct {
	Project     ProjectID
	Run         RunID // the call or flow it belongs to; jobs of one fan-out share it
	Queue       string
	Action      string
	Args        json.RawMessage
	Asset       AssetID
	AssetName   string // as it was when the job was made
	LaneKey     string // full key, "" for none; see AssetLaneKey and OwnLaneKey
	LaneLimit   int    // jobs of the key that may run at once; 1 makes a lane
	Priority    int
	MaxAttempts int
	Backoff     Backoff
	Timeout     time.Duration // of one attempt; 0 means the worker's default
	OnLost      OnLost        // resolved: never empty
	OnUnknown   OnUnknown     // resolved: never empty
	OnRetry     OnRetry       // resolved: never empty
	RunAt       time.Time     // zero means now
	ExpiresAt   time.Time     // zero means never; not started by then → expired
	RetryOf     JobID
	CreatedBy   string // user name, for people
	// Target is the host that the job brings along; Asset is 0 then. Of an ended
	// job nothing but its presence is left.
	Target *JobTarget
}

// JobTarget is an InlineTarget on its way into the store.
type JobTarget struct {
	Address  string
	Port     int
	Platform string
	Username string
	// Seal seals the secret parts for the id that the job gets.
	Seal func(id JobID) ([]byte, error)
}

// AssetLaneKey is the lane of a device. It carries no project: two projects
// must not push to one device at once.
func AssetLaneKey(deviceKey string) string { return "device:" + deviceKey }

// OwnLaneKey is a lane or concurrency key that a project chose.
func OwnLaneKey(p ProjectID, key string) string { return "own:" + p.String() + ":" + key }
