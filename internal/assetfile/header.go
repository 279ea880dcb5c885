package assetfile

import (
	"slices"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// ignored is the field of a column that is not read.
const ignored = "-"

// aliases are further headers of the columns, as normalize returns them.
var aliases = map[string]string{
	"hostname": "name",
	"名称":       "name", "主机名": "name", "主机名称": "name", "资产名称": "name", "设备名称": "name",
	"ip": "address", "ipaddress": "address", "地址": "address", "ip地址": "address", "地址/ip": "address",
	"管理ip": "address", "管理地址": "address",
	"端口": "port", "端口号": "port",
	"类型": "kind", "平台": "platform", "凭据": "credential", "设备标识": "device_key",
	"主机密钥策略": "host_key", "跳板": "jump", "跳板机": "jump", "标签": "labels", "变量": "vars",
}

// chinese are the fields as Chinese texts name them.
var chinese = map[string]string{
	"name": "名称", "address": "地址", "port": "端口", "kind": "类型", "platform": "平台", "credential": "凭据",
	"device_key": "设备标识", "host_key": "主机密钥策略", "jump": "跳板机", "labels": "标签", "vars": "变量",
}

// chineseName is a field as Chinese texts name it: 标签.role for label.role.
func chineseName(field string) string {
	if key, ok := strings.CutPrefix(field, "label."); ok {
		return "标签." + check.Key(key)
	}
	if key, ok := strings.CutPrefix(field, "var."); ok {
		return "变量." + check.Key(key)
	}
	return chinese[field]
}

// mapping finds the field of a column. It holds what the caller chose, by the
// normalized header.
type mapping map[string]string

func newMapping(chosen map[string]string) mapping {
	m := make(mapping, len(chosen))
	for column, field := range chosen {
		m[normalize(column)] = field
	}
	return m
}

// fields returns the field of each column.
func (m mapping) fields(header []string) ([]string, error) {
	if len(header) > MaxColumns {
		return nil, hostler.Invalid("csv", "has more than %d columns", "超过 %d 列", MaxColumns)
	}
	var faults check.Fields
	seen := map[string]bool{}
	fields := make([]string, len(header))
	for i, column := range header {
		field := m.field(column)
		switch {
		case normalize(column) == "":
			faults.Add("csv", "column %d has no header; add one, or delete the column",
				"第 %d 列没有列名；请补上列名或删除该列", i+1)
		case field == "":
			faults.Add("csv", "unknown column %[1]q: keep it as a label with --map %[1]s:label.%[1]s, ignore it with --map %[1]s:-, "+
				"or map it to a field", "未知的列 %[1]q：用 --map %[1]s:label.%[1]s 存为标签，用 --map %[1]s:- 忽略，或映射到字段",
				check.Key(column))
		case seen[field] && field != ignored:
			faults.Add("csv", "column %[1]q is a second column for the field %[2]s; ignore one of them",
				"列 %[1]q 对应字段“%[3]s”，而该字段已有对应的列；请忽略其一", check.Key(column), field, chineseName(field))
		}
		seen[field] = true
		fields[i] = field
	}
	faults.Require(seen["name"], "csv", "has no column \"name\"", "缺少“名称”（name）列")
	return fields, faults.Err()
}

// field returns the field of a column; "" when there is none. The keys of labels
// and variables are case-sensitive.
func (m mapping) field(column string) string {
	header, chosen := m[normalize(column)]
	if !chosen {
		header = column
	}
	header = strings.TrimSpace(header)
	group, key, dotted := strings.Cut(header, ".")
	if key = strings.TrimSpace(key); dotted && key != "" {
		switch normalize(group) {
		case "label", "标签":
			return "label." + key
		case "var", "变量":
			return "var." + key
		}
	}
	name := normalize(header)
	if field, ok := aliases[name]; ok {
		return field
	}
	if name == ignored || slices.Contains(Columns(), name) {
		return name
	}
	return ""
}

// normalize returns a header in lower case and without spaces: people write
// "IP Address" and "ip address".
func normalize(header string) string {
	return strings.ToLower(strings.Join(strings.Fields(header), ""))
}
