package app

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"hostler.dev/hostler"
)

// Limits of a file of assets.
const (
	maxImportRows    = 10_000
	maxImportColumns = 256
)

// byteOrderMark at the beginning tells Excel that a file is UTF-8.
const byteOrderMark = "\ufeff"

// assetColumns are the columns of an export, in order.
var assetColumns = []string{
	"name", "address", "port", "kind", "platform", "credential", "device_key", "host_key", "jump", "labels", "vars",
}

// assetHeaders are other headers of the columns.
var assetHeaders = map[string]string{
	"名称": "name", "ip": "address", "地址": "address", "端口": "port", "类型": "kind", "平台": "platform",
	"凭据": "credential", "设备标识": "device_key", "主机密钥策略": "host_key", "跳板": "jump", "标签": "labels", "变量": "vars",
}

// guard keeps a spreadsheet from taking a cell for a formula.
func guard(cell string) string {
	if formula(cell) {
		return "'" + cell
	}
	return cell
}

// unguard takes off what guard put on.
func unguard(cell string) string {
	if rest, ok := strings.CutPrefix(cell, "'"); ok && formula(rest) {
		return rest
	}
	return cell
}

// formula tells whether a spreadsheet may take a cell for a formula. Cells that
// look guarded count too, so that guard can always be undone.
func formula(cell string) bool {
	rest := strings.TrimLeft(strings.TrimLeft(cell, "'"), " ")
	return rest != "" && strings.ContainsRune("=+-@\t\r", rune(rest[0]))
}

// assetCells are the cells of an asset in the order of assetColumns.
func assetCells(a hostler.Asset) ([]string, error) {
	cells, err := assetTexts(a)
	for i := range cells {
		cells[i] = guard(cells[i])
	}
	return cells, err
}

// assetTexts are the fields of an asset as text, in the order of assetColumns.
func assetTexts(a hostler.Asset) ([]string, error) {
	labels, err := pairsCell(a.Labels)
	if err != nil {
		return nil, err
	}
	vars, err := pairsCell(a.Vars)
	port := ""
	if a.Port != 0 {
		port = strconv.Itoa(a.Port)
	}
	return []string{a.Name, a.Address, port, a.Kind, a.Platform, a.Credential, a.DeviceKey, a.HostKey, a.Jump, labels, vars}, err
}

// pairsCell writes k=v,k=v, or a JSON object when a key or a value does not fit
// into that form.
func pairsCell(m map[string]string) (string, error) {
	pairs := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if strings.ContainsAny(m[k], ",;\r\n") || strings.TrimSpace(m[k]) != m[k] || strings.HasPrefix(k, "{") {
			b, err := json.Marshal(m)
			return string(b), err
		}
		pairs = append(pairs, k+"="+m[k])
	}
	return strings.Join(pairs, ","), nil
}

// parsePairs reads what pairsCell writes; people also write k=v;k=v.
func parsePairs(cell string) (map[string]string, bool) {
	m := map[string]string{}
	if strings.HasPrefix(cell, "{") {
		return m, json.Unmarshal([]byte(cell), &m) == nil && m != nil
	}
	for _, pair := range strings.FieldsFunc(cell, func(c rune) bool { return c == ',' || c == ';' }) {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		k, v, ok := strings.Cut(pair, "=")
		if _, twice := m[k]; !ok || twice {
			return nil, false
		}
		m[k] = v
	}
	return m, true
}

// assetRecord is one row of a file: the cells by field.
type assetRecord struct {
	line  int
	cells map[string]string
	wrong bool // it has more or fewer cells than the header
}

// readAssets reads a file of assets. The error is about the file as a whole.
func readAssets(text string, mapping map[string]string) ([]assetRecord, error) {
	if !utf8.ValidString(text) {
		return nil, hostler.Invalid("csv", "is not UTF-8; save the spreadsheet as \"CSV UTF-8\"", "不是 UTF-8 编码；请将表格另存为“CSV UTF-8”")
	}
	text = strings.TrimPrefix(text, byteOrderMark)
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.FieldsPerRecord = separator(text), -1
	head, err := r.Read()
	if err != nil {
		return nil, errCSV(err)
	}
	fields, err := assetFields(head, mapping)
	if err != nil {
		return nil, err
	}
	var out []assetRecord
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, errCSV(err)
		}
		if strings.Join(cells, "") == "" {
			continue // spreadsheets write such rows for what was cleared
		}
		if len(out) == maxImportRows {
			return nil, hostler.Invalid("csv", "has more than %d rows", "超过 %d 行", maxImportRows)
		}
		line, _ := r.FieldPos(0)
		rec := assetRecord{line: line, cells: map[string]string{}, wrong: len(cells) != len(fields)}
		for i := range min(len(cells), len(fields)) {
			if fields[i] != "-" {
				rec.cells[fields[i]] = unguard(cells[i])
			}
		}
		out = append(out, rec)
	}
}

// separator finds what separates the cells of the header.
func separator(text string) rune {
	head, _, _ := strings.Cut(text, "\n")
	best, most := ',', strings.Count(head, ",")
	for _, c := range []rune{';', '\t'} {
		if n := strings.Count(head, string(c)); n > most {
			best, most = c, n
		}
	}
	return best
}

func errCSV(err error) error {
	if errors.Is(err, io.EOF) {
		return hostler.Invalid("csv", "is empty; its first line must name the columns", "内容为空；首行必须是列名")
	}
	line := 0
	if p, ok := errors.AsType[*csv.ParseError](err); ok {
		line = p.Line
	}
	return hostler.Invalid("csv", "line %d is not CSV; check its quotes", "第 %d 行不是合法的 CSV；请检查引号", line)
}

// assetFields says which field each column is; - is none.
func assetFields(head []string, mapping map[string]string) ([]string, error) {
	if len(head) > maxImportColumns {
		return nil, hostler.Invalid("csv", "has more than %d columns", "超过 %d 列", maxImportColumns)
	}
	chosen := make(map[string]string, len(mapping))
	for column, field := range mapping {
		chosen[plain(column)] = field
	}
	var k checker
	seen := map[string]bool{}
	fields := make([]string, len(head))
	for i, column := range head {
		field, ok := chosen[plain(column)]
		if !ok {
			field = strings.TrimSpace(column)
		}
		fields[i] = assetField(field)
		switch {
		case fields[i] == "":
			k.fail("csv", "the column %q is not known; map it to a field, or to - to ignore it",
				"未知的列 %q；请将其映射到字段，或映射到 - 以忽略", printable(column))
		case seen[fields[i]] && fields[i] != "-":
			k.fail("csv", "the column %q is there twice", "列 %q 重复", printable(column))
		}
		seen[fields[i]] = true
	}
	k.ok(seen["name"], "csv", "has no column \"name\"", "缺少“name”（名称）列")
	return fields, k.err()
}

// plain is a header without what people write differently.
func plain(header string) string { return strings.ToLower(strings.Join(strings.Fields(header), "")) }

// assetField is the field of a header; "" when there is none. Keys of labels and
// variables keep their case.
func assetField(header string) string {
	group, key, dotted := strings.Cut(header, ".")
	if dotted && key != "" {
		switch plain(group) {
		case "label", "标签":
			return "label." + strings.TrimSpace(key)
		case "var", "变量":
			return "var." + strings.TrimSpace(key)
		}
	}
	p := plain(header)
	if field, ok := assetHeaders[p]; ok {
		return field
	}
	if p == "-" || slices.Contains(assetColumns, p) {
		return p
	}
	return ""
}
