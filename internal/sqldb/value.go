package sqldb

import (
	"fmt"
	"reflect"
	"time"
)

// Value turns an argument of a statement into what the drivers bind: int64,
// float64, string, []byte, []int64 or []string. Named types become what they
// are made of, a bool becomes 0 or 1, and nil bytes and lists become empty ones: as NULL
// a list would match nothing, in a NOT either.
func Value(v any) (any, error) {
	switch v := v.(type) {
	case int64, string, float64:
		return v, nil
	case []int64:
		if v == nil {
			return []int64{}, nil
		}
		return v, nil
	case []string:
		if v == nil {
			return []string{}, nil
		}
		return v, nil
	case []byte:
		if v == nil {
			return []byte{}, nil
		}
		return v, nil
	case int:
		return int64(v), nil
	case bool:
		return bit(v), nil
	}
	return reflectValue(v)
}

func reflectValue(v any) (any, error) {
	r := reflect.ValueOf(v)
	switch {
	case r.CanInt():
		return r.Int(), nil
	case r.CanUint() && r.Uint() < 1<<63:
		return int64(r.Uint()), nil
	case r.Kind() == reflect.String:
		return r.String(), nil
	case r.Kind() == reflect.Bool:
		return bit(r.Bool()), nil
	case r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.Uint8:
		return append([]byte{}, r.Bytes()...), nil
	case r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.Int64:
		out := make([]int64, r.Len())
		for i := range out {
			out[i] = r.Index(i).Int()
		}
		return out, nil
	case r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.String:
		out := make([]string, r.Len())
		for i := range out {
			out[i] = r.Index(i).String()
		}
		return out, nil
	}
	return nil, fmt.Errorf("sqldb: cannot bind a %T", v)
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Micros is t as stored: microseconds since 1970 UTC; 0 for the zero time.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time reads a stored time; 0 is the zero time.
func Time(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
