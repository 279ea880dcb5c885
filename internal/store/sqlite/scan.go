package sqlite

import (
	"database/sql/driver"
	"fmt"
	"reflect"
)

// assign stores a column's value in dest. NULL, which only an aggregate over no rows
// returns, is an error for every dest except *any, as in PostgreSQL's driver.
func assign(dest any, v driver.Value) error {
	switch v := v.(type) {
	case int64:
		return assignInt(dest, v)
	case string:
		return assignText(dest, v)
	case []byte:
		return assignBytes(dest, v)
	}
	switch d := dest.(type) {
	case *any:
		*d = v
		return nil
	case *float64:
		if f, ok := v.(float64); ok {
			*d = f
			return nil
		}
	case *[]byte:
		if v == nil { // the driver returns nil for an empty blob
			*d = nil
			return nil
		}
	}
	return mismatch(dest, v)
}

func assignInt(dest any, v int64) error {
	switch d := dest.(type) {
	case *int64:
		*d = v
	case *int:
		*d = int(v)
	case *bool:
		*d = v != 0
	case *float64:
		*d = float64(v)
	case *any:
		*d = v
	default:
		r := reflect.ValueOf(dest)
		if r.Kind() != reflect.Pointer || !r.Elem().CanInt() || r.Elem().OverflowInt(v) {
			return mismatch(dest, v)
		}
		r.Elem().SetInt(v)
	}
	return nil
}

func assignText(dest any, v string) error {
	switch d := dest.(type) {
	case *string:
		*d = v
	case *[]byte:
		*d = []byte(v)
	case *any:
		*d = v
	default:
		r := reflect.ValueOf(dest)
		if r.Kind() != reflect.Pointer || r.Elem().Kind() != reflect.String {
			return mismatch(dest, v)
		}
		r.Elem().SetString(v)
	}
	return nil
}

func assignBytes(dest any, v []byte) error {
	switch d := dest.(type) {
	case *[]byte:
		*d = v
	case *any:
		*d = v
	default:
		r := reflect.ValueOf(dest)
		if r.Kind() != reflect.Pointer || r.Elem().Kind() != reflect.Slice ||
			r.Elem().Type().Elem().Kind() != reflect.Uint8 {
			return mismatch(dest, v)
		}
		r.Elem().SetBytes(v)
	}
	return nil
}

func mismatch(dest any, v driver.Value) error {
	return fmt.Errorf("cannot assign a %T to a %T", v, dest)
}
