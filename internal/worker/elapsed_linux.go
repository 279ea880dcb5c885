package worker

import (
	"time"

	"golang.org/x/sys/unix"
)

// elapsed is the time since the machine started, suspension included: CLOCK_BOOTTIME,
// which, unlike the clock behind timers, goes on meanwhile, and which no step of the wall
// clock moves; see clock_gettime(2).
func elapsed() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0 // no such clock: only the timer counts
	}
	return time.Duration(t.Nano())
}
