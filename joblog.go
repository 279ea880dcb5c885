package hostler

import "time"

// LogEntry is one piece of a job's output with its position, from which a reader
// resumes.
type LogEntry struct {
	Pos     int64 `json:"pos"`
	Attempt int   `json:"attempt"`
	LogLine
}

// LogLine is one piece of output, which the worker has redacted and limited. A piece
// need not end at the end of a line.
type LogLine struct {
	At     time.Time `json:"at"`
	Stream string    `json:"stream"` // stdout, stderr or system
	Text   string    `json:"text"`   // invalid UTF-8 is replaced by U+FFFD
}

// Streams of output.
const (
	StreamStdout = "stdout"
	StreamStderr = "stderr"
	StreamSystem = "system" // Hostler's own remarks about the job
)
