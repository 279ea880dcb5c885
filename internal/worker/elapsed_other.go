//go:build !linux

package worker

import "time"

var started = time.Now()

// elapsed is the time since the process started, by the clock behind timers.
func elapsed() time.Duration { return time.Since(started) }
