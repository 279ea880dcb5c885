package ssh

import (
	"bytes"
	"strings"
	"sync"
	"unicode/utf8"
)

// tailBytes is how much of the end of a stream is kept for error texts.
const tailBytes = 4 << 10

// maxComplaint bounds a line in an error text.
const maxComplaint = 300

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - tailBytes; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// lastLine is the last line that is not blank, cut to a length fit for an error
// text.
func lastLine(b []byte) string {
	b = bytes.TrimSpace(b)
	line := string(bytes.TrimSpace(b[bytes.LastIndexByte(b, '\n')+1:]))
	line = strings.ToValidUTF8(line, "\uFFFD")
	if len(line) <= maxComplaint {
		return line
	}
	cut := maxComplaint
	for !utf8.RuneStart(line[cut]) {
		cut--
	}
	return line[:cut] + "…"
}
