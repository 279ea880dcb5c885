// Package stats adds up jobs that ended: how many, and how long they waited and ran. It
// is pure: no database, no clock.
//
// # Model
//
// [Figures] of some jobs can be added to those of others: so the figures of a week are those
// of its days. The order matters to failures in a row only. Spans of time are counted in a
// [Histogram], whose quantiles are at most 5 % off.
package stats

import (
	"encoding/binary"
	"math"
	"time"

	"hostler.dev/hostler"
)

// Figures tell what became of jobs.
type Figures struct {
	Succeeded int64
	Failed    int64 // or expired
	Cancelled int64
	Last      time.Time // the latest end
	Streak    int64     // failures since the last success
	Missed    int64     // fires of a schedule that did not run

	// Of the jobs that started: how many, how long the last attempt of each ran, and how
	// long it waited before.
	Started           int64
	RunTotal          time.Duration
	WaitTotal         time.Duration
	RunTimes, WaitFor Histogram
}

// Job is a job that ended.
type Job struct {
	State     hostler.State
	At        time.Time
	Started   bool
	Wait, Run time.Duration
}

// Add counts a job.
func (f *Figures) Add(j Job) {
	switch j.State {
	case hostler.StateSucceeded:
		f.Succeeded++
		f.Streak = 0
	case hostler.StateCancelled:
		f.Cancelled++
	default:
		f.Failed++
		f.Streak++
	}
	if j.At.After(f.Last) {
		f.Last = j.At
	}
	if !j.Started {
		return
	}
	f.Started++
	f.RunTotal += j.Run
	f.WaitTotal += j.Wait
	f.RunTimes.add(bucketOf(j.Run), 1)
	f.WaitFor.add(bucketOf(j.Wait), 1)
}

// Merge adds the figures of later jobs.
func (f *Figures) Merge(o *Figures) {
	if o.Succeeded > 0 {
		f.Streak = 0
	}
	f.Streak += o.Streak
	f.Missed += o.Missed
	f.Succeeded += o.Succeeded
	f.Failed += o.Failed
	f.Cancelled += o.Cancelled
	if o.Last.After(f.Last) {
		f.Last = o.Last
	}
	f.Started += o.Started
	f.RunTotal += o.RunTotal
	f.WaitTotal += o.WaitTotal
	f.RunTimes.Merge(&o.RunTimes)
	f.WaitFor.Merge(&o.WaitFor)
}

// Count is how many jobs ended.
func (f *Figures) Count() int64 { return f.Succeeded + f.Failed + f.Cancelled }

// SuccessRate is the part of the jobs that succeeded, of those that did or failed; ok is
// false when there are none.
func (f *Figures) SuccessRate() (rate float64, ok bool) {
	n := f.Succeeded + f.Failed
	if n == 0 {
		return 0, false
	}
	return float64(f.Succeeded) / float64(n), true
}

const (
	// growth is by how much the bounds of buckets grow: the middle of a bucket is at most
	// 5 % away from what is in it.
	growth = 1.1
	// lastBucket has all that is longer than half a year.
	lastBucket = 320
)

// Histogram counts spans of time. Bucket 0 has those up to a microsecond, and bucket i
// those up to growth^i microseconds.
type Histogram struct{ n []int64 }

func bucketOf(d time.Duration) int {
	us := float64(d / time.Microsecond)
	if us <= 1 {
		return 0
	}
	return min(lastBucket, int(math.Ceil(math.Log(us)/math.Log(growth))))
}

func (h *Histogram) add(bucket int, n int64) {
	if bucket >= len(h.n) {
		h.n = append(h.n, make([]int64, bucket+1-len(h.n))...)
	}
	h.n[bucket] += n
}

// Merge adds another histogram.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.n {
		if n != 0 {
			h.add(i, n)
		}
	}
}

// Quantile is the span that a part of the spans does not exceed; 0 without any.
func (h *Histogram) Quantile(part float64) time.Duration {
	var all int64
	for _, n := range h.n {
		all += n
	}
	rank := max(1, int64(math.Ceil(part*float64(all))))
	for i, n := range h.n {
		if rank -= n; rank > 0 {
			continue
		}
		if i == 0 {
			return 0
		}
		return time.Duration(math.Pow(growth, float64(i)-0.5)) * time.Microsecond
	}
	return 0
}

// UpTo counts the spans of at most a limit, which is rounded to the bound of a bucket.
func (h *Histogram) UpTo(limit time.Duration) (n int64) {
	last := bucketOf(limit)
	for i := 0; i <= last && i < len(h.n); i++ {
		n += h.n[i]
	}
	return n
}

// Encode returns the histogram as bytes: for each bucket that is not empty its distance
// from the one before and its count, both as uvarint.
func (h *Histogram) Encode() []byte {
	var b []byte
	before := 0
	for i, n := range h.n {
		if n == 0 {
			continue
		}
		b = binary.AppendUvarint(b, uint64(i-before))
		b = binary.AppendUvarint(b, uint64(n)) //nolint:gosec // counts are not negative
		before = i
	}
	return b
}

// Decode returns the histogram in bytes; what cannot be read is left out.
func Decode(b []byte) (h Histogram) {
	for i := uint64(0); len(b) > 0; {
		gap, k := binary.Uvarint(b)
		if k <= 0 || i+gap > lastBucket {
			return h
		}
		n, l := binary.Uvarint(b[k:])
		if l <= 0 || n > math.MaxInt64 {
			return h
		}
		i += gap
		h.add(int(i), int64(n)) //nolint:gosec // both are bounded above
		b = b[k+l:]
	}
	return h
}
