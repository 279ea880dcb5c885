package hostler

import "time"

// Lane is a lane with the jobs that hold it. The lane of a device is the same for all
// projects.
type Lane struct {
	Lane    string `json:"lane"`
	Limit   int    `json:"limit" doc:"jobs that may hold it at once"`
	Waiting int    `json:"waiting" doc:"jobs that wait for it, of all projects; counted to 1,000"`
	Shared  bool   `json:"shared" doc:"several projects have jobs in it; a job that waits for its next attempt does not hold it then"`
	// Holders are the jobs that hold it; of jobs that the caller may not see, only the
	// state.
	Holders []LaneHolder `json:"holders"`
}

// LaneHolder is a job that holds a lane.
type LaneHolder struct {
	State   State     `json:"state" doc:"running; unknown; queued, when it starts next; scheduled, when it waits for its next attempt"`
	Since   time.Time `json:"since" doc:"when it came into this state; for a scheduled one, when it is due"`
	Foreign bool      `json:"foreign,omitempty" doc:"of another project"`
	Job     JobID     `json:"job,omitzero"`
	Project string    `json:"project,omitempty"`
	Action  string    `json:"action,omitempty"`
	Queue   string    `json:"queue,omitempty"`
	// CreatedBy is the user who created the job.
	CreatedBy string `json:"created_by,omitempty"`
}

// LaneRelease says which holders give up a lane.
type LaneRelease struct {
	Jobs   []JobID `json:"jobs,omitempty" maxItems:"1000" doc:"only these; default: all that hold it"`
	Cancel bool    `json:"cancel,omitempty" doc:"also cancel those that are queued, and ask those that run to stop"`
}

// LaneReleased is the result of a release.
type LaneReleased struct {
	Released  int  `json:"released" doc:"unknown and backing-off jobs that no longer hold it; their state stays"`
	Cancelled int  `json:"cancelled" doc:"queued jobs that were cancelled, and running ones that were asked to stop"`
	Lane      Lane `json:"lane"`
}
