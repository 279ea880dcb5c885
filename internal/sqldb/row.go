package sqldb

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// A row struct declares the columns of a table, or of a query, once. Every field
// with the tag db is a column of that name; fields of embedded structs count as its
// own:
//
//	type lease struct {
//		Job     hostler.JobID `db:"job"`
//		Fence   int64         `db:"fence"`
//		At      time.Time     `db:"started_at"`
//		Args    json.RawMessage `db:"args,text"`
//	}
//
// Fields are integers, strings, bools and bytes, or types made of them, and times:
// time.Time, or *time.Time with nil for none. The option text stores bytes in a text
// column. In a row struct that is only read, a column may be an expression.

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

// field is one column of a row struct.
type field struct {
	name  string
	index []int
	kind  fieldKind
	ptr   reflect.Type // what the pointer to the field is converted to for Scan
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
	fs := collectFields(t, nil)
	fieldsCache.Store(t, fs)
	return fs
}

func collectFields(t reflect.Type, index []int) []field {
	var out []field
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(slices.Clip(index), i)
		tag, ok := sf.Tag.Lookup("db")
		switch {
		case ok:
			out = append(out, newField(t, sf, tag, at))
		case sf.Anonymous && sf.Type.Kind() == reflect.Struct:
			out = append(out, collectFields(sf.Type, at)...)
		}
	}
	return out
}

func newField(t reflect.Type, sf reflect.StructField, tag string, index []int) field {
	name, asText := strings.CutSuffix(tag, ",text")
	f := field{name: name, index: index}
	isBytes := sf.Type.Kind() == reflect.Slice && sf.Type.Elem().Kind() == reflect.Uint8
	switch {
	case sf.Type == reflect.TypeFor[time.Time]():
		f.kind = fieldTime
	case sf.Type == reflect.TypeFor[*time.Time]():
		f.kind = fieldTimePtr
	case sf.Type.Kind() == reflect.Int64:
		f.kind, f.ptr = fieldInt64, reflect.TypeFor[*int64]()
	case sf.Type.Kind() == reflect.Int:
		f.kind, f.ptr = fieldInt, reflect.TypeFor[*int]()
	case sf.Type.Kind() == reflect.Bool:
		f.kind = fieldBool
	case sf.Type.Kind() == reflect.String:
		f.kind, f.ptr = fieldText, reflect.TypeFor[*string]()
	case isBytes && asText:
		f.kind, f.ptr = fieldByteText, reflect.TypeFor[*[]byte]()
	case isBytes:
		f.kind, f.ptr = fieldBytes, reflect.TypeFor[*[]byte]()
	default:
		panic(fmt.Sprintf("sqldb: field %s of %v: no column holds a %v", sf.Name, t, sf.Type))
	}
	return f
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
	v := reflect.ValueOf(to).Elem()
	for i := range s.fields {
		f := &s.fields[i]
		if f.ptr == nil {
			s.dest[i] = &s.ints[i]
			continue
		}
		p := v.FieldByIndex(f.index).Addr()
		if p.Type() != f.ptr {
			p = p.Convert(f.ptr)
		}
		s.dest[i] = p.Interface()
	}
	if err := r.Scan(append(s.dest, more...)...); err != nil {
		return err
	}
	for i := range s.fields {
		if f := &s.fields[i]; f.ptr == nil {
			f.setInt(v.FieldByIndex(f.index), s.ints[i])
		}
	}
	return nil
}

// setInt sets a field that is stored as an integer.
func (f *field) setInt(v reflect.Value, n int64) {
	switch f.kind {
	case fieldBool:
		v.SetBool(n != 0)
	case fieldTime:
		v.Set(reflect.ValueOf(Time(n)))
	default:
		var p *time.Time
		if n != 0 {
			t := Time(n)
			p = &t
		}
		v.Set(reflect.ValueOf(p))
	}
}

// intValue returns the stored form of a field that is stored as an integer.
func (f *field) intValue(v reflect.Value) int64 {
	switch f.kind {
	case fieldBool:
		return bit(v.Bool())
	case fieldTime:
		return Micros(v.Interface().(time.Time))
	case fieldTimePtr:
		if v.IsNil() {
			return 0
		}
		return Micros(*v.Interface().(*time.Time))
	default:
		return v.Int()
	}
}
