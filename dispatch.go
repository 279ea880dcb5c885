package hostler

import "time"

// Dispatch says whether workers get jobs. While it is held no job starts, on any server
// of the database; running jobs continue, and new ones are accepted and wait.
type Dispatch struct {
	Held bool `json:"held"`
	// Reason is one of the Hold constants.
	Reason string     `json:"reason,omitempty"`
	Text   Text       `json:"text,omitzero"`
	Since  *time.Time `json:"since,omitempty" doc:"for a backup: when it was made"`
	By     string     `json:"by,omitempty" doc:"the user who held it"`
	Note   string     `json:"note,omitempty" doc:"why, in the words of that user"`
	Until  *time.Time `json:"until,omitempty" doc:"when it is released by itself"`
	// Holds are those of the project and its assets.
	Holds []Hold `json:"holds,omitempty"`
	// Waiting counts the jobs that wait; admins of the project default see those of every
	// project. It is empty while dispatch is not held.
	Waiting []HeldJobs `json:"waiting,omitempty"`
	More    bool       `json:"more,omitempty" doc:"only the oldest 100,000 jobs are counted"`
}

// HeldJobs counts the jobs of a project that wait in a queue.
type HeldJobs struct {
	Project string    `json:"project"`
	Queue   string    `json:"queue"`
	Jobs    int       `json:"jobs"`
	Due     int       `json:"due" doc:"that would start now; the others are scheduled for later"`
	Oldest  time.Time `json:"oldest" doc:"when the oldest was created"`
}

// Reasons why dispatch is held.
const (
	HoldBackup = "backup" // the data is that of a backup
	HoldCopy   = "copy"   // the database was restored, or is a copy of another
	HoldStart  = "start"  // the server was started with --hold
	HoldAdmin  = "admin"  // an admin held it
)

// ReleaseRequest lets dispatch go on.
type ReleaseRequest struct {
	// Queues names the queues that go on; all others are paused. Empty: every queue.
	Queues []string `json:"queues,omitempty"`
}
