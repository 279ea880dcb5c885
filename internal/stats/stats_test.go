package stats_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/stats"
)

// TestQuantiles compares quantiles with those of the sorted spans, of figures that are
// added up in parts.
func TestQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spans := rapid.SliceOfN(rapid.Int64Range(1, int64(24*time.Hour/time.Microsecond)), 1, 200).Draw(t, "spans")
		var whole stats.Figures
		var parts [3]stats.Figures
		for i, us := range spans {
			j := stats.Job{State: hostler.StateSucceeded, Started: true, Run: time.Duration(us) * time.Microsecond}
			whole.Add(j)
			parts[i%3].Add(j)
		}
		var sum stats.Figures
		for i := range parts {
			stored := parts[i]
			stored.RunTimes = stats.Decode(stored.RunTimes.Encode())
			sum.Merge(&stored)
		}
		slices.Sort(spans)
		for _, part := range []float64{0.5, 0.95, 1} {
			want := float64(spans[int(math.Ceil(part*float64(len(spans))))-1])
			for _, f := range []stats.Figures{whole, sum} {
				got := float64(f.RunTimes.Quantile(part) / time.Microsecond)
				if math.Abs(got-want) > 0.05*want+1 {
					t.Fatalf("quantile %v of %v: %v, want %v", part, spans, got, want)
				}
			}
		}
		if whole.RunTimes.UpTo(200*24*time.Hour) != int64(len(spans)) {
			t.Fatal("not all are counted")
		}
	})
}

// TestFigures counts by outcome; a job that never started has no times.
func TestFigures(t *testing.T) {
	var f stats.Figures
	if _, ok := f.SuccessRate(); ok {
		t.Error("nothing has a success rate")
	}
	at := time.Unix(1000, 0)
	for i, s := range []hostler.State{
		hostler.StateSucceeded, hostler.StateFailed, hostler.StateExpired, hostler.StateCancelled, hostler.StateSucceeded,
	} {
		f.Add(stats.Job{State: s, At: at.Add(time.Duration(i)), Started: s == hostler.StateSucceeded, Run: time.Second})
	}
	rate, _ := f.SuccessRate()
	got := []any{f.Count(), f.Succeeded, f.Failed, f.Cancelled, f.Started, f.RunTotal, rate, f.Last.Sub(at)}
	want := []any{int64(5), int64(2), int64(2), int64(1), int64(2), 2 * time.Second, 0.5, time.Duration(4)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if h := stats.Decode([]byte{1, 2, 0xff}); h.UpTo(time.Hour) != 2 {
		t.Error("damaged bytes are not left out")
	}
}
