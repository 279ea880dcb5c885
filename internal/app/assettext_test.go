package app_test

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"

	"hostler.dev/hostler"
)

func encoded(t *testing.T, e encoding.Encoding, text string) string {
	t.Helper()
	s, err := e.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Files as spreadsheets and people write them, read as what they mean.
func TestImportReadsWhatSpreadsheetsWrite(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const (
			chinese = "名称,地址/IP,端口,平台,标签,备注\r\n核心-1,192.0.2.1,22,huawei_vrp,区域=北京,一楼\r\n"
			english = "name,address,labels\r\n核心-1,192.0.2.1,区域=北京\r\n"
			odd     = "name,address,labels\r\n核心-1,192.0.2.1,区域=" // with what is not in the encoding behind it
		)
		gbk, utf16 := simplifiedchinese.GBK, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
		for _, c := range []struct {
			name, file string
			encoding   string
			want       string // of the row, or of the refusal
		}{
			{"UTF-8", chinese, "", "2 核心-1 create"},
			{"UTF-8 of Excel", "\ufeff" + chinese, "", "2 核心-1 create"},
			{"GBK by its header", encoded(t, gbk, chinese), "", "2 核心-1 create"},
			{"GBK by its name", encoded(t, gbk, english), "GBK", "2 核心-1 create"},
			{"GBK that nothing tells", encoded(t, gbk, english), "", `line 2 is not UTF-8; save the spreadsheet as "CSV UTF-8", or name its encoding: --encoding gb18030 (in the API charset=gb18030)`},
			{"GBK said to be UTF-8", encoded(t, gbk, chinese), "utf-8", `line 1 is not UTF-8;`},
			{"GB18030", encoded(t, simplifiedchinese.GB18030, strings.ReplaceAll(chinese, "北京", "㙍𠮷")), "gb18030", "2 核心-1 create"},
			{"broken GBK", encoded(t, gbk, odd) + "\xff\r\n", "gbk", "line 2 is not GB18030;"},
			{"GBK with a Chinese mapping", encoded(t, gbk, "资产编号,ip\r\n核心-1,192.0.2.1\r\n"), "", "2 核心-1 create"},
			{"Latin is not taken for Chinese", encoded(t, charmap.ISO8859_1, "name,address,var.größe\nx,192.0.2.1,Zürich\n"), "", "line 1 is not UTF-8;"},
			{"Unicode Text of Excel", encoded(t, utf16, strings.ReplaceAll(chinese, ",", "\t")), "", "2 核心-1 create"},
			{"UTF-16, big end first", encoded(t, unicode.UTF16(unicode.BigEndian, unicode.UseBOM), chinese), "", "2 核心-1 create"},
			{"UTF-16 by its name", encoded(t, unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), chinese), "utf-16", "2 核心-1 create"},
			{"half a character", encoded(t, utf16, chinese) + "x", "", "line 3 is not UTF-16;"},
			{"another encoding", chinese, "big5", `the encoding "big5" is not known: utf-8, utf-16 or gb18030 (gbk)`},
			{"a workbook", "PK\x03\x04\x14\x00\xff", "", `is a workbook, not CSV; save it as "CSV UTF-8"`},
			{"lines of the Mac", strings.ReplaceAll(chinese, "\r\n", "\r"), "", "2 核心-1 create"},
			{"cleared columns and rows", "name,address,,,\r\n核心-1,192.0.2.1,,,\r\n , ,,,\r\n,,,,\r\n", "", "2 核心-1 create"},
			{"a column without a name", "name,,address\n核心-1,x,192.0.2.1\n", "", "column 2 has no header; give it one, or delete the column"},
			{"a cell too few", "name,address,port\n核心-1,192.0.2.1\n", "", "2 核心-1 fail row"},
			{"a cell too many", "name,address\n核心-1,192.0.2.1,x\n", "", "2 核心-1 fail row"},
			{"space around", " Name ,IP Address , PORT\n 核心-1 ,\u00a0192.0.2.1\u3000, 22 \n", "", "2 核心-1 create"},
			{"a column twice", "主机名,名称,ip\nx,核心-1,192.0.2.1\n", "", `the column "名称" is the field name, which another column is already; ignore one`},
			{"a quote without an end", "name,ip\nx,192.0.2.1\n\"y,192.0.2.2\nz,192.0.2.3\nzz,192.0.2.4\n", "", "line 3 is not CSV; check its quotes"},
			{"an unknown column", "name,机房\n核心-1,x\n", "", `the column "机房" is not known; map it to a field, or ignore it with the mapping 机房:-`},
			{"lines in a cell", "name,address,var.note\n核心-1,192.0.2.1,\"a\r\nb\"\nx,y z,\n", "", "2 核心-1 create\n4 x fail address"},
		} {
			mapping := map[string]string{"备注": "var.note", "资产编号": "name", "größe": "-"}
			got, err := w.ImportAssets(t.Context(), w.operator, c.file, hostler.ImportOptions{DryRun: true, Encoding: c.encoding, Mapping: mapping})
			said := fates(got)
			if e, ok := errors.AsType[*hostler.Error](err); ok && len(e.Fields) > 0 {
				said = e.Fields[0].Text.EN
			}
			if said != c.want && (err == nil || !strings.HasPrefix(said, c.want)) {
				t.Errorf("%s:\n%s\nwant\n%s", c.name, said, c.want)
			}
		}
	})
}

// Labels are one column, in several spellings.
func TestImportReadsPairs(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, c := range []struct {
			cell string
			want string
		}{
			{"a=1,b=2", "a=1 b=2"},
			{"a = 1; b = 2;", "a=1 b=2"},
			{"a=1；b=2", "a=1 b=2"},
			{"a=1，b=2", "a=1 b=2"},
			{"a=1\r\nb=2", "a=1 b=2"},
			{"a=Data Center 1", "a=Data Center 1"},
			{`{"a":"x=1","b":"1,2"}`, "a=x=1 b=1,2"},
			{"", ""},
			{"a=1 b=2", "fail"},
			{"a=1|b=2", "fail"},
			{"a:1", "fail"},
			{"a", "fail"},
			{"a=1,a=2", "fail"},
			{"=1", "fail"},
		} {
			cell := strings.ReplaceAll(c.cell, `"`, `""`)
			got := w.importFile(t, "name,address,labels\nx,192.0.2.1,\""+cell+"\"\n", hostler.ImportOptions{})
			if c.want == "fail" {
				if got.Failed != 1 {
					t.Errorf("%q: %s", c.cell, fates(got))
				}
				continue
			}
			if got.Failed > 0 {
				t.Errorf("%q: %s", c.cell, fates(got))
				continue
			}
			var have []string
			labels := must(w.Asset(t.Context(), w.viewer, "x"))(t).Labels
			for _, key := range []string{"a", "b"} {
				if v, ok := labels[key]; ok {
					have = append(have, key+"="+v)
				}
			}
			if s := strings.Join(have, " "); s != c.want || len(labels) != len(have) {
				t.Errorf("%q: labels %v, want %s", c.cell, labels, c.want)
			}
		}
	})
}
