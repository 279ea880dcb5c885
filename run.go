package hostler

// RunSummary counts the jobs of a run by state.
type RunSummary struct {
	Run    RunID         `json:"run"`
	Total  int           `json:"total"`
	States map[State]int `json:"states"`
	Done   bool          `json:"done" doc:"every job is terminal or unknown"`
}
