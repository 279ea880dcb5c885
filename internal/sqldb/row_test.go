package sqldb

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type (
	testID   int64
	testKind string
)

type testInner struct {
	ID   testID   `db:"id"`
	Kind testKind `db:"kind"`
}

type testRow struct {
	testInner
	N       int             `db:"n"`
	On      bool            `db:"on"`
	Data    []byte          `db:"data"`
	Args    json.RawMessage `db:"args,text"`
	At      time.Time       `db:"at"`
	Maybe   *time.Time      `db:"COALESCE(x, 0)"`
	Ignored string
}

// oneRow is a row of a query, as a driver without type conversions returns it.
type oneRow []any

func (r oneRow) Next() bool { return true }
func (r oneRow) Err() error { return nil }
func (r oneRow) Close()     {}
func (r oneRow) Scan(dest ...any) error {
	if len(dest) != len(r) {
		return errors.New("another number of columns")
	}
	for i, d := range dest {
		switch d := d.(type) {
		case *int64:
			*d = r[i].(int64)
		case *int:
			*d = int(r[i].(int64))
		case *string:
			*d = r[i].(string)
		case *[]byte:
			*d = []byte(fmt.Sprint(r[i]))
		default:
			return fmt.Errorf("column %d: no driver scans into a %T", i, d)
		}
	}
	return nil
}

func TestColumns(t *testing.T) {
	want := []string{"id", "kind", "n", "on", "data", "args", "at", "COALESCE(x, 0)"}
	if diff := cmp.Diff(want, Columns[testRow]()); diff != "" {
		t.Errorf("Columns (-want +got):\n%s", diff)
	}
}

func TestNewBatch(t *testing.T) {
	at := time.UnixMicro(5).UTC()
	b := NewBatch([]testRow{
		{testInner: testInner{7, "a"}, N: 1, On: true, Data: []byte{1}, Args: json.RawMessage("{}"), At: at, Maybe: &at},
		{},
	})
	want := []Column{
		Ints("id", 7, 0), Texts("kind", "a", ""), Ints("n", 1, 0), Ints("on", 1, 0), Blobs("data", []byte{1}, []byte{}),
		Texts("args", "{}", ""), Ints("at", 5, 0), Ints("COALESCE(x, 0)", 5, 0),
	}
	if diff := cmp.Diff(Batch{Len: 2, Cols: want}, b); diff != "" {
		t.Errorf("NewBatch (-want +got):\n%s", diff)
	}
}

func TestScanner(t *testing.T) {
	at := time.UnixMicro(9).UTC()
	s := NewScanner[testRow]()
	var got testRow
	var more string
	r := oneRow{int64(7), "a", int64(3), int64(1), "xyz", "{}", int64(9), int64(9), "more"}
	if err := s.Scan(r, &got, &more); err != nil {
		t.Fatal(err)
	}
	want := testRow{
		testInner: testInner{7, "a"}, N: 3, On: true, Data: []byte("xyz"), Args: json.RawMessage("{}"), At: at, Maybe: &at,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(testRow{})); diff != "" || more != "more" {
		t.Errorf("Scan, and %q (-want +got):\n%s", more, diff)
	}

	// A second row does not change what was read from the first.
	var next testRow
	zero := oneRow{int64(0), "", int64(0), int64(0), "", "", int64(0), int64(0)}
	if err := s.Scan(zero, &next); err != nil {
		t.Fatal(err)
	}
	if next.Maybe != nil || !next.At.IsZero() || got.Maybe == nil {
		t.Errorf("times of the next row: %v, %v; of the first: %v", next.At, next.Maybe, got.Maybe)
	}
}

func TestUnsuitableField(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a float has a column")
		}
	}()
	Columns[struct {
		F float32 `db:"f"`
	}]()
}

func BenchmarkNewBatch(b *testing.B) {
	b.ReportAllocs()
	rows := make([]testRow, 100)
	for b.Loop() {
		NewBatch(rows)
	}
}

func ExampleNewBatch() {
	type lane struct {
		ID    int64 `db:"id"`
		Limit int64 `db:"lim"`
	}
	b := NewBatch([]lane{{1, 4}, {2, 8}})
	fmt.Println(b.Cols[0].Name, b.Cols[0].Ints)
	fmt.Println(b.Cols[1].Name, b.Cols[1].Ints)
	// Output:
	// id [1 2]
	// lim [4 8]
}

func ExampleRewrite() {
	fmt.Println(Rewrite(Postgres, `SELECT id FROM job WHERE id IN ?* AND project = ? FOR UPDATE`, nil))
	fmt.Println(Rewrite(SQLite, `SELECT id FROM job WHERE id IN ?* AND project = ? FOR UPDATE`, nil))
	// Output:
	// SELECT id FROM job WHERE id = ANY($1) AND project = $2 FOR UPDATE
	// SELECT id FROM job WHERE id IN (SELECT value FROM json_each(?)) AND project = ?
}

func BenchmarkScanner(b *testing.B) {
	b.ReportAllocs()
	s := NewScanner[testRow]()
	r := fixedRow{}
	for b.Loop() {
		var row testRow
		if err := s.Scan(r, &row); err != nil {
			b.Fatal(err)
		}
	}
}

// fixedRow scans nothing: what is left is the cost of the Scanner.
type fixedRow struct{ Rows }

func (fixedRow) Scan(...any) error { return nil }
