package hostler_test

import (
	"testing"
	"time"

	"hostler.dev/hostler"
)

func TestBackoffDelay(t *testing.T) {
	seconds := func(n int) hostler.Duration { return hostler.Duration(time.Duration(n) * time.Second) }
	for _, c := range []struct {
		b    hostler.Backoff
		n    int
		r    float64
		want time.Duration
	}{
		{hostler.Backoff{}, 1, 0, 5 * time.Second},
		{hostler.Backoff{}, 3, 0, 20 * time.Second},
		{hostler.Backoff{}, 100, 0, 10 * time.Minute}, // and no overflow on the way
		{hostler.Backoff{Kind: "exponential", Base: seconds(2), Max: seconds(30)}, 4, 0, 16 * time.Second},
		{hostler.Backoff{Kind: "exponential", Base: seconds(2), Max: seconds(30)}, 5, 0, 30 * time.Second},
		{hostler.Backoff{Kind: "fixed", Base: seconds(7)}, 9, 0, 7 * time.Second},
		{hostler.Backoff{Kind: "fixed", Base: seconds(60), Max: seconds(10)}, 1, 0, 10 * time.Second},
		{hostler.Backoff{Base: seconds(8)}, 1, 0.5, 7 * time.Second},
	} {
		if got := c.b.Delay(c.n, c.r); got != c.want {
			t.Errorf("%+v after attempt %d, r = %v: %v, want %v", c.b, c.n, c.r, got, c.want)
		}
	}
}
