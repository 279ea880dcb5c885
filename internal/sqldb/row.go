package sqldb

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// fieldKind is how a field of a row struct is stored.
type fieldKind uint8

const (
	fieldInt64 fieldKind = iota
	fieldInt
	fieldBool
	fieldText
	fieldBytes
	fieldByteText // bytes in a text column
	fieldTime
	fieldTimePtr
)

// colType is the type of the column that a field of this kind is bound to.
func (k fieldKind) colType() ColType {
	switch k {
	case fieldText, fieldByteText:
		return Text
	case fieldBytes:
		return Bytes
	default:
		return Int
	}
}

// field is one column of a row struct. It is read and written through its offset, not
// by reflection: the queue does so for every column of every job.
type field struct {
	name   string
	offset uintptr
	kind   fieldKind
}

// fieldsCache holds the fields of each row struct: reflect.Type → []field.
var fieldsCache sync.Map

// fieldsOf returns the columns of row struct T. It panics when a field has a type
// that no column can hold: that is a mistake in the program.
func fieldsOf[T any]() []field {
	t := reflect.TypeFor[T]()
	if fs, ok := fieldsCache.Load(t); ok {
		return fs.([]field)
	}
	fs := collectFields(t, 0)
	fieldsCache.Store(t, fs)
	return fs
}

func collectFields(t reflect.Type, offset uintptr) []field {
	var out []field
	for sf := range t.Fields() {
		tag, ok := sf.Tag.Lookup("db")
		switch {
		case ok:
			name, asText := strings.CutSuffix(tag, ",text")
			out = append(out, field{name, offset + sf.Offset, kindOf(t, sf, asText)})
		case sf.Anonymous && sf.Type.Kind() == reflect.Struct:
			out = append(out, collectFields(sf.Type, offset+sf.Offset)...)
		}
	}
	return out
}

func kindOf(t reflect.Type, sf reflect.StructField, asText bool) fieldKind {
	isBytes := sf.Type.Kind() == reflect.Slice && sf.Type.Elem().Kind() == reflect.Uint8
	switch {
	case sf.Type == reflect.TypeFor[time.Time]():
		return fieldTime
	case sf.Type == reflect.TypeFor[*time.Time]():
		return fieldTimePtr
	case sf.Type.Kind() == reflect.Int64:
		return fieldInt64
	case sf.Type.Kind() == reflect.Int:
		return fieldInt
	case sf.Type.Kind() == reflect.Bool:
		return fieldBool
	case sf.Type.Kind() == reflect.String:
		return fieldText
	case isBytes && asText:
		return fieldByteText
	case isBytes:
		return fieldBytes
	}
	panic(fmt.Sprintf("sqldb: field %s of %v: no column holds a %v", sf.Name, t, sf.Type))
}

// Columns returns the names of the columns of row struct T, in order.
func Columns[T any]() []string {
	fs := fieldsOf[T]()
	names := make([]string, len(fs))
	for i := range fs {
		names[i] = fs[i].name
	}
	return names
}

// Scanner reads rows into row structs of type T. It is used by one goroutine.
type Scanner[T any] struct {
	fields []field
	dest   []any
	ints   []int64 // of the fields that are no integers, but stored as one
}

// NewScanner makes a Scanner.
func NewScanner[T any]() *Scanner[T] {
	fs := fieldsOf[T]()
	return &Scanner[T]{fields: fs, dest: make([]any, len(fs)), ints: make([]int64, len(fs))}
}

// Scan reads the current row of r, whose columns are those of [Columns], into to.
// More columns may follow; they are read into more.
func (s *Scanner[T]) Scan(r Rows, to *T, more ...any) error {
	row := unsafe.Pointer(to)
	for i := range s.fields {
		if s.dest[i] = s.fields[i].dest(row); s.dest[i] == nil {
			s.dest[i] = &s.ints[i]
		}
	}
	if err := r.Scan(append(s.dest, more...)...); err != nil {
		return err
	}
	for i := range s.fields {
		s.fields[i].setInt(row, s.ints[i])
	}
	return nil
}

// dest returns the pointer that a driver scans a field of the row into: *int64, *int,
// *string or *[]byte. It is nil for a field that setInt sets.
func (f *field) dest(row unsafe.Pointer) any {
	p := unsafe.Add(row, f.offset)
	switch f.kind {
	case fieldInt64:
		return (*int64)(p)
	case fieldInt:
		return (*int)(p)
	case fieldText:
		return (*string)(p)
	case fieldBytes, fieldByteText:
		return (*[]byte)(p)
	default:
		return nil
	}
}

// setInt sets a field that is no integer, but stored as one; it leaves others alone.
func (f *field) setInt(row unsafe.Pointer, n int64) {
	p := unsafe.Add(row, f.offset)
	switch f.kind {
	case fieldBool:
		*(*bool)(p) = n != 0
	case fieldTime:
		*(*time.Time)(p) = Time(n)
	case fieldTimePtr:
		*(**time.Time)(p) = nil
		if n != 0 {
			t := Time(n)
			*(**time.Time)(p) = &t
		}
	default:
	}
}

// int returns the stored form of a field that is stored as an integer.
func (f *field) int(row unsafe.Pointer) int64 {
	p := unsafe.Add(row, f.offset)
	switch f.kind {
	case fieldInt64:
		return *(*int64)(p)
	case fieldInt:
		return int64(*(*int)(p))
	case fieldBool:
		return bit(*(*bool)(p))
	case fieldTime:
		return Micros(*(*time.Time)(p))
	default:
		if t := *(**time.Time)(p); t != nil {
			return Micros(*t)
		}
		return 0
	}
}

// text returns the stored form of a field that is stored as text.
func (f *field) text(row unsafe.Pointer) string {
	p := unsafe.Add(row, f.offset)
	if f.kind == fieldByteText {
		return string(*(*[]byte)(p))
	}
	return *(*string)(p)
}

// bytes returns a field of bytes; never nil, because no column is NULL.
func (f *field) bytes(row unsafe.Pointer) []byte {
	if b := *(*[]byte)(unsafe.Add(row, f.offset)); b != nil {
		return b
	}
	return []byte{}
}
