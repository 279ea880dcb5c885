package term

import (
	"io"
	"strings"
)

// gap separates two columns.
const gap = "  "

// WriteTable writes rows below a head in aligned columns. It escapes the cells.
func WriteTable(w io.Writer, head []string, rows [][]string) error {
	all := append([][]string{head}, rows...)
	widths := make([]int, len(head))
	for i, row := range all {
		for j, cell := range row {
			all[i][j] = Escape(cell)
			widths[j] = max(widths[j], Width(all[i][j]))
		}
	}
	var b strings.Builder
	for _, row := range all {
		var line strings.Builder
		for j, cell := range row {
			line.WriteString(padRight(cell, widths[j]))
			line.WriteString(gap)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
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
