package action

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// maxErrorLine limits a quoted line in an error text, in bytes.
const maxErrorLine = 300

// LastLine returns the last line of an output that is not blank, as valid UTF-8 and cut
// to a length fit for an error text.
func LastLine(b []byte) string {
	b = bytes.TrimSpace(b)
	line := string(bytes.TrimSpace(b[bytes.LastIndexByte(b, '\n')+1:]))
	line = strings.ToValidUTF8(line, "\uFFFD")
	if len(line) <= maxErrorLine {
		return line
	}
	cut := maxErrorLine
	for !utf8.RuneStart(line[cut]) {
		cut--
	}
	return line[:cut] + "…"
}
