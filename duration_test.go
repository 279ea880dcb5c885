package hostler_test

import (
	"testing"
	"time"

	"hostler.dev/hostler"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for in, want := range map[string]time.Duration{
		"90": 90 * time.Second, "1.5": 1500 * time.Millisecond, "90s": 90 * time.Second, " 10m ": 10 * time.Minute,
		"1h30m": 90 * time.Minute, "2d": 2 * day, "0.5d": 12 * time.Hour, "1d12h": 36 * time.Hour,
		"1d2h3m": day + 2*time.Hour + 3*time.Minute, "0": 0, "292y": -1,
		"": -1, "-5s": -1, "-1d": -1, "1d-2h": -1, "d": -1, "1d2d": -1, "1d12": -1, "12h1d": -1, "NaN": -1, "Inf": -1,
		"1e300": -1, "1e300d": -1, "106751d2562047h": -1, "soon": -1,
	} {
		got, err := hostler.ParseDuration(in)
		if err != nil {
			got = -1
			if hostler.CodeOf(err) != hostler.CodeInvalid {
				t.Errorf("ParseDuration(%q): %v, want code invalid", in, err)
			}
		}
		if got != want {
			t.Errorf("ParseDuration(%q) = %v, want %v (-1: refused)", in, got, want)
		}
	}
}
