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
	"hostler.dev/hostler/internal/check"
)

// Limits of a file of assets.
const (
	maxImportRows    = 10_000
	maxImportColumns = 256
)

// assetColumns are the columns of an export, in order.
var assetColumns = []string{
	"name", "address", "port", "kind", "platform", "credential", "device_key", "host_key", "jump", "labels", "vars",
}

// assetHeaders are other headers of the columns, as plain has them.
var assetHeaders = map[string]string{
	"名称": "name", "主机名": "name", "主机名称": "name", "资产名称": "name", "设备名称": "name", "hostname": "name",
	"地址": "address", "ip": "address", "ip地址": "address", "地址/ip": "address", "管理ip": "address", "管理地址": "address", "ipaddress": "address",
	"端口": "port", "端口号": "port", "类型": "kind", "平台": "platform", "凭据": "credential", "设备标识": "device_key",
	"主机密钥策略": "host_key", "跳板": "jump", "跳板机": "jump", "标签": "labels", "变量": "vars",
}

// guard keeps a spreadsheet from taking a cell for a formula, and tidy from taking
// off the space around it.
func guard(cell string) string {
	if risky(cell) {
		return "'" + cell
	}
	return cell
}

// tidy takes off what guard put on, or else the space around a cell. Variables
// keep theirs.
func tidy(field, cell string) string {
	if rest, ok := strings.CutPrefix(cell, "'"); ok && risky(rest) {
		return rest
	}
	if strings.HasPrefix(field, "var.") {
		return cell
	}
	return strings.TrimSpace(cell)
}

// risky tells whether a spreadsheet may take a cell for a formula, also one in full
// width, or the cell has space around it. Cells that look guarded count too, so
// that guard can always be undone.
func risky(cell string) bool {
	bare := strings.TrimLeft(cell, "'")
	c, _ := utf8.DecodeRuneInString(bare)
	return strings.ContainsRune("=+-@＝＋－＠", c) || strings.TrimSpace(bare) != bare
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
		if strings.ContainsFunc(m[k], endsPair) || strings.Contains(m[k], "=") || strings.TrimSpace(m[k]) != m[k] || strings.HasPrefix(k, "{") {
			b, err := json.Marshal(m)
			return string(b), err
		}
		pairs = append(pairs, k+"="+m[k])
	}
	return strings.Join(pairs, ","), nil
}

// parsePairs reads what pairsCell writes, and what people write: k=v; k=v, in lines,
// with the separators of Chinese keyboards. A value with = is refused: it is two
// pairs with another separator more often than a value.
func parsePairs(cell string) (map[string]string, bool) {
	m := map[string]string{}
	if strings.HasPrefix(cell, "{") {
		return m, json.Unmarshal([]byte(cell), &m) == nil && m != nil
	}
	for pair := range strings.FieldsFuncSeq(cell, endsPair) {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		k, v, ok := strings.Cut(pair, "=")
		k = strings.TrimSpace(k)
		if _, twice := m[k]; !ok || twice || strings.Contains(v, "=") {
			return nil, false
		}
		m[k] = strings.TrimSpace(v)
	}
	return m, true
}

func endsPair(c rune) bool { return strings.ContainsRune(",;，；\r\n", c) }

// assetRecord is one row of a file: the cells by field.
type assetRecord struct {
	line   int
	cells  map[string]string
	spread [2]int // how many cells it has, and the header; they must agree
}

// readAssets reads a file of assets. The error is about the file as a whole.
func readAssets(file string, o hostler.ImportOptions) ([]assetRecord, error) {
	h := newHeaders(o.Mapping)
	text, err := readText(file, o.Encoding, func(column string) bool { return h.field(column) != "" })
	if err != nil {
		return nil, err
	}
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.FieldsPerRecord = separator(text), -1
	head, err := r.Read()
	if err != nil {
		return nil, errCSV(err)
	}
	head = trimRight(head, 0)
	fields, err := h.fields(head)
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
		if len(trimRight(cells, 0)) == 0 {
			continue // spreadsheets write such rows for what was cleared
		}
		if len(out) == maxImportRows {
			return nil, hostler.Invalid("csv", "has more than %d rows; split it", "超过 %d 行；请拆分文件", maxImportRows)
		}
		cells = trimRight(cells, len(fields))
		line, _ := r.FieldPos(0)
		rec := assetRecord{line: line, cells: map[string]string{}, spread: [2]int{len(cells), len(fields)}}
		for i := range min(len(cells), len(fields)) {
			if fields[i] != "-" {
				rec.cells[fields[i]] = tidy(fields[i], cells[i])
			}
		}
		out = append(out, rec)
	}
}

// trimRight takes off empty cells at the end, down to keep of them: spreadsheets
// write them for columns that were cleared.
func trimRight(cells []string, keep int) []string {
	for len(cells) > keep && strings.TrimSpace(cells[len(cells)-1]) == "" {
		cells = cells[:len(cells)-1]
	}
	return cells
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
		line = p.StartLine // a quote without its end runs to the end of the file
	}
	return hostler.Invalid("csv", "line %d is not CSV; check its quotes", "第 %d 行不是合法的 CSV；请检查引号", line)
}

// headers knows which field a column is.
type headers map[string]string // what the caller chose, by plain header

func newHeaders(mapping map[string]string) headers {
	h := make(headers, len(mapping))
	for column, field := range mapping {
		h[plain(column)] = field
	}
	return h
}

// fields says which field each column is; - is none.
func (h headers) fields(head []string) ([]string, error) {
	if len(head) > maxImportColumns {
		return nil, hostler.Invalid("csv", "has more than %d columns", "超过 %d 列", maxImportColumns)
	}
	var faults check.Fields
	seen := map[string]bool{}
	fields := make([]string, len(head))
	for i, column := range head {
		fields[i] = h.field(column)
		switch {
		case plain(column) == "":
			faults.Add("csv", "column %d has no header; give it one, or delete the column", "第 %d 列没有列名；请补上列名或删除该列", i+1)
		case fields[i] == "":
			faults.Add("csv", "the column %[1]q is not known; map it to a field, or ignore it with the mapping %[1]s:-",
				"未知的列 %[1]q；请将其映射到字段，或用映射 %[1]s:- 忽略", check.Key(column))
		case seen[fields[i]] && fields[i] != "-":
			faults.Add("csv", "the column %q is the field %s, which another column is already; ignore one",
				"列 %q 对应字段 %s，而该字段已有对应的列；请忽略其一", check.Key(column), fields[i])
		}
		seen[fields[i]] = true
	}
	faults.Require(seen["name"], "csv", "has no column \"name\"", "缺少“name”（名称）列")
	return fields, faults.Err()
}

// field is the field of a column; "" when there is none. Keys of labels and
// variables keep their case.
func (h headers) field(column string) string {
	header, ok := h[plain(column)]
	if !ok {
		header = column
	}
	header = strings.TrimSpace(header)
	group, key, dotted := strings.Cut(header, ".")
	if key = strings.TrimSpace(key); dotted && key != "" {
		switch plain(group) {
		case "label", "标签":
			return "label." + key
		case "var", "变量":
			return "var." + key
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

// plain is a header without what people write differently.
func plain(header string) string { return strings.ToLower(strings.Join(strings.Fields(header), "")) }
