package hostler

// RunSummary counts the jobs of a run by state.
type RunSummary struct {
	Run    RunID         `json:"run"`
	Total  int           `json:"total"`
	States map[State]int `json:"states"`
	Done   bool          `json:"done" doc:"every job is terminal or unknown"`
}

// RunSource is what a run was started from.
type RunSource string

// The sources of runs.
const (
	RunAdHoc        RunSource = "adhoc" // a request for jobs
	RunFromTemplate RunSource = "template"
	RunFromTask     RunSource = "task"
)
