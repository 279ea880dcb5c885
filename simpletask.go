package hostler

import "encoding/json"

// This file holds what the simple task API and its webhook message have in common.

// TaskStatus names a job's state as the simple task API does: pending, running, done
// or failed. An unknown job counts as failed.
func TaskStatus(s State) string {
	switch s {
	case StateScheduled, StateQueued:
		return "pending"
	case StateRunning:
		return "running"
	case StateSucceeded:
		return "done"
	default:
		return "failed"
	}
}

// ResultText returns the member "text" of a job's result, which sums it up in a line,
// or else the result as JSON; "" when there is none.
func ResultText(result json.RawMessage) string {
	if len(result) == 0 || string(result) == "null" {
		return ""
	}
	var summary struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(result, &summary) != nil || summary.Text == "" {
		return string(result)
	}
	return summary.Text
}
