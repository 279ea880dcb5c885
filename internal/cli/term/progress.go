package term

import (
	"fmt"
	"io"
)

// clearLine returns to the start of the line and erases it (ECMA-48 EL).
const clearLine = "\r\x1b[K"

// Progress rewrites one line of a terminal. It writes nothing to a stream that is
// not one.
type Progress struct{ w io.Writer }

// NewProgress returns a Progress on w.
func NewProgress(w io.Writer) Progress { return Progress{w} }

// Show replaces the line, cut to the width of the terminal.
func (p Progress) Show(line string) {
	if n := Columns(p.w); n > 0 {
		fmt.Fprint(p.w, clearLine+Truncate(Escape(line), n-1))
	}
}

// Clear erases the line.
func (p Progress) Clear() {
	if IsTerminal(p.w) {
		fmt.Fprint(p.w, clearLine)
	}
}
