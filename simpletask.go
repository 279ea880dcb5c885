package hostler

import "encoding/json"

// This file is what the simple task API and its webhook message share: how a job
// reads in their words.

// TaskStatus is a state in the words of the simple task API: pending, running, done
// or failed.
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

// ResultText is what a job's result says in a line, or else the result itself; ""
// when there is none.
func ResultText(result json.RawMessage) string {
	if len(result) == 0 || string(result) == "null" {
		return ""
	}
	var said struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(result, &said) != nil || said.Text == "" {
		return string(result)
	}
	return said.Text
}
