package hostler

// BulkRequest selects the jobs of a bulk change, by filter or by ids. A request that
// selects nothing explicitly is refused: an empty filter does not mean all jobs.
type BulkRequest struct {
	Filter *JobFilter `json:"filter,omitempty"`
	IDs    []JobID    `json:"ids,omitempty" maxItems:"1000"`
	State  State      `json:"state,omitempty" doc:"resolve only: succeeded or failed"`
	Note   string     `json:"note,omitempty" maxLength:"2000"`

	OverrideCalendar *CalendarOverride `json:"override_calendar,omitempty" doc:"retry only, for admins: run the jobs although a calendar is closed"`

	OverrideRule *RuleOverride `json:"override_rule,omitempty" doc:"retry only, for admins: run the jobs although command rules demand an approval"`
}

// BulkResult is the outcome of a bulk change. More reports that further objects match:
// send the same request again.
type BulkResult struct {
	Matched int           `json:"matched"`
	Items   []ItemOutcome `json:"items"`
	More    bool          `json:"more"`
}

// ItemOutcome is the outcome for one object of a bulk change.
type ItemOutcome struct {
	ID    string `json:"id"`
	OK    bool   `json:"ok"`
	Error *Text  `json:"error,omitempty"`
}
