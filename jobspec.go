package hostler

import (
	"encoding/json"
	"time"
)

// JobSpec is a job to be stored: validated, with every default filled in. Package app
// makes it from a [JobRequest].
type JobSpec struct {
	Project     ProjectID
	Run         RunID // the call or flow it belongs to; jobs of one fan-out share it
	Queue       string
	Action      string
	Args        json.RawMessage
	Asset       AssetID
	AssetName   string // as it was when the job was created
	LaneKey     string // full key, "" for none; see AssetLaneKey and OwnLaneKey
	LaneLimit   int    // jobs of the key that may run at once; 1 makes a lane
	Priority    int
	MaxAttempts int
	Backoff     Backoff
	Timeout     time.Duration // of one attempt; 0 means the worker's default
	// DefaultTimeout tells that nobody chose Timeout: the limit of a project lowers it.
	DefaultTimeout bool
	OnLost         OnLost    // resolved: never empty
	OnUnknown      OnUnknown // resolved: never empty
	OnRetry        OnRetry   // resolved: never empty
	RunAt          time.Time // zero means now
	ExpiresAt      time.Time // zero means never; not started by then → expired
	RetryOf        JobID
	CreatedBy      string // user name, for people
	CreatedByID    UserID // whose rights are checked when the job starts; 0: the server's own
	// Target is the ad-hoc host of the job; Asset is then 0. Its secrets are deleted when
	// the job ends.
	Target *JobTarget
	// Accepted: it belongs to a run that was accepted before, and waits where a hold refuses
	// new jobs.
	Accepted bool
}

// JobTarget is an [InlineTarget] with its secrets not yet sealed.
type JobTarget struct {
	Address  string
	Port     int
	Platform string
	Username string
	// Seal encrypts the secret parts, bound to the project and the id that the job gets.
	Seal func(project ProjectID, id JobID) ([]byte, error)
}

// AssetLaneKey is the lane of a device. It contains no project, because jobs of two
// projects must not change one device at the same time.
func AssetLaneKey(deviceKey string) string { return "device:" + deviceKey }

// OwnLaneKey is a lane or concurrency key that a request names. It contains the
// project, so that equal keys of two projects are two lanes.
func OwnLaneKey(p ProjectID, key string) string { return "own:" + p.String() + ":" + key }
