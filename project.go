package hostler

import "time"

// Project isolates data and resources. Names are unique; [DefaultProject] always
// exists.
type Project struct {
	ID        ProjectID `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
	FourEyes  bool      `json:"four_eyes" doc:"another person than its requester resolves an unknown job as succeeded"`
	ProjectLimits
}

// ProjectLimits is the share of a project in what all projects use together. Admins of
// the project default set it; 0 means no limit.
type ProjectLimits struct {
	Weight     int      `json:"weight" doc:"a project of weight 2 runs twice as many jobs as one of weight 1, when both have jobs waiting"`
	MaxRunning int      `json:"max_running" doc:"jobs that may run at once; 0 means no limit"`
	MaxQueued  int      `json:"max_queued" doc:"jobs that may wait, delayed ones included; further ones are refused with 429; 0 means no limit"`
	MaxTimeout Duration `json:"max_timeout" doc:"longest timeout of a job; 0s means no limit"`
	MaxBackoff Duration `json:"max_backoff" doc:"longest delay before a retry; 0s means no limit"`
}

// ProjectInput is a project to create.
type ProjectInput struct {
	Name string `json:"name" minLength:"1" maxLength:"64"`
}

// ProjectChange changes the limits of a project: nil leaves one as it is, 0 removes it.
type ProjectChange struct {
	Weight     *int      `json:"weight,omitempty" minimum:"1" maximum:"1000"`
	MaxRunning *int      `json:"max_running,omitempty" minimum:"0" maximum:"1000000"`
	MaxQueued  *int      `json:"max_queued,omitempty" minimum:"0" maximum:"100000000"`
	MaxTimeout *Duration `json:"max_timeout,omitempty"`
	MaxBackoff *Duration `json:"max_backoff,omitempty"`
	FourEyes   *bool     `json:"four_eyes,omitempty"`
}
