package hostler

import "encoding/json"

// JobOutput is how a job of a run ended, with its output.
type JobOutput struct {
	Job      JobID           `json:"job"`
	Host     string          `json:"host"`
	Action   string          `json:"action"`
	State    State           `json:"state"`
	ExitCode *int            `json:"exit_code,omitempty"`
	Seconds  float64         `json:"seconds,omitempty" doc:"how long it ran"`
	Error    *JobError       `json:"error,omitempty"`
	Stdout   string          `json:"stdout" doc:"the first 64 KB"`
	Stderr   string          `json:"stderr" doc:"the last 8 KB, with notes of the action"`
	More     bool            `json:"truncated,omitempty" doc:"the log of the job has more output"`
	Result   json.RawMessage `json:"result,omitempty" doc:"of a job without standard output, up to 64 KB"`
}

// JobPlan is what a request for jobs would do.
type JobPlan struct {
	Action  string   `json:"action"`
	Count   int      `json:"count"`
	Hosts   []string `json:"hosts" doc:"names of the first 10"`
	Changes bool     `json:"changes" doc:"the action may change a host"`
}
