package ssh

import (
	"strings"
	"sync"
)

// tailBytes is how much of a stream's end a tail has, for error texts.
const tailBytes = 4 << 10

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

// budget is the number of bytes that several excerpts may still keep.
type budget struct {
	mu   sync.Mutex
	left int
}

// excerpt keeps the beginning of what is written to it, within a budget.
type excerpt struct {
	budget *budget
	buf    []byte
	cut    bool
}

func (x *excerpt) Write(b []byte) (int, error) {
	x.budget.mu.Lock()
	defer x.budget.mu.Unlock()
	n := min(len(b), x.budget.left)
	if x.cut {
		n = 0 // the text has no gap in the middle
	}
	x.buf = append(x.buf, b[:n]...)
	x.budget.left -= n
	x.cut = x.cut || n < len(b)
	return len(b), nil
}

func (x *excerpt) text() string {
	x.budget.mu.Lock()
	defer x.budget.mu.Unlock()
	return strings.ToValidUTF8(string(x.buf), "\uFFFD")
}

func (x *excerpt) isCut() bool {
	x.budget.mu.Lock()
	defer x.budget.mu.Unlock()
	return x.cut
}
