package hostler

import "time"

// LogEntry is one piece of a job's output with its position, from which a
// reader resumes.
type LogEntry struct {
	Pos     int64 `json:"pos"`
	Attempt int   `json:"attempt"`
	LogLine
}

// LogLine is one piece of output, redacted and limited by the worker. A piece
// need not end at a line's end.
type LogLine struct {
	At     time.Time `json:"at"`
	Stream string    `json:"stream"` // stdout, stderr or system
	Text   string    `json:"text"`   // invalid UTF-8 is replaced by U+FFFD
}

// Streams of output.
const (
	StreamStdout = "stdout"
	StreamStderr = "stderr"
	StreamSystem = "system" // what Hostler itself says about the job
)
