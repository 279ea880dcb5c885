package assetfile_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/assetfile"
)

func encoded(t *testing.T, e encoding.Encoding, text string) string {
	t.Helper()
	s, err := e.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// describe writes what was read in a line for each row, or else the first fault.
func describe(rows []assetfile.Row, err error) string {
	fault := func(err error) string {
		if e, ok := errors.AsType[*hostler.Error](err); ok && len(e.Fields) > 0 {
			return e.Fields[0].Text.EN
		}
		return err.Error()
	}
	if err != nil {
		return fault(err)
	}
	var lines []string
	for _, row := range rows {
		in, err := row.Input(nil)
		if err == nil {
			err = row.CheckLength()
		}
		line := fmt.Sprint(row.Line, " ", row.Name(), " ", in.Address)
		if err != nil {
			line += " " + fault(err)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// Files as spreadsheets write them.
const (
	chinese = "名称,地址/IP,端口,平台,标签,备注\r\n核心-1,192.0.2.1,22,huawei_vrp,区域=北京,一楼\r\n"
	english = "name,address,labels\r\n核心-1,192.0.2.1,区域=北京\r\n"
	partial = "name,address,labels\r\n核心-1,192.0.2.1,区域=" // to which invalid bytes are added
)

func TestEncodings(t *testing.T) {
	gbk, gb18030 := simplifiedchinese.GBK, simplifiedchinese.GB18030
	utf16 := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	utf16Big := unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	utf16Bare := unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	const good = "2 核心-1 192.0.2.1"
	for _, c := range []struct {
		name, file string
		encoding   string
		want       string // the rows, or how the error begins
	}{
		{"UTF-8", chinese, "", good},
		{"UTF-8 of Excel", "\ufeff" + chinese, "", good},
		{"GBK, detected by its header", encoded(t, gbk, chinese), "", good},
		{"GBK by its name", encoded(t, gbk, english), "GBK", good},
		{
			"GBK that cannot be detected", encoded(t, gbk, english), "",
			`line 2 is not UTF-8; save the spreadsheet as "CSV UTF-8", or name its encoding: ` +
				`--encoding gb18030 (in the API charset=gb18030)`,
		},
		{"GBK named UTF-8", encoded(t, gbk, chinese), "utf-8", "line 1 is not UTF-8;"},
		{"GB18030", encoded(t, gb18030, strings.ReplaceAll(chinese, "北京", "㙍𠮷")), "gb18030", good},
		{"invalid GBK", encoded(t, gbk, partial) + "\xff\r\n", "gbk", "line 2 is not GB18030;"},
		{"GBK with a Chinese mapping", encoded(t, gbk, "资产编号,ip\r\n核心-1,192.0.2.1\r\n"), "", good},
		{
			"Latin is not detected as Chinese",
			encoded(t, charmap.ISO8859_1, "name,address,var.größe\nx,192.0.2.1,Zürich\n"), "", "line 1 is not UTF-8;",
		},
		{"Unicode Text of Excel", encoded(t, utf16, strings.ReplaceAll(chinese, ",", "\t")), "", good},
		{"UTF-16, big endian", encoded(t, utf16Big, chinese), "", good},
		{"UTF-16 by its name", encoded(t, utf16Bare, chinese), "utf-16", good},
		{"half a character", encoded(t, utf16, chinese) + "x", "", "line 3 is not UTF-16;"},
		{"unknown encoding", chinese, "big5", `unknown encoding "big5"; use utf-8, utf-16 or gb18030 (gbk)`},
		{"workbook", "PK\x03\x04\x14\x00\xff", "", `is a workbook, not CSV; save it as "CSV UTF-8"`},
		{"lines of the Mac", strings.ReplaceAll(chinese, "\r\n", "\r"), "", good},
	} {
		o := hostler.ImportOptions{
			Encoding: c.encoding,
			Mapping:  map[string]string{"备注": "var.note", "资产编号": "name", "größe": "-"},
		}
		got := describe(assetfile.Read(c.file, o))
		if got != c.want && (strings.HasPrefix(c.want, "2 ") || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}
