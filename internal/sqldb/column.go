package sqldb

// Col is a column of "@rows".
type Col struct {
	Name string
	Type ColType
}

// ColType is the type of a column of "@rows".
type ColType int

// The column types.
const (
	Int   ColType = iota // int64
	Text                 // string
	Bytes                // []byte
)

// Ints makes Int columns.
func Ints(names ...string) []Col { return cols(Int, names) }

// Texts makes Text columns.
func Texts(names ...string) []Col { return cols(Text, names) }

func cols(t ColType, names []string) []Col {
	cs := make([]Col, len(names))
	for i, n := range names {
		cs[i] = Col{n, t}
	}
	return cs
}
