package hostler

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time span with a text form: "90s", "10m", "1h30m", "2d", "1d12h", or a
// number of seconds without a unit.
type Duration time.Duration

// D returns the span as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String returns the text form.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Negative spans are
// refused.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// ParseDuration reads a span: the forms of [time.ParseDuration], optionally after a
// number of days of 24 hours ("2d", "1d12h"), or a number of seconds without a unit.
// The error of a negative or malformed span is CodeInvalid.
func ParseDuration(s string) (time.Duration, error) {
	v, ok := parseSpan(strings.TrimSpace(s))
	if !ok || v < 0 {
		return 0, Errorf(CodeInvalid,
			"not a duration; write it like 90s, 10m, 1h30m or 2d",
			"不是合法的时长；请写成 90s、10m、1h30m 或 2d")
	}
	return v, nil
}

func parseSpan(s string) (time.Duration, bool) {
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return spanOf(n, time.Second)
	}
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		v, err := time.ParseDuration(s)
		return v, err == nil
	}
	n, err := strconv.ParseFloat(days, 64)
	if err != nil {
		return 0, false
	}
	v, ok := spanOf(n, 24*time.Hour)
	if !ok || rest == "" {
		return v, ok
	}
	more, err := time.ParseDuration(rest)
	return v + more, err == nil && more >= 0 && v <= math.MaxInt64-more
}

// spanOf multiplies without overflow. It refuses NaN and spans beyond 292 years.
func spanOf(n float64, unit time.Duration) (time.Duration, bool) {
	v := n * float64(unit)
	if !(v >= 0 && v < 1<<63) {
		return 0, false
	}
	return time.Duration(v), true
}
