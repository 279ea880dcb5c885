package risk

import (
	"errors"
	"io"
	"runtime"
	"strings"
)

// The limits of what [Set.Judge] looks at in one call.
const (
	maxBytes   = 4 << 20 // of all texts, with those inside of others
	maxSteps   = 50_000  // commands evaluated, with those of functions
	maxNested  = 12      // texts inside of texts, such as sh -c "sh -c …"
	maxWrapped = 100     // commands that run commands, such as sudo
	stepWords  = 32      // words of a command that cost as much as a command
	maxWords   = 10_000  // of a command
	maxCalls   = 6       // functions that call functions
	maxDepth   = 400     // constructs inside of constructs
	maxFrames  = 6000    // of the parser's stack
	maxValue   = 16 << 10
	maxOutput  = 1 << 20
	maxChoices = 16 // values that a word may have
)

// budget is what is left of the limits.
type budget struct {
	bytes, left int
	exceeded    bool
}

func newBudget() *budget { return &budget{bytes: maxBytes, left: maxSteps} }

// step takes one step, and reports whether there was one left.
func (b *budget) step() bool { return b.steps(1) }

func (b *budget) steps(n int) bool {
	b.left -= n
	if b.left < 0 {
		b.exceeded = true
	}
	return b.left >= 0
}

// take takes the bytes of a text.
func (b *budget) take(text string) bool {
	b.bytes -= len(text)
	if b.bytes < 0 {
		b.exceeded = true
	}
	return b.bytes >= 0
}

var errTooDeep = errors.New("nested too deep")

// shallowReader reads a text for the parser, which recurses for what is nested: it fails
// when the stack of its caller is too deep. Reads are small, so that the parser cannot
// nest much between two of them.
type shallowReader struct {
	text   *strings.Reader
	budget *budget
}

func (r shallowReader) Read(p []byte) (int, error) {
	var pc [1]uintptr
	if runtime.Callers(maxFrames, pc[:]) > 0 {
		return 0, errTooDeep
	}
	if r.budget.exceeded {
		return 0, io.EOF
	}
	n, err := r.text.Read(p[:min(len(p), 256)])
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, err
}
