package flow

import "hostler.dev/hostler"

// This file computes the waves of a rollout. They are never stored: the end of a wave
// follows from the number of hosts and of those that were started.

// waveEnd returns up to which host the wave goes that contains the next host to start, and
// whether that host is the first of its wave.
func waveEnd(r *hostler.Rollout, hosts, started int) (end int, first bool) {
	if r == nil || len(r.Batch) == 0 {
		return hosts, started == 0
	}
	from := 0
	for i, b := range r.Batch {
		size := max(1, b.Of(hosts))
		if i == len(r.Batch)-1 {
			// The last one is repeated.
			from += (started - from) / size * size
		}
		if started < from+size || from+size >= hosts {
			return min(hosts, from+size), started == from
		}
		from += size
	}
	return hosts, false
}

// Waves returns the numbers of hosts of the first waves, at most limit of them.
func Waves(r *hostler.Rollout, hosts, limit int) []int {
	var out []int
	for from := 0; from < hosts && len(out) < limit; {
		end, _ := waveEnd(r, hosts, from)
		out = append(out, end-from)
		from = end
	}
	return out
}

// maxFailures is how many hosts of a step may fail.
func maxFailures(r *hostler.Rollout, hosts int) int {
	if r == nil {
		return 0
	}
	return r.MaxFailures.Of(hosts)
}

// AllAtOnce is a rollout in which the failure of one host is none of the others.
func AllAtOnce() *hostler.Rollout {
	return &hostler.Rollout{MaxFailures: hostler.Amount{N: 100, Percent: true}}
}
