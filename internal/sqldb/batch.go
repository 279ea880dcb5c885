package sqldb

import (
	"slices"
	"unsafe"
)

// Batch holds the rows of "@rows", column by column, as PostgreSQL takes them.
type Batch struct {
	Len  int
	Cols []Column
}

// Column is a column of a Batch: its name and, by its type, one of the slices with a
// value per row.
type Column struct {
	Name  string
	Type  ColType
	Ints  []int64
	Texts []string
	Bytes [][]byte
	// Same reports that the column has the same value in all rows; [Batch.MarkSame] sets it.
	Same bool
}

// ColType is the type of a column.
type ColType int

// The column types.
const (
	Int   ColType = iota // int64
	Text                 // string
	Bytes                // []byte
)

// Ints makes a column of integers.
func Ints(name string, values ...int64) Column { return Column{Name: name, Type: Int, Ints: values} }

// Texts makes a column of text.
func Texts(name string, values ...string) Column {
	return Column{Name: name, Type: Text, Texts: values}
}

// Blobs makes a column of bytes.
func Blobs(name string, values ...[]byte) Column {
	return Column{Name: name, Type: Bytes, Bytes: values}
}

// BatchOf makes a Batch from columns that have the same number of values.
func BatchOf(cols ...Column) Batch {
	b := Batch{Cols: cols}
	if len(cols) > 0 {
		b.Len = len(cols[0].Ints) + len(cols[0].Texts) + len(cols[0].Bytes)
	}
	return b
}

// NewBatch makes a Batch of row structs, with the columns that their type declares.
func NewBatch[T any](rows []T) Batch {
	fs := fieldsOf[T]()
	b := Batch{Len: len(rows), Cols: make([]Column, len(fs))}
	for i := range fs {
		f, c := &fs[i], &b.Cols[i]
		c.Name, c.Type = f.name, f.kind.colType()
		switch c.Type {
		case Int:
			c.Ints = gather(rows, f.int)
		case Text:
			c.Texts = gather(rows, f.text)
		default:
			c.Bytes = gather(rows, f.bytes)
		}
	}
	return b
}

// MarkSame sets Column.Same of the columns but for the first, which tells rows apart.
func (b *Batch) MarkSame() {
	for i := 1; i < len(b.Cols); i++ {
		c := &b.Cols[i]
		switch c.Type {
		case Int:
			c.Same = same(c.Ints)
		case Text:
			c.Same = same(c.Texts)
		default: // bytes differ, unless there are none
			c.Same = !slices.ContainsFunc(c.Bytes, func(v []byte) bool { return len(v) > 0 })
		}
	}
}

func same[V comparable](values []V) bool {
	for _, v := range values[1:] {
		if v != values[0] {
			return false
		}
	}
	return true
}

// gather returns the values of one field.
func gather[T, V any](rows []T, value func(row unsafe.Pointer) V) []V {
	out := make([]V, len(rows))
	for i := range rows {
		out[i] = value(unsafe.Pointer(&rows[i]))
	}
	return out
}

// Values returns the column's slice: []int64, []string or [][]byte.
func (c *Column) Values() any {
	switch c.Type {
	case Int:
		return c.Ints
	case Text:
		return c.Texts
	default:
		return c.Bytes
	}
}

// Value returns the value of row i: an int64, a string or a []byte.
func (c *Column) Value(i int) any {
	switch c.Type {
	case Int:
		return c.Ints[i]
	case Text:
		return c.Texts[i]
	default:
		return c.Bytes[i]
	}
}
