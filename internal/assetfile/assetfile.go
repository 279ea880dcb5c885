// Package assetfile reads and writes assets as CSV: the files that people edit in
// spreadsheets.
//
// # Model
//
// A file has a header that names the columns, and one row for each asset. [Read]
// detects the encoding and the separator, finds the field of each column, and
// returns the rows; [Row.Input] makes an asset of a row, over the one that exists.
// [Write] writes assets in the order of [Columns]. A field is one of Columns, or a
// single key of a map: label.KEY or var.KEY.
//
//	name,address,port,label.role     the header
//	web-1,192.0.2.10,22,web          a row
//
// # Invariants
//
// Read reads back a file of Write without a change. No cell that Write writes
// is a formula to a spreadsheet. A missing column does not change its
// field; an empty cell clears the field. Errors name the line, and are
// hostler.CodeInvalid.
package assetfile

import (
	"encoding/csv"
	"errors"
	"io"
	"strings"

	"hostler.dev/hostler"
)

// Limits of a file.
const (
	MaxRows    = 10_000
	MaxColumns = 256
)

// Columns are the fields of an asset, in the order in which [Write] writes them.
func Columns() []string {
	return []string{
		"name", "address", "port", "kind", "platform", "credential", "device_key", "host_key", "jump", "labels", "vars",
	}
}

// Read reads a file. The error is about the file as a whole; what is wrong with a
// row is found by the row's methods.
func Read(file string, o hostler.ImportOptions) ([]Row, error) {
	m := newMapping(o.Mapping)
	text, err := decodeFile(file, o.Encoding, func(column string) bool { return m.field(column) != "" })
	if err != nil {
		return nil, err
	}
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.FieldsPerRecord = separator(text), -1
	header, err := r.Read()
	if err != nil {
		return nil, csvError(err)
	}
	fields, err := m.fields(trimRight(header, 0))
	if err != nil {
		return nil, err
	}
	var rows []Row
	for {
		cells, err := r.Read()
		switch {
		case errors.Is(err, io.EOF):
			return rows, nil
		case err != nil:
			return nil, csvError(err)
		case len(trimRight(cells, 0)) == 0:
			continue // spreadsheets write such rows for what was cleared
		case len(rows) == MaxRows:
			return nil, hostler.Invalid("csv", "has more than %d rows; split it",
				"超过 %d 行；请拆分文件", MaxRows)
		}
		line, _ := r.FieldPos(0)
		rows = append(rows, newRow(line, fields, trimRight(cells, len(fields))))
	}
}

// trimRight removes empty cells at the end, down to keep cells: spreadsheets write
// them for columns that were cleared.
func trimRight(cells []string, keep int) []string {
	for len(cells) > keep && strings.TrimSpace(cells[len(cells)-1]) == "" {
		cells = cells[:len(cells)-1]
	}
	return cells
}

// separator returns the most frequent separator in the header.
func separator(text string) rune {
	header, _, _ := strings.Cut(text, "\n")
	best, most := ',', strings.Count(header, ",")
	for _, c := range []rune{';', '\t'} {
		if n := strings.Count(header, string(c)); n > most {
			best, most = c, n
		}
	}
	return best
}

func csvError(err error) error {
	if errors.Is(err, io.EOF) {
		return hostler.Invalid("csv", "is empty; its first line must name the columns",
			"内容为空；首行必须是列名")
	}
	line := 0
	if p, ok := errors.AsType[*csv.ParseError](err); ok {
		line = p.StartLine // a quote that is not closed runs to the end of the file
	}
	return hostler.Invalid("csv", "line %d is not CSV; check its quotes",
		"第 %d 行不是合法的 CSV；请检查引号", line)
}

// Write writes assets, after the header if there is to be one. The header begins
// with a byte order mark, by which Excel detects UTF-8.
func Write(w io.Writer, assets []hostler.Asset, header bool) error {
	out := csv.NewWriter(w)
	if header {
		if _, err := io.WriteString(w, ByteOrderMark); err != nil {
			return err
		}
		if err := out.Write(Columns()); err != nil {
			return err
		}
	}
	for _, asset := range assets {
		cells, err := texts(asset)
		if err != nil {
			return err
		}
		for i := range cells {
			cells[i] = escape(cells[i])
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
