package app

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

// byteOrderMark at the beginning tells Excel that a file is UTF-8.
const byteOrderMark = "\ufeff"

// Encodings of a file of assets. GB18030 holds GBK and GB2312.
const (
	encodingUTF8    = "utf-8"
	encodingUTF16   = "utf-16"
	encodingGB18030 = "gb18030"
)

var encodingNames = map[string]string{
	"utf-8": encodingUTF8, "utf8": encodingUTF8, "utf-16": encodingUTF16, "utf16": encodingUTF16,
	"gb18030": encodingGB18030, "gbk": encodingGB18030, "gb2312": encodingGB18030,
}

// readText makes text of a file. Without the name of its encoding the file says it:
// by a byte order mark, by being UTF-8, or by a Chinese header that is one of the
// columns in GB18030, as Excel writes it in China. Nothing is guessed from the
// cells: Latin letters with accents are GB18030, too, of other words.
func readText(file, encoding string, known func(column string) bool) (string, error) {
	if encoding != "" {
		name, ok := encodingNames[strings.ToLower(encoding)]
		if !ok {
			return "", hostler.Invalid("csv", "the encoding %q is not known: utf-8, utf-16 or gb18030 (gbk)",
				"未知的编码 %q：可用 utf-8、utf-16、gb18030（gbk）", check.Key(encoding))
		}
		encoding = name
	} else {
		encoding = encodingOf(file, known)
	}
	text, good := decode(file, encoding)
	switch {
	case strings.HasPrefix(file, "PK\x03\x04") || strings.HasPrefix(file, "\xd0\xcf\x11\xe0"):
		return "", hostler.Invalid("csv", "is a workbook, not CSV; save it as \"CSV UTF-8\"", "是工作簿，不是 CSV；请另存为“CSV UTF-8”")
	case good < len(text):
		return "", hostler.Invalid("csv",
			"line %d is not %s; save the spreadsheet as \"CSV UTF-8\", or name its encoding: --encoding gb18030 (in the API charset=gb18030)",
			"第 %d 行不是 %s 编码；请将表格另存为“CSV UTF-8”，或指明编码：--encoding gb18030（API 中为 charset=gb18030）",
			1+strings.Count(text[:good], "\n"), strings.ToUpper(encoding))
	}
	text = strings.TrimPrefix(text, byteOrderMark)
	if !strings.Contains(text, "\n") {
		text = strings.ReplaceAll(text, "\r", "\n") // as Excel for the Mac ends lines
	}
	return text, nil
}

func encodingOf(file string, known func(column string) bool) string {
	if strings.HasPrefix(file, "\xff\xfe") || strings.HasPrefix(file, "\xfe\xff") {
		return encodingUTF16
	}
	if utf8.ValidString(file) {
		return encodingUTF8
	}
	head, _, _ := strings.Cut(file, "\n")
	head, _ = decode(head, encodingGB18030)
	for column := range strings.FieldsFuncSeq(head, func(c rune) bool { return strings.ContainsRune(",;\t\"\r", c) }) {
		word, _, _ := strings.Cut(column, ".") // behind it is the key of a label, in any script
		if strings.ContainsFunc(word, func(c rune) bool { return c >= utf8.RuneSelf }) && known(column) {
			return encodingGB18030
		}
	}
	return encodingUTF8
}

// decode is the text of a file, and how many bytes of the text are good.
func decode(file, encoding string) (text string, good int) {
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

// decodeUTF16 takes little endian, as Windows writes it, unless a byte order mark
// says otherwise.
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
