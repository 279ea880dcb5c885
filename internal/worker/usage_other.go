//go:build !linux

package worker

import "time"

func processorTime() time.Duration { return 0 }

func residentMemory() int64 { return 0 }

func machineTime() (busy, total int64) { return 0, 0 }
