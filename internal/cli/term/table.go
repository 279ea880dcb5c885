package term

import (
	"io"
	"strings"
)

// gap separates two columns.
const gap = "  "

// WriteTable writes rows below a head in aligned columns. It escapes the cells.
func WriteTable(w io.Writer, head []string, rows [][]string) error {
	return Table{Head: head, Rows: rows}.Write(w)
}

// Table is rows below a head, if there is one, in aligned columns.
type Table struct {
	Head  []string
	Rows  [][]string
	Width int // cells that a line may have: wide columns but the first are cut; 0: no limit
	// Paint returns a padded cell of a row with colours; nil for none.
	Paint func(cell, padded string) string
}

// narrowest is how narrow a column is cut at most.
const narrowest = 6

// Write writes the table. It escapes the cells.
func (t Table) Write(w io.Writer) error {
	all := t.Rows
	if t.Head != nil {
		all = append([][]string{t.Head}, t.Rows...)
	}
	var widths []int
	for _, row := range all {
		widths = append(widths, make([]int, max(0, len(row)-len(widths)))...)
		for j, cell := range row {
			row[j] = Escape(cell)
			widths[j] = max(widths[j], Width(row[j]))
		}
	}
	t.fit(widths)
	var b strings.Builder
	for i, row := range all {
		var line strings.Builder
		for j, cell := range row {
			cell = Truncate(cell, widths[j])
			padded := padRight(cell, widths[j])
			if j == len(row)-1 {
				padded = cell
			}
			if t.Paint != nil && (i > 0 || t.Head == nil) {
				padded = t.Paint(cell, padded)
			}
			line.WriteString(padded + gap)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fit makes columns narrower, the widest first, until a line fits.
func (t Table) fit(widths []int) {
	for t.Width > 0 {
		total, widest := -len(gap), 0
		for j, n := range widths {
			total += n + len(gap)
			if j > 0 && (widest == 0 || n > widths[widest]) {
				widest = j
			}
		}
		if total <= t.Width || widest == 0 || widths[widest] <= narrowest {
			return
		}
		widths[widest]--
	}
}

// Field is one line of [WriteFields].
type Field struct{ Name, Value string }

// WriteFields writes the fields of one object, a line each, with aligned values.
// It escapes the values and leaves out those that are "" or "-".
func WriteFields(w io.Writer, fields []Field) error {
	widest := 0
	for _, f := range fields {
		widest = max(widest, Width(f.Name))
	}
	var b strings.Builder
	for _, f := range fields {
		value := Escape(f.Value)
		if value == "" || value == "-" {
			continue
		}
		b.WriteString(padRight(f.Name, widest) + gap + value + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
