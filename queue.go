package hostler

import "time"

// Queue is a named pool that workers serve. It is open to all projects, or granted to some
// of them; admins of the project default change it.
type Queue struct {
	Name       string    `json:"name"`
	Paused     bool      `json:"paused"`
	Limit      int       `json:"limit" doc:"jobs that may run at once; 0 means no limit"`
	MaxDepth   int       `json:"max_depth" doc:"jobs that may wait; 0 means no limit; further ones are refused with 429"`
	Projects   []string  `json:"projects,omitempty" doc:"the projects that may use it, of those that the caller may see; none: all projects"`
	Queued     int       `json:"queued"`
	Running    int       `json:"running"`
	OldestWait float64   `json:"oldest_s" doc:"seconds that the oldest ready job has waited"`
	UpdatedAt  time.Time `json:"updated_at"`
}

// QueueLimits is a change of a queue's limits: nil leaves a limit as it is, 0 removes
// it.
type QueueLimits struct {
	Limit    *int `json:"limit,omitempty" minimum:"0" maximum:"1000000"`
	MaxDepth *int `json:"max_depth,omitempty" minimum:"0" maximum:"100000000"`
	// Projects replaces the projects that may use the queue; an empty list opens it to all.
	Projects *[]string `json:"projects,omitempty" maxItems:"1000" doc:"the projects that may use it; an empty list opens it to all"`
}
