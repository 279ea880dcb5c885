package hostler

import "time"

// Queue is a named pool that workers serve. Queues belong to no project; admins of the
// project default change them.
type Queue struct {
	Name       string    `json:"name"`
	Paused     bool      `json:"paused"`
	Limit      int       `json:"limit" doc:"jobs that may run at once; 0 means no limit"`
	MaxDepth   int       `json:"max_depth" doc:"jobs that may wait; 0 means no limit; further ones are refused with 429"`
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
}
