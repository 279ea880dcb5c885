package hostler

// BulkRequest selects jobs by filter or by ids for a bulk change.
type BulkRequest struct {
	Filter *JobFilter `json:"filter,omitempty"`
	IDs    []JobID    `json:"ids,omitempty" maxItems:"1000"`
	State  State      `json:"state,omitempty" doc:"resolve only: succeeded or failed"`
	Note   string     `json:"note,omitempty" maxLength:"2000"`
}

// BulkResult is what became of the jobs of a bulk change. More
// says that more jobs match: send the same request again.
type BulkResult struct {
	Matched int           `json:"matched"`
	Items   []ItemOutcome `json:"items"`
	More    bool          `json:"more"`
}

// ItemOutcome is what became of one object in a bulk change.
type ItemOutcome struct {
	ID    string `json:"id"`
	OK    bool   `json:"ok"`
	Error *Text  `json:"error,omitempty"`
}
