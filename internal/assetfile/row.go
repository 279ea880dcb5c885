package assetfile

import (
	"maps"
	"strconv"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// Row is one row of a file.
type Row struct {
	Line  int               // of the file, from 1
	cells map[string]string // by field; a field that the file lacks is not in it

	count, columns int // cells of the row, and of the header
}

func newRow(line int, fields, cells []string) Row {
	r := Row{Line: line, cells: map[string]string{}, count: len(cells), columns: len(fields)}
	for i := range min(len(cells), len(fields)) {
		if fields[i] != ignored {
			r.cells[fields[i]] = unescape(fields[i], cells[i])
		}
	}
	return r
}

// Name is the name of the row's asset.
func (r Row) Name() string { return r.cells["name"] }

// Jump is the name of the asset to connect through; "" for none.
func (r Row) Jump() string { return r.cells["jump"] }

// Names reports whether the file has a column for the field.
func (r Row) Names(field string) bool {
	_, ok := r.cells[field]
	return ok
}

// CheckLength refuses a row with more or fewer cells than the header: its cells
// would be in the wrong columns.
func (r Row) CheckLength() error {
	if r.count == r.columns {
		return nil
	}
	return hostler.Invalid("row", "has %d cells, and the header has %d",
		"有 %d 个单元格，而表头有 %d 个", r.count, r.columns)
}

// Input returns the asset that the row describes: its cells over the asset that
// exists, or over an empty one when old is nil. Only the form of the cells is
// checked; the values are checked like those of any asset.
func (r Row) Input(old *hostler.Asset) (hostler.AssetInput, error) {
	var in hostler.AssetInput
	if old != nil {
		in = old.Input()
		in.Labels, in.Vars = maps.Clone(old.Labels), maps.Clone(old.Vars)
	}
	for field, to := range map[string]*string{
		"name": &in.Name, "address": &in.Address, "kind": &in.Kind, "platform": &in.Platform,
		"credential": &in.Credential, "device_key": &in.DeviceKey, "host_key": &in.HostKey, "jump": &in.Jump,
	} {
		if cell, ok := r.cells[field]; ok {
			*to = cell
		}
	}
	var fields check.Fields
	if cell, ok := r.cells["port"]; ok {
		in.Port = 0
		if cell != "" {
			n, err := strconv.Atoi(cell)
			fields.Require(err == nil, "port", "must be a whole number", "必须是整数")
			in.Port = n
		}
	}
	in.Labels = r.pairs(&fields, "labels", "label.", in.Labels)
	in.Vars = r.pairs(&fields, "vars", "var.", in.Vars)
	return in, fields.Err()
}

// pairs returns a map: the column of all its pairs, if there is one, or else what
// the asset has; and over it the columns of single keys, whose empty cells delete.
func (r Row) pairs(fields *check.Fields, column, prefix string, have map[string]string) map[string]string {
	if cell, ok := r.cells[column]; ok {
		pairs, good := parsePairs(cell)
		fields.Require(good, column,
			"must be written as key=value,key=value, each key once; for a value with = add a column %sKEY",
			"请写成 key=value,key=value，每个键一次；值中含 = 时请改用 %sKEY 列", prefix)
		have = pairs
	}
	for field, cell := range r.cells {
		key, ok := strings.CutPrefix(field, prefix)
		if !ok {
			continue
		}
		if cell == "" {
			delete(have, key)
			continue
		}
		if have == nil {
			have = map[string]string{}
		}
		have[key] = cell
	}
	return have
}

// Changes returns the old and the new text of each column that differs.
func Changes(before, after hostler.Asset) (map[string][2]string, error) {
	old, err := texts(before)
	if err != nil {
		return nil, err
	}
	now, err := texts(after)
	changes := map[string][2]string{}
	for i, field := range Columns() {
		if old[i] != now[i] {
			changes[field] = [2]string{old[i], now[i]}
		}
	}
	return changes, err
}

// texts returns the fields of an asset as text, in the order of [Columns].
func texts(a hostler.Asset) ([]string, error) {
	labels, err := formatPairs(a.Labels)
	if err != nil {
		return nil, err
	}
	vars, err := formatPairs(a.Vars)
	port := ""
	if a.Port != 0 {
		port = strconv.Itoa(a.Port)
	}
	return []string{
		a.Name, a.Address, port, a.Kind, a.Platform, a.Credential, a.DeviceKey, a.HostKey, a.Jump, labels, vars,
	}, err
}
