package wait_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler/internal/wait"
)

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := wait.Sleep(t.Context(), 3*time.Second); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("Sleep(3s) took %v", got)
		}
		if err := wait.Sleep(t.Context(), -time.Second); err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("Sleep(-1s) = %v after %v; want it to return at once", err, time.Since(start))
		}
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, d := range []time.Duration{time.Hour, time.Hour, 0} {
			if err := wait.Sleep(ctx, d); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Sleep(%v) = %v, want %v", d, err, context.DeadlineExceeded)
			}
		}
		if got := time.Since(start); got != time.Second {
			t.Errorf("the sleeps took %v, want 1s", got)
		}
	})
}

func TestSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := make(chan struct{}, 1)
		time.AfterFunc(time.Second, func() { c <- struct{}{} })
		start := time.Now()
		if got, err := wait.Signal(t.Context(), time.Minute, c); !got || err != nil || time.Since(start) != time.Second {
			t.Errorf("Signal = %v, %v after %v; want true after 1s", got, err, time.Since(start))
		}
		if got, err := wait.Signal(t.Context(), time.Minute, c); got || err != nil || time.Since(start) != 61*time.Second {
			t.Errorf("Signal = %v, %v after %v; want false after 61s", got, err, time.Since(start))
		}
	})
}

func TestJitter(t *testing.T) {
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		d := wait.Jitter(10*time.Second, 0.2)
		least, most = min(least, d), max(most, d)
	}
	if least < 8*time.Second || most > 12*time.Second || most-least < time.Second {
		t.Errorf("1000 waits were between %v and %v; want 8s to 12s", least, most)
	}
}

func TestBackoff(t *testing.T) {
	top := func() float64 { return math.Nextafter(1, 0) }
	tests := map[string]struct {
		backoff wait.Backoff
		want    []time.Duration
	}{
		"doubles up to Max": {
			wait.Backoff{First: 100, Max: 500, Rand: top},
			[]time.Duration{100, 200, 400, 500, 500},
		},
		"jitter takes half at most": {
			wait.Backoff{First: 100, Max: 500, Rand: func() float64 { return 0 }},
			[]time.Duration{50, 100, 200, 250},
		},
		"jitter does not add up": {
			wait.Backoff{First: 100, Max: 500, Rand: func() float64 { return 0.5 }},
			[]time.Duration{75, 150, 300, 375},
		},
		"factor":          {wait.Backoff{First: 100, Max: 500, Factor: 1.5, Rand: top}, []time.Duration{100, 150, 225}},
		"first above max": {wait.Backoff{First: 900, Max: 500, Rand: top}, []time.Duration{500, 500}},
		"no overflow": {
			wait.Backoff{First: math.MaxInt64 / 2, Max: math.MaxInt64 / 4 * 3, Rand: func() float64 { return 0 }},
			[]time.Duration{1 << 61, 3 << 60, 3 << 60},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []time.Duration
			for range tt.want {
				got = append(got, tt.backoff.Next())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("waits (-want +got):\n%s", diff)
			}
			tt.backoff.Reset()
			if got := tt.backoff.Next(); got != tt.want[0] {
				t.Errorf("after Reset = %v, want %v", got, tt.want[0])
			}
		})
	}
}

func TestBackoffSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		b := wait.Backoff{First: time.Second, Max: time.Minute, Rand: func() float64 { return 0.5 }}
		for range 3 {
			if err := b.Sleep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := time.Since(start), (750+1500+3000)*time.Millisecond; got != want {
			t.Errorf("three sleeps took %v, want %v", got, want)
		}
	})
}

func ExampleBackoff() {
	// Rand is set here to make the output predictable.
	retry := wait.Backoff{
		First: 100 * time.Millisecond, Max: time.Second,
		Rand: func() float64 { return 0.5 },
	}
	for range 5 {
		fmt.Println(retry.Next())
	}
	retry.Reset()
	fmt.Println("after a success:", retry.Next())
	// Output:
	// 75ms
	// 150ms
	// 300ms
	// 600ms
	// 750ms
	// after a success: 75ms
}
