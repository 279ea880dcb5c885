package assetfile

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// ByteOrderMark at the beginning of a file makes Excel read it as UTF-8.
const ByteOrderMark = "\ufeff"

// Encodings of a file. GB18030 includes GBK and GB2312.
const (
	encodingUTF8    = "utf-8"
	encodingUTF16   = "utf-16"
	encodingGB18030 = "gb18030"
)

var encodingNames = map[string]string{
	"utf-8": encodingUTF8, "utf8": encodingUTF8, "utf-16": encodingUTF16, "utf16": encodingUTF16,
	"gb18030": encodingGB18030, "gbk": encodingGB18030, "gb2312": encodingGB18030,
}

// decodeFile returns the text of a file. Without the name of an encoding, it is
// detected: by a byte order mark, by being valid UTF-8, or by a Chinese header that
// names a known column when read as GB18030, which Excel writes in China. The cells
// are not considered, because Latin text with accents is also valid GB18030.
func decodeFile(file, encoding string, known func(column string) bool) (string, error) {
	if encoding != "" {
		name, ok := encodingNames[strings.ToLower(encoding)]
		if !ok {
			return "", hostler.Invalid("csv", "unknown encoding %q; use utf-8, utf-16 or gb18030 (gbk)",
				"未知的编码 %q；可用 utf-8、utf-16、gb18030（gbk）", check.Key(encoding))
		}
		encoding = name
	} else {
		encoding = detectEncoding(file, known)
	}
	text, valid := decode(file, encoding)
	switch {
	case strings.HasPrefix(file, "PK\x03\x04") || strings.HasPrefix(file, "\xd0\xcf\x11\xe0"):
		return "", hostler.Invalid("csv",
			"is a workbook, not CSV; save it as \"CSV UTF-8\"",
			"是工作簿，不是 CSV；请另存为“CSV UTF-8”")
	case valid < len(text):
		return "", hostler.Invalid("csv",
			"line %d is not %s; save the spreadsheet as \"CSV UTF-8\", or name its encoding: "+
				"--encoding gb18030 (in the API charset=gb18030)",
			"第 %d 行不是 %s 编码；请将表格另存为“CSV UTF-8”，或指明编码："+
				"--encoding gb18030（API 中为 charset=gb18030）",
			1+strings.Count(text[:valid], "\n"), strings.ToUpper(encoding))
	}
	text = strings.TrimPrefix(text, ByteOrderMark)
	if !strings.Contains(text, "\n") {
		text = strings.ReplaceAll(text, "\r", "\n") // as Excel for the Mac ends lines
	}
	return text, nil
}

// detectEncoding detects the encoding of a file; see decodeFile.
func detectEncoding(file string, known func(column string) bool) string {
	if strings.HasPrefix(file, "\xff\xfe") || strings.HasPrefix(file, "\xfe\xff") {
		return encodingUTF16
	}
	if utf8.ValidString(file) {
		return encodingUTF8
	}
	head, _, _ := strings.Cut(file, "\n")
	head, _ = decode(head, encodingGB18030)
	for column := range strings.FieldsFuncSeq(head, separatesHeaders) {
		word, _, _ := strings.Cut(column, ".") // a label's key after the dot may be in any script
		if strings.ContainsFunc(word, notASCII) && known(column) {
			return encodingGB18030
		}
	}
	return encodingUTF8
}

func separatesHeaders(c rune) bool { return strings.ContainsRune(",;\t\"\r", c) }

func notASCII(c rune) bool { return c >= utf8.RuneSelf }

// decode returns the text of a file, and how many bytes at its beginning are valid
// in the encoding.
func decode(file, encoding string) (text string, valid int) {
	text = file
	switch encoding {
	case encodingUTF16:
		text = decodeUTF16([]byte(file))
	case encodingGB18030:
		b, err := simplifiedchinese.GB18030.NewDecoder().String(file)
		if err != nil {
			return file, 0
		}
		text = b
	}
	for i, c := range text {
		if c != utf8.RuneError {
			continue
		}
		if _, n := utf8.DecodeRuneInString(text[i:]); n == 1 || encoding != encodingUTF8 {
			return text, i
		}
	}
	return text, len(text)
}

// decodeUTF16 reads little endian, which Windows writes, unless there is a byte
// order mark of big endian.
func decodeUTF16(file []byte) string {
	var order binary.ByteOrder = binary.LittleEndian
	if bytes.HasPrefix(file, []byte{0xfe, 0xff}) {
		order = binary.BigEndian
	}
	units := make([]uint16, 0, len(file)/2+1)
	for len(file) > 1 {
		units = append(units, order.Uint16(file))
		file = file[2:]
	}
	if len(file) > 0 {
		units = append(units, utf8.RuneError) // half a character
	}
	return string(utf16.Decode(units))
}
